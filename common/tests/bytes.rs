//! The bytes of every message, as they have been since the version that they name. Nodes of two builds talk to each
//! other while a cluster is upgraded, so a difference here is another version of the protocol.
//!
//! `UPDATE_GOLDEN=1 cargo test -p coterie-common --test bytes` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::codec::{self, Decoded};
use coterie_common::message::{
    Answer, BallotId, Candidate, Cause, CloseReason, ClusterId, DeathProposal, DeathReport, DirectoryState,
    Evidence, ForwardedRequest, History, JurorVote, LinkMessage, Links, LogPosition, Means, MeshMessage,
    RegisterProposal, Registration, Roster, Rumor, RumorId, Seat, SeedChange, SeedFinding, SeedHello, SeedId,
    SeedStatus, SessionMessage, SoftState, Stages, Subject, Vote, VoteReply,
};
use coterie_common::{
    Address, Change, Ended, Ending, Epoch, Event, Finding, HostEvidence, Incarnation, Life, Member, MemberId,
    Message, Refusal, Secret, Timestamp, Why, Wire,
};

fn at(port: u16) -> Address {
    Address::new([127, 0, 0, 1].into(), port)
}

fn id(port: u16) -> MemberId {
    MemberId { address: at(port), incarnation: Incarnation(u64::from(port)) }
}

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("zone".to_owned(), "b".to_owned())])
}

fn member() -> Arc<Member> {
    Arc::new(Member { id: id(6001), life: Life(7), wire: Wire::Native, tags: tags() })
}

fn candidate() -> Candidate {
    Candidate { address: at(6001), life: Life(7), wire: Wire::Json, tags: tags() }
}

fn refusal() -> Refusal {
    Refusal::new(Why::NotAnswering, "silent")
}

fn report() -> DeathReport {
    DeathReport {
        dead: id(6001),
        suspected: Some(Timestamp::from_micros(1_000)),
        timestamp: Timestamp::from_micros(2_000),
        cause: Cause::ConnectionLost,
        votes: vec![JurorVote { juror: id(6002), dead: true }],
        undecided: false,
    }
}

fn roster() -> Roster {
    Roster { epoch: Epoch(9), members: vec![(member(), 3)] }
}

fn ballot() -> BallotId {
    BallotId { term: 2, number: 5 }
}

fn vote(subject: Subject) -> Vote {
    Vote {
        seed: SeedId(1),
        ballot: ballot(),
        subject,
        finding: Finding::OtherLife(Life(8)),
        host: HostEvidence::Answers,
    }
}

const CLUSTER: ClusterId = ClusterId([0xab; 16]);

fn links() -> Vec<LinkMessage> {
    let rumor = Rumor {
        id: RumorId([1; 32]),
        origin: at(6001),
        incarnation: Incarnation(3),
        sequence: 4,
        via: Some("test".to_owned()),
        content: Bytes::from_static(b"hello"),
    };
    vec![
        LinkMessage::Hello {
            address: at(6001),
            life: Life(7),
            incarnation: Incarnation(3),
            mending: true,
            cluster: Some(CLUSTER),
        },
        LinkMessage::Gossip(rumor),
        LinkMessage::Recent(vec![RumorId([2; 32])]),
        LinkMessage::Want(vec![RumorId([3; 32])]),
        LinkMessage::SuspectRequest {
            suspect: id(6001),
            cause: Cause::PingsMissed,
            requester: at(6002),
            cluster: None,
        },
        LinkMessage::SuspectResponse { suspect: id(6001), alive: false, responder: at(6003) },
        LinkMessage::SuspectUndecided { suspect: id(6001), responder: at(6003) },
    ]
}

fn evidence() -> Evidence {
    Evidence {
        dead: id(6001),
        epoch: Epoch(9),
        cause: Cause::ConnectRefused,
        reporter: Some(at(6002)),
        jurors: vec![JurorVote { juror: id(6003), dead: false }],
        ballot: ballot(),
        seeds: vec![SeedFinding {
            seed: "s1:5001".to_owned(),
            finding: Finding::Silent,
            host: HostEvidence::Silent,
        }],
        stages: Stages { suspected: None, reported: Some(Timestamp::from_micros(5)), ..Stages::default() },
    }
}

fn status() -> SeedStatus {
    SeedStatus {
        cluster: Some(CLUSTER),
        as_of: Some(Duration::from_secs(4)),
        last: LogPosition { term: 2, index: 13 },
        troubles: vec![("no quorum".to_owned(), Duration::from_secs(3))],
        health: 2,
        seed: "s1:5001".to_owned(),
        seeds: vec![("s1:5001".to_owned(), true)],
        available: 1,
        leader: None,
        term: 2,
        applied: 9,
        epoch: Epoch(9),
        members: 1,
        sessions: 2,
        counters: vec![("hints".to_owned(), 3)],
    }
}

fn sessions() -> Vec<SessionMessage> {
    let change = |event| Change { epoch: Epoch(9), event };
    vec![
        SessionMessage::Register(candidate()),
        SessionMessage::Registered(Registration::Admitted { incarnation: Incarnation(3), roster: roster() }),
        SessionMessage::Registered(Registration::Refused(refusal())),
        SessionMessage::Open { member: id(6001), life: Life(7), epoch: Epoch(9) },
        SessionMessage::Observe { linearizable: true },
        SessionMessage::ListRequest { asker: Some(at(6001)) },
        SessionMessage::List(roster()),
        SessionMessage::Changes {
            previous: Epoch(8),
            epoch: Epoch(9),
            changes: vec![
                change(Event::Joined(member())),
                change(Event::Replaced { old: id(6002), new: member() }),
                change(Event::Left(id(6003))),
                change(Event::Died(id(6004))),
            ],
        },
        SessionMessage::ChangesSince(Epoch(8)),
        SessionMessage::Whole {
            roster: roster(),
            ended: vec![Ended { id: id(6002), epoch: Epoch(8), how: Ending::Replaced }],
        },
        SessionMessage::Hint { suspect: id(6001), cause: Cause::Asked },
        SessionMessage::Report(report()),
        SessionMessage::Rejected { dead: id(6001), refusal: refusal() },
        SessionMessage::Leave { member: id(6001), secret: Secret([9; 16]) },
        SessionMessage::Neighbours(Links { number: 4, to: vec![at(6002)] }),
        SessionMessage::Dial(at(6002)),
        SessionMessage::Say { content: Bytes::from_static(b"hello"), via: "test".to_owned() },
        SessionMessage::Said(Ok(at(6001))),
        SessionMessage::Said(Err("nobody".to_owned())),
        SessionMessage::EvidenceRequest(id(6001)),
        SessionMessage::Evidence(Some(Box::new(evidence()))),
        SessionMessage::Seeds { since: 4, seeds: vec!["s1:5001".to_owned()] },
        SessionMessage::ChangeSeeds(SeedChange::Add("s4:5004".to_owned())),
        SessionMessage::ChangeSeeds(SeedChange::Remove("s4:5004".to_owned())),
        SessionMessage::ChangeSeeds(SeedChange::Replace { address: "s4:5004".to_owned(), force: true }),
        SessionMessage::SeedsChanged(Err(refusal())),
        SessionMessage::StatusRequest,
        SessionMessage::Status(Box::new(status())),
        SessionMessage::Cluster(Some(CLUSTER)),
        SessionMessage::SilenceMax(Duration::from_millis(1_500)),
    ]
}

fn mesh() -> Vec<MeshMessage> {
    let position = |index| LogPosition { term: 2, index };
    let directory =
        DirectoryState { run: 3, process: 11, term: 2, committed: position(8), last: position(9) };
    let seat = Seat { address: "s1:5001".to_owned(), directory_id: Some(77) };
    let hello = SeedHello {
        version: codec::VERSION,
        id: SeedId(1),
        directory_id: 77,
        address: "s1:5001".to_owned(),
        list: vec!["s1:5001".to_owned()],
        history: Some(History {
            cluster: CLUSTER,
            seats: BTreeMap::from([(SeedId(1), seat)]),
            removed: BTreeMap::from([(SeedId(0), None)]),
            predecessors: vec![ClusterId([0xcd; 16])],
        }),
        directory,
    };
    let admission = Subject::Admission { address: at(6001), life: Life(7), replaces: Incarnation(2) };
    let request = |forwarded| MeshMessage::Request { number: 4, forwarded };
    let reply = |answer| MeshMessage::Reply { number: 4, answer };
    vec![
        MeshMessage::Hello(hello),
        request(ForwardedRequest::Register(candidate())),
        request(ForwardedRequest::Leave(id(6001))),
        request(ForwardedRequest::Report { report: report(), reporter: id(6002) }),
        request(ForwardedRequest::Seeds {
            change: SeedChange::Remove("s4:5004".to_owned()),
            seat: Some(SeedId(3)),
        }),
        reply(Answer::Admitted { incarnation: Incarnation(3), index: 9 }),
        reply(Answer::Recorded { index: 9 }),
        reply(Answer::Refused(refusal())),
        MeshMessage::RegisterProposal(RegisterProposal {
            ballot: ballot(),
            candidate: candidate(),
            replaces: Incarnation(2),
            commit: 9,
        }),
        MeshMessage::DeathProposal(DeathProposal {
            ballot: ballot(),
            dead: id(6001),
            commit: 9,
            cause: Cause::ConnectionLost,
        }),
        MeshMessage::Vote(VoteReply { vote: vote(admission), refusal: None, age_ms: 12 }),
        MeshMessage::Vote(VoteReply {
            vote: vote(Subject::Death(id(6001))),
            refusal: Some(refusal()),
            age_ms: 0,
        }),
        MeshMessage::Raft { number: 4, request: Bytes::from_static(b"asked") },
        MeshMessage::RaftReply { number: 4, reply: Bytes::from_static(b"answered") },
        MeshMessage::Soft(SoftState {
            whole: true,
            held: vec![id(6001)],
            lost: vec![id(6002)],
            links: vec![(id(6001), Links { number: 4, to: vec![at(6002)] })],
            term: 2,
            means: Some(Means { probes: 64, is_cut_off: true }),
        }),
        MeshMessage::Relay { to: id(6001), message: Box::new(SessionMessage::Dial(at(6002))) },
        MeshMessage::Directory(directory),
    ]
}

fn reasons() -> Vec<CloseReason> {
    vec![
        CloseReason::Ended(Epoch(9)),
        CloseReason::Unknown,
        CloseReason::Full,
        CloseReason::Duplicate,
        CloseReason::ShuttingDown,
        CloseReason::Rejoining,
        CloseReason::Silent,
        CloseReason::Protocol("odd".to_owned()),
        CloseReason::Refused("other list".to_owned()),
        CloseReason::Removed(SeedId(1)),
        CloseReason::OtherCluster(CLUSTER),
        CloseReason::Succeeded(CLUSTER),
        CloseReason::Replaced(SeedId(3)),
        CloseReason::DirectoryCopy("it forgot".to_owned()),
    ]
}

/// All that can stand in a frame, each kind once at least.
fn messages() -> Vec<Message> {
    let ping = [
        Message::Ping { nonce: 4 },
        Message::Pong {
            nonce: 4,
            address: at(6001),
            life: Some(Life(7)),
            incarnation: Some(Incarnation(3)),
            ready: true,
        },
    ];
    let close = reasons().into_iter().map(Message::Close);
    let links = links().into_iter().map(Message::Link);
    let sessions = sessions().into_iter().map(Message::Session);
    ping.into_iter()
        .chain(close)
        .chain(links)
        .chain(sessions)
        .chain(mesh().into_iter().map(Message::Mesh))
        .collect()
}

/// The kind, as it is written: `Session.Open`.
fn kind(message: &Message) -> String {
    let outer = |name: &str, inner: String| {
        let end = inner.find(|c: char| !c.is_alphanumeric()).unwrap_or(inner.len());
        format!("{name}.{}", &inner[..end])
    };
    match message {
        Message::Ping { .. } => "Ping".to_owned(),
        Message::Pong { .. } => "Pong".to_owned(),
        Message::Close(reason) => outer("Close", format!("{reason:?}")),
        Message::Link(message) => outer("Link", format!("{message:?}")),
        Message::Session(message) => outer("Session", format!("{message:?}")),
        Message::Mesh(message) => outer("Mesh", format!("{message:?}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn every_message_has_the_bytes_that_it_had() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bytes/messages.txt");
    let mut said = String::new();
    for message in messages() {
        let frames = codec::encode(&message, Wire::Native, at(1));
        let Decoded { wire, message: again } = codec::decode(&frames[4..]).unwrap();
        assert_eq!((wire, again.as_ref()), (Wire::Native, Some(&message)), "it comes back as it was");
        writeln!(said, "{} {}", kind(&message), hex(&frames[4..])).unwrap();
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &said).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    for (now, then) in said.lines().zip(written.lines()) {
        assert_eq!(now, then, "another version of the protocol");
    }
    assert_eq!(said.lines().count(), written.lines().count());
}

/// One kind more, and no bytes of it here, is a version that nobody has looked at.
#[test]
fn every_kind_of_message_is_there() {
    let count = |prefix: &str| {
        let kinds: BTreeSet<String> = messages().iter().map(kind).collect();
        kinds.iter().filter(|kind| kind.starts_with(prefix)).count()
    };
    // Who reads a kind that there is not is told how many there are.
    let known = |bytes: &[u8]| -> usize {
        let error = codec::decode(bytes).unwrap_err().to_string();
        let (_, count) = error.rsplit_once("i < ").unwrap();
        count.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    };
    assert_eq!(known(&[codec::VERSION, 250]), 6, "Ping, Pong, and these four");
    for (outer, prefix) in [(2, "Close."), (3, "Link."), (4, "Session."), (5, "Mesh.")] {
        assert_eq!(count(prefix), known(&[codec::VERSION, outer, 250]), "{prefix}");
    }
}

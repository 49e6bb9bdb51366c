//! Carried deaths whose evidence has grown too old are voted on again. That may decide one of them, and settle the
//! others, before the list of them is through.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::time::Duration;

use coterie_common::message::{
    BallotId, Candidate, Cause, ClusterId, DeathProposal, DeathReport, ForwardedRequest, MeshMessage, SeedId,
    SessionMessage, Subject, Vote, VoteReply,
};
use coterie_common::{
    Address, Epoch, Finding, HostEvidence, Incarnation, Instant, Life, MemberId, Message, ProbeTarget, Tags,
    Timestamp, Wire,
};
use coterie_seed::core::entry::{Body, SeedRecord};
use coterie_seed::core::{Config, Effect, Entry, Input, Registry, Seed, SessionId};

fn id(number: u64) -> MemberId {
    let address = Address::new([10, 0, 0, number as u8].into(), 7_000);
    MemberId { address, incarnation: Incarnation(number + 2) }
}

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

fn vote(seed: u64, ballot: BallotId, subject: &Subject, finding: Finding) -> Vote {
    Vote { seed: SeedId(seed), ballot, subject: subject.clone(), finding, host: HostEvidence::Unknown }
}

/// The first of two seeds, leading, with members 0, 1 and 2, of which the first holds a session here.
fn leader() -> Seed {
    let name = |seed: u64| format!("10.255.0.{seed}:5011");
    let mut registry = Registry::default();
    registry.set_seeds(0, vec![[SeedId(0), SeedId(1)].into()]);
    let record = |n: u64| (SeedId(n), SeedRecord { address: name(n), directory_id: Some(n + 1) });
    let found = Body::Found { cluster: ClusterId([1; 16]), seeds: [record(0), record(1)].into() };
    registry.apply(1, &Entry::new(found));
    for number in 0..3 {
        let (address, life, replaces) = (id(number).address, Life(1), Incarnation::NONE);
        let ballot = BallotId { term: 1, number };
        let subject = Subject::Admission { address, life, replaces };
        let votes = [0, 1].map(|seed| vote(seed, ballot, &subject, Finding::Alive)).to_vec();
        let candidate = Candidate { address, life, wire: Wire::Native, tags: Tags::new() };
        registry.apply(number + 2, &Entry::new(Body::Join { ballot, candidate, replaces, votes }));
    }
    let config = Config {
        id: SeedId(0),
        address: name(0).parse().unwrap(),
        seeds: [(SeedId(0), name(0)), (SeedId(1), name(1))].into(),
        directory_id: 1,
        cluster: None,
        requests_from: 0,
        patience: coterie_common::Patience::default(),
        printed: 0,
        started: Timestamp::default(),
    };
    let mut seed = Seed::new(config, registry, [7; 32]);
    seed.step(at(0), Input::SeedUp { seed: SeedId(1), directory_id: 2, address: "10.0.0.2:5012".to_owned() });
    seed.step(at(0), Input::Leader { leader: Some(SeedId(0)), term: 1 });
    seed.step(at(0), said(SessionMessage::Cluster(Some(ClusterId([1; 16])))));
    seed.step(at(0), said(SessionMessage::Open { member: id(0), life: Life(1), epoch: Epoch(4) }));
    seed
}

fn said(message: SessionMessage) -> Input {
    Input::Session { session: SessionId(1), wire: Wire::Native, message: Message::Session(message) }
}

fn hint(number: u64) -> Input {
    said(SessionMessage::Hint { suspect: id(number), cause: Cause::PingsMissed })
}

fn probed(number: u64, finding: Finding) -> Input {
    let target = ProbeTarget { address: id(number).address, life: Life(1) };
    Input::Probed { target, finding, host: HostEvidence::Unknown }
}

/// The other seed forwards a report about a member; returns what it is asked to vote on.
fn report(seed: &mut Seed, now: Instant, number: u64) -> DeathProposal {
    let report = DeathReport {
        dead: id(number),
        suspected: None,
        timestamp: Timestamp::default(),
        cause: Cause::PingsMissed,
        votes: Vec::new(),
        undecided: true,
    };
    let forwarded = ForwardedRequest::Report { report, reporter: id(0) };
    let message = MeshMessage::Request { number, forwarded };
    let effects = seed.step(now, Input::Mesh { from: SeedId(1), message });
    let proposal = effects.into_iter().find_map(|effect| match effect {
        Effect::ToSeed { message: MeshMessage::DeathProposal(proposal), .. } => Some(proposal),
        _ => None,
    });
    proposal.unwrap()
}

/// Two members seem dead and come back. The leader has voted by what it had found first, the other seed votes late:
/// both deaths are carried, by evidence that is too old. Asked again, the leader finds both alive at once.
#[test]
fn a_stale_death_that_another_one_has_settled_meanwhile_is_not_held_again() {
    let mut seed = leader();
    for number in [1, 2] {
        seed.step(at(0), hint(number));
    }
    for number in [1, 2] {
        seed.step(at(100), probed(number, Finding::Refused));
    }
    let proposals = [1, 2].map(|number| report(&mut seed, at(400), number));
    for number in [1, 2] {
        seed.step(at(1_000), hint(number));
    }
    for number in [1, 2] {
        seed.step(at(1_700), probed(number, Finding::Alive));
    }
    for (ms, DeathProposal { ballot, dead, .. }) in [2_150, 2_155].into_iter().zip(proposals) {
        let vote = vote(1, ballot, &Subject::Death(dead), Finding::Refused);
        let reply = VoteReply { vote, refusal: None, age_ms: 0 };
        seed.step(at(ms), Input::Mesh { from: SeedId(1), message: MeshMessage::Vote(reply) });
    }
    let counted = ["ballots_held_again", "ballots_lost"].map(|name| seed.counters().get(name).copied());
    assert_eq!(counted, [Some(2), Some(2)]);
}

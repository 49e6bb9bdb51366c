//! What is too much for a peer is refused or counted, and nothing else suffers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::sync::Arc;

use bytes::Bytes;
use coterie_common::limits::{
    CONTENT_BYTES_MAX, HELD_BYTES_MAX, HELD_MAX, LINKS_MAX, PROBES_MAX, SUSPICIONS_MAX, VIA_BYTES_MAX,
};
use coterie_common::message::{
    Cause, CloseReason, ClusterId, LinkMessage, Registration, Roster, Rumor, RumorId, SessionMessage,
};
use coterie_common::{
    Address, Epoch, Finding, HostEvidence, Incarnation, Instant, Life, Member, MemberId, Message, Tags, Wire,
};
use coterie_peer::core::{Config, ConnectionId, Effect, Input, Peer, SeedSlot};

/// Jurors of one suspect that one probe answers.
const ASKERS: usize = 64;

fn id(number: usize) -> MemberId {
    let [_, _, middle, low] = (number as u32).to_be_bytes();
    let address = Address::new([10, 0, middle, low].into(), 7_000);
    MemberId { address, incarnation: Incarnation(number as u64 + 1) }
}

/// Number 0, a member among so many that speak JSON.
fn member_among(count: usize) -> Peer {
    let config = Config { seeds: vec!["seed".to_owned()], max_neighbours: 1, ..Config::default() };
    let mut peer = Peer::new(id(0).address, config, [7; 32]);
    let seed = SeedSlot(0);
    peer.step(Instant::START, Input::Start);
    peer.step(Instant::START, Input::SessionUp { seed });
    let greeting = Message::Session(SessionMessage::Cluster(Some(ClusterId([1; 16]))));
    peer.step(Instant::START, Input::Session { seed, message: greeting });
    let member = |number| Member {
        id: id(number),
        life: if number == 0 { peer.life() } else { Life::NONE },
        wire: if number == 0 { Wire::Native } else { Wire::Json },
        tags: Tags::new(),
    };
    let members = (0..=count).map(|number| (Arc::new(member(number)), 0)).collect();
    let roster = Roster { epoch: Epoch(count as u64 + 1), members };
    let admitted = Registration::Admitted { incarnation: id(0).incarnation, roster };
    let message = Message::Session(SessionMessage::Registered(admitted));
    peer.step(Instant::START, Input::Session { seed, message });
    assert_eq!(peer.view().len(), count + 1);
    peer
}

fn hello(peer: &mut Peer, number: usize) -> Vec<Effect> {
    let MemberId { address, .. } = id(number);
    let hello = LinkMessage::Hello {
        address,
        life: Life::NONE,
        incarnation: Incarnation::NONE,
        mending: false,
        cluster: None,
    };
    let connection = ConnectionId(number as u64);
    peer.step(Instant::START, Input::Frame { connection, wire: Wire::Json, message: Message::Link(hello) })
}

#[test]
fn one_link_too_many_is_closed_and_the_others_stay() {
    let mut peer = member_among(LINKS_MAX + 1);
    (1..=LINKS_MAX).for_each(|number| drop(hello(&mut peer, number)));
    assert_eq!(peer.neighbours().len(), LINKS_MAX);
    let effects = hello(&mut peer, LINKS_MAX + 1);
    let to = ConnectionId(LINKS_MAX as u64 + 1);
    assert!(
        effects.contains(&Effect::Send { to, message: Message::Close(CloseReason::Full) }),
        "{effects:?}"
    );
    assert_eq!(peer.neighbours().len(), LINKS_MAX);
}

/// A dial that is to mend the overlay goes over the neighbours that a peer wants, and not over the links that it can
/// hold: it was linked once more than the limit says.
#[test]
fn a_dial_that_mends_the_overlay_is_one_link_too_many_too() {
    let mut peer = member_among(LINKS_MAX + 1);
    (1..=LINKS_MAX).for_each(|number| drop(hello(&mut peer, number)));
    let address = id(LINKS_MAX + 1).address;
    let order = Message::Session(SessionMessage::Dial(address));
    let effects = peer.step(Instant::START, Input::Session { seed: SeedSlot(0), message: order });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Dial { .. })), "{effects:?}");
    let connection = ConnectionId(LINKS_MAX as u64 + 1);
    let effects = peer.step(Instant::START, Input::Dialled { address, connection });
    let full = Effect::Send { to: connection, message: Message::Close(CloseReason::Full) };
    assert!(effects.contains(&full), "{effects:?}");
    assert_eq!(peer.neighbours().len(), LINKS_MAX);
    peer.verify();
}

/// The core does not rely on its shell to hear nothing after the end.
#[test]
fn an_admission_that_comes_after_the_end_makes_no_member() {
    let config = Config { seeds: vec!["seed".to_owned()], ..Config::default() };
    let mut peer = Peer::new(id(0).address, config, [7; 32]);
    let seed = SeedSlot(0);
    for input in [Input::Start, Input::SessionUp { seed }, Input::Stop] {
        peer.step(Instant::START, input);
    }
    let admitted = Registration::Admitted { incarnation: id(0).incarnation, roster: Roster::default() };
    let message = Message::Session(SessionMessage::Registered(admitted));
    peer.step(Instant::START, Input::Session { seed, message });
    peer.verify();
    assert!(peer.view().is_empty());
}

#[test]
fn suspicions_beyond_the_limit_are_left_to_the_seeds_and_counted() {
    let mut peer = member_among(SUSPICIONS_MAX.get() + 10);
    for number in 1..=SUSPICIONS_MAX.get() + 10 {
        hello(&mut peer, number);
        peer.step(Instant::START, Input::Ended { connection: ConnectionId(number as u64) });
    }
    assert_eq!(peer.counters().get("suspicions_over_limit"), Some(&10));
}

#[test]
fn one_probe_answers_so_many_askers_and_no_more() {
    let mut peer = member_among(3);
    for number in 0..ASKERS + 1 {
        let request = LinkMessage::SuspectRequest {
            suspect: id(2),
            cause: Cause::Asked,
            requester: id(3).address,
            cluster: None,
        };
        let connection = ConnectionId(1_000 + number as u64);
        let message = Message::Link(request);
        peer.step(Instant::START, Input::Frame { connection, wire: Wire::Native, message });
    }
    let (finding, host) = (Finding::Refused, HostEvidence::Unknown);
    let effects = peer.step(Instant::START, Input::Probed { target: id(2), finding, host });
    let is_answer = |e: &&Effect| {
        matches!(
            e,
            Effect::Send { message: Message::Link(LinkMessage::SuspectResponse { alive: false, .. }), .. }
        )
    };
    assert_eq!(effects.iter().filter(is_answer).count(), ASKERS);
    assert_eq!(peer.counters().get("suspect_requests_over_limit"), Some(&1));
}

fn gossip(peer: &mut Peer, connection: u64, content: Bytes) -> Vec<Effect> {
    let rumor = Rumor {
        id: RumorId::of_content(&content),
        origin: id(connection as usize).address,
        incarnation: Incarnation::NONE,
        sequence: 0,
        via: None,
        content,
    };
    let (connection, wire) = (ConnectionId(connection), Wire::Json);
    let message = Message::Link(LinkMessage::Gossip(rumor));
    peer.step(Instant::START, Input::Frame { connection, wire, message })
}

#[test]
fn a_message_that_is_too_long_is_neither_said_nor_passed_on() {
    let mut peer = member_among(3);
    hello(&mut peer, 1);
    hello(&mut peer, 2);
    let long = Bytes::from(vec![b'x'; CONTENT_BYTES_MAX + 1]);
    let effects = peer.step(Instant::START, Input::Broadcast(long.clone()));
    let expected = format!("message of {} bytes, at most {CONTENT_BYTES_MAX} can be said", long.len());
    assert_eq!(effects, [Effect::Warn(expected)]);
    assert_eq!(gossip(&mut peer, 1, long.clone()), []);
    assert_eq!(peer.counters().get("gossip_unsound"), Some(&1));
    let effects = gossip(&mut peer, 1, long.slice(1..));
    assert!(effects.iter().any(|e| matches!(e, Effect::SendMany { .. })), "the longest is passed on");
}

#[test]
fn a_greeter_that_waits_is_listened_to_within_limits() {
    let mut peer = member_among(3);
    hello(&mut peer, 100);
    for number in 0..=HELD_MAX.get() {
        assert_eq!(gossip(&mut peer, 100, Bytes::from(format!("word {number}"))), []);
    }
    assert_eq!(peer.counters().get("gossip_held_over_limit"), Some(&1), "one too many");
    hello(&mut peer, 101);
    let long = Bytes::from(vec![b'x'; CONTENT_BYTES_MAX]);
    (0..=HELD_BYTES_MAX.get() / CONTENT_BYTES_MAX).for_each(|_| drop(gossip(&mut peer, 101, long.clone())));
    assert_eq!(peer.counters().get("gossip_held_over_limit"), Some(&3), "too long, all together");
}

#[test]
fn a_name_that_is_too_long_counts_like_a_message_that_is() {
    let mut peer = member_among(3);
    hello(&mut peer, 1);
    hello(&mut peer, 100);
    let content = Bytes::from_static(b"short");
    let rumor = Rumor {
        id: RumorId::of_content(&content),
        origin: id(1).address,
        incarnation: Incarnation::NONE,
        sequence: 0,
        via: Some("x".repeat(VIA_BYTES_MAX + 1)),
        content,
    };
    for (connection, counter) in [(1, "gossip_unsound"), (100, "gossip_held_over_limit")] {
        let message = Message::Link(LinkMessage::Gossip(rumor.clone()));
        let connection = ConnectionId(connection);
        peer.step(Instant::START, Input::Frame { connection, wire: Wire::Native, message });
        assert_eq!(peer.counters().get(counter), Some(&1), "{counter}");
    }
    let say = SessionMessage::Say { content: rumor.content, via: rumor.via.unwrap_or_default() };
    let seed = SeedSlot(0);
    assert_eq!(peer.step(Instant::START, Input::Session { seed, message: Message::Session(say) }), []);
    assert_eq!(peer.counters().get("messages_unfit"), Some(&1));
}

#[test]
fn a_peer_judges_so_many_suspects_at_once_and_no_more() {
    let mut peer = member_among(PROBES_MAX.get() + 1);
    let mut probes = 0;
    for number in 1..=PROBES_MAX.get() + 1 {
        let request = LinkMessage::SuspectRequest {
            suspect: id(number),
            cause: Cause::Asked,
            requester: id(1).address,
            cluster: None,
        };
        let message = Message::Link(request);
        let connection = ConnectionId(1_000);
        let effects = peer.step(Instant::START, Input::Frame { connection, wire: Wire::Native, message });
        probes += effects.iter().filter(|e| matches!(e, Effect::Probe { .. })).count();
    }
    assert_eq!(probes, PROBES_MAX.get());
    assert_eq!(peer.counters().get("probes_over_limit"), Some(&1));
    assert_eq!(peer.counters().get("votes_undecided"), Some(&1), "who asked is told, and asks another");
}

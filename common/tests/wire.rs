//! What is said is what is heard, whole or not at all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::sync::Arc;

use bytes::Bytes;
use coterie_common::codec::{CodecError, Decoded, VERSION, decode, encode};
use coterie_common::message::{
    Cause, CloseReason, ClusterId, DeathReport, JurorVote, LinkMessage, Registration, Roster, Rumor, RumorId,
    SessionMessage,
};
use coterie_common::{
    Address, Change, Ended, Ending, Epoch, Event, Incarnation, Life, Member, MemberId, Message, Refusal,
    Tags, Timestamp, Why, Wire,
};
use proptest::prelude::*;

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| Address::new(ip.into(), port)),
        (any::<[u8; 16]>(), any::<u16>()).prop_map(|(ip, port)| Address::new(ip.into(), port)),
    ]
}

fn member_id() -> impl Strategy<Value = MemberId> {
    (address(), any::<u64>()).prop_map(|(address, i)| MemberId { address, incarnation: Incarnation(i) })
}

fn member() -> impl Strategy<Value = Arc<Member>> {
    let tags = prop::collection::btree_map("[a-z]{0,8}", ".{0,8}", 0..3);
    (member_id(), any::<u64>(), any::<bool>(), tags).prop_map(|(id, life, json, tags)| {
        let wire = if json { Wire::Json } else { Wire::Native };
        Arc::new(Member { id, life: Life(life), wire, tags })
    })
}

fn rumor() -> impl Strategy<Value = Rumor> {
    let content = prop::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    (address(), any::<u64>(), 1_u64.., content).prop_map(|(origin, i, sequence, content)| {
        let incarnation = Incarnation(i);
        let id = RumorId::of(origin, incarnation, sequence, &content);
        Rumor { id, origin, incarnation, sequence, via: None, content }
    })
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::ConnectionLost),
        Just(Cause::PingsMissed),
        Just(Cause::ConnectRefused),
        Just(Cause::Asked),
        Just(Cause::Absent),
        Just(Cause::Deaf)
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let event = prop_oneof![
        member().prop_map(Event::Joined),
        (member_id(), member()).prop_map(|(old, new)| Event::Replaced { old, new }),
        member_id().prop_map(Event::Left),
        member_id().prop_map(Event::Died),
    ];
    (any::<u64>(), event).prop_map(|(epoch, event)| Change { epoch: Epoch(epoch), event })
}

fn report() -> impl Strategy<Value = DeathReport> {
    let vote = (member_id(), any::<bool>()).prop_map(|(juror, dead)| JurorVote { juror, dead });
    (member_id(), any::<u64>(), cause(), prop::collection::vec(vote, 0..7), any::<bool>()).prop_map(
        |(dead, at, cause, votes, undecided)| DeathReport {
            dead,
            suspected: undecided.then(|| Timestamp::from_micros(at / 2)),
            timestamp: Timestamp::from_micros(at),
            cause,
            votes,
            undecided,
        },
    )
}

fn roster() -> impl Strategy<Value = Roster> {
    (any::<u64>(), prop::collection::vec((member(), any::<u32>()), 0..4))
        .prop_map(|(epoch, members)| Roster { epoch: Epoch(epoch), members })
}

fn cluster() -> impl Strategy<Value = Option<ClusterId>> {
    any::<Option<[u8; 16]>>().prop_map(|bytes| bytes.map(ClusterId))
}

fn message() -> impl Strategy<Value = Message> {
    let ended =
        (member_id(), any::<u64>()).prop_map(|(id, e)| Ended { id, epoch: Epoch(e), how: Ending::Replaced });
    prop_oneof![
        any::<u64>().prop_map(|nonce| Message::Ping { nonce }),
        (any::<u64>(), address(), any::<Option<u64>>(), any::<Option<u64>>(), any::<bool>()).prop_map(
            |(nonce, address, life, incarnation, ready)| Message::Pong {
                nonce,
                address,
                life: life.map(Life),
                incarnation: incarnation.map(Incarnation),
                ready,
            }
        ),
        any::<u64>().prop_map(|epoch| Message::Close(CloseReason::Ended(Epoch(epoch)))),
        rumor().prop_map(|rumor| Message::Link(LinkMessage::Gossip(rumor))),
        (member_id(), cause(), address(), cluster()).prop_map(|(suspect, cause, requester, cluster)| {
            Message::Link(LinkMessage::SuspectRequest { suspect, cause, requester, cluster })
        }),
        (address(), any::<u64>(), any::<bool>(), cluster()).prop_map(
            |(address, number, mending, cluster)| {
                let (life, incarnation) = (Life(number), Incarnation(number / 2));
                Message::Link(LinkMessage::Hello { address, life, incarnation, mending, cluster })
            }
        ),
        cluster().prop_map(|cluster| Message::Session(SessionMessage::Cluster(cluster))),
        (any::<u64>(), any::<u64>(), prop::collection::vec(change(), 0..4)).prop_map(
            |(previous, epoch, changes)| {
                let (previous, epoch) = (Epoch(previous), Epoch(epoch));
                Message::Session(SessionMessage::Changes { previous, epoch, changes })
            }
        ),
        (any::<u64>(), roster()).prop_map(|(i, roster)| {
            let admitted = Registration::Admitted { incarnation: Incarnation(i), roster };
            Message::Session(SessionMessage::Registered(admitted))
        }),
        (roster(), prop::collection::vec(ended, 0..4))
            .prop_map(|(roster, ended)| Message::Session(SessionMessage::Whole { roster, ended })),
        ".{0,20}".prop_map(|detail| {
            let refusal = Refusal::new(Why::Limit, detail);
            Message::Session(SessionMessage::Registered(Registration::Refused(refusal)))
        }),
        report().prop_map(|report| Message::Session(SessionMessage::Report(report))),
    ]
}

fn me() -> Address {
    "127.0.0.1:6001".parse().unwrap()
}

/// The payload of the one frame that says `message`.
fn payload(message: &Message, wire: Wire) -> Bytes {
    let frame = encode(message, wire, me());
    assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    frame.slice(4..)
}

proptest! {
    #[test]
    fn what_our_nodes_say_is_what_they_hear(message in message()) {
        let heard = decode(&payload(&message, Wire::Native)).unwrap();
        prop_assert_eq!(heard, Decoded { wire: Wire::Native, message: Some(message) });
    }

    #[test]
    fn a_message_cut_at_any_byte_is_an_error_and_never_another_message(message in message()) {
        let whole = payload(&message, Wire::Native);
        for cut in 0..whole.len() {
            prop_assert!(decode(&whole[..cut]).is_err(), "cut at {} of {}", cut, whole.len());
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        prop_assert!(decode(&longer).is_err(), "one byte too many");
    }

    #[test]
    fn no_payload_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&[&[VERSION][..], &bytes].concat());
        let _ = decode(&[&b"{\"type\":\"GOSSIP\","[..], &bytes].concat());
    }

    #[test]
    fn gossip_of_text_survives_json(rumor in rumor(), text in ".{0,40}") {
        let content = Bytes::from(text);
        let id = RumorId::of(rumor.origin, rumor.incarnation, rumor.sequence, &content);
        let said = Message::Link(LinkMessage::Gossip(Rumor { id, content, ..rumor }));
        let heard = decode(&payload(&said, Wire::Json)).unwrap();
        prop_assert_eq!(heard, Decoded { wire: Wire::Json, message: Some(said) });
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    assert!(matches!(decode(&[9, 1, 2]), Err(CodecError::Version(9))));
    assert!(matches!(decode(&[]), Err(CodecError::Empty)));
}

#[test]
fn unknown_types_and_fields_are_passed_over_and_wrong_types_are_not() {
    let message = |text: &str| decode(text.as_bytes()).map(|heard| heard.message);
    assert_eq!(message(r#"{"type":"DANCE","how":"wildly"}"#).unwrap(), None);
    assert_eq!(
        message(r#"{"type":"PING","from_ip":"127.0.0.1","from_port":1,"mood":"good"}"#).unwrap(),
        Some(Message::Ping { nonce: 0 })
    );
    assert!(message(r#"{"type":"HELLO","ip":"127.0.0.1","port":"six"}"#).is_err());
    assert!(message(r#"{"type":"HELLO","ip":"nowhere","port":6}"#).is_err());
    assert!(message(&format!("{{\"type\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000))).is_err());
}

#[test]
fn a_gossip_message_with_a_wrong_hash_is_no_message() {
    let gossip = |hash: &str| {
        let text = format!(
            r#"{{"type":"GOSSIP","content":"hi","hash":"{hash}","origin_ip":"127.0.0.1","origin_port":1}}"#
        );
        decode(text.as_bytes()).map(|heard| heard.message)
    };
    let right = RumorId::of_content(b"hi").to_string();
    assert!(
        matches!(gossip(&right), Ok(Some(Message::Link(LinkMessage::Gossip(rumor)))) if rumor.is_sound())
    );
    assert!(gossip(&"0".repeat(64)).is_err());
}

#[test]
fn deaths_are_the_only_changes_that_json_tells() {
    let id = MemberId { address: me(), incarnation: Incarnation(4) };
    let member = Arc::new(Member { id, life: Life(1), wire: Wire::Native, tags: Tags::new() });
    let change = |event| Change { epoch: Epoch(5), event };
    let changes = vec![change(Event::Left(id)), change(Event::Died(id)), change(Event::Joined(member))];
    let message = SessionMessage::Changes { previous: Epoch(4), epoch: Epoch(5), changes };
    let said = payload(&Message::Session(message), Wire::Json);
    let expected = br#"{"type":"DEAD_CONFIRMED","dead_ip":"127.0.0.1","dead_port":6001}"#;
    assert_eq!(&said[..], &expected[..]);
}

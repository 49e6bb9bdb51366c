//! As many members as a cluster may have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::net::Ipv6Addr;
use std::sync::Arc;

use coterie_common::codec::{decode, encode};
use coterie_common::limits::{
    ALL_TAGS_BYTES_MAX, ENDED_KEPT, FRAME_BYTES_MAX, JSON_PEER_LIST_MAX, MEMBERS_MAX, TAG_BYTES_MAX,
};
use coterie_common::message::{Roster, SessionMessage};
use coterie_common::{
    Address, Ended, Ending, Epoch, Incarnation, Life, Member, MemberId, Message, Tags, Wire, tag_bytes,
};

/// What takes most bytes: addresses of IPv6, and numbers that are no small ones.
fn id(number: usize) -> MemberId {
    let number = number as u64;
    let address = Address::new(Ipv6Addr::from(u128::MAX - u128::from(number)).into(), 60_000);
    MemberId { address, incarnation: Incarnation(u64::MAX - number) }
}

/// So many members, with as many tags as all may have together.
fn roster(members: usize) -> Roster {
    let mut room = ALL_TAGS_BYTES_MAX;
    let mut member = |number: usize| {
        let tag = Tags::from([("t".to_owned(), "x".repeat(TAG_BYTES_MAX - 3))]);
        let tags = if room >= tag_bytes(&tag) { tag } else { Tags::new() };
        room -= tag_bytes(&tags);
        let member = Member { id: id(number), life: Life(u64::MAX), wire: Wire::Native, tags };
        (Arc::new(member), u32::MAX)
    };
    Roster { epoch: Epoch(u64::MAX), members: (0..members).map(&mut member).collect() }
}

#[test]
fn the_largest_view_fits_a_frame_and_is_the_same_at_the_other_end() {
    let ended = |number: usize| Ended { id: id(number), epoch: Epoch(u64::MAX), how: Ending::Died };
    let ended = (MEMBERS_MAX..MEMBERS_MAX + ENDED_KEPT).map(ended).collect();
    let whole = Message::Session(SessionMessage::Whole { roster: roster(MEMBERS_MAX), ended });
    let frames = encode(&whole, Wire::Native, id(0).address);
    assert!(frames.len() <= FRAME_BYTES_MAX, "{} bytes, {FRAME_BYTES_MAX} are a frame", frames.len());
    // Not printed where it differs: it has two million bytes.
    assert!(decode(&frames[4..]).unwrap().message == Some(whole));
}

#[test]
fn the_longest_list_for_a_program_of_another_language_fits_a_frame() {
    let list = Message::Session(SessionMessage::List(roster(JSON_PEER_LIST_MAX)));
    let frames = encode(&list, Wire::Json, id(0).address);
    assert!(frames.len() <= FRAME_BYTES_MAX, "{} bytes, {FRAME_BYTES_MAX} are a frame", frames.len());
    let text = std::str::from_utf8(&frames[4..]).unwrap();
    assert_eq!(text.matches("\"degree\"").count(), JSON_PEER_LIST_MAX);
}

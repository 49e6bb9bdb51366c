//! A peer's core, told anything by anybody: it never panics, never spins, and keeps to its limits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::codec::{decode, from_bytes};
use coterie_common::limits::{LINKS_MAX, SUSPICIONS_MAX};
use coterie_common::message::{ClusterId, Registration, Roster, SessionMessage};
use coterie_common::{
    Address, Epoch, Finding, HostEvidence, Incarnation, Instant, Life, Member, MemberId, Message, Tags, Wire,
};
use coterie_peer::core::{Config, ConnectionId, DialFailure, Effect, Input, Peer, SeedSlot};

use crate::stream::Stream;

/// Wakes in a row without time passing that make a spin.
const SPIN: usize = 100;

fn address(number: u64) -> Address {
    Address::new([10, 0, 0, number as u8].into(), 7_000)
}

fn id(number: u64) -> MemberId {
    MemberId { address: address(number), incarnation: Incarnation(number + 1) }
}

/// Number 0, a member among seven.
fn member() -> Peer {
    let seeds = vec!["10.1.0.1:1".to_owned(), "10.1.0.2:1".to_owned(), "10.1.0.3:1".to_owned()];
    let mut peer = Peer::new(address(0), Config { seeds, ..Config::default() }, [7; 32]);
    let opened = peer.step(Instant::START, Input::Start);
    for effect in opened {
        if let Effect::OpenSession { seed, .. } = effect {
            peer.step(Instant::START, Input::SessionUp { seed });
            let greeting = Message::Session(SessionMessage::Cluster(Some(ClusterId([1; 16]))));
            peer.step(Instant::START, Input::Session { seed, message: greeting });
        }
    }
    let member = |number: u64| Member {
        id: id(number),
        life: if number == 0 { peer.life() } else { Life(number) },
        wire: if number == 6 { Wire::Json } else { Wire::Native },
        tags: Tags::new(),
    };
    let roster =
        Roster { epoch: Epoch(7), members: (0..7).map(|number| (Arc::new(member(number)), 0)).collect() };
    let admitted = Registration::Admitted { incarnation: id(0).incarnation, roster };
    for seed in (0..3).map(SeedSlot) {
        let message = Message::Session(SessionMessage::Registered(admitted.clone()));
        peer.step(Instant::START, Input::Session { seed, message });
    }
    peer
}

/// Anything that a node could say, and much that none would.
fn message(stream: &mut Stream<'_>) -> Option<Message> {
    let piece = stream.piece();
    from_bytes::<Message>(piece).ok().or_else(|| decode(piece).ok().and_then(|decoded| decoded.message))
}

/// Connections are numbered as a shell numbers them: each once, and what was dialled has a number of its own.
#[derive(Default)]
struct Connections {
    last: u64,
}

impl Connections {
    fn new_one(&mut self) -> ConnectionId {
        self.last += 1;
        ConnectionId(self.last)
    }

    /// One that was seen before, or one that was not.
    fn any(&mut self, stream: &mut Stream<'_>) -> ConnectionId {
        match stream.below(12) {
            0 => self.new_one(),
            back => ConnectionId(self.last.saturating_sub(back - 1).max(1)),
        }
    }
}

fn input(stream: &mut Stream<'_>, connections: &mut Connections) -> Option<Input> {
    let connection = connections.any(stream);
    let seed = SeedSlot(stream.below(3) as usize);
    let someone = id(stream.below(8));
    Some(match stream.below(12) {
        0 => Input::Wake,
        1 => Input::Dialled { address: someone.address, connection: connections.new_one() },
        2 => Input::DialFailed { address: someone.address, failure: DialFailure::Refused },
        3 => Input::DialFailed { address: someone.address, failure: DialFailure::Other },
        4 => Input::Frame { connection, wire: Wire::Native, message: message(stream)? },
        5 => Input::Frame { connection, wire: Wire::Json, message: message(stream)? },
        6 => Input::Ended { connection },
        7 => Input::Session { seed, message: message(stream)? },
        8 => Input::SessionDown { seed, why: "is gone".to_owned() },
        9 => {
            let findings = [Finding::Alive, Finding::Refused, Finding::Silent, Finding::CannotProbe];
            let finding = findings[stream.below(4) as usize];
            Input::Probed { target: someone, finding, host: HostEvidence::Unknown }
        }
        10 => Input::Broadcast(Bytes::copy_from_slice(stream.piece())),
        _ => Input::Console(String::from_utf8_lossy(stream.piece()).into_owned()),
    })
}

pub(crate) fn target(bytes: &[u8]) {
    let mut stream = Stream::new(bytes);
    let mut peer = member();
    let mut connections = Connections::default();
    let mut now = Instant::START + Duration::from_secs(1);
    while !stream.is_over() {
        now = now + Duration::from_millis(u64::from(stream.byte()) * 8);
        if let Some(input) = input(&mut stream, &mut connections) {
            let effects = peer.step(now, input);
            peer.verify();
            if effects.iter().any(|effect| matches!(effect, Effect::Exit(_))) {
                return;
            }
        }
        let mut wakes = 0;
        while peer.next_deadline() <= now {
            peer.step(now, Input::Wake);
            wakes += 1;
            assert!(wakes < SPIN, "a deadline that is over, again and again");
        }
        assert!(peer.neighbours().len() <= LINKS_MAX && peer.suspicions().len() <= SUSPICIONS_MAX.get());
    }
}

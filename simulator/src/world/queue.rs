//! What is going to happen, and when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;

use coterie_common::message::SeedId;
use coterie_common::{Address, Finding, Instant, MemberId, ProbeOrder};
use coterie_peer::core::{Input as PeerInput, SeedSlot};
use coterie_seed::core::{Entry, Input as SeedInput};

use crate::model::host::{Host, Start};
use crate::model::replicated_log::LogSlot;
use crate::model::tcp::Packet;
use crate::plan::fault::Fault;
use crate::plan::trigger::Trigger;

/// What is going to happen.
#[derive(Debug)]
pub(super) enum Happening {
    Wake(Host),
    /// The next node that waits at that machine gets a core, in a world in which work has a price.
    Turn(usize),
    /// A node has taken a step.
    StepEnds(Host, u64),
    TriggerEnds(Trigger),
    /// What it has left waiting may be done by now; if not by then, that is long enough.
    TriggerSpent {
        at_last: Instant,
    },
    /// By now everybody must be at rest.
    CalmDue,
    Peer(usize, u64, PeerInput),
    Seed(usize, u64, Box<SeedInput>),
    Packet {
        connection: u64,
        side: usize,
        packet: Packet,
    },
    GiveUp {
        connection: u64,
        side: usize,
        since: Instant,
    },
    Dial {
        from: usize,
        start: u64,
        address: Address,
    },
    OpenSession {
        from: usize,
        start: u64,
        slot: SeedSlot,
        address: Address,
    },
    OpenMesh {
        from: usize,
        start: u64,
        to: usize,
    },
    ProbeArrives {
        from: Start,
        target: Option<MemberId>,
        order: ProbeOrder,
        until: Instant,
    },
    ProbeAnswered {
        from: Start,
        target: Option<MemberId>,
        order: ProbeOrder,
        until: Instant,
    },
    ProbeEnds {
        from: Start,
        target: Option<MemberId>,
        order: ProbeOrder,
        finding: Finding,
    },
    Written {
        seed: usize,
        start: u64,
        term: u64,
        len: usize,
    },
    Append {
        from: usize,
        to: usize,
        to_start: u64,
        term: u64,
        place: usize,
        entries: Vec<Rc<LogSlot>>,
        committed: usize,
    },
    Ack {
        from: SeedId,
        to: usize,
        to_start: u64,
        term: u64,
        written: usize,
    },
    NotTaken {
        seed: usize,
        start: u64,
        entry: Box<Entry>,
    },
    LogTick,
    Resume(Host),
    Fault(Fault),
}

/// Everything that is going to happen, soonest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BinaryHeap<Reverse<Queued>>,
    /// So many were ever put there.
    count: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        self.waiting.push(Reverse(Queued { at, number: self.count, happening }));
    }

    /// The next happening, if it is no later than `end`.
    pub(super) fn pop_until(&mut self, end: Instant) -> Option<(Instant, Happening)> {
        self.waiting.peek().filter(|Reverse(queued)| queued.at <= end)?;
        let Reverse(Queued { at, happening, .. }) = self.waiting.pop()?;
        Some((at, happening))
    }
}

/// A happening in the queue: ordered by time, then by the order in which it was put there.
#[derive(Debug)]
struct Queued {
    at: Instant,
    number: u64,
    happening: Happening,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

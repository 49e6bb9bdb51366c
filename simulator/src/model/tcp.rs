//! TCP as processes see it: ordered, reliable while it lasts, and each end with an opinion of its own.
//!
//! An end that is closed says so to the other, if the network lets it. A host that is off says nothing: the other end
//! stays open until it sends and is not acknowledged for as long as the kernel allows, or until the host is back and
//! answers that it knows of no such connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use coterie_common::message::SeedId;
use coterie_common::{Address, Instant, Message};
use coterie_peer::core::SeedSlot;

use super::host::Host;

/// How long the kernel keeps data that nobody acknowledges before it gives a connection up, as nodes ask it to.
pub(crate) const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// What the end that opened a connection wants with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// To be neighbours.
    Link,
    /// A session of a peer with a seed.
    Session(SeedSlot),
    /// One question to a juror.
    Question(Address),
    /// From one seed to another: its host, and the id that it is known by to the one that dials.
    Mesh(usize, SeedId),
}

/// What goes over a connection.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Message(Box<Message>),
    End,
}

/// One end: a process, and which of its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpEnd {
    pub(crate) host: Host,
    pub(crate) start: u64,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct TcpConnection {
    /// The end that opened it, and the one that accepted.
    pub(crate) ends: [TcpEnd; 2],
    pub(crate) purpose: Use,
    /// Whether each end has it open.
    open: [bool; 2],
    /// When the last packet towards each end arrives: none overtakes it.
    arrives: [Instant; 2],
    /// What each end has sent and a cut holds back.
    stalled: [VecDeque<Packet>; 2],
}

impl TcpConnection {
    /// Which of the two ends `host` is.
    pub(crate) fn side(&self, host: Host) -> usize {
        usize::from(self.ends[0].host != host)
    }

    pub(crate) fn is_open(&self, side: usize) -> bool {
        self.open[side]
    }

    /// A packet that would arrive at `at` at that end: when it does, after all that came before it.
    pub(crate) fn queue(&mut self, side: usize, at: Instant) -> Instant {
        self.arrives[side] = self.arrives[side].max(at);
        self.arrives[side]
    }

    /// Whether something that this end sent is held back.
    pub(crate) fn is_stalled(&self, side: usize) -> bool {
        !self.stalled[side].is_empty()
    }

    pub(crate) fn stall(&mut self, side: usize, packet: Packet) {
        self.stalled[side].push_back(packet);
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct TcpConnections {
    last: u64,
    all: BTreeMap<u64, TcpConnection>,
    of: BTreeMap<Host, BTreeSet<u64>>,
}

impl TcpConnections {
    pub(crate) fn open(&mut self, ends: [TcpEnd; 2], purpose: Use) -> u64 {
        self.last += 1;
        let connection = TcpConnection {
            ends,
            purpose,
            open: [true; 2],
            arrives: [Instant::START; 2],
            stalled: [VecDeque::new(), VecDeque::new()],
        };
        self.all.insert(self.last, connection);
        for end in ends {
            self.of.entry(end.host).or_default().insert(self.last);
        }
        self.last
    }

    pub(crate) fn get(&self, id: u64) -> Option<&TcpConnection> {
        self.all.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut TcpConnection> {
        self.all.get_mut(&id)
    }

    /// One end has it open no longer. When neither has, it is forgotten.
    pub(crate) fn close(&mut self, id: u64, side: usize) {
        let Some(connection) = self.all.get_mut(&id) else { return };
        connection.open[side] = false;
        connection.stalled[1 - side].clear();
        if connection.open == [false; 2] && connection.stalled[side].is_empty() {
            self.forget(id);
        }
    }

    /// One end has given it up: what it had to send is gone too.
    pub(crate) fn abandon(&mut self, id: u64, side: usize) {
        if let Some(connection) = self.all.get_mut(&id) {
            connection.stalled[side].clear();
        }
        self.close(id, side);
    }

    /// All of them, with the hosts at their ends.
    pub(crate) fn ends(&self) -> Vec<(u64, [Host; 2])> {
        self.all.iter().map(|(id, connection)| (*id, connection.ends.map(|end| end.host))).collect()
    }

    fn forget(&mut self, id: u64) {
        let Some(connection) = self.all.remove(&id) else { return };
        for end in connection.ends {
            if let Some(own) = self.of.get_mut(&end.host) {
                own.remove(&id);
            }
        }
    }

    /// The connections of a host.
    pub(crate) fn of(&self, host: Host) -> Vec<u64> {
        self.of.get(&host).map(|own| own.iter().copied().collect()).unwrap_or_default()
    }

    /// Everything that was held back, to be sent again in the same order.
    pub(crate) fn unstall(&mut self) -> Vec<(u64, usize, Packet)> {
        let mut released = Vec::new();
        for (id, connection) in &mut self.all {
            for side in 0..2 {
                released.extend(connection.stalled[side].drain(..).map(|packet| (*id, side, packet)));
            }
        }
        released
    }
}

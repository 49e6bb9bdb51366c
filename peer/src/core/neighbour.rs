//! A peer at the other end of a link.

use coterie_common::message::Rumor;
use coterie_common::{Instant, Life, MemberId, Wire};

use super::detector::Detector;
use super::effect::ConnectionId;
use super::rumors::LinkNumber;

/// A neighbour. A native one has one connection. A JSON program may have dialled us while we dialled it: both
/// are read, the newest is written to, and the link is lost when all have ended.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    /// Who it is.
    pub id: MemberId,
    /// Its life.
    pub life: Life,
    /// How it speaks.
    pub wire: Wire,
    /// The number of this link, for what has crossed it.
    pub number: LinkNumber,
    /// The connection to write to: the newest.
    pub connection: ConnectionId,
    /// Older ones, which only a JSON program has.
    pub older: Vec<ConnectionId>,
    /// Whether this peer dialled it.
    pub dialled_by_us: bool,
    /// Whether it still speaks.
    pub detector: Detector,
}

impl Neighbour {
    /// Another connection, which is written to from now on.
    pub(super) fn add(&mut self, connection: ConnectionId) {
        self.older.push(std::mem::replace(&mut self.connection, connection));
    }

    /// A connection has ended: whether there is another one, to which the link falls back.
    pub(super) fn has_other_than(&mut self, ended: ConnectionId) -> bool {
        self.older.retain(|older| *older != ended);
        if self.connection == ended {
            match self.older.pop() {
                Some(newest) => self.connection = newest,
                None => return false,
            }
        }
        true
    }

    /// All its connections.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionId> + use<> {
        self.older.clone().into_iter().chain([self.connection])
    }
}

/// What a connection is for, until it is a link's or ended.
#[derive(Clone, Debug)]
pub(super) enum Connection {
    /// Dialled, HELLO said then, the answer is awaited.
    Greeting(MemberId, Instant),
    /// HELLO heard from somebody who is not in the view yet.
    Waiting(Waiting),
    /// Belongs to a neighbour.
    Link(coterie_common::Address),
    /// A question came on it; the answer goes back on it.
    Question,
}

/// A greeter that the view does not tell of yet.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// What it says it is.
    pub hello: Greeter,
    /// When it is given up.
    pub until: Instant,
    /// What it has said meanwhile.
    pub held: Vec<Rumor>,
}

impl Connection {
    /// Bytes of what was said on it and waits to be heard.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Connection::Waiting(waiting) => waiting.held.iter().map(Rumor::bytes).sum(),
            Connection::Greeting(..) | Connection::Link(_) | Connection::Question => 0,
        }
    }
}

/// What a HELLO says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeter {
    /// Who.
    pub id: MemberId,
    /// Its life.
    pub life: Life,
    /// How it spoke.
    pub wire: Wire,
    /// Whether it was told to dial us by the seeds.
    pub mending: bool,
}

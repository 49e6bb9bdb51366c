//! A link with a neighbour, and what each connection is for.
//!
//! A connection is for one thing at a time, and what it is for decides what its frames and its end mean. Connections
//! of which nothing is known are in no list: a stranger costs no memory here until it speaks.

use coterie_common::message::{ClusterId, Rumor};
use coterie_common::{Address, Instant, Life, MemberId, Wire};

use crate::core::effect::ConnectionId;

/// One link of one pair, from its coming up to its going down: what has crossed it is remembered under its number, so a
/// link that was made anew is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkNumber(pub u64);

/// A link. A native neighbour has one connection. A JSON program may have dialled us while we dialled it: both are
/// read, the newest is written to, and the link is lost when all have ended.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// With whom.
    pub(crate) id: MemberId,
    /// The life that must answer on it. A PONG of another one is no answer to a probe.
    pub(crate) life: Life,
    /// How it speaks.
    pub(crate) wire: Wire,
    /// Which link of this peer it is.
    pub(crate) number: LinkNumber,
    /// The connection to write to: the newest.
    pub(crate) connection: ConnectionId,
    /// Older ones, which only a JSON program has.
    pub(super) older: Vec<ConnectionId>,
    /// Whether this peer dialled it. Of two connections, this and the addresses say which one both ends keep.
    pub(super) dialled_by_us: bool,
}

impl Link {
    /// Another connection, which is written to from now on. Only a JSON link has more than one.
    pub(super) fn add(&mut self, connection: ConnectionId) {
        let is_new = self.connections().all(|known| known != connection);
        assert!(is_new, "{connection:?} is a connection of the link with {} already", self.id);
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

    /// All its connections, the newest last.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionId> + use<> {
        self.older.clone().into_iter().chain([self.connection])
    }
}

/// What a connection is for, until it has ended.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// Dialled, HELLO said then, the answer is awaited.
    Greeting(MemberId, Instant),
    /// HELLO heard from somebody who is not in the view yet. It may be let in later.
    Held(HeldHello),
    /// Belongs to the link with that neighbour.
    Link(Address),
    /// A question came on it; the answer goes back on it. Nothing more is expected of who asked; a HELLO that follows
    /// is out of place.
    Question,
}

impl Purpose {
    /// Bytes of what was said on it and waits to be heard. Summed over all connections, it has a limit: strangers may
    /// not fill the memory.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Purpose::Held(held) => held.rumors.iter().map(Rumor::bytes).sum(),
            Purpose::Greeting(..) | Purpose::Link(_) | Purpose::Question => 0,
        }
    }
}

/// What a HELLO says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Who. A JSON program names no incarnation; the view supplies it.
    pub(crate) id: MemberId,
    /// Its life.
    pub(crate) life: Life,
    /// How it spoke.
    pub(crate) wire: Wire,
    /// Whether it was told to dial us by the seeds. Then the usual cap does not apply.
    pub(crate) is_repair: bool,
    /// Of which cluster it is; a JSON program does not say.
    pub(crate) cluster: Option<ClusterId>,
}

/// A HELLO from somebody of whom the view does not tell yet.
#[derive(Clone, Debug)]
pub(super) struct HeldHello {
    /// What it says it is.
    pub(super) hello: Hello,
    /// When it is given up.
    pub(super) until: Instant,
    /// What it has said meanwhile: it may talk on.
    pub(super) rumors: Vec<Rumor>,
}

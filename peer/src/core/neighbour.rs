//! A peer at the other end of a link.

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
    /// Its connections, the newest last.
    pub connections: Vec<ConnectionId>,
    /// Whether this peer dialled it.
    pub dialled_by_us: bool,
    /// Whether it still speaks.
    pub detector: Detector,
}

impl Neighbour {
    /// The connection to write to.
    pub(super) fn connection(&self) -> ConnectionId {
        *self.connections.last().unwrap_or(&ConnectionId(0))
    }
}

/// What a connection is for, until it is a link's or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// Dialled, HELLO said, the answer is awaited.
    Greeting(MemberId),
    /// HELLO heard from somebody who is not in the view yet.
    Waiting {
        /// What it says it is.
        hello: Greeter,
        /// When it is given up.
        until: Instant,
    },
    /// Belongs to a neighbour.
    Link(coterie_common::Address),
    /// A question came on it; the answer goes back on it.
    Question,
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

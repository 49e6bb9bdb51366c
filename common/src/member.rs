//! Who a member is: its address, its life, and the incarnation that admitted it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Address;

/// A number of its own that a peer has from its start, and another one after every rejoin: the hash of a
/// [`Secret`](crate::Secret) that it draws.
///
/// Two programs at one address, one after the other, differ in it. A JSON program has none and counts as
/// [`Life::NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life(pub u64);

impl Life {
    /// The life of a program that knows of no lives.
    pub const NONE: Life = Life(0);
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The index of the log entry that admitted a life: unique in the history of a cluster, rising.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// Nobody: what a registration replaces when its address is free.
    pub const NONE: Incarnation = Incarnation(0);
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a view: the index of the log entry that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a member speaks, learnt when it registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wire {
    /// The binary messages of this program.
    Native,
    /// The JSON conversation that programs in other languages speak.
    Json,
}

/// One incarnation at one address: what reports, votes and changes are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId {
    /// Where it listens.
    pub address: Address,
    /// Which of the lives there.
    pub incarnation: Incarnation,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.address, self.incarnation)
    }
}

/// Words that a member carries in the view, for its users.
pub type Tags = BTreeMap<String, String>;

/// What tags take, with two bytes for the lengths of each pair.
pub fn tag_bytes(tags: &Tags) -> usize {
    tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum()
}

/// A registered peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it listens and which life of that address it is.
    pub id: MemberId,
    /// The number it drew for this life.
    pub life: Life,
    /// How it speaks.
    pub wire: Wire,
    /// What its user attached to it.
    pub tags: Tags,
}

//! What a seed tells the leader and nobody writes down.

use serde::{Deserialize, Serialize};

use super::Links;
use crate::MemberId;

/// What a seed knows of sessions and links: true for a moment, and never logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftState {
    /// Whether this replaces all that was told before.
    pub whole: bool,
    /// Members whose session the sender holds now.
    pub held: Vec<MemberId>,
    /// Members whose session it no longer holds.
    pub lost: Vec<MemberId>,
    /// Links of members, where they changed.
    pub links: Vec<(MemberId, Links)>,
    /// The term in which the sender tells it.
    pub term: u64,
    /// What the sender can do about doubts, where that changed.
    pub means: Option<Means>,
}

/// What a seed can do about doubts at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// How many of the silent it can probe at a time.
    pub probes: u32,
    /// Whether most of its own sessions fell silent together lately.
    pub is_cut_off: bool,
}

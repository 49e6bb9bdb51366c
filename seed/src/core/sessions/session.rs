//! One session: who is at the other end, and up to which epoch it was told.

use coterie_common::message::ClusterId;
use coterie_common::{Epoch, Instant, MemberId, Wire};

use super::rate::Rate;

/// One session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// How the other end speaks.
    pub(super) wire: Wire,
    /// Of which cluster the other end is, once it said so; it may be of none yet.
    pub(super) cluster: Option<Option<ClusterId>>,
    /// The member at the other end, once it said or was told. Changed by `Sessions::bind` alone, which counts.
    pub(super) member: Option<MemberId>,
    /// The epoch up to which it was told; none while nothing is pushed to it. What is in flight counts as told: a
    /// session that fails in between begins anew.
    pub(super) told: Option<Epoch>,
    /// The index at which the voters changed that it was last told of.
    pub(super) seeds_told_at: u64,
    /// Whether a push is being written: what happens meanwhile goes into the next.
    pub(super) in_flight: bool,
    /// When the last frame came. Whatever it said: any frame is a sign of life.
    pub(super) heard: Instant,
    /// When a quiet JSON member was last looked after.
    pub(super) looked_after: Instant,
    /// Whether the last look after a quiet JSON member found nobody. Any frame ends that. Until then it counts as
    /// absent, which is a reason to ask the seeds.
    pub(super) seems_gone: bool,
    /// Registrations asked for on it.
    pub(super) registrations: Rate,
    /// Hints given on it.
    pub(super) hints: Rate,
    /// Reports, departures and linearizable reads asked for on it.
    pub(super) requests: Rate,
    /// Lists and whole views asked for on it.
    pub(super) views: Rate,
}

impl Session {
    /// A session of which the first frame came just now.
    pub(super) fn new(now: Instant, wire: Wire) -> Self {
        Session {
            wire,
            cluster: None,
            member: None,
            told: None,
            seeds_told_at: 0,
            in_flight: false,
            heard: now,
            looked_after: now,
            seems_gone: false,
            registrations: Rate::default(),
            hints: Rate::default(),
            requests: Rate::default(),
            views: Rate::default(),
        }
    }
}

//! A model of the replicated log: one order of entries, a leader who may change at the worst moment.
//!
//! openraft is proved elsewhere, on real sockets. Here only its promises are modelled: an entry is committed when
//! the proposer still leads and a majority can be reached; when the leader is lost in between, the entry may be
//! committed or lost, and nobody is told which; every seed sees the same entries in the same order, at its own pace.

use std::collections::BTreeSet;

use coterie_common::message::SeedId;
use coterie_seed::core::{Commit, Entry, Payload};

/// The log and its leader.
#[derive(Debug)]
pub(crate) struct ModelLog {
    pub entries: Vec<Commit>,
    pub leader: Option<SeedId>,
    pub term: u64,
}

impl ModelLog {
    /// A log whose first entry is the set of voters, as openraft's is.
    pub(crate) fn new(seeds: usize) -> Self {
        let set: BTreeSet<SeedId> = (0..seeds as u64).map(SeedId).collect();
        let first = Commit { index: 0, payload: Payload::Seeds(vec![set]) };
        ModelLog { entries: vec![first], leader: None, term: 0 }
    }

    /// Commits an entry.
    pub(crate) fn commit(&mut self, entry: Entry) {
        let index = self.entries.len() as u64;
        self.entries.push(Commit { index, payload: Payload::Entry(entry) });
    }

    /// A new term; its leader's first entry is blank.
    pub(crate) fn elect(&mut self, leader: SeedId) {
        self.term += 1;
        self.leader = Some(leader);
        let index = self.entries.len() as u64;
        self.entries.push(Commit { index, payload: Payload::Blank });
    }

    /// What comes after the first `from` entries.
    pub(crate) fn since(&self, from: usize) -> &[Commit] {
        &self.entries[from.min(self.entries.len())..]
    }
}

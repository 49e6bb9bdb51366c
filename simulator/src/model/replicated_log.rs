//! A model of the replicated log, one replica for each seed's disk.
//!
//! What Raft promises is modelled, not how it finds a leader: an election is held by the world, which lets nobody win
//! whose log lacks what a majority of the seeds has on disk. Everything else is there: an entry is committed when a
//! majority of the voters has written it; what a leader appended and nobody else has is truncated by the next, or
//! becomes the next one's log; a crash costs what was not yet written; a seed that lags behind gets a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use coterie_common::majority;
use coterie_common::message::{ClusterId, DirectoryState, History, LogPosition, SeedId};
use coterie_seed::core::directories::Acknowledged;
use coterie_seed::core::entry::Body;
use coterie_seed::core::formation::note_entry;
use coterie_seed::core::{Commit, Entry, Payload, Registry};

/// By so much the numbers of another cluster's directories are higher.
const OF_ANOTHER_CLUSTER: u64 = 1_000_000;

/// An entry in a log, and the term in which it was appended.
#[derive(Debug)]
pub(crate) struct LogSlot {
    pub(crate) term: u64,
    pub(crate) payload: Payload,
}

/// The log of one seed. The index of an entry is its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplicatedLog {
    /// The highest term it has heard of.
    pub(crate) term: u64,
    /// Who leads in that term, as far as it has heard.
    pub(crate) leader: Option<SeedId>,
    entries: Vec<Rc<LogSlot>>,
    /// So many are on disk.
    written: usize,
    /// So many are committed, as far as it knows.
    pub(crate) committed: usize,
    /// So many were handed to the core.
    pub(crate) applied: usize,
    /// A registry on disk, and how many entries made it.
    snapshot: Option<(usize, Registry)>,
    /// At the leader: how many of its entries each other seed has written.
    matched: BTreeMap<SeedId, usize>,
    history: Option<History>,
}

impl ReplicatedLog {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entries(&self) -> &[Rc<LogSlot>] {
        &self.entries
    }

    fn last_term(&self) -> u64 {
        self.entries.last().map_or(0, |slot| slot.term)
    }

    /// How new its log is on disk; by this, elections are decided.
    pub(crate) fn freshness(&self) -> (u64, usize) {
        let last = self.written.checked_sub(1).and_then(|last| self.entries.get(last));
        (last.map_or(0, |slot| slot.term), self.written)
    }

    /// Where the entry before that place stands.
    fn position(&self, len: usize) -> LogPosition {
        let last = len.checked_sub(1).and_then(|last| Some((last as u64, self.entries.get(last)?.term)));
        last.map_or_else(LogPosition::default, |(index, term)| LogPosition { term, index })
    }

    /// What is on disk, but for what the process adds to it.
    pub(crate) fn on_disk(&self) -> DirectoryState {
        DirectoryState {
            term: self.term,
            committed: self.position(self.committed.min(self.written)),
            last: self.position(self.written),
            ..DirectoryState::default()
        }
    }

    /// At the leader: what a seed has acknowledged.
    pub(crate) fn acknowledged_by(&self, seed: SeedId) -> Acknowledged {
        let matched = self.matched.get(&seed).copied().unwrap_or(0);
        let committed = self.position(matched.min(self.committed));
        Acknowledged { term: self.term, last: self.position(matched), committed }
    }

    /// Begins the log of a new cluster of these seeds, in no term yet. A log that has begun stays as it is: a seed that
    /// ended while its cluster formed is told to form once more.
    pub(crate) fn begin(&mut self, seeds: BTreeSet<SeedId>) {
        if self.entries.is_empty() {
            self.push(Rc::new(LogSlot { term: 0, payload: Payload::Seeds(vec![seeds]) }));
        }
        assert!(matches!(self.entries[0].payload, Payload::Seeds(_)), "a log begins with its seeds");
    }

    /// What the log tells of its cluster, applied or not.
    pub(crate) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    fn note(&mut self, payload: &Payload) {
        if let Payload::Entry(entry) = payload {
            note_entry(&mut self.history, self.entries.len() as u64, entry);
        }
    }

    fn push(&mut self, slot: Rc<LogSlot>) {
        self.note(&slot.payload);
        self.entries.push(slot);
    }

    fn truncate(&mut self, len: usize) {
        assert!(len >= self.committed, "a committed entry would be truncated");
        self.entries.truncate(len);
        self.written = self.written.min(len);
        self.history = None;
        for (index, slot) in self.entries.iter().enumerate() {
            if let Payload::Entry(entry) = &slot.payload {
                note_entry(&mut self.history, index as u64, entry);
            }
        }
    }

    /// The voters: the sets of the last entry that names them.
    pub(crate) fn voters(&self) -> Vec<BTreeSet<SeedId>> {
        let sets = |slot: &Rc<LogSlot>| match &slot.payload {
            Payload::Seeds(sets) => Some(sets.clone()),
            Payload::Entry(_) | Payload::Blank => None,
        };
        self.entries.iter().rev().find_map(sets).unwrap_or_default()
    }

    /// Whether the last entry that names them is committed.
    pub(crate) fn voters_committed(&self) -> bool {
        let names = |slot: &Rc<LogSlot>| matches!(slot.payload, Payload::Seeds(_));
        self.entries.iter().rposition(names).is_some_and(|place| place < self.committed)
    }

    // ---- leading ----

    pub(crate) fn leads(&self, me: SeedId) -> bool {
        self.leader == Some(me)
    }

    /// It has won an election; its first entry is blank.
    pub(crate) fn lead(&mut self, me: SeedId, term: u64) {
        (self.term, self.leader) = (term, Some(me));
        self.matched.clear();
        self.append(Payload::Blank);
    }

    /// The leader appends.
    pub(crate) fn append(&mut self, payload: Payload) {
        let slot = LogSlot { term: self.term, payload };
        self.push(Rc::new(slot));
    }

    /// Another seed has written so much.
    pub(crate) fn matched(&mut self, seed: SeedId, len: usize) {
        let known = self.matched.entry(seed).or_insert(0);
        *known = len.max(*known);
    }

    pub(crate) fn lags(&self, seed: SeedId) -> bool {
        self.matched.get(&seed).copied().unwrap_or(0) < self.entries.len()
    }

    /// At the leader: how far the log is committed by what it knows. Only an entry of its own term counts.
    pub(crate) fn majority_has(&self, me: SeedId) -> usize {
        let has = |seed: &SeedId| {
            if *seed == me { self.written } else { self.matched.get(seed).copied().unwrap_or(0) }
        };
        let in_set = |set: &BTreeSet<SeedId>| {
            let mut lens: Vec<usize> = set.iter().map(has).collect();
            lens.sort_unstable_by(|a, b| b.cmp(a));
            lens.get(majority(lens.len()) - 1).copied().unwrap_or(0)
        };
        let len = self.voters().iter().map(in_set).min().unwrap_or(0);
        let own_term = len > 0 && self.entries.get(len - 1).is_some_and(|slot| slot.term == self.term);
        if own_term { len.max(self.committed) } else { self.committed }
    }

    // ---- following ----

    /// Takes a leader's entries from that place on, in place of its own. Returns how many of its own it had to give up.
    pub(crate) fn follow(
        &mut self,
        (leader, term): (SeedId, u64),
        from: usize,
        entries: &[Rc<LogSlot>],
    ) -> usize {
        (self.term, self.leader) = (term, Some(leader));
        if self.entries.len() < from {
            return 0;
        }
        let same = |(own, other): &(&Rc<LogSlot>, &Rc<LogSlot>)| own.term == other.term;
        let common = from + self.entries[from..].iter().zip(entries).take_while(same).count();
        let conflicts = common < self.entries.len() && self.last_term() != term;
        let given_up = if conflicts { self.entries.len() - common } else { 0 };
        if conflicts {
            self.truncate(common);
        }
        let here = self.entries.len() - from;
        entries.iter().skip(here).for_each(|slot| self.push(Rc::clone(slot)));
        given_up
    }

    /// At the leader: what a seed has not written yet, and from where on.
    pub(crate) fn missing_at(&self, seed: SeedId) -> (usize, Vec<Rc<LogSlot>>) {
        let from = self.matched.get(&seed).copied().unwrap_or(0).min(self.entries.len());
        (from, self.entries[from..].to_vec())
    }

    /// The disk has written the first `len` entries, unless they are others by now.
    pub(crate) fn wrote(&mut self, term: u64, len: usize) {
        let same = len > 0 && self.entries.get(len - 1).is_some_and(|slot| slot.term == term);
        if same {
            self.written = self.written.max(len);
        }
    }

    /// What `wrote` must be told when the disk has written everything that is here.
    pub(crate) fn to_write(&self) -> Option<(u64, usize)> {
        (self.written < self.entries.len()).then(|| (self.last_term(), self.entries.len()))
    }

    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// So many are committed, says the leader.
    pub(crate) fn commit(&mut self, len: usize) {
        self.committed = self.committed.max(len.min(self.entries.len()));
    }

    /// What is to be handed to the core now.
    pub(crate) fn take_committed(&mut self) -> Vec<Commit> {
        let from = std::mem::replace(&mut self.applied, self.committed);
        let commit = |(index, slot): (usize, &Rc<LogSlot>)| Commit {
            index: index as u64,
            payload: slot.payload.clone(),
        };
        self.entries[from.min(self.committed)..self.committed]
            .iter()
            .enumerate()
            .map(|(i, s)| commit((from + i, s)))
            .collect()
    }

    /// A registry is kept on disk.
    pub(crate) fn keep_snapshot(&mut self, registry: Registry) {
        self.snapshot = Some((registry.applied() as usize + 1, registry));
    }

    /// The registry on disk.
    pub(crate) fn snapshot(&self) -> Option<&Registry> {
        self.snapshot.as_ref().map(|(_, registry)| registry)
    }

    /// The process has ended: what was not written is lost. Returns the registry that the next one begins with.
    pub(crate) fn crash(&mut self) -> Registry {
        let written =
            self.written.max(self.snapshot.as_ref().map_or(0, |(len, _)| *len)).min(self.entries.len());
        self.committed = self.committed.min(written);
        self.truncate(written);
        self.leader = None;
        self.matched.clear();
        let (applied, registry) = self.snapshot.clone().unwrap_or_default();
        // What is committed is learnt again from the next leader.
        self.committed = applied;
        self.applied = applied;
        registry
    }

    /// What is committed, as of a cluster of another name: one of the same seeds, whose directories were others, and of
    /// the same members but for one, which has left, so that its views are newer. None before the founding.
    pub(crate) fn of_another_cluster(&self) -> Option<ReplicatedLog> {
        let mut registry = Registry::default();
        let mut other = ReplicatedLog { term: self.term, ..ReplicatedLog::default() };
        let payloads = self.entries[..self.committed].iter().map(|slot| (slot.term, slot.payload.clone()));
        for (index, (term, mut payload)) in (0..).zip(payloads) {
            if let Payload::Entry(entry) = &mut payload {
                match &mut entry.body {
                    Body::Found { cluster, seeds } => {
                        *cluster = ClusterId(cluster.0.map(|byte| !byte));
                        let ids = seeds.values_mut().filter_map(|record| record.directory_id.as_mut());
                        ids.for_each(|id| *id += OF_ANOTHER_CLUSTER);
                    }
                    Body::SeedDirectory { directory_id, .. } => *directory_id += OF_ANOTHER_CLUSTER,
                    _ => {}
                }
            }
            match &payload {
                Payload::Entry(entry) => drop(registry.apply(index, entry)),
                Payload::Seeds(sets) => registry.set_seeds(index, sets.clone()),
                Payload::Blank => registry.skip(index),
            }
            other.push(Rc::new(LogSlot { term, payload }));
        }
        registry.cluster()?;
        let first = registry.members().next().map(|member| member.id);
        if let Some(member) = first {
            let leave = Entry::new(Body::Leave(member));
            registry.apply(other.len() as u64, &leave);
            other.push(Rc::new(LogSlot { term: self.term, payload: Payload::Entry(leave) }));
        }
        let len = other.len();
        (other.written, other.committed, other.applied) = (len, len, len);
        other.snapshot = Some((len, registry));
        Some(other)
    }

    /// Planted: the last committed entry is gone, on this disk and for ever.
    pub(crate) fn forget_last(&mut self) {
        let len = self.committed.saturating_sub(1).max(self.snapshot.as_ref().map_or(1, |(len, _)| *len));
        self.committed = self.committed.min(len);
        self.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_has_begun_is_not_begun_again() {
        let seeds = BTreeSet::from([SeedId(0), SeedId(1), SeedId(2)]);
        let mut log = ReplicatedLog::default();
        log.begin(seeds.clone());
        log.lead(SeedId(0), 1);
        let (term, len) = log.to_write().expect("nothing is on the disk yet");
        log.wrote(term, len);

        // Everybody ends before the cluster is founded, and comes back to form it.
        log.crash();
        log.begin(seeds.clone());

        let payloads: Vec<&Payload> = log.entries().iter().map(|slot| &slot.payload).collect();
        assert_eq!(payloads, [&Payload::Seeds(vec![seeds]), &Payload::Blank]);
    }
}

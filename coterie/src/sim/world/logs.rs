//! The seeds' logs: proposals, replication, elections, and who may begin.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use coterie_common::majority;
use coterie_common::message::{SeedHello, SeedId};
use coterie_seed::core::formation::{Decision, decide};
use coterie_seed::core::{Commit, Entry, Input, Payload};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::{Happening, LOG_TICK, World};
use crate::sim::host::Host;
use crate::sim::replica::Slot;
use crate::sim::sabotage::Sabotage;
use crate::sim::watch::Observed;

/// How long a cluster is without a leader after it has lost one: the election time-out and a draw.
const ELECTION_MS: std::ops::Range<u64> = 200..600;

/// A snapshot is kept on disk after so many entries.
const SNAPSHOT_EVERY: usize = 20;

impl World<'_> {
    // ---- entries ----

    pub(super) fn propose(&mut self, index: usize, entry: Entry) {
        let Some(entry) = self.tampered_entry(entry) else { return };
        let refuses_one_in = self.plan.swarm.refuses_one_in;
        let is_refused = refuses_one_in > 0 && self.rng.random_ratio(1, refuses_one_in);
        let seed = &mut self.seeds[index];
        let start = seed.process.start;
        if is_refused || !seed.replica.leads(seed.id) {
            let entry = Box::new(entry);
            return self.after(Duration::from_millis(1), Happening::NotTaken { seed: index, start, entry });
        }
        self.observe(&Observed::Proposed { entry: &entry });
        self.seeds[index].replica.append(Payload::Entry(entry));
        self.write(index);
        self.replicate(index);
    }

    /// The disk is given what is not on it yet.
    pub(super) fn write(&mut self, index: usize) {
        let Some((term, len)) = self.seeds[index].replica.to_write() else { return };
        let start = self.seeds[index].process.start;
        let time = self.plan.swarm.disk.draw(&mut self.rng);
        self.after(time, Happening::Written { seed: index, start, term, len });
    }

    pub(super) fn written(&mut self, index: usize, start: u64, term: u64, len: usize) {
        let seed = &mut self.seeds[index];
        if seed.process.start != start || seed.process.core.is_none() {
            return;
        }
        seed.replica.wrote(term, len);
        if seed.replica.leads(seed.id) {
            return self.advance(index);
        }
        let leader = seed.replica.leader;
        if let Some(leader) = self.seeds.iter().position(|other| Some(other.id) == leader) {
            self.acknowledge(index, leader);
        }
    }

    /// The leader sends each other seed what that one lacks.
    pub(super) fn replicate(&mut self, index: usize) {
        for to in (0..self.seeds.len()).filter(|to| *to != index).collect::<Vec<_>>() {
            self.send_append(index, to);
        }
    }

    fn send_append(&mut self, from: usize, to: usize) {
        let (leader, follower) = (&self.seeds[from], &self.seeds[to]);
        let (here, there) = (Host::Seed(from).address(), Host::Seed(to).address());
        // A seed is sent the log only while nobody has a history, or when its birth is in it.
        let takes_log =
            leader.replica.history().is_none_or(|history| history.is_seated(follower.id, follower.birth));
        if !follower.takes_part || !takes_log || !self.network.connects(here, there) {
            return;
        }
        let (place, entries) = leader.replica.missing_at(follower.id);
        let append = Happening::Append {
            from,
            to,
            to_start: follower.process.start,
            term: leader.replica.term,
            place,
            entries,
            committed: leader.replica.committed,
        };
        let delay = self.network.delay(here, there, &mut self.rng);
        self.after(delay, append);
    }

    pub(super) fn append_arrives(
        &mut self,
        (from, term): (usize, u64),
        (to, start): (usize, u64),
        (place, entries): (usize, Vec<Rc<Slot>>),
        committed: usize,
    ) {
        let leader = self.seeds[from].id;
        let seed = &mut self.seeds[to];
        if seed.process.start != start || !seed.process.runs() {
            return;
        }
        if term < seed.replica.term {
            return self.acknowledge(to, from);
        }
        let given_up = seed.replica.follow((leader, term), place, &entries);
        if given_up > 0 {
            self.marks.hit("entries_truncated");
        }
        self.seeds[to].replica.commit(committed.min(place + entries.len()));
        self.write(to);
        self.acknowledge(to, from);
        self.hand_over(to);
    }

    /// A follower tells a leader how much it has on disk, and of which term it has heard.
    fn acknowledge(&mut self, index: usize, to: usize) {
        let seed = &self.seeds[index];
        let (here, there) = (Host::Seed(index).address(), Host::Seed(to).address());
        if !self.network.passes(here, there) {
            return;
        }
        let ack = Happening::Ack {
            from: seed.id,
            to,
            to_start: self.seeds[to].process.start,
            term: seed.replica.term,
            written: seed.replica.written(),
        };
        let delay = self.network.delay(here, there, &mut self.rng);
        self.after(delay, ack);
    }

    pub(super) fn ack_arrives(&mut self, from: SeedId, (to, start): (usize, u64), term: u64, written: usize) {
        let seed = &mut self.seeds[to];
        if seed.process.start != start || !seed.process.runs() {
            return;
        }
        if term > seed.replica.term {
            (seed.replica.term, seed.replica.leader) = (term, None);
            return self.tell_leader(to);
        }
        if term == seed.replica.term && seed.replica.leads(seed.id) {
            seed.replica.matched(from, written);
            self.advance(to);
        }
    }

    /// The leader commits what a majority has on disk.
    fn advance(&mut self, index: usize) {
        let seed = &mut self.seeds[index];
        let has = seed.replica.majority_has(seed.id);
        if has <= seed.replica.committed {
            return;
        }
        seed.replica.commit(has);
        let news: Vec<Rc<Slot>> = seed.replica.entries()[self.committed.min(has)..has].to_vec();
        for slot in news {
            let commit = Commit { index: self.committed as u64, payload: slot.payload.clone() };
            if let Payload::Entry(entry) = &slot.payload {
                self.note_entry(entry);
            }
            self.committed += 1;
            self.watch.commit(self.now, &commit);
        }
        self.hand_over(index);
        self.finish_joint(index);
        self.replicate(index);
    }

    fn note_entry(&mut self, entry: &Entry) {
        use coterie_seed::core::entry::Body;
        match &entry.body {
            Body::Deaths(verdicts) if verdicts.len() > 1 => self.marks.hit("deaths_together"),
            Body::Join { replaces, .. } if replaces.0 > 0 => self.marks.hit("replacements"),
            Body::Found { .. }
            | Body::SeedBirth { .. }
            | Body::SeedAdd { .. }
            | Body::SeedRemove(_)
            | Body::Join { .. }
            | Body::Leave(_)
            | Body::Deaths(_) => {}
        }
    }

    /// What is committed goes to the core, or a snapshot of it to one that is far behind; and so does who leads.
    fn hand_over(&mut self, index: usize) {
        let start = self.seeds[index].process.start;
        if !self.seeds[index].process.runs() {
            return;
        }
        self.hand_over_snapshot(index);
        let commits = self.seeds[index].replica.take_committed();
        if !commits.is_empty() {
            let seed = self.seeds[index].id;
            for Commit { index, payload } in &commits {
                self.observe(&Observed::HandedOver { seed, index: *index, payload });
            }
            self.step_seed(index, start, Input::Committed(commits));
            let seed = &mut self.seeds[index];
            let registry = seed.process.core.as_ref().map(coterie_seed::core::Seed::registry);
            if seed.replica.applied.is_multiple_of(SNAPSHOT_EVERY)
                && let Some(registry) = registry
            {
                seed.replica.keep_snapshot(registry.clone());
            }
        }
        let goes_back = self.plan.sabotage == Some(Sabotage::OldSnapshot);
        if let (true, Some(older)) = (goes_back, self.seeds[index].replica.snapshot().cloned()) {
            self.restore(index, older);
        }
        self.tell_leader(index);
    }

    fn hand_over_snapshot(&mut self, index: usize) {
        let replica = &self.seeds[index].replica;
        let behind = replica.committed.saturating_sub(replica.applied);
        if behind <= self.plan.swarm.snapshot_lag || replica.leads(self.seeds[index].id) {
            return;
        }
        let most = replica.committed as u64;
        let newer = |seed: &&super::SeedHost| {
            let registry = seed.process.core.as_ref().map(coterie_seed::core::Seed::registry);
            registry.filter(|r| r.applied() < most && r.applied() as usize >= replica.applied).cloned()
        };
        let leader = replica.leader;
        let Some(registry) = self.seeds.iter().find(|seed| Some(seed.id) == leader).as_ref().and_then(newer)
        else {
            return;
        };
        let replica = &mut self.seeds[index].replica;
        replica.applied = registry.applied() as usize + 1;
        replica.keep_snapshot(registry.clone());
        self.restore(index, registry);
    }

    /// A leader counts once it has spoken; this seed itself once it has applied an entry of its own term.
    fn tell_leader(&mut self, index: usize) {
        let seed = &self.seeds[index];
        let own_term = seed.replica.applied.checked_sub(1).and_then(|last| seed.replica.entries().get(last));
        let is_caught_up = own_term.is_some_and(|slot| slot.term == seed.replica.term);
        let leader = seed.replica.leader.filter(|leader| *leader != seed.id || is_caught_up);
        let news = (leader, seed.replica.term);
        if seed.told_leader != Some(news) {
            self.seeds[index].told_leader = Some(news);
            let start = self.seeds[index].process.start;
            self.step_seed(index, start, Input::Leader { leader: news.0, term: news.1 });
        }
    }

    // ---- elections ----

    /// Looks after the logs: who may begin, whether the leader still leads, who needs to be sent something again.
    pub(super) fn log_tick(&mut self) {
        self.after(LOG_TICK, Happening::LogTick);
        (0..self.seeds.len()).for_each(|index| self.begin_if_decided(index));
        let leader = self.leader();
        if let Some(leader) = leader.filter(|leader| self.followers(*leader).is_some()) {
            self.leaderless_since = None;
            for to in (0..self.seeds.len()).filter(|to| *to != leader).collect::<Vec<_>>() {
                let (follower, replica) = (&self.seeds[to], &self.seeds[leader].replica);
                let behind = replica.lags(follower.id) || follower.replica.committed < replica.committed;
                // Heartbeats that say nothing new are left out.
                let knows_leader =
                    follower.replica.leader == replica.leader && follower.replica.term == replica.term;
                if behind || !knows_leader {
                    self.send_append(leader, to);
                }
            }
            return;
        }
        let since = *self.leaderless_since.get_or_insert(self.now);
        let patience = Duration::from_millis(self.rng.random_range(ELECTION_MS));
        if self.now.since(since) >= patience {
            self.elect(None);
        }
    }

    /// The seed that leads in the highest term, as far as it knows itself.
    fn leader(&self) -> Option<usize> {
        let leading = (0..self.seeds.len()).filter(|i| {
            let seed = &self.seeds[*i];
            seed.process.runs() && seed.replica.leads(seed.id)
        });
        leading.max_by_key(|i| self.seeds[*i].replica.term)
    }

    /// The seeds that a seed reaches both ways, itself among them, if they are a majority of the voters.
    fn followers(&self, index: usize) -> Option<BTreeSet<SeedId>> {
        let reached: BTreeSet<SeedId> = (0..self.seeds.len())
            .filter(|other| {
                let seed = &self.seeds[*other];
                let connects = *other == index
                    || self.network.connects(Host::Seed(index).address(), Host::Seed(*other).address());
                seed.process.runs() && seed.takes_part && connects
            })
            .map(|other| self.seeds[other].id)
            .collect();
        let voters = self.seeds[index].replica.voters();
        let enough = |set: &BTreeSet<SeedId>| set.intersection(&reached).count() >= majority(set.len());
        (!voters.is_empty() && voters.iter().all(enough)).then_some(reached)
    }

    /// Holds an election, which `but` does not win.
    pub(super) fn elect(&mut self, but: Option<usize>) {
        let mut candidates: Vec<usize> = (0..self.seeds.len()).filter(|index| Some(*index) != but).collect();
        candidates.shuffle(&mut self.rng);
        for candidate in candidates {
            let seed = &self.seeds[candidate];
            if !seed.process.runs()
                || !seed.takes_part
                || !seed.replica.voters().iter().any(|set| set.contains(&seed.id))
            {
                continue;
            }
            let Some(group) = self.followers(candidate) else { continue };
            let fresh = seed.replica.freshness();
            let voters: BTreeSet<SeedId> = self
                .seeds
                .iter()
                .filter(|other| group.contains(&other.id) && other.replica.freshness() <= fresh)
                .map(|other| other.id)
                .collect();
            let enough = |set: &BTreeSet<SeedId>| set.intersection(&voters).count() >= majority(set.len());
            if seed.replica.voters().iter().all(enough) {
                return self.crown(candidate, &group);
            }
        }
    }

    fn crown(&mut self, winner: usize, group: &BTreeSet<SeedId>) {
        if self.plan.sabotage == Some(Sabotage::LogForgets) && self.committed > 20 {
            self.seeds.iter_mut().for_each(|seed| seed.replica.forget_last());
            self.committed -= 1;
        }
        let highest = self.seeds.iter().map(|seed| seed.replica.term).max().unwrap_or(0);
        let term = highest + 1;
        for seed in self.seeds.iter_mut().filter(|seed| group.contains(&seed.id)) {
            // Who has voted in a term takes nothing from a leader of an older one.
            (seed.replica.term, seed.replica.leader) = (term, None);
        }
        let id = self.seeds[winner].id;
        self.seeds[winner].replica.lead(id, term);
        self.leaderless_since = None;
        for index in (0..self.seeds.len()).filter(|i| group.contains(&self.seeds[*i].id)).collect::<Vec<_>>()
        {
            if self.seeds[index].process.runs() {
                self.tell_leader(index);
            }
        }
        self.write(winner);
        self.replicate(winner);
    }

    // ---- beginnings ----

    fn hello(&self, index: usize) -> SeedHello {
        let seed = &self.seeds[index];
        let list = (0..self.plan.swarm.seeds).map(|i| Host::Seed(i).address().to_string()).collect();
        SeedHello {
            version: coterie_common::codec::VERSION,
            id: seed.id,
            birth: seed.birth,
            address: seed.process.address.to_string(),
            list,
            history: seed.replica.history().cloned(),
        }
    }

    /// A seed without a history asks the others whether it may begin.
    fn begin_if_decided(&mut self, index: usize) {
        let seed = &self.seeds[index];
        if seed.takes_part || !seed.process.runs() {
            return;
        }
        let (id, birth) = (seed.id, seed.birth);
        let others: BTreeMap<SeedId, SeedHello> = (0..self.seeds.len())
            .filter(|other| *other != index && self.seeds[*other].process.runs())
            .filter(|other| self.mesh.contains_key(&(index, *other)))
            .filter(|other| self.network.connects(Host::Seed(index).address(), Host::Seed(*other).address()))
            .map(|other| (self.seeds[other].id, self.hello(other)))
            .collect();
        let all: Vec<SeedId> = (0..self.plan.swarm.seeds as u64).map(SeedId).collect();
        let careless = self.plan.sabotage == Some(Sabotage::EmptySeedTakesPart) && self.committed > 0;
        let address = self.seeds[index].process.address.to_string();
        match decide((id, &address, birth), &all, &others) {
            Decision::Lost(_) | Decision::Wait(_) | Decision::Stranger(_) | Decision::Take(_) if careless => {
                self.take_part(index);
            }
            Decision::GoOn => self.take_part(index),
            Decision::Form => {
                let set: BTreeSet<SeedId> = all.into_iter().collect();
                self.seeds[index].replica.append(Payload::Seeds(vec![set]));
                self.take_part(index);
                self.write(index);
            }
            Decision::Lost(_) => {
                self.marks.hit("seeds_without_directory");
                self.seeds[index].is_lost = true;
                self.end_process(Host::Seed(index));
            }
            Decision::Wait(_) | Decision::Stranger(_) => {}
            Decision::Take(seat) => self.take_seat(index, seat),
        }
    }

    fn take_part(&mut self, index: usize) {
        self.seeds[index].takes_part = true;
        self.note_takes_part(index);
    }
}

//! The seeds' logs: what is proposed, written, sent to the others and committed.

use std::rc::Rc;
use std::time::Duration;

use coterie_common::message::SeedId;
use coterie_seed::core::{Commit, Entry, Input, Payload};
use rand::RngExt;

use super::{Happening, SeedHost, World};
use crate::check::observed::Observed;
use crate::model::host::Host;
use crate::model::replicated_log::LogSlot;
use crate::plan::planted_bug::PlantedBug;

/// A snapshot is kept on disk after so many entries.
const SNAPSHOT_EVERY: usize = 20;

impl World {
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
        let time = self.plan.swarm.disk.draw(&mut self.rng) * self.load.disks_slowed.unwrap_or(1);
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

    pub(super) fn send_append(&mut self, from: usize, to: usize) {
        let (leader, follower) = (&self.seeds[from], &self.seeds[to]);
        let (here, there) = (Host::Seed(from).address(), Host::Seed(to).address());
        // A seed is sent the log only while nobody has a history, or when its directory id is in it.
        let takes_log = leader
            .replica
            .history()
            .is_none_or(|history| history.is_seated(follower.id, follower.directory_id));
        let is_connected = self.traffic.mesh.contains_key(&(from, to));
        if !follower.takes_part || !is_connected || !takes_log || !self.traffic.network.connects(here, there)
        {
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
        let delay = self.traffic.network.delay(here, there, &mut self.rng);
        self.after(delay, append);
    }

    pub(super) fn append_arrives(
        &mut self,
        (from, term): (usize, u64),
        (to, start): (usize, u64),
        (place, entries): (usize, Vec<Rc<LogSlot>>),
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
            self.tally.marks.hit("entries_truncated");
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
        if !self.traffic.network.passes(here, there) {
            return;
        }
        let ack = Happening::Ack {
            from: seed.id,
            to,
            to_start: self.seeds[to].process.start,
            term: seed.replica.term,
            written: seed.replica.written(),
        };
        let delay = self.traffic.network.delay(here, there, &mut self.rng);
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
        let news: Vec<Rc<LogSlot>> = seed.replica.entries()[self.log.committed.min(has)..has].to_vec();
        for slot in news {
            let commit = Commit { index: self.log.committed as u64, payload: slot.payload.clone() };
            if let Payload::Entry(entry) = &slot.payload {
                self.note_entry(entry);
            }
            self.log.committed += 1;
            self.checker.commit(self.now, &commit);
        }
        self.hand_over(index);
        self.finish_joint(index);
        self.replicate(index);
    }

    fn note_entry(&mut self, entry: &Entry) {
        use coterie_seed::core::entry::Body;
        match &entry.body {
            Body::Deaths(verdicts) if verdicts.len() > 1 => self.tally.marks.hit("deaths_together"),
            Body::Join { replaces, .. } if replaces.0 > 0 => self.tally.marks.hit("replacements"),
            Body::Found { .. }
            | Body::SeedDirectory { .. }
            | Body::SeedAdd { .. }
            | Body::SeedRemove(_)
            | Body::Join { .. }
            | Body::Leave(_)
            | Body::Deaths(_) => {}
        }
    }

    /// What is committed goes to the core, or a snapshot of it to one that is far behind; and so does who leads.
    pub(super) fn hand_over(&mut self, index: usize) {
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
        let goes_back = self.plan.planted_bug == Some(PlantedBug::OldSnapshot);
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
        let newer = |seed: &&SeedHost| {
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
    pub(super) fn tell_leader(&mut self, index: usize) {
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
}

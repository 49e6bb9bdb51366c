//! Seeds that are added, removed and replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::at_longest;
use coterie_common::message::{CloseReason, SeedChange, SeedId, SessionMessage};
use coterie_common::{Message, Wire};
use coterie_seed::core::{Input, Payload, SessionId, hello};

use super::{Happening, SeedHost, World};
use crate::model::host::Host;
use crate::model::tcp::Packet;
use crate::plan::fault::Fault;
use crate::plan::planted_bug::PlantedBug;

/// A session that no connection has: that of the operator, who does not wait for the answer.
const OPERATOR: SessionId = SessionId(u64::MAX);

/// How soon after an operator has asked for it a new seed is started.
const STARTED_AFTER: Duration = Duration::from_millis(300);

/// With fewer seeds nothing could go wrong any more without everything standing still.
const SEEDS_LEFT: usize = 3;

/// Seeds of the peers' lists that stay, with their directories.
const LISTED_LEFT: usize = 2;

/// Longer than the seeds go on trying what an operator has asked of them.
const REMOVED_EVERY: Duration = Duration::from_secs(12);

impl World {
    // ---- the operator ----

    /// An operator asks some seed that runs for a change.
    fn ask_for(&mut self, change: SeedChange) {
        let is_asked = |seed: &SeedHost| seed.process.runs() && seed.takes_part && !seed.is_mistaken();
        let Some(index) = self.seeds.iter().position(is_asked) else { return };
        let start = self.seeds[index].process.start;
        let message = Message::Session(SessionMessage::ChangeSeeds(change));
        self.step_seed(index, start, Input::Session { session: OPERATOR, wire: Wire::Native, message });
    }

    pub(super) fn add_seed(&mut self, index: usize) {
        if self.seeds[index].is_listed {
            return;
        }
        self.seeds[index].is_listed = true;
        self.ask_for(SeedChange::Add(Host::Seed(index).address().to_string()));
        self.after(STARTED_AFTER, Happening::Fault(Fault::Start(Host::Seed(index))));
    }

    /// The operator takes one seed away at a time, and none while another change is under way; and leaves two of those
    /// that peers have in their lists and that still have their directories, for who was cut off meanwhile knows no
    /// others.
    pub(super) fn remove_seed(&mut self, index: usize) {
        let registry = &self.checker.truth().registry();
        let is_seed = |seed: &&SeedHost| registry.seeds().contains_key(&seed.id);
        let is_whole = |seed: &&SeedHost| seed.is_whole();
        let whole = self.seeds.iter().filter(is_seed).filter(is_whole).count();
        let listed = self.seeds.iter().take(self.plan.swarm.seeds).filter(is_seed).filter(is_whole).count();
        if whole > SEEDS_LEFT && listed > LISTED_LEFT && !self.is_removing() {
            self.operator.removed_at = Some(self.now);
            self.ask_for(SeedChange::Remove(Host::Seed(index).address().to_string()));
        }
    }

    /// Whether a removal is under way: asked for lately, or in some seed's log and not committed.
    pub(super) fn is_removing(&self) -> bool {
        let registry = &self.checker.truth().registry();
        let is_open = |seed: &SeedHost| {
            let history = seed.replica.history();
            history.is_some_and(|h| h.removed.keys().any(|id| !registry.removed_seeds().contains_key(id)))
        };
        let asked_lately =
            self.operator.removed_at.is_some_and(|at| self.now.since(at) < at_longest(REMOVED_EVERY));
        asked_lately || self.seeds.iter().any(is_open) || registry.seed_sets() != [registry.voters_wanted()]
    }

    /// A seed that lost its directory gets another one, and a seat of its own.
    pub(super) fn replace_seed(&mut self, index: usize) {
        let address = Host::Seed(index).address().to_string();
        let is_seed = self.checker.truth().registry().seeds().values().any(|seed| seed.address == address);
        if !self.seeds[index].is_lost || self.seeds[index].is_mistaken() || !is_seed {
            return;
        }
        self.seeds[index].is_lost = false;
        self.empty_directory(index);
        self.ask_for(SeedChange::Replace { address, force: false });
        self.after(STARTED_AFTER, Happening::Fault(Fault::Start(Host::Seed(index))));
    }

    // ---- the mesh ----

    /// Two seeds say who they are; returns the id by which the first knows the other. None, if either does not let the
    /// other in: one that was removed is told so, and ends.
    pub(super) fn introduce(&mut self, from: usize, to: usize) -> Option<SeedId> {
        self.welcome(to, from)?;
        self.welcome(from, to)
    }

    fn welcome(&mut self, judge: usize, judged: usize) -> Option<SeedId> {
        let (own, mut other) = (self.hello(judge), self.hello(judged));
        if self.plan.planted_bug == Some(PlantedBug::ClustersMix) && own.history.is_some() {
            other.history.clone_from(&own.history);
        }
        if own.cluster().zip(other.cluster()).is_some_and(|(own, other)| own != other) {
            self.tally.marks.hit("seeds_of_other_clusters_refused");
        }
        let registry = self.seeds[judge].process.core.as_ref()?.registry();
        match hello::welcome(&own, registry, other) {
            Ok(hello) => Some(hello.id),
            Err(CloseReason::Removed(_) | CloseReason::Replaced(_)) => {
                self.seeds[judged].is_lost = true;
                self.end_process(Host::Seed(judged));
                None
            }
            Err(_) => None,
        }
    }

    /// A cluster keeps a seat for this seed: it dials everybody again as the one that it is now.
    pub(super) fn take_seat(&mut self, index: usize, seat: SeedId) {
        self.tally.marks.hit("seats_taken");
        let told = |seed: &SeedHost| seed.replica.history().is_some_and(|h| h.seats.contains_key(&seat));
        let Some(history) = self.seeds.iter().find(|seed| told(seed)).and_then(|seed| seed.replica.history())
        else {
            return;
        };
        let seeds: BTreeMap<SeedId, String> =
            history.seats.iter().map(|(id, seat)| (*id, seat.address.clone())).collect();
        self.seeds[index].id = seat;
        let start = self.seeds[index].process.start;
        self.step_seed(index, start, Input::IdAssigned { id: seat, seeds });
        let host = Host::Seed(index);
        for id in self.traffic.connections.of(host) {
            self.send(id, host, Packet::End);
        }
        self.traffic.mesh.retain(|(from, _), _| *from != index);
        self.dial_mesh(index);
    }

    pub(super) fn dial_mesh(&mut self, index: usize) {
        let (host, start) = (Host::Seed(index), self.seeds[index].process.start);
        for other in (0..self.seeds.len()).filter(|other| *other != index).collect::<Vec<_>>() {
            let delay = self.handshake(host, Host::Seed(other).address());
            self.after(delay, Happening::OpenMesh { from: index, start, to: other });
        }
    }

    /// A seed leaves those alone that were removed and have no vote any more; its own end it learns in the same way.
    pub(super) fn follow_seeds(&mut self, index: usize, gone: &BTreeSet<SeedId>) {
        if gone.contains(&self.seeds[index].id) {
            self.tally.marks.hit("seeds_removed");
            self.seeds[index].is_lost = true;
            return self.end_process(Host::Seed(index));
        }
        for ((from, to), id) in self.traffic.mesh.clone() {
            let other = self.seeds[to].id;
            if from == index && gone.contains(&other) {
                self.traffic.mesh.remove(&(from, to));
                self.send(id, Host::Seed(index), Packet::End);
                let start = self.seeds[index].process.start;
                self.step_seed(index, start, Input::SeedDown(other));
                self.after(STARTED_AFTER, Happening::OpenMesh { from, start, to });
            }
        }
    }

    // ---- the voters ----

    /// The log's own entries: first both sets, and when that is committed, the new one alone. Who gets a vote is there,
    /// and was sent the log.
    pub(super) fn change_voters(&mut self, index: usize, voters: BTreeSet<SeedId>) {
        let learns = |id: &SeedId| {
            let slot = self.seeds.iter().position(|seed| seed.id == *id && seed.takes_part);
            slot.is_some_and(|slot| slot == index || self.traffic.mesh.contains_key(&(index, slot)))
        };
        let now = self.seeds[index].replica.voters();
        let is_voter = |id: &&SeedId| now.iter().any(|set| set.contains(id));
        let have_all_learnt = voters.iter().filter(|id| !is_voter(id)).all(learns);
        let seed = &mut self.seeds[index];
        let start = seed.process.start;
        // Nor while the last change is not committed: the new set alone would decide about it, without the old one.
        if !seed.replica.leads(seed.id) || !have_all_learnt || !seed.replica.voters_committed() {
            let unchanged = Box::new(Input::VotersUnchanged);
            return self.after(STARTED_AFTER, Happening::Seed(index, start, unchanged));
        }
        let next = match &now[..] {
            [one] if *one == voters => return,
            [one] => vec![one.clone(), voters],
            // A joint configuration that the last leader left behind is finished first.
            _ => now.last().cloned().into_iter().collect(),
        };
        seed.replica.append(Payload::Seeds(next));
        self.write(index);
        self.replicate(index);
    }

    /// A joint configuration is committed: its leader goes on to the new one.
    pub(super) fn finish_joint(&mut self, index: usize) {
        let seed = &mut self.seeds[index];
        if let [_, next] = &seed.replica.voters()[..]
            && seed.replica.leads(seed.id)
            && seed.replica.voters_committed()
        {
            seed.replica.append(Payload::Seeds(vec![next.clone()]));
            self.write(index);
            self.replicate(index);
        }
    }
}

//! Who leads the seeds: a model of elections, in which nobody wins whose log lacks what a majority has on disk.

use std::collections::BTreeSet;
use std::time::Duration;

use coterie_common::majority;
use coterie_common::message::SeedId;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::{Happening, World};
use crate::model::host::Host;
use crate::plan::planted_bug::PlantedBug;

/// How often the world looks after the seeds' logs: elections, repeats, who may begin.
const LOG_TICK: Duration = Duration::from_millis(50);

/// How long a cluster is without a leader after it has lost one: the election time-out and a draw.
const ELECTION_MS: std::ops::Range<u64> = 200..600;

impl World {
    /// Looks after the logs: who may begin, whether the leader still leads, who needs to be sent something again.
    pub(super) fn log_tick(&mut self) {
        self.after(LOG_TICK, Happening::LogTick);
        self.tell_directories();
        (0..self.seeds.len()).for_each(|index| self.begin_if_decided(index));
        let leader = self.leader();
        if let Some(leader) = leader.filter(|leader| self.followers(*leader).is_some()) {
            self.log.leaderless_since = None;
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
        let since = *self.log.leaderless_since.get_or_insert(self.now);
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
                    || self.traffic.mesh.contains_key(&(index, *other))
                        && self
                            .traffic
                            .network
                            .connects(Host::Seed(index).address(), Host::Seed(*other).address());
                // Connected with one that was empty, it is refused once that one says of which cluster it is.
                let is_own = self.seeds[index].is_mistaken() == seed.is_mistaken();
                seed.process.runs() && seed.takes_part && connects && is_own
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
        if self.plan.planted_bug == Some(PlantedBug::LogForgets) && self.log.committed > 20 {
            self.seeds.iter_mut().for_each(|seed| seed.replica.forget_last());
            self.log.committed -= 1;
        }
        let highest = self.seeds.iter().map(|seed| seed.replica.term).max().unwrap_or(0);
        let term = highest + 1;
        for seed in self.seeds.iter_mut().filter(|seed| group.contains(&seed.id)) {
            // Who has voted in a term takes nothing from a leader of an older one.
            (seed.replica.term, seed.replica.leader) = (term, None);
        }
        let id = self.seeds[winner].id;
        self.seeds[winner].replica.lead(id, term);
        self.log.leaderless_since = None;
        for index in (0..self.seeds.len()).filter(|i| group.contains(&self.seeds[*i].id)).collect::<Vec<_>>()
        {
            if self.seeds[index].process.runs() {
                self.tell_leader(index);
            }
        }
        self.write(winner);
        self.replicate(winner);
    }
}

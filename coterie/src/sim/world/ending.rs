//! The beginning of a run, its healing, and the wait until the cluster is one again.

use std::time::Duration;

use coterie_common::Instant;
use rand::RngExt;

use super::{Happening, World};
use crate::sim::fault::Fault;
use crate::sim::host::Host;
use crate::sim::run::Violation;

/// Within how long everything must be well again: the longest back-off, 60 s, and what follows it.
const CONVERGES_WITHIN: Duration = Duration::from_secs(150);

/// How often it is looked at whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl World<'_> {
    pub(super) fn start_everybody(&mut self) {
        for index in 0..self.plan.swarm.seeds {
            self.seeds[index].is_listed = true;
            let at = Instant::START + Duration::from_millis(self.rng.random_range(0..300));
            self.schedule(at, Happening::Fault(Fault::Start(Host::Seed(index))));
        }
        let most = self.plan.swarm.start_within.as_micros() as u64;
        for index in 0..self.peers.len() {
            let at = Instant::START + Duration::from_micros(self.rng.random_range(0..=most));
            self.schedule(at, Happening::Fault(Fault::Start(Host::Peer(index))));
        }
    }

    /// Whatever was wrong is wrong no longer; who is dead stays dead, but for the seeds.
    pub(super) fn heal_everything(&mut self) {
        self.heal_network();
        (0..self.seeds.len()).for_each(|index| self.start_seed(index));
        (0..self.seeds.len()).for_each(|index| self.resume(Host::Seed(index)));
        (0..self.peers.len()).for_each(|index| self.resume(Host::Peer(index)));
        (0..self.peers.len()).for_each(|index| self.update_reached(index));
        self.update_calm();
    }

    /// Waits until no invariant has anything to say any more: once, and again after some members have
    /// spoken.
    pub(super) fn converge(&mut self) -> Result<(), Violation> {
        self.settle()?;
        let is_member =
            |index: &usize| self.peers[*index].core.as_ref().is_some_and(|c| c.incarnation().is_some());
        let members: Vec<usize> = (0..self.peers.len()).filter(is_member).collect();
        for index in members.iter().step_by((members.len() / 3).max(1)).copied() {
            let words = self.say(index);
            self.last_words.extend(words.map(|words| (self.peers[index].address, words)));
        }
        self.settle()
    }

    pub(super) fn settle(&mut self) -> Result<(), Violation> {
        let end = self.now + CONVERGES_WITHIN;
        loop {
            self.run_until(self.now + LOOK_EVERY)?;
            match self.unsettled() {
                None => return Ok(()),
                Some((invariant, what)) if self.now >= end => {
                    let what = format!("still, {CONVERGES_WITHIN:?} after everything was healed: {what}");
                    return Err(Violation { invariant, at: self.now, what });
                }
                Some(_) => {}
            }
        }
    }
}

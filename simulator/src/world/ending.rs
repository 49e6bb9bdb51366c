//! The beginning of a run, its healing, and the wait until the cluster is one again.

use std::time::Duration;

use coterie_common::Instant;
use coterie_common::knob::{KnobsTurned, turn_knobs};
use rand::RngExt;

use super::{Happening, World};
use crate::check::report::Violation;
use crate::model::host::Host;
use crate::plan::fault::Fault;
use crate::plan::planted_bug::PlantedBug;

/// Within how long everything must be well again: the longest back-off, 60 s, and what follows it.
const CONVERGES_WITHIN: Duration = Duration::from_secs(150);

/// The same where knobs are drawn: none is more than four times as long.
const CONVERGES_WITHIN_DRAWN: Duration = Duration::from_secs(600);

/// How often it is looked at whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum RunPhase {
    /// Faults happen.
    Chaos,
    /// Everything was healed, and has to be well again by then; twice, for in between some members speak.
    Settling { until: Instant, spoke: bool },
    /// Everything is as it must be.
    Over,
}

impl World {
    pub(super) fn start_everybody(&mut self) {
        let most = self.plan.swarm.seeds_within.as_millis() as u64;
        for index in 0..self.plan.swarm.seeds {
            self.seeds[index].is_listed = true;
            let at = Instant::START + Duration::from_millis(self.rng.random_range(0..most));
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
        (0..self.seeds.len()).for_each(|index| self.undo_mistake(index));
        (0..self.seeds.len()).for_each(|index| self.start_seed(index));
        (0..self.seeds.len()).for_each(|index| self.resume(Host::Seed(index)));
        (0..self.peers.len()).for_each(|index| self.resume(Host::Peer(index)));
        (0..self.peers.len()).for_each(|index| self.update_reached(index));
        self.update_calm();
    }

    /// While this is there, nodes have the knobs of this world.
    pub(super) fn turn_knobs(&self) -> KnobsTurned {
        let forced = self.plan.planted_bug.map_or(&[][..], PlantedBug::forced_knobs);
        turn_knobs(self.plan.swarm.draws_knobs.then_some(self.plan.number), forced)
    }

    /// Lets the next slice of time pass, a quarter of a second at most.
    pub fn run_slice(&mut self) -> Result<(), Violation> {
        let _turned = self.turn_knobs();
        match self.phase {
            RunPhase::Chaos => {
                let end = Instant::START + self.plan.swarm.chaos;
                self.run_until((self.now + LOOK_EVERY).min(end))?;
                if self.now >= end {
                    self.heal_everything();
                    self.phase =
                        RunPhase::Settling { until: self.now + self.converges_within(), spoke: false };
                }
            }
            RunPhase::Settling { until, spoke } => {
                if self.has_settled(until)? {
                    self.phase = match spoke {
                        true => RunPhase::Over,
                        false => {
                            self.say_last_words();
                            RunPhase::Settling { until: self.now + self.converges_within(), spoke: true }
                        }
                    };
                }
            }
            RunPhase::Over => {}
        }
        Ok(())
    }

    fn converges_within(&self) -> Duration {
        if self.plan.swarm.draws_knobs { CONVERGES_WITHIN_DRAWN } else { CONVERGES_WITHIN }
    }

    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, RunPhase::Over)
    }

    /// Some members speak, for everybody to hear.
    fn say_last_words(&mut self) {
        let is_member =
            |index: &usize| self.peers[*index].core.as_ref().is_some_and(|c| c.incarnation().is_some());
        let members: Vec<usize> = (0..self.peers.len()).filter(is_member).collect();
        for index in members.iter().step_by((members.len() / 3).max(1)).copied() {
            let words = self.say(index);
            self.words.last.extend(words.map(|words| (self.peers[index].address, words)));
        }
    }

    /// Waits until no invariant has anything to say any more.
    pub(super) fn settle(&mut self) -> Result<(), Violation> {
        let until = self.now + self.converges_within();
        while !self.has_settled(until)? {}
        Ok(())
    }

    /// Lets a moment pass, and asks whether everything is as it must be; by `until` it has to be.
    fn has_settled(&mut self, until: Instant) -> Result<bool, Violation> {
        self.run_until(self.now + LOOK_EVERY)?;
        match self.unsettled() {
            None => Ok(true),
            Some((invariant, what)) if self.now >= until => {
                let what =
                    format!("still, {:?} after everything was healed: {what}", self.converges_within());
                Err(Violation { invariant, at: self.now, what })
            }
            Some(_) => Ok(false),
        }
    }
}

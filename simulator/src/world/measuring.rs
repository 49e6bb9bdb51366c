//! A scenario: a cluster is formed, a fault is brought about, and what comes of it is counted.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::{Address, Instant};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::{Happening, World};
use crate::check::measure::{Measure, Measured};
use crate::check::report::Violation;
use crate::invariants::overlay_pieces;
use crate::model::host::Host;
use crate::plan::script::{Script, choose};

/// How old a cluster is before anything goes wrong: in its first ten seconds no absence counts.
const RIPENS_FOR: Duration = Duration::from_secs(12);

/// How often it is looked at whether the overlay is one.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl World {
    /// What a script comes to.
    pub(crate) fn measured(mut self, script: &Script) -> Result<Measured, Violation> {
        self.run_until(Instant::START + self.plan.swarm.start_within)?;
        self.settle()?;
        self.run_until(self.now + RIPENS_FOR)?;
        let links = |process: &super::Process<_, _>| {
            process.core.as_ref().map_or(0, |core: &coterie_peer::core::Peer| core.neighbours().len())
        };
        let links: Vec<usize> = self.peers.iter().map(links).collect();
        let faulty = choose(script, &links, self.plan.number);
        let begin = self.now;
        let addresses: BTreeSet<Address> = faulty.iter().map(|index| Host::Peer(*index).address()).collect();
        self.checker.begin_measure(Measure::new(begin, addresses));
        for (at, fault) in script.faults(&faulty, &mut self.rng) {
            self.schedule(begin + Duration::from_millis(at), Happening::Fault(fault));
        }
        let survivors: Vec<usize> = (0..self.peers.len()).filter(|index| !faulty.contains(index)).collect();
        let said = self.say_much(script.messages, &survivors)?;
        let one_again = self.watch_overlay(begin + script.time)?;
        let measure = self.checker.end_measure();
        Ok(measure.map(|measure| measure.finish(&said, survivors.len(), one_again)).unwrap_or_default())
    }

    /// Survivors say so much within the first second.
    fn say_much(&mut self, count: usize, survivors: &[usize]) -> Result<Vec<(Address, Bytes)>, Violation> {
        let mut said = Vec::new();
        for _ in 0..count {
            let next = self.now + Duration::from_micros(self.rng.random_range(500..1_500));
            self.run_until(next)?;
            let Some(speaker) = survivors.choose(&mut self.rng).copied() else { break };
            let words = self.say(speaker);
            said.extend(words.map(|words| (Host::Peer(speaker).address(), words)));
        }
        Ok(said)
    }

    /// Goes on until `end`; returns since when the overlay of the living is one, if it is at the end.
    fn watch_overlay(&mut self, end: Instant) -> Result<Option<Instant>, Violation> {
        let mut since = None;
        while self.now < end {
            self.run_until(self.now + LOOK_EVERY)?;
            let pieces =
                overlay_pieces(self.peers.iter().map(|process| (process.address, process.core.as_ref())));
            since = if pieces.len() <= 1 { since.or(Some(self.now)) } else { None };
        }
        Ok(since)
    }
}

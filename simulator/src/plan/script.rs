//! One fault, put to one cluster, to be measured.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::model::host::Host;
use crate::plan::fault::Fault;

/// Which peers it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Any.
    Random,
    /// Those with the most links.
    Hubs,
}

/// One fault, put to one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// How many peers it happens to, and which.
    pub(crate) count: usize,
    pub(crate) choice: Choice,
    /// How long it is looked at.
    pub(crate) time: Duration,
    /// How many messages survivors say in the first second.
    pub(crate) messages: usize,
    pub(crate) what: What,
}

/// What happens to them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Killed,
    Darkened,
    Deafened,
    MadeLossy,
    Stopped,
}

impl Script {
    /// What happens to these, each with its milliseconds from the beginning.
    pub(crate) fn faults(&self, faulty: &[usize], rng: &mut ChaCha8Rng) -> Vec<(u64, Fault)> {
        let hosts = faulty.iter().map(|index| Host::Peer(*index));
        match self.what {
            What::Killed => hosts.map(|host| (0, Fault::Kill(host))).collect(),
            What::Darkened => hosts.map(|host| (0, Fault::Darken(host))).collect(),
            What::Deafened => hosts
                .flat_map(|host| {
                    let spells = 0..self.time.as_millis() as u64 / 40_000;
                    spells.flat_map(move |spell| {
                        [
                            (spell * 40_000, Fault::Deafen(host)),
                            (spell * 40_000 + 20_000, Fault::Undeafen(host)),
                        ]
                    })
                })
                .collect(),
            What::MadeLossy => hosts.map(|host| (0, Fault::LoseAt(host, 80))).collect(),
            What::Stopped => hosts.flat_map(|host| self.stops(host, rng)).collect(),
        }
    }

    /// Stops of random length, from Lifeguard's shortest to its longest, with random times between them.
    fn stops(&self, host: Host, rng: &mut ChaCha8Rng) -> Vec<(u64, Fault)> {
        let until = self.time.as_millis() as u64;
        let mut at = rng.random_range(0..2_000);
        let mut stops = Vec::new();
        while at < until {
            let time = 128 << rng.random_range(0..9);
            stops.push((at, Fault::Pause(host, Duration::from_millis(time))));
            at += time + (1 << rng.random_range(0..15));
        }
        stops
    }
}

/// The peers that a script is about.
pub(crate) fn choose(script: &Script, links: &[usize], number: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut all: Vec<usize> = (0..links.len()).collect();
    match script.choice {
        Choice::Random => all.sample(&mut rng, script.count).copied().collect(),
        Choice::Hubs => {
            all.sort_by_key(|index| std::cmp::Reverse(links[*index]));
            all.truncate(script.count);
            all
        }
    }
}

//! The faults by which papers measure membership systems, put to this one.
//!
//! (a) to (c) are those of Rapid (Suresh et al., USENIX ATC 2018, section 7), (d) that of Lifeguard (Dadgar, Phillips
//! and Currey, 2018), (e) that of HyParView (Leitão, Pereira and Rodrigues, DSN 2007); (f) is (e) with the biggest
//! hubs first. A cluster is formed in a calm network, one fault is brought about, and everything is counted from that
//! moment on.

use std::time::Duration;

use clap::ValueEnum;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fault::Fault;
use super::host::Host;
use super::measure::Measured;
use super::plan::Plan;
use super::run::Violation;
use super::swarm::Swarm;
use super::world::World;

/// Messages that are said in the first second after a mass death.
const MESSAGES: usize = 1_000;

/// Which fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// (a) 10 peers crash at once: their processes, and then their hosts, which are silent from then on
    Crash,
    /// (b) 10 peers lose all incoming packets for 20 s, get them back for 20 s, and so on
    Deaf,
    /// (c) 1 % of the peers lose 80 % of their packets, both ways
    Lossy,
    /// (d) 1, 4, 16 and 32 of 100 peers stop for random times
    Stopped,
    /// (e) 10 to 95 % of the peers are killed at once
    Killed,
    /// (f) the same, the biggest hubs first
    Hubs,
}

/// Which peers it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Any.
    Random,
    /// Those with the most links.
    Hubs,
}

/// One fault, put to one cluster.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// How many peers it happens to, and which.
    pub(super) count: usize,
    pub(super) choice: Choice,
    /// How long it is looked at.
    pub(super) time: Duration,
    /// How many messages survivors say in the first second.
    pub(super) messages: usize,
    what: What,
}

/// What happens to them.
#[derive(Clone, Copy, Debug)]
enum What {
    Killed,
    Darkened,
    Deafened,
    MadeLossy,
    Stopped,
}

impl Script {
    /// What happens to these, each with its milliseconds from the beginning.
    pub(super) fn faults(&self, faulty: &[usize], rng: &mut ChaCha8Rng) -> Vec<(u64, Fault)> {
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

impl Scenario {
    /// Its rows: how large a cluster, and what happens to it.
    fn rows(self, peers: usize) -> Vec<(usize, Script)> {
        let script = |what, count, seconds, messages| Script {
            count,
            choice: if self == Scenario::Hubs { Choice::Hubs } else { Choice::Random },
            time: Duration::from_secs(seconds),
            messages,
            what,
        };
        let shares = [10, 20, 30, 40, 50, 60, 70, 80, 90, 95];
        match self {
            Scenario::Crash => {
                [What::Killed, What::Darkened].map(|what| (peers, script(what, 10, 30, 0))).to_vec()
            }
            Scenario::Deaf => vec![(peers, script(What::Deafened, 10, 160, 0))],
            Scenario::Lossy => vec![(peers, script(What::MadeLossy, (peers / 100).max(1), 160, 0))],
            Scenario::Stopped => {
                [1, 4, 16, 32].map(|count| (100, script(What::Stopped, count, 120, 0))).to_vec()
            }
            Scenario::Killed | Scenario::Hubs => {
                shares.map(|share| (peers, script(What::Killed, peers * share / 100, 60, MESSAGES))).to_vec()
            }
        }
    }

    /// Runs it with `peers` peers, and hands each row over as it is there.
    pub fn run(
        self,
        number: u64,
        peers: usize,
        mut show: impl FnMut(usize, &Measured),
    ) -> Result<(), Violation> {
        for (peers, script) in self.rows(peers) {
            let mut swarm = Swarm::calm(3, peers);
            swarm.start_within = Duration::from_millis(2 * peers as u64);
            let plan = Plan::of(number, swarm, Vec::new());
            let measured = World::new(&plan, None).measured(&script)?;
            show(peers, &measured);
        }
        Ok(())
    }
}

/// The peers that a script is about.
pub(super) fn choose(script: &Script, links: &[usize], number: u64) -> Vec<usize> {
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

//! The faults by which papers measure membership systems, put to this one.
//!
//! (a) to (c) are those of Rapid (Suresh et al., USENIX ATC 2018, section 7), (d) that of Lifeguard (Dadgar, Phillips
//! and Currey, 2018), (e) that of HyParView (Leitão, Pereira and Rodrigues, DSN 2007); (f) is (e) with the biggest
//! hubs first. A cluster is formed in a calm network, one fault is brought about, and everything is counted from that
//! moment on.

use std::time::Duration;

use crate::check::checker::Checker;
use crate::check::measure::Measured;
use crate::check::report::Violation;
use crate::invariants;
use crate::plan::Plan;
use crate::plan::script::{Choice, Script, What};
use crate::plan::swarm::Swarm;
use crate::sink::Sink;
use crate::world::World;

/// Messages that are said in the first second after a mass death.
const MESSAGES: usize = 1_000;

/// Which fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "command", derive(clap::ValueEnum))]
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
            let world = World::new(plan, Checker::new(invariants::all()), Sink::nobody());
            let measured = world.measured(&script)?;
            show(peers, &measured);
        }
        Ok(())
    }
}

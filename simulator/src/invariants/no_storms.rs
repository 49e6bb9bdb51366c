//! Ballots, probes, registrations and frames per second are bounded, whatever goes wrong: trouble must not feed itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::{Address, Instant};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;
use crate::model::host::Host;

/// Counted in windows of a second.
const WINDOW: Duration = Duration::from_secs(1);

/// What one life can cause in a second: a retry every 250 ms, doubling, and the news of a new leader in between.
const REGISTRATIONS_OF_ONE: u64 = 8;

/// Ballots about one life in a second, beside one for each peer that reports it and is then told to leave it alone:
/// one for its absence, held again with every leader that is lost, and when it was stale.
const BALLOTS_OF_ONE: u64 = 8;

/// Probes that one node begins in a second, for each peer there is: a hint, a jury, a ballot, and each again; and a
/// seed that was cut off, or stood still, gets all proposals of some seconds at once.
const PROBES_FOR_EACH: u64 = 60;

/// Frames that one node sends in a second, for each peer there is: votes and proposals go to every seed, gossip to
/// every link.
const FRAMES_FOR_EACH: u64 = 400;

/// The same, whatever the size of the cluster.
const FRAMES: u64 = 2_000;

#[derive(Default)]
pub(super) struct NoStorms {
    window: Instant,
    /// Peers that were ever started.
    population: BTreeSet<Host>,
    registrations: BTreeMap<Address, u64>,
    ballots: BTreeMap<Address, u64>,
    probes: BTreeMap<Host, u64>,
    frames: BTreeMap<Host, u64>,
}

fn one_more<K: Ord + Copy>(counts: &mut BTreeMap<K, u64>, key: K) -> u64 {
    let count = counts.entry(key).or_insert(0);
    *count += 1;
    *count
}

impl Invariant for NoStorms {
    fn name(&self) -> &'static str {
        "no_storms"
    }

    fn observe(&mut self, now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        if now.since(self.window) >= WINDOW {
            let population = std::mem::take(&mut self.population);
            *self = NoStorms { window: now, population, ..NoStorms::default() };
        }
        if let Observed::Started { host: host @ Host::Peer(_) } = observed {
            self.population.insert(*host);
        }
        let peers = self.population.len() as u64;
        let (who, what, count, most) = match observed {
            Observed::Registering { peer } => (
                peer.to_string(),
                "registrations",
                one_more(&mut self.registrations, *peer),
                REGISTRATIONS_OF_ONE,
            ),
            Observed::Ballot { dead, .. } => {
                let count = one_more(&mut self.ballots, dead.address);
                (dead.to_string(), "ballots", count, BALLOTS_OF_ONE + peers)
            }
            Observed::Probing { by } => {
                (by.to_string(), "probes", one_more(&mut self.probes, *by), PROBES_FOR_EACH * peers)
            }
            Observed::Sent { by } => {
                let count = one_more(&mut self.frames, *by);
                (by.to_string(), "frames", count, FRAMES + FRAMES_FOR_EACH * peers)
            }
            _ => return Ok(()),
        };
        match count > most {
            true => Err(format!("{who}: {count} {what} within a second, at most {most}")),
            false => Ok(()),
        }
    }
}

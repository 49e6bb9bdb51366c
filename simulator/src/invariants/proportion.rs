//! *What doubts cost is in proportion to what is wrong.* (DESIGN, Calm)
//!
//! Doubts make probes, the connections of these, ballots, and frames: questions and answers of juries, hints, reports,
//! proposals and votes. What they may cost over a world follows from what was done to it. A doubt that feeds itself
//! goes on with what it costs when nothing is wrong any more, and nothing pays for it then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::at_longest;
use coterie_common::{Address, Instant};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::processes::Processes;
use crate::check::truth::Truth;
use crate::model::host::Host;

/// A member for which something is wrong for so many seconds pays as much as one fault: what is lost on its way, or
/// cannot be reached, is doubted again and again.
const SECONDS_OF_TROUBLE: f64 = 5.0;

/// What a cluster may cost in which nothing has happened: it has begun.
const AT_FIRST: f64 = 10.0;

/// For each fault, for so much trouble, for each member and minute, and for each request to be registered (which every
/// seed probes) there may be so many: twice and a half what the dearest of 1,300 worlds has cost, or a little more.
const MOST: [(&str, f64); 4] = [("probes", 18.0), ("connections", 56.0), ("ballots", 3.5), ("frames", 70.0)];

/// What one life can cause in a second: a retry every 250 ms, doubling, and the news of a new leader in between.
const REGISTRATIONS_OF_ONE: u64 = 8;

/// Ballots about one life in a second, beside one for each peer that reports it and is then told to leave it alone:
/// one for its absence, held again with every leader that is lost, and when it was stale.
const BALLOTS_OF_ONE: u64 = 8;

/// Where knobs are drawn, juries may be four times as large, and pauses a quarter as long.
fn drawn() -> f64 {
    at_longest(Duration::from_secs(1)).as_secs_f64()
}

/// What was done about one life within a second.
#[derive(Default)]
struct Second {
    began: Instant,
    registrations: BTreeMap<Address, u64>,
    ballots: BTreeMap<Address, u64>,
}

#[derive(Default)]
pub(super) struct Proportion {
    second: Second,
    /// Peers that were ever started.
    population: BTreeSet<Host>,
    last: Instant,
    /// What there was to doubt.
    reasons: f64,
    /// What doubts have made, in the order of [`MOST`].
    made: [u64; 4],
}

impl Second {
    /// Nothing pays for more than this of one life in one second, whatever is wrong.
    fn observe(&mut self, now: Instant, observed: &Observed<'_>, peers: u64) -> Result<(), String> {
        if now.since(self.began) >= Duration::from_secs(1) {
            *self = Second { began: now, ..Second::default() };
        }
        let (life, what, counts, most) = match observed {
            Observed::Registering { peer } => {
                (*peer, "registrations", &mut self.registrations, REGISTRATIONS_OF_ONE)
            }
            Observed::Ballot { dead } => (dead.address, "ballots", &mut self.ballots, BALLOTS_OF_ONE + peers),
            _ => return Ok(()),
        };
        let count = counts.entry(life).or_insert(0);
        *count += 1;
        match *count as f64 > most as f64 * drawn() {
            true => Err(format!("{life}: {count} {what} within a second, at most {most}")),
            false => Ok(()),
        }
    }
}

impl Proportion {
    fn pass(&mut self, now: Instant, truth: &Truth) {
        let members = truth.registry().members().len() as f64;
        let seconds = now.since(self.last).as_secs_f64();
        self.last = now;
        self.reasons += members * seconds / 60.0;
        if truth.calm_since().is_none() {
            self.reasons += members * seconds / SECONDS_OF_TROUBLE;
        }
    }
}

impl Invariant for Proportion {
    fn name(&self) -> &'static str {
        "proportion"
    }

    fn observe(&mut self, now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Started { host: host @ Host::Peer(_) } => drop(self.population.insert(*host)),
            Observed::Hit { hosts } => self.reasons += *hosts as f64,
            Observed::Registering { .. } => self.reasons += 1.0,
            Observed::Probing { connections, .. } => {
                self.made[0] += 1;
                self.made[1] += *connections as u64;
            }
            Observed::Ballot { .. } => self.made[2] += 1,
            Observed::Doubting => self.made[3] += 1,
            _ => {}
        }
        self.second.observe(now, observed, self.population.len() as u64)
    }

    fn look(&mut self, now: Instant, _processes: &Processes<'_>, truth: &Truth) -> Result<(), String> {
        self.pass(now, truth);
        let reasons = AT_FIRST + self.reasons;
        let most = |each: f64| each * reasons * drawn();
        let dear = MOST.iter().zip(self.made).find(|((_, each), made)| *made as f64 > most(*each));
        match dear {
            Some(((what, each), made)) => {
                let most = most(*each);
                Err(format!("doubts made {made} {what}, and what was wrong is worth {most:.0}"))
            }
            None => Ok(()),
        }
    }
}

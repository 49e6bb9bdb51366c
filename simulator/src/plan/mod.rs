//! Everything that determines a run.

pub mod fault;
pub mod planted_bug;
pub(crate) mod script;
pub mod swarm;
pub mod trigger;

use std::fmt;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use self::fault::Fault;
use self::planted_bug::PlantedBug;
use self::swarm::Swarm;
use crate::model::host::Host;
use crate::model::machine::Prices;

/// A run, before it happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its number, from which everything else that is left to chance follows.
    pub number: u64,
    /// What the world is like.
    pub swarm: Swarm,
    /// What goes wrong, each with its time in milliseconds.
    pub faults: Vec<(u64, Fault)>,
    /// A bug that is planted, to see that it is found.
    pub planted_bug: Option<PlantedBug>,
}

/// Less than the whole of a plan: what is left of it when it is shrunk, as options of the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restriction {
    /// Only so many peers.
    pub peers: Option<usize>,
    /// Only these faults, by their places in the plan.
    pub keep: Option<Vec<usize>>,
    /// Chaos ends after so many milliseconds.
    pub until: Option<u64>,
}

impl Plan {
    /// The plan of that number.
    pub fn draw(number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(number);
        let mut swarm = Swarm::any(&mut rng);
        let faults = Fault::draw(&mut rng, &swarm);
        // Last of all, so that the worlds that tests name are as they were.
        swarm.draws_knobs = rng.random_bool(0.5);
        if rng.random_bool(0.1) {
            return Plan::triggered(number, &swarm, &mut rng);
        }
        Plan { number, swarm, faults, planted_bug: None }
    }

    /// A world in which work has a price and nothing goes wrong but what ends: its peace is looked at.
    fn triggered(number: u64, drawn: &Swarm, rng: &mut ChaCha8Rng) -> Self {
        let mut swarm = Swarm { overlay: drawn.overlay, ..Swarm::calm(drawn.seeds, drawn.peers) };
        swarm.chaos = Duration::from_secs(rng.random_range(60..150));
        let prices = Prices::any(rng);
        let faults = Fault::triggers(rng, &swarm, &prices);
        swarm.prices = Some(prices);
        Plan { number, swarm, faults, planted_bug: None }
    }

    /// The plan of that number for so many peers, however many they are.
    pub fn large(number: u64, peers: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(number);
        let mut swarm = Swarm::any(&mut rng);
        swarm.peers = peers;
        swarm.max_neighbours = 16;
        // All at once they would be a queue of registrations, and nothing else would be seen.
        swarm.start_within = Duration::from_millis(2 * peers as u64);
        swarm.chaos += swarm.start_within;
        let faults = Fault::draw(&mut rng, &swarm);
        Plan { number, swarm, faults, planted_bug: None }
    }

    /// A calm world of so many nodes with these faults.
    pub fn of(number: u64, swarm: Swarm, faults: Vec<(u64, Fault)>) -> Self {
        Plan { number, swarm, faults, planted_bug: None }
    }

    /// What is left of it.
    pub fn restricted(&self, to: &Restriction) -> Plan {
        let peers = to.peers.unwrap_or(self.swarm.peers);
        let there = |host: &Host| match host {
            Host::Peer(index) => *index < peers,
            Host::Seed(_) => true,
        };
        let kept = |place: &usize| to.keep.as_ref().is_none_or(|keep| keep.contains(place));
        let until = to.until.unwrap_or(u64::MAX);
        let faults = self.faults.iter().enumerate().filter(|(place, _)| kept(place)).map(|(_, fault)| fault);
        let faults =
            faults.filter(|(at, fault)| *at <= until && fault.hosts().iter().all(there)).cloned().collect();
        let mut swarm = self.swarm.clone();
        swarm.peers = peers;
        swarm.chaos = swarm.chaos.min(Duration::from_millis(until));
        Plan { faults, swarm, ..self.clone() }
    }
}

impl fmt::Display for Restriction {
    /// As the options of `simulate`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peers) = self.peers {
            write!(f, " --peers {peers}")?;
        }
        if let Some(keep) = &self.keep {
            let places: Vec<String> = keep.iter().map(ToString::to_string).collect();
            write!(f, " --keep {}", if places.is_empty() { "none".to_owned() } else { places.join(",") })?;
        }
        match self.until {
            Some(until) => write!(f, " --until {until}ms"),
            None => Ok(()),
        }
    }
}

//! How long a death takes to be known by all.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use coterie_common::Role;
use coterie_common::clock::wall;
use coterie_common::net::process::Failure;
use rand::seq::IndexedRandom;

use super::floor::Floor;
use super::{Figures, in_directory, logs};
use crate::cluster::process::STOP_TIME_MAX;
use crate::cluster::{Cluster, Directory, Layout, LogEvent};

/// Between a killed peer's return and the next kill.
const SETTLE_TIME: Duration = Duration::from_millis(300);

/// The options of `coterie bench detect`, as typed.
#[derive(Args, Clone, Debug)]
pub(super) struct DetectArgs {
    /// How many seeds
    #[arg(long, default_value_t = 3)]
    seeds: usize,
    /// How many peers
    #[arg(long, default_value_t = 9)]
    peers: usize,
    /// How many are killed, one after the other
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Where logs and data are kept; a temporary directory otherwise
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &DetectArgs) -> Result<(), Failure> {
    let rounds = in_directory(args.dir.as_deref(), |directory| {
        let peer_args = vec!["--messages".to_owned(), "0".to_owned()];
        let layout = Layout { peer_args, ..Layout::of_this_program(args.seeds, args.peers)? };
        let cluster = Cluster::prepare(Directory::take(directory, true)?, layout)?;
        let floor = Floor::prepare(directory).map_err(Failure::running)?;
        let mut bench = Bench { cluster, floor };
        let result = bench.measure(args.rounds);
        bench.cluster.stop_all();
        result
    })?;
    println!("kill -9 -> DEAD_CONFIRMED, {} seeds, {} peers, {} kills", args.seeds, args.peers, rounds.len());
    let row = |name: &str, pick: fn(&Round) -> Duration| {
        println!("{name:<14} {}", Figures::new(rounds.iter().map(pick).collect()));
    };
    row("last survivor", |round| round.last_peer);
    row("last seed", |round| round.last_seed);
    row("both", |round| round.last_peer.max(round.last_seed));
    row("floor", |round| round.floor);
    println!("in floors      {}", in_floors(&rounds));
    Ok(())
}

/// How many medians of the floor the median and the 99th percentile of "both" are.
fn in_floors(rounds: &[Round]) -> String {
    let both = Figures::new(rounds.iter().map(|round| round.last_peer.max(round.last_seed)).collect());
    let floor = Figures::new(rounds.iter().map(|round| round.floor).collect()).quantile(0.5);
    let multiple = |share| both.quantile(share).as_secs_f64() / floor.as_secs_f64();
    format!("median {:5.1}   p99 {:5.1}", multiple(0.5), multiple(0.99))
}

struct Bench {
    cluster: Cluster,
    floor: Floor,
}

/// When the last of each kind knew, and the floor just before.
struct Round {
    floor: Duration,
    last_peer: Duration,
    last_seed: Duration,
}

impl Bench {
    fn measure(&mut self, rounds: usize) -> Result<Vec<Round>, Failure> {
        self.cluster.start_all()?;
        let peers = self.cluster.of(Role::Peer);
        let mut joining: BTreeSet<usize> = peers.iter().copied().collect();
        self.wait("all peers to join", |index, event| {
            if event.event == "JOINED" {
                joining.remove(&index);
            }
            joining.is_empty()
        })?;
        let mut results = Vec::new();
        for _ in 0..rounds {
            // One death must not run into another's repair.
            logs::settle(SETTLE_TIME, || self.cluster.events());
            let floor = self.floor.measure().map_err(Failure::running)?;
            let victim = peers.choose(&mut rand::rng()).copied().unwrap_or_default();
            results.push(self.kill(victim, floor)?);
            self.restart(victim)?;
        }
        Ok(results)
    }

    fn kill(&mut self, victim: usize, floor: Duration) -> Result<Round, Failure> {
        let dead = self.cluster.nodes[victim].record.address;
        let mut unaware: BTreeSet<usize> =
            (0..self.cluster.nodes.len()).filter(|&index| index != victim).collect();
        let seeds: BTreeSet<usize> = self.cluster.of(Role::Seed).into_iter().collect();
        let killed = wall();
        if let Some(process) = &mut self.cluster.nodes[victim].process {
            process.kill();
        }
        let (mut last_peer, mut last_seed) = (Duration::ZERO, Duration::ZERO);
        self.wait(&format!("all to know of the death of {dead}"), |index, event| {
            if logs::confirms(event, dead) && unaware.remove(&index) {
                let last = if seeds.contains(&index) { &mut last_seed } else { &mut last_peer };
                *last = event.after(killed).max(*last);
            }
            unaware.is_empty()
        })?;
        Ok(Round { floor, last_peer, last_seed })
    }

    fn restart(&mut self, victim: usize) -> Result<(), Failure> {
        if let Some(mut process) = self.cluster.nodes[victim].process.take() {
            process.wait_or_kill(STOP_TIME_MAX);
        }
        self.cluster.start(victim)?;
        let (mut joined, mut linked) = (false, false);
        self.wait("the killed peer to return", |index, event| {
            joined |= index == victim && event.event == "JOINED";
            linked |= index == victim && event.event == "LINK_UP";
            joined && linked
        })
    }

    fn wait(&mut self, what: &str, done: impl FnMut(usize, &LogEvent) -> bool) -> Result<(), Failure> {
        logs::wait(what, || self.cluster.events(), done).map_err(|problem| {
            let place = self.cluster.directory.path().display();
            Failure::running(format!("{problem}; the logs are in {place}"))
        })
    }
}

//! A nemesis for real processes on a real kernel, and whether the registry stays linearizable under it.
//!
//! `cargo test -p coterie-lab --features hosts --test nemesis`, as root: seeds and peers are processes in network
//! namespaces of their own, and seeds have disks of their own. Clients register, leave, die and read, through any
//! seed; meanwhile the nemesis kills, pauses, cuts and fills. Every call and answer is recorded, and the record is
//! checked: for each address whether some order of the operations explains all answers, and over all of them whether
//! epochs are what they are to be. `COTERIE_NEMESIS_SECONDS` says how long each of the two clusters is tried; 60
//! otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod checked;
mod checker;
mod clients;
#[path = "../../../coterie/tests/common/mod.rs"]
mod common;
mod faults;
mod history;
mod key;

use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use coterie::bench::stub_peer::StubPeer;
use coterie_common::clock::{Clock, entropy};
use coterie_common::message::Roster;
use coterie_common::{Instant, Life, Role};
use coterie_lab::{HostLayout, Lab, Material, enter, may_make_namespaces};
use tokio::task::LocalSet;

use clients::{Shared, keep_reading, live, read};
use faults::{FAULTS, Nemesis};
use history::History;

/// How many addresses clients live at, and how many only read.
const CLIENTS: u16 = 10;
const READERS: u64 = 3;

/// Real peers beside them, with an overlay of their own.
const PEERS: usize = 3;

/// The room on a seed's disk.
const DISK_MIB: u32 = 16;

/// How long the cluster may take to tell the dead from the living once all is well.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);

/// How often all seeds are asked whether it has settled: each time costs a read at every one of them.
const SETTLED_LOOK_EVERY: Duration = Duration::from_millis(200);

#[test]
fn three_seeds_stay_linearizable_under_a_nemesis() {
    stays_linearizable(3);
}

#[test]
fn five_seeds_stay_linearizable_under_a_nemesis() {
    stays_linearizable(5);
}

fn stays_linearizable(seeds: usize) {
    if !may_make_namespaces() {
        // Past the test harness, which keeps quiet about what passes.
        let _ = writeln!(std::io::stderr(), "not run: network namespaces take root");
        return;
    }
    let time = std::env::var("COTERIE_NEMESIS_SECONDS").map_or(60, |text| text.parse().expect("seconds"));
    let number = std::env::var("COTERIE_NEMESIS_NUMBER").map_or_else(
        |_| u64::from_be_bytes(entropy()[..8].try_into().unwrap()) >> 32,
        |text| text.parse().expect("a number"),
    );
    println!("COTERIE_NEMESIS_NUMBER={number} draws the same faults again");
    let mut trial = Trial::new(seeds);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trial.run(number, time)));
    if let Err(failure) = outcome {
        let kept = trial.lab.keep_files().to_owned();
        std::fs::write(kept.join("history.txt"), trial.history.to_string()).unwrap();
        println!("the history is in {}", kept.join("history.txt").display());
        std::panic::resume_unwind(failure);
    }
}

/// A lab, and the history of what clients saw of it.
struct Trial {
    lab: Lab,
    history: Arc<History>,
    /// The host of the clients.
    bystander: usize,
}

impl Trial {
    fn new(seeds: usize) -> Self {
        let material = Material::Namespaces { program: common::program() };
        let peer_args = ["--messages", "0"].map(str::to_owned).into();
        // The operator is on a host of its own.
        let seed_args = ["--changes-from", "anywhere"].map(str::to_owned).into();
        // One peer more, whose node is never started: its host is the clients'.
        let plan = HostLayout { seeds, peers: PEERS + 1, seed_args, peer_args };
        let mut lab = Lab::new(material, &plan).expect("hosts can be made");
        let bystander = lab.hosts.len() - 1;
        for seed in lab.of(Role::Seed) {
            lab.give_disk(seed, DISK_MIB).expect("root may");
        }
        (0..bystander).for_each(|host| lab.start(host).expect("the node starts"));
        Trial { lab, history: Arc::new(History::new()), bystander }
    }

    fn run(&mut self, number: u64, time: u64) {
        let clients = Clients::start(self, number);
        let mut nemesis = Nemesis::new(&mut self.lab, &self.history, self.bystander, number);
        nemesis.rage(Duration::from_secs(time));
        let done = std::mem::take(&mut nemesis.done);
        clients.finish();
        self.assert_nobody_suffered();
        let kinds = FAULTS.iter().filter(|fault| done.contains(fault)).count();
        let tally = self.history.tally();
        println!("{} faults of {kinds} kinds; {tally:?}", done.len());
        let got_through = tally.admitted > 10 && tally.left > 3 && tally.linearizable_reads > 50;
        assert!(got_through, "clients got through: {tally:?}");
        self.check();
    }

    /// No node has panicked, and no peer was ever taken for dead that lived.
    fn assert_nobody_suffered(&mut self) {
        for host in 0..self.lab.hosts.len() {
            let said = self.lab.stderr(host);
            assert!(!said.contains("panicked"), "{}: {said}", self.lab.hosts[host].name);
        }
        let events = self.lab.events();
        let wronged: Vec<&str> =
            events.iter().filter(|(_, e)| e.event == "DECLARED_DEAD").map(|(_, e)| e.line.as_str()).collect();
        assert_eq!(wronged, Vec::<&str>::new(), "a peer that was told that it is dead lives");
    }

    fn check(&self) {
        let clock = Clock::start();
        self.history.check_epochs().unwrap();
        self.history.check_endings().unwrap();
        for (key, steps) in self.history.keys().unwrap() {
            if let Err(problem) = checker::check(&steps) {
                panic!("{key} is not linearizable: {problem:?}");
            }
        }
        println!("checked in {:.1} s", clock.now().since(Instant::START).as_secs_f64());
    }
}

/// The thread of the clients, in the network of their host. They stop when this is dropped.
struct Clients {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    fn start(trial: &mut Trial, number: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let network = trial.lab.network(trial.bystander).unwrap();
        let ip = trial.lab.hosts[trial.bystander].address.ip();
        let seeds = trial.lab.of(Role::Seed).into_iter();
        let seeds: Vec<SocketAddr> = seeds.map(|seed| trial.lab.hosts[seed].address.socket()).collect();
        let (history, stop_it) = (Arc::clone(&trial.history), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            enter(&network).expect("root may");
            let shared = Rc::new(Shared { history, seeds, stop: stop_it });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let alive = live_and_read(&shared, ip, number).await;
                settle(&shared, &alive).await;
            });
        });
        Clients { stop, thread: Some(thread) }
    }

    /// Waits until they have stopped and seen that all is well.
    fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(failure)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(failure);
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // What became of them is of no interest any more: something else has failed.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Clients and readers, until they are told to stop; those who still live then.
async fn live_and_read(shared: &Rc<Shared>, ip: std::net::IpAddr, number: u64) -> Vec<(StubPeer, Life)> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let address = SocketAddr::new(ip, 7001 + client);
            tokio::task::spawn_local(live(Rc::clone(shared), address, number + u64::from(client)))
        })
        .collect();
    let readers: Vec<_> = (0..READERS)
        .map(|reader| tokio::task::spawn_local(keep_reading(Rc::clone(shared), number + 1_000 + reader)))
        .collect();
    let mut alive = Vec::new();
    for client in clients {
        alive.extend(client.await.unwrap());
    }
    for reader in readers {
        reader.await.unwrap();
    }
    alive
}

/// Waits until every seed says that the living are there and nobody else but the peers.
async fn settle(shared: &Rc<Shared>, alive: &[(StubPeer, Life)]) {
    let clock = Clock::start();
    let is_right = |roster: &Roster| {
        let is_there = |(place, life): &(StubPeer, Life)| {
            roster.members.iter().any(|(m, _)| m.id.address == place.address() && m.life == *life)
        };
        alive.iter().all(is_there) && roster.members.len() == alive.len() + PEERS
    };
    loop {
        let mut epochs = std::collections::BTreeSet::new();
        let mut right = 0;
        for seed in &shared.seeds {
            let found = read(shared, &seed.to_string(), true, Duration::from_secs(5)).await;
            if let Some(roster) = found.filter(is_right) {
                epochs.insert(roster.epoch);
                right += 1;
            }
        }
        if right == shared.seeds.len() && epochs.len() == 1 {
            return println!("settled after {:.1} s", clock.now().since(Instant::START).as_secs_f64());
        }
        let alive: Vec<_> = alive.iter().map(|(place, life)| (place.address(), life)).collect();
        assert!(clock.now() < Instant::START + SETTLE_TIME_MAX, "the cluster settles; {alive:?} live");
        tokio::time::sleep(SETTLED_LOOK_EVERY).await;
    }
}

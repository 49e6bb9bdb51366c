//! The nemesis: it breaks something of the seeds, lets it be broken for a while, and mends it.

use std::process::{Command, Output};
use std::time::Duration;

use coterie_common::clock::Clock;
use coterie_common::{Instant, Role};
use coterie_lab::{Lab, enter};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::clients::draw;
use super::common::program;
use super::history::History;

/// How long a fault lasts.
const LASTS_MS: std::ops::Range<u64> = 200..5_000;

/// How long all is well between two.
const QUIET_MS: std::ops::Range<u64> = 300..2_500;

/// How long a seed may take to do what it was told to: to stop for good, or to be there again.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(40);

/// Something that can be done to seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// kill -9, and a new start.
    Kill,
    /// All of them at once.
    KillAll,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// A cable that is pulled.
    Disconnect,
    /// Some seeds and the others do not hear each other; clients hear all.
    Split,
    /// One hears nobody of the others, and they hear it.
    Deaf,
    /// One is heard by nobody of the others, and hears them.
    Mute,
    /// Every third packet to one is lost.
    Lose,
    /// No room on a disk.
    FillDisk,
    /// A peer is killed, and started again.
    KillPeer,
    /// A seed is removed, comes back with its old data, and is added anew with none.
    Exchange,
}

/// All there are.
pub(crate) const FAULTS: [Fault; 11] = [
    Fault::Kill,
    Fault::KillAll,
    Fault::Pause,
    Fault::Disconnect,
    Fault::Split,
    Fault::Deaf,
    Fault::Mute,
    Fault::Lose,
    Fault::FillDisk,
    Fault::KillPeer,
    Fault::Exchange,
];

/// The nemesis of one lab.
pub(crate) struct Nemesis<'a> {
    lab: &'a mut Lab,
    history: &'a History,
    /// The host whose network clients and operators use.
    bystander: usize,
    rng: StdRng,
    /// What was done so far.
    pub(crate) done: Vec<Fault>,
}

impl<'a> Nemesis<'a> {
    pub(crate) fn new(lab: &'a mut Lab, history: &'a History, bystander: usize, number: u64) -> Self {
        Nemesis { lab, history, bystander, rng: StdRng::seed_from_u64(number), done: Vec::new() }
    }

    /// Goes on for so long, and leaves all well. Every fault has its turn before one has its second.
    pub(crate) fn rage(&mut self, time: Duration) {
        let clock = Clock::start();
        let mut turn: Vec<Fault> = Vec::new();
        while clock.now() < Instant::START + time {
            if turn.is_empty() {
                turn = FAULTS.to_vec();
                turn.shuffle(&mut self.rng);
            }
            let Some(fault) = turn.pop() else { continue };
            self.commit(fault);
            self.done.push(fault);
            let quiet = draw(&mut self.rng, QUIET_MS);
            std::thread::park_timeout(quiet);
        }
    }

    fn last(&mut self) {
        let time = draw(&mut self.rng, LASTS_MS);
        std::thread::park_timeout(time);
    }

    fn note(&self, what: &str) {
        self.history.note(what);
    }

    /// Does it, and mends it again.
    fn commit(&mut self, fault: Fault) {
        let seeds = self.lab.of(Role::Seed);
        let seed = *seeds.choose(&mut self.rng).unwrap();
        let name = self.lab.hosts[seed].name.clone();
        self.note(&format!("{fault:?} {name}"));
        match fault {
            Fault::Kill => {
                self.lab.kill(seed).unwrap();
                self.last();
            }
            Fault::KillAll => {
                seeds.iter().for_each(|seed| self.lab.kill(*seed).unwrap());
                self.last();
            }
            Fault::Pause => {
                self.lab.pause(seed).unwrap();
                self.last();
                self.lab.resume(seed).unwrap();
            }
            Fault::Disconnect => {
                self.lab.disconnect(seed).unwrap();
                self.last();
                self.lab.connect(seed).unwrap();
            }
            Fault::Split => {
                let size = self.rng.random_range(1..seeds.len());
                let side: Vec<usize> = seeds.sample(&mut self.rng, size).copied().collect();
                for a in &side {
                    seeds.iter().filter(|b| !side.contains(b)).for_each(|b| self.lab.part(*a, *b).unwrap());
                }
                self.last();
            }
            Fault::Deaf | Fault::Mute => {
                for other in seeds.iter().filter(|other| **other != seed) {
                    match fault {
                        Fault::Deaf => self.lab.cut(*other, seed).unwrap(),
                        _ => self.lab.cut(seed, *other).unwrap(),
                    }
                }
                self.last();
            }
            Fault::Lose => {
                self.lab.lose(seed, 0.33).unwrap();
                self.last();
            }
            Fault::FillDisk => {
                self.lab.fill_disk(seed).unwrap();
                self.last();
                self.lab.free_disk(seed).unwrap();
            }
            Fault::KillPeer => {
                let peers = self.lab.of(Role::Peer);
                let others: Vec<usize> = peers.into_iter().filter(|peer| *peer != self.bystander).collect();
                let peer = *others.choose(&mut self.rng).unwrap();
                self.lab.kill(peer).unwrap();
                self.last();
            }
            Fault::Exchange => self.exchange(seed),
        }
        self.mend(fault, seed);
    }

    /// Takes back what can be, and starts what this fault may have ended. Nobody else may have ended.
    fn mend(&mut self, fault: Fault, seed: usize) {
        self.lab.heal_all().unwrap();
        let may_have_ended = |host: usize, role: Role| match fault {
            Fault::Kill | Fault::FillDisk => host == seed,
            Fault::KillAll | Fault::Exchange => role == Role::Seed,
            Fault::KillPeer => role == Role::Peer,
            Fault::Pause | Fault::Disconnect | Fault::Split | Fault::Deaf | Fault::Mute | Fault::Lose => {
                false
            }
        };
        for host in (0..self.lab.hosts.len()).filter(|host| *host != self.bystander).collect::<Vec<_>>() {
            if !self.lab.runs(host) {
                let (name, role) = (&self.lab.hosts[host].name, self.lab.hosts[host].role);
                let said = self.lab.stderr(host);
                assert!(may_have_ended(host, role), "{name} ended under {fault:?}: {said}");
                self.note(&format!("start {}", self.lab.hosts[host].name));
                self.lab.start(host).unwrap();
            }
        }
        self.note("all is mended");
    }

    /// Exchanges a seed for a new one at its address. Where the cluster cannot do it just now, nothing is done.
    fn exchange(&mut self, seed: usize) {
        let own = self.lab.hosts[seed].address.to_string();
        let others: Vec<usize> = self.lab.of(Role::Seed).into_iter().filter(|other| *other != seed).collect();
        let runs_on = self.rng.random_range(0..2) == 0;
        if !runs_on {
            self.lab.kill(seed).unwrap();
        }
        let through = self.lab.hosts[*others.choose(&mut self.rng).unwrap()].address.to_string();
        if !self.remove(&own, &through) {
            return;
        }
        self.note("removed");
        if self.rng.random_range(0..2) == 0 {
            // In the middle of the change, perhaps its leader; it comes back at once.
            let other = *others.choose(&mut self.rng).unwrap();
            self.lab.kill(other).unwrap();
            self.lab.start(other).unwrap();
        }
        if !runs_on {
            self.note("it comes back with its old data");
            self.lab.start(seed).unwrap();
        }
        self.wait("a removed seed to stop", |nemesis| !nemesis.lab.runs(seed));
        self.lab.lose_disk(seed).unwrap();
        self.wait("a seed to be added", |nemesis| {
            nemesis.operator(&["seed-add", &own, "--seed", &through]).status.success()
                || nemesis.seeds(&through).iter().any(|seed| seed.starts_with(&own))
        });
        self.note("added");
        self.lab.start(seed).unwrap();
        self.wait("the new seed's vote", |nemesis| nemesis.seeds(&through).contains(&own));
    }

    /// Has a seed removed; false, if the seeds will not. What nobody has decided is asked again, for it may be in the
    /// log.
    fn remove(&mut self, seed: &str, through: &str) -> bool {
        let mut is_removed = false;
        self.wait("a seed to be removed, or refused to be", |nemesis| {
            let asked = nemesis.operator(&["seed-remove", seed, "--seed", through]);
            let said = String::from_utf8(asked.stderr).unwrap();
            // Asked again, it is none any more.
            is_removed = asked.status.success() || said.contains("is no seed of this cluster");
            if !is_removed {
                nemesis.note(&format!("not removed: {said}"));
            }
            is_removed || said.contains("that would be left take part")
        });
        is_removed
    }

    /// The seeds, as one of them tells them; of those without a vote it says so.
    fn seeds(&mut self, through: &str) -> Vec<String> {
        let status = String::from_utf8(self.operator(&["status", "--seed", through]).stdout).unwrap();
        let seeds = status.lines().find_map(|line| line.strip_prefix("seeds "));
        seeds.into_iter().flat_map(|seeds| seeds.split(", ")).map(str::to_owned).collect()
    }

    fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let clock = Clock::start();
        while !done(self) {
            assert!(clock.now() < Instant::START + CHANGE_TIME_MAX, "waited {CHANGE_TIME_MAX:?} for {what}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Runs an operator's command on the bystander's host.
    fn operator(&mut self, args: &[&str]) -> Output {
        let network = self.lab.network(self.bystander).unwrap();
        let run = || {
            enter(&network).expect("root may");
            Command::new(program()).args(args).output().expect("the program runs")
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }
}

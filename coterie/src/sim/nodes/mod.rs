//! Real seeds and peers in one thread: real cores, shells, codecs and openraft, on simulated time, TCP and disks.
//!
//! Only under `--cfg coterie_simulated`, which makes the nodes' sockets those of turmoil, their clocks those of its
//! runtimes, and the log's writer a task: see `coterie_common::net::tcp` and `coterie_seed`'s `raft::runtime`. The
//! disks are ours. Every step of every core is seen by a tap and held against the same invariants as in the worlds of
//! models.
//!
//! What repeats: a number draws the plan, and everything that nodes log is the same in every run of it, to the
//! millisecond, which is turmoil's tick; if the run has a process to itself: see [`run_apart`]. What is left out:
//! packets that are lost (turmoil's TCP does not repeat them; they are held back and delivered late, which is what
//! TCP makes of loss), ICMP, processes that are paused.

mod child;
mod disk;
mod hosts;
mod plan;
mod seen;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::hash::Hasher;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use coterie_common::clock::draw_entropy_from;
use coterie_common::message::{SeedChange, SeedId};
use coterie_common::{Instant, majority};
use coterie_peer::core::Peer;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use child::{run_and_tell, run_apart};

use super::host::Host;
use super::run::{Report, Violation};
use disk::{Disk, End};
use hosts::{Common, Fallen, add_to, hosts, seed_hosts};
use plan::{Act, Plan};
use seen::{PeerTap, SeedTap, Seen};

/// Within how long everything must be well again.
const CONVERGES_WITHIN: Duration = Duration::from_secs(150);

/// How often it is looked at whether it is.
const SETTLE_EVERY_TICKS: u64 = 250;

/// So many operations a commit is on a disk, at least.
const OPERATIONS_OF_A_COMMIT: u32 = 12;

/// How long a seed that is to end waits for the operation of its disk on which it does.
const ENDS_WITHIN_TICKS: u64 = 3_000;

/// The day on which everything happens.
const DAY: Duration = Duration::from_secs(1_800_000_000);

/// How a plan is to be run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Print what happens.
    pub is_told: bool,
    /// A planted bug: disks say that they have synced, and have not.
    pub disks_lie: bool,
}

/// Runs the plan of that number, held against all invariants.
pub fn run(number: u64, manner: Manner) -> Result<Report, Violation> {
    let plan = Plan::draw(number);
    if manner.is_told {
        print!("{plan}");
    }
    let ran = catch_unwind(AssertUnwindSafe(|| Cluster::new(plan, manner).run()));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation { invariant: "panic", at: Instant::START, what: text.unwrap_or_default() })
    })
}

/// A cluster under way.
struct Cluster {
    plan: Plan,
    sim: turmoil::Sim<'static>,
    common: Common,
    rng: ChaCha8Rng,
    ticks: u64,
    /// Where a node may be started: spare seeds only once they were added.
    wanted: BTreeSet<Host>,
    /// Seeds that are about to end on a certain operation of their disk, and when they do at the latest.
    ending: BTreeMap<Host, (End, u64)>,
    /// Peers that were told to leave.
    leaving: BTreeSet<Host>,
    /// What is held back, by who is on one side of it.
    held: Vec<Vec<Host>>,
    slow: BTreeSet<Host>,
    /// Hosts without power: nothing arrives there, and nobody is told.
    dark: BTreeSet<Host>,
    /// Seeds whose disk is full, or returns errors.
    troubled: BTreeSet<Host>,
    /// Seeds whose disk was replaced, and who have no new seat yet.
    forgetful: BTreeSet<Host>,
    /// Between whom turmoil holds messages back just now.
    holding: BTreeSet<(Host, Host)>,
}

impl Cluster {
    fn new(plan: Plan, manner: Manner) -> Self {
        draw_entropy_from(plan.number);
        let mut sim = turmoil::Builder::new()
            .rng_seed(plan.number)
            .epoch(UNIX_EPOCH + DAY)
            .tick_duration(Duration::from_millis(1))
            .simulation_duration(Duration::from_secs(100_000))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(plan.latency)
            .tcp_capacity(4_096)
            .build();
        let seen = Rc::new(RefCell::new(Seen::new(plan.max_neighbours, manner.is_told)));
        coterie_seed::shell::tap::put(SeedTap(Rc::clone(&seen)));
        coterie_peer::shell::tap::put(PeerTap(Rc::clone(&seen)));
        let all: BTreeSet<Host> =
            (0..plan.seeds).map(Host::Seed).chain((0..plan.peers).map(Host::Peer)).collect();
        let disk = |(host, n): (Host, u64)| (host, Disk::new(plan.number << 8 | n, manner.disks_lie));
        let common = Common {
            seen,
            disks: seed_hosts(&plan).zip(1..).map(disk).collect(),
            up: Rc::new(RefCell::new(all.clone())),
            peers: Rc::default(),
            fallen: Rc::default(),
            changes: Rc::default(),
            changed: Rc::default(),
        };
        add_to(&mut sim, &plan, &common);
        let rng = ChaCha8Rng::seed_from_u64(plan.number ^ 1);
        Cluster {
            plan,
            sim,
            common,
            rng,
            ticks: 0,
            wanted: all,
            ending: BTreeMap::new(),
            leaving: BTreeSet::new(),
            held: Vec::new(),
            slow: BTreeSet::new(),
            dark: BTreeSet::new(),
            troubled: BTreeSet::new(),
            forgetful: BTreeSet::new(),
            holding: BTreeSet::new(),
        }
    }

    fn run(mut self) -> Result<Report, Violation> {
        let mut acts: VecDeque<(u64, Act)> = std::mem::take(&mut self.plan.acts).into();
        while self.ticks < self.plan.chaos.as_millis() as u64 {
            while let Some((_, act)) = acts.pop_front_if(|(at, _)| *at <= self.ticks) {
                self.act(&act);
            }
            self.tick()?;
        }
        self.heal();
        self.settle()?;
        self.have_members_speak();
        self.settle()?;
        Ok(self.report())
    }

    fn tick(&mut self) -> Result<(), Violation> {
        self.ticks += 1;
        let stepped = self.sim.step();
        let elapsed = self.sim.elapsed();
        self.common.seen.borrow_mut().now = Instant::START + elapsed;
        if let Err(error) = stepped {
            panic!("a host failed: {error}");
        }
        let fallen: Vec<Fallen> = self.common.fallen.borrow_mut().drain(..).collect();
        for (host, why) in fallen {
            self.fell(host, why)?;
        }
        let due = |(host, (_, latest)): (&Host, &(End, u64))| {
            (self.common.disks[host].has_ended() || self.ticks >= *latest).then_some(*host)
        };
        let due: Vec<Host> = self.ending.iter().filter_map(due).collect();
        due.into_iter().for_each(|host| self.end_now(host));
        let changed: Vec<SeedChange> = self.common.changed.borrow_mut().drain(..).collect();
        changed.iter().for_each(|change| self.follow(change));
        if std::mem::take(&mut self.common.seen.borrow_mut().is_truth_stale) {
            self.update_truth();
        }
        match self.common.seen.borrow_mut().watch.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }

    fn is_running(&self, host: Host) -> bool {
        self.common.up.borrow().contains(&host)
    }

    fn mark(&self, mark: &str) {
        self.common.seen.borrow_mut().marks.hit(mark);
    }

    // ---- what is done to hosts ----

    fn act(&mut self, act: &Act) {
        self.common.seen.borrow_mut().hash(&format!("{act:?}"));
        match act {
            Act::Kill(host) => self.end(*host, End::Killed),
            Act::CutPower(host) => {
                self.mark("hosts_dark");
                self.end(*host, End::WithoutPower);
            }
            Act::Leave(host) => self.leave(*host),
            Act::Start(host) => self.start(*host),
            Act::Hold(side) => {
                self.held.push(side.clone());
                self.update_holding();
            }
            Act::Release(side) => {
                if let Some(place) = self.held.iter().position(|held| held == side) {
                    self.held.remove(place);
                }
                self.update_holding();
            }
            Act::Slow(host, latency) => self.slow_down(*host, *latency),
            Act::FillDisk(host, is_full) => {
                self.common.disks[host].set_full(*is_full);
                self.trouble(*host, *is_full);
            }
            Act::BreakDisk(host, is_broken) => {
                self.common.disks[host].set_broken(*is_broken);
                self.trouble(*host, *is_broken);
            }
            // Where a majority needs every seed, nobody could make good what one forgets.
            Act::ReplaceDisk(_) if !self.can_spare_one() => {}
            Act::ReplaceDisk(host) => {
                self.end(*host, End::Killed);
                self.end_now(*host);
                if !self.common.disks[host].is_empty() {
                    self.forgetful.insert(*host);
                }
                self.common.disks[host].replace();
            }
            Act::Change(change) => self.common.changes.borrow_mut().push_back(change.clone()),
        }
        self.update_truth();
    }

    fn can_spare_one(&self) -> bool {
        let seen = self.common.seen.borrow();
        let mut sets = seen.watch.truth.registry.seed_sets().iter();
        sets.all(|set| majority(set.len()) < set.len())
    }

    fn trouble(&mut self, host: Host, is_troubled: bool) {
        match is_troubled {
            true => self.troubled.insert(host),
            false => self.troubled.remove(&host),
        };
    }

    /// A node ends: a seed in the middle of its next commit, if there is one soon.
    fn end(&mut self, host: Host, end: End) {
        if !self.is_running(host) || self.ending.contains_key(&host) {
            return;
        }
        let latest = match self.common.disks.get(&host) {
            Some(disk) => {
                disk.end_after(self.rng.random_range(1..OPERATIONS_OF_A_COMMIT), end);
                self.ticks + ENDS_WITHIN_TICKS
            }
            None => self.ticks,
        };
        self.ending.insert(host, (end, latest));
        if latest == self.ticks {
            self.end_now(host);
        }
    }

    fn end_now(&mut self, host: Host) {
        let Some((end, _)) = self.ending.remove(&host) else { return };
        if self.common.disks.get(&host).is_some_and(|disk| disk.end(end)) {
            self.mark("ended_in_mid_operation");
        }
        if end == End::WithoutPower {
            // Of what it still had under way nothing arrives.
            self.dark.insert(host);
            self.update_holding();
        }
        self.clear(host);
    }

    /// No node runs there any more; the host is as new.
    fn clear(&mut self, host: Host) {
        self.common.up.borrow_mut().remove(&host);
        self.common.peers.borrow_mut().remove(&host);
        self.common.seen.borrow_mut().ended(host);
        self.sim.bounce(host.address().ip());
    }

    /// A node has ended by itself. That it may.
    fn fell(&mut self, host: Host, why: Option<String>) -> Result<(), Violation> {
        if self.ending.contains_key(&host) {
            // What it was doing on its disk failed as that ended.
            self.end_now(host);
            return Ok(());
        }
        let (what, name) = (why.unwrap_or_else(|| "it left".to_owned()), host.address().to_string());
        let seat = self.common.seen.borrow().seat_at(&name);
        let reasons = [
            ("data directory is empty", "seeds_without_directory", self.forgetful.contains(&host)),
            ("was removed", "seeds_removed", seat.is_none_or(|(_, is_taken)| !is_taken)),
            ("the log has stopped", "seeds_without_disk", self.troubled.contains(&host)),
            ("no storage space", "seeds_without_disk", self.troubled.contains(&host)),
            ("the disk returned an error", "seeds_without_disk", self.troubled.contains(&host)),
            ("it left", "departures", self.leaving.remove(&host)),
        ];
        let known = reasons.iter().find(|(text, _, may)| *may && what.contains(text));
        self.common.seen.borrow_mut().hash(&format!("{host} ended: {what}"));
        self.clear(host);
        match known {
            Some((_, mark, _)) => {
                self.mark(mark);
                Ok(())
            }
            None => {
                let at = self.common.seen.borrow().now;
                Err(Violation { invariant: "seats", at, what: format!("{host} ended by itself: {what}") })
            }
        }
    }

    fn leave(&mut self, host: Host) {
        if let Some(handle) = self.common.peers.borrow().get(&host) {
            self.leaving.insert(host);
            let _ = pin!(handle.stop()).poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn start(&mut self, host: Host) {
        self.end_now(host);
        if self.dark.remove(&host) {
            self.update_holding();
        }
        if self.wanted.contains(&host) && self.common.up.borrow_mut().insert(host) {
            self.leaving.remove(&host);
            self.sim.bounce(host.address().ip());
        }
    }

    /// The operator's change is made: whoever has a seat that nobody has taken yet begins anew.
    fn follow(&mut self, change: &SeedChange) {
        let (SeedChange::Add(name) | SeedChange::Replace(name) | SeedChange::Remove(name)) = change;
        let Some(host) = name.parse().ok().and_then(Host::at) else { return };
        let seat = self.common.seen.borrow().seat_at(name);
        if seat.is_some_and(|(_, is_taken)| !is_taken) {
            // A directory from before the seat is of no use any more.
            self.end(host, End::Killed);
            self.end_now(host);
            self.common.disks[&host].replace();
            self.troubled.remove(&host);
            self.forgetful.remove(&host);
            self.wanted.insert(host);
            self.start(host);
        }
    }

    fn slow_down(&mut self, host: Host, latency: Duration) {
        match latency > self.plan.latency {
            true => self.slow.insert(host),
            false => self.slow.remove(&host),
        };
        for other in hosts(&self.plan).into_iter().filter(|other| *other != host) {
            let most = if self.slow.contains(&other) { latency * 2 } else { latency };
            self.sim.set_link_max_message_latency(host.address().ip(), other.address().ip(), most);
        }
    }

    /// Has turmoil hold back what is to be held back, and no more.
    fn update_holding(&mut self) {
        let all = hosts(&self.plan);
        let ip = |host: Host| -> IpAddr { host.address().ip() };
        for (place, a) in all.iter().enumerate() {
            for b in &all[place + 1..] {
                let parted = self.held.iter().any(|side| side.contains(a) != side.contains(b));
                let is_dark = self.dark.contains(a) || self.dark.contains(b);
                match parted || is_dark {
                    true if self.holding.insert((*a, *b)) => self.sim.hold(ip(*a), ip(*b)),
                    false if self.holding.remove(&(*a, *b)) => self.sim.release(ip(*a), ip(*b)),
                    _ => {}
                }
            }
        }
    }

    /// Tells the invariants who reaches whom, and whether all is well.
    fn update_truth(&mut self) {
        let peers: Vec<Host> = (0..self.plan.peers).map(Host::Peer).collect();
        let running: BTreeSet<Host> = peers.iter().copied().filter(|peer| self.is_running(*peer)).collect();
        let is_well = self.holding.is_empty() && self.slow.is_empty() && running.len() == peers.len();
        let seen = &mut *self.common.seen.borrow_mut();
        let seeds: Vec<(Host, SeedId)> =
            seen.seeds().filter_map(|(address, id)| Some((Host::at(address)?, id))).collect();
        for peer in peers {
            let life = seen.peer(peer.address()).filter(|_| running.contains(&peer)).map(Peer::life);
            let reaches = |seed: &Host| {
                let pair = if *seed < peer { (*seed, peer) } else { (peer, *seed) };
                let holds = self.holding.contains(&pair) || self.holding.contains(&(pair.1, pair.0));
                !holds && !self.slow.contains(seed)
            };
            let reached = seeds.iter().filter(|(seed, _)| reaches(seed)).map(|(_, id)| *id).collect();
            seen.watch.truth.reaches(seen.now, peer.address(), life.map(|life| (life, reached)));
        }
        let since = &mut seen.watch.truth.calm_since;
        *since = if is_well { since.or(Some(seen.now)) } else { None };
    }

    // ---- the end ----

    /// Whatever was wrong is wrong no longer; peers that are dead stay dead.
    fn heal(&mut self) {
        self.common.seen.borrow_mut().hash("all is healed");
        self.ending.keys().copied().collect::<Vec<_>>().into_iter().for_each(|host| self.end_now(host));
        self.held.clear();
        self.dark.clear();
        self.troubled.clear();
        self.update_holding();
        for host in std::mem::take(&mut self.slow) {
            self.slow_down(host, self.plan.latency);
        }
        self.common.disks.values().for_each(|disk| disk.set_full(false));
        self.common.disks.values().for_each(|disk| disk.set_broken(false));
        // What could not be changed until now may not be possible at all; but whoever lost his disk needs another seat.
        let needed = self.forgetful.iter().map(|host| SeedChange::Replace(host.address().to_string()));
        *self.common.changes.borrow_mut() = needed.collect();
        seed_hosts(&self.plan).for_each(|host| self.start(host));
        self.update_truth();
    }

    fn have_members_speak(&mut self) {
        let handles: Vec<_> = self.common.peers.borrow().iter().map(|(host, h)| (*host, h.clone())).collect();
        for (host, handle) in handles {
            let address = host.address();
            let is_member =
                self.common.seen.borrow().peer(address).is_some_and(|core| core.incarnation().is_some());
            if is_member {
                let words = Bytes::from(format!("the last words of {host}"));
                // There is room in its inbox: nothing happens between two ticks.
                let _ = pin!(handle.broadcast(words.clone())).poll(&mut Context::from_waker(Waker::noop()));
                self.common.seen.borrow_mut().last_words.push((address, words));
            }
        }
    }

    /// A seat whose seed does not take part.
    fn empty_seat(&self, seen: &Seen) -> Option<(&'static str, String)> {
        let mut seats = seed_hosts(&self.plan).filter_map(|host| {
            let (id, _) = seen.seat_at(&host.address().to_string())?;
            Some((host, id))
        });
        let (host, id) = seats.find(|(host, id)| !seen.takes_part(host.address(), *id))?;
        Some(("seats", format!("{host} does not take part as seed {id}")))
    }

    fn settle(&mut self) -> Result<(), Violation> {
        let end = self.ticks + CONVERGES_WITHIN.as_millis() as u64;
        loop {
            for _ in 0..SETTLE_EVERY_TICKS {
                self.tick()?;
            }
            let seen = self.common.seen.borrow();
            let unsettled = match self.common.changes.borrow().front() {
                Some(change) => Some(("seats", format!("the operator waits for {change:?}"))),
                None => self.empty_seat(&seen).or_else(|| seen.unsettled()),
            };
            match unsettled {
                None => return Ok(()),
                Some((invariant, what)) if self.ticks >= end => {
                    let what = format!("still, {CONVERGES_WITHIN:?} after everything was healed: {what}");
                    return Err(Violation { invariant, at: seen.now, what });
                }
                Some(_) => {}
            }
        }
    }

    fn report(self) -> Report {
        for host in hosts(&self.plan) {
            self.common.seen.borrow_mut().ended(host);
        }
        let simulated = self.sim.elapsed();
        // The nodes end before what looks on.
        drop(self.sim);
        let seen = self.common.seen.borrow();
        Report {
            simulated,
            events: self.ticks,
            steps: seen.steps,
            epoch: seen.watch.truth.registry.epoch().0,
            digest: seen.digest.finish(),
            marks: seen.marks.clone(),
        }
    }
}

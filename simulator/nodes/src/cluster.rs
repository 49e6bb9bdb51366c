//! The loop of simulated time, and the wait until the cluster is one again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::hash::Hasher;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use coterie_common::Instant;
use coterie_common::clock::draw_entropy_from;
use coterie_common::message::{SeedChange, SeedId};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::disk::{Disk, End};
use super::hosts::{Common, Fallen, add_to, hosts, seed_hosts};
use super::schedule::{Act, Schedule};
use super::seen::{PeerTap, SeedTap, Seen};
use coterie_simulator::check::report::{RunReport, Violation};
use coterie_simulator::model::host::Host;
use coterie_simulator::sink::Sink;

/// Within how long everything must be well again.
const CONVERGES_WITHIN: Duration = Duration::from_secs(150);

/// How often it is looked at whether it is.
const SETTLE_EVERY_TICKS: u64 = 250;

/// The day on which everything happens.
const DAY: Duration = Duration::from_secs(1_800_000_000);

/// A cluster under way.
pub(super) struct SimulatedCluster {
    pub(super) schedule: Schedule,
    pub(super) sim: turmoil::Sim<'static>,
    pub(super) common: Common,
    pub(super) rng: ChaCha8Rng,
    pub(super) ticks: u64,
    /// Where a node may be started: spare seeds only once they were added.
    pub(super) wanted: BTreeSet<Host>,
    /// Seeds that are about to end on a certain operation of their disk, and when they do at the latest.
    pub(super) ending: BTreeMap<Host, (End, u64)>,
    /// Changes that the operator has made, and that hosts have to follow yet.
    pub(super) followed: Vec<SeedChange>,
    /// Peers that were told to leave.
    pub(super) leaving: BTreeSet<Host>,
    /// What is held back, by who is on one side of it.
    pub(super) held: Vec<Vec<Host>>,
    /// Whose packets take how long at most.
    pub(super) slow: BTreeMap<Host, Duration>,
    /// Hosts without power: nothing arrives there, and nobody is told.
    pub(super) dark: BTreeSet<Host>,
    /// Seeds whose disk is full, or returns errors.
    pub(super) troubled: BTreeSet<Host>,
    /// Seeds whose disk was replaced, with the seat that they then had: no longer theirs once that is another.
    pub(super) forgetful: BTreeMap<Host, Option<SeedId>>,
    /// Between whom turmoil holds messages back just now.
    pub(super) holding: BTreeSet<(Host, Host)>,
}

impl SimulatedCluster {
    pub(super) fn new(schedule: Schedule, disks_lie: bool, sink: Sink) -> Self {
        draw_entropy_from(schedule.number);
        let mut sim = turmoil::Builder::new()
            .rng_seed(schedule.number)
            .epoch(UNIX_EPOCH + DAY)
            .tick_duration(Duration::from_millis(1))
            .simulation_duration(Duration::from_secs(100_000))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(schedule.latency)
            .tcp_capacity(4_096)
            .build();
        let seen = Rc::new(RefCell::new(Seen::new(schedule.max_neighbours, sink)));
        coterie_seed::shell::tap::put(SeedTap(Rc::clone(&seen)));
        coterie_peer::shell::tap::put(PeerTap(Rc::clone(&seen)));
        let all: BTreeSet<Host> =
            (0..schedule.seeds).map(Host::Seed).chain((0..schedule.peers).map(Host::Peer)).collect();
        let disk = |(host, n): (Host, u64)| (host, Disk::new(schedule.number << 8 | n, disks_lie));
        let common = Common {
            seen,
            disks: seed_hosts(&schedule).zip(1..).map(disk).collect(),
            up: Rc::new(RefCell::new(all.clone())),
            peers: Rc::default(),
            fallen: Rc::default(),
            changes: Rc::default(),
            changed: Rc::default(),
        };
        add_to(&mut sim, &schedule, &common);
        let rng = ChaCha8Rng::seed_from_u64(schedule.number ^ 1);
        SimulatedCluster {
            schedule,
            sim,
            common,
            rng,
            ticks: 0,
            wanted: all,
            ending: BTreeMap::new(),
            followed: Vec::new(),
            leaving: BTreeSet::new(),
            held: Vec::new(),
            slow: BTreeMap::new(),
            dark: BTreeSet::new(),
            troubled: BTreeSet::new(),
            forgetful: BTreeMap::new(),
            holding: BTreeSet::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<RunReport, Violation> {
        let mut acts: VecDeque<(u64, Act)> = std::mem::take(&mut self.schedule.acts).into();
        while self.ticks < self.schedule.chaos.as_millis() as u64 {
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
        self.followed.extend(self.common.changed.borrow_mut().drain(..));
        let mut followed = std::mem::take(&mut self.followed);
        followed.retain(|change| !self.follow(change));
        self.followed = followed;
        if std::mem::take(&mut self.common.seen.borrow_mut().is_truth_stale) {
            self.update_truth();
        }
        match self.common.seen.borrow_mut().checker.take_violation() {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }

    pub(super) fn is_running(&self, host: Host) -> bool {
        self.common.up.borrow().contains(&host)
    }

    pub(super) fn mark(&self, mark: &str) {
        self.common.seen.borrow_mut().marks.hit(mark);
    }

    /// Whatever was wrong is wrong no longer; peers that are dead stay dead.
    fn heal(&mut self) {
        self.common.seen.borrow_mut().hash("all is healed");
        self.ending.keys().copied().collect::<Vec<_>>().into_iter().for_each(|host| self.end_now(host));
        self.held.clear();
        self.dark.clear();
        self.troubled.clear();
        self.update_holding();
        for host in std::mem::take(&mut self.slow).into_keys() {
            self.slow_down(host, self.schedule.latency);
        }
        self.common.disks.values().for_each(|disk| disk.set_full(false));
        self.common.disks.values().for_each(|disk| disk.set_broken(false));
        // What could not be changed until now may not be possible at all; but whoever lost his disk needs another seat.
        self.common.changes.borrow_mut().clear();
        for host in self.forgetful.keys().filter(|host| self.is_forgetful(**host)) {
            self.common.want(SeedChange::Replace { address: host.address().to_string(), force: false });
        }
        seed_hosts(&self.schedule).for_each(|host| self.start(host));
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
        let mut seats = seed_hosts(&self.schedule).filter_map(|host| {
            let (id, _) = seen.seat_at(&host.address().to_string())?;
            Some((host, id))
        });
        let (host, id) = seats.find(|(host, id)| !seen.takes_part(host.address(), *id))?;
        Some(("seats", format!("{host} does not take part as seed {id}")))
    }

    /// A seat that was asked for, and not answered, may be made after all: the operator finds it, and starts its seed.
    fn start_late_seeds(&mut self) {
        let is_empty = |host: &Host| {
            let seat = self.common.seen.borrow().seat_at(&host.address().to_string());
            !self.is_running(*host) && seat.is_some_and(|(_, is_taken)| !is_taken)
        };
        let late: Vec<Host> = seed_hosts(&self.schedule).filter(is_empty).collect();
        let added = late.iter().map(|host| SeedChange::Add(host.address().to_string()));
        self.followed.extend(added);
    }

    fn settle(&mut self) -> Result<(), Violation> {
        let end = self.ticks + CONVERGES_WITHIN.as_millis() as u64;
        loop {
            for _ in 0..SETTLE_EVERY_TICKS {
                self.tick()?;
            }
            self.start_late_seeds();
            let seen = self.common.seen.borrow();
            let changes = self.common.changes.borrow();
            let waits = changes.front().map(|wanted| &wanted.change).or(self.followed.first());
            let unsettled = match waits {
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

    fn report(self) -> RunReport {
        for host in hosts(&self.schedule) {
            self.common.seen.borrow_mut().ended(host);
        }
        let simulated = self.sim.elapsed();
        // The nodes end before what looks on.
        drop(self.sim);
        let seen = self.common.seen.borrow();
        RunReport {
            simulated,
            events: self.ticks,
            steps: seen.steps,
            epoch: seen.checker.truth().registry().epoch().0,
            digest: seen.digest.finish(),
            marks: seen.marks.clone(),
        }
    }
}

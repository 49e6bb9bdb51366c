//! Machines: cores that several nodes share, so that each waits for the others.

use std::collections::VecDeque;
use std::time::Duration;

use coterie_common::Instant;
use rand::{Rng, RngExt};

use super::host::{Host, Start};

/// How long a flood keeps the machines busy, at most.
const FLOOD: Duration = Duration::from_secs(2);

/// A message comes to a peer so many times, and each costs a step.
const FRAMES_OF_A_DELIVERY: usize = 5;

/// What work costs, in a world in which it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// One step of a core. A connection that is opened costs three of them, a frame that is sent a quarter.
    pub step: Duration,
    /// The machines that all nodes share.
    pub machines: usize,
    /// The cores of each.
    pub cores: usize,
}

impl Prices {
    /// So many messages of each of so many peers keep the machines busy for some seconds: more would be a load that
    /// nothing but more machines could bear.
    pub(crate) fn messages(&self, peers: usize) -> u32 {
        let frames = (peers * peers * FRAMES_OF_A_DELIVERY) as u32;
        let cores = (self.machines * self.cores) as u32;
        let time = FLOOD * cores;
        (time.as_micros() as u32 / frames / self.step.as_micros() as u32).max(1)
    }

    /// Cheap or dear: with the dearest a quiet cluster keeps its machine busy for a third of the time.
    pub(crate) fn any(rng: &mut impl Rng) -> Self {
        Prices {
            step: Duration::from_micros(rng.random_range(20..200)),
            machines: rng.random_range(1..=4),
            cores: rng.random_range(1..=2),
        }
    }
}

/// All machines of a world.
#[derive(Debug)]
pub(crate) struct Machines {
    all: Vec<SharedCores>,
    step: Duration,
    /// Everything takes so many times as long.
    slowed: u32,
}

/// The cores of one of them.
#[derive(Clone, Debug)]
struct SharedCores {
    /// When each core is free.
    free_at: Vec<Instant>,
    /// Nodes for which something waits, in the order in which they get a core.
    waiting: VecDeque<Start>,
    /// How long the last step took there.
    last_step: Duration,
    /// Whether the next of them is already called.
    is_called: bool,
}

/// What a step made a node do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) connections: u32,
    pub(crate) frames: u32,
    /// Entries of a view that are written into frames of its own.
    pub(crate) members: u32,
}

impl SharedCores {
    fn free_at(&self) -> Instant {
        self.free_at.iter().min().copied().unwrap_or_default()
    }
}

impl Machines {
    pub(crate) fn new(prices: &Prices) -> Self {
        let free_at = vec![Instant::START; prices.cores];
        let machine =
            SharedCores { free_at, waiting: VecDeque::new(), last_step: Duration::ZERO, is_called: false };
        Machines { all: vec![machine; prices.machines], step: prices.step, slowed: 1 }
    }

    /// The number of its machine.
    fn of(&self, host: Host) -> usize {
        let (Host::Peer(index) | Host::Seed(index)) = host;
        index % self.all.len()
    }

    /// How long a node waits for its next turn there, if the steps of all that wait before it are as the last.
    pub(crate) fn wait(&self, host: Host, now: Instant) -> Duration {
        let machine = &self.all[self.of(host)];
        let before = machine.waiting.len() as u32 / machine.free_at.len() as u32;
        machine.free_at().since(now) + machine.last_step * before
    }

    /// A node wants a core. Returns its machine, and when that is to call the next that waits, if that is news.
    pub(crate) fn queue(&mut self, node: Start) -> Option<(usize, Instant)> {
        let number = self.of(node.0);
        self.all[number].waiting.push_back(node);
        Some((number, self.call(number)?))
    }

    /// When the next that waits at a machine is to be called, if somebody waits and none is called yet.
    pub(crate) fn call(&mut self, machine: usize) -> Option<Instant> {
        let machine = &mut self.all[machine];
        let is_due = !machine.waiting.is_empty() && !machine.is_called;
        machine.is_called |= is_due;
        is_due.then(|| machine.free_at())
    }

    /// The next that waits there.
    pub(crate) fn next(&mut self, machine: usize) -> Option<Start> {
        let machine = &mut self.all[machine];
        machine.is_called = false;
        machine.waiting.pop_front()
    }

    /// Its next step takes a core from `now` on; returns until when.
    pub(crate) fn occupy(&mut self, host: Host, now: Instant, work: Work) -> Instant {
        let quarters = 4 + 12 * work.connections + work.frames + work.members / 8;
        let time = self.step * quarters / 4 * self.slowed;
        let number = self.of(host);
        let machine = &mut self.all[number];
        machine.last_step = time;
        let core = machine.free_at.iter_mut().min();
        let Some(core) = core else { unreachable!("a machine without cores") };
        *core = (*core).max(now) + time;
        *core
    }

    /// From now on everything takes so many times as long.
    pub(crate) fn slow_down(&mut self, times: u32) {
        self.slowed = times;
    }
}

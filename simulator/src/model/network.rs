//! What stands between hosts: latency, losses, cuts.
//!
//! Packets of TCP are not lost but late: a lost one is repeated after the kernel's time-out. What is cut off waits at
//! its sender, in order, and goes on when the cut heals.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::{Address, Instant, ProbeOrder};
use rand::{Rng, RngExt};

use super::latency::Latency;

/// How long the kernel waits before it repeats data for the first time; it doubles each time.
const REPEAT_AFTER: Duration = Duration::from_millis(200);

/// How long it waits before it repeats a SYN.
const SYN_AFTER: Duration = Duration::from_secs(1);

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    latency: Latency,
    /// Pairs between which nothing passes, in this direction.
    cuts: BTreeSet<(Address, Address)>,
    /// Hosts that nothing reaches, and from which nothing goes out.
    deaf: BTreeSet<Address>,
    mute: BTreeSet<Address>,
    /// The share of packets that are lost everywhere, and more of them into and out of some hosts.
    loss: f64,
    lossy: BTreeMap<Address, f64>,
    /// Hosts that are slow to answer, and by how much.
    slow: BTreeMap<Address, Duration>,
    changed: Instant,
}

impl Network {
    pub(crate) fn new(latency: Latency) -> Self {
        Network {
            latency,
            cuts: BTreeSet::new(),
            deaf: BTreeSet::new(),
            mute: BTreeSet::new(),
            loss: 0.0,
            lossy: BTreeMap::new(),
            slow: BTreeMap::new(),
            changed: Instant::START,
        }
    }

    // ---- what goes wrong ----

    pub(crate) fn cut(&mut self, from: Address, to: Address) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn deafen(&mut self, host: Address) {
        self.deaf.insert(host);
    }

    pub(crate) fn mute(&mut self, host: Address) {
        self.mute.insert(host);
    }

    pub(crate) fn undeafen(&mut self, now: Instant, host: Address) {
        self.deaf.remove(&host);
        self.changed = now;
    }

    pub(crate) fn slow(&mut self, host: Address, by: Duration) {
        self.slow.insert(host, by);
    }

    pub(crate) fn lose(&mut self, share: f64) {
        self.loss = share;
    }

    pub(crate) fn lose_at(&mut self, host: Address, share: f64) {
        self.lossy.insert(host, share);
    }

    pub(crate) fn heal(&mut self, now: Instant) {
        self.cuts.clear();
        self.deaf.clear();
        self.mute.clear();
        self.loss = 0.0;
        self.lossy.clear();
        self.slow.clear();
        self.changed = now;
    }

    /// When something was last healed.
    pub(crate) fn healed_at(&self) -> Instant {
        self.changed
    }

    // ---- what comes of it ----

    /// Whether packets go that way at all.
    pub(crate) fn passes(&self, from: Address, to: Address) -> bool {
        !self.cuts.contains(&(from, to)) && !self.deaf.contains(&to) && !self.mute.contains(&from)
    }

    /// Both ways: otherwise no connection can be opened.
    pub(crate) fn connects(&self, a: Address, b: Address) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }

    /// Whether nothing at all is wrong.
    pub(crate) fn is_well(&self) -> bool {
        self.cuts.is_empty()
            && self.deaf.is_empty()
            && self.mute.is_empty()
            && self.loss == 0.0
            && self.lossy.is_empty()
            && self.slow.is_empty()
    }

    /// The share of packets lost on the way to or from a host.
    pub(crate) fn loss_at(&self, host: Address) -> f64 {
        let own = self.lossy.get(&host).copied().unwrap_or(0.0);
        1.0 - (1.0 - self.loss) * (1.0 - own)
    }

    /// The share of packets lost on one way.
    fn loss(&self, from: Address, to: Address) -> f64 {
        let at = |host| self.lossy.get(&host).copied().unwrap_or(0.0);
        1.0 - (1.0 - self.loss) * (1.0 - at(from)) * (1.0 - at(to))
    }

    fn lost(&self, from: Address, to: Address, rng: &mut impl Rng) -> bool {
        let loss = self.loss(from, to);
        loss > 0.0 && rng.random_bool(loss)
    }

    fn once(&self, from: Address, to: Address, rng: &mut impl Rng) -> Duration {
        let slow = |host| self.slow.get(&host).copied().unwrap_or_default();
        self.latency.draw(rng) + slow(from) + slow(to)
    }

    /// How long data takes one way, its repetitions included.
    pub(crate) fn delay(&self, from: Address, to: Address, rng: &mut impl Rng) -> Duration {
        let mut delay = self.once(from, to, rng);
        let mut pause = REPEAT_AFTER;
        while self.lost(from, to, rng) && pause < Duration::from_secs(4) {
            delay += pause;
            pause *= 2;
        }
        delay
    }

    /// How long it takes to open a connection: a lost SYN, or its answer, is repeated late.
    pub(crate) fn handshake(&self, from: Address, to: Address, rng: &mut impl Rng) -> Duration {
        let mut delay = self.once(from, to, rng) + self.once(to, from, rng);
        let mut pause = SYN_AFTER;
        while (self.lost(from, to, rng) || self.lost(to, from, rng)) && pause < Duration::from_secs(16) {
            delay += pause;
            pause *= 2;
        }
        delay
    }

    /// A probe that opens its connections, unless enough are open and silent: how long after its
    /// start the first of them opens, how long after it the answer comes of one that answers, and how many they are.
    pub(crate) fn probe(
        &self,
        from: Address,
        order: &ProbeOrder,
        rng: &mut impl Rng,
    ) -> (Duration, Duration, usize) {
        let to = order.address;
        let (mut opened, mut answers): (Vec<Duration>, Duration) = (Vec::new(), Duration::MAX);
        for at in order.opens_at() {
            if at >= answers {
                break;
            }
            let open = at + self.handshake(from, to, rng);
            let answer = open + self.delay(from, to, rng) + self.delay(to, from, rng);
            if opened.iter().filter(|opened| **opened <= at).count() < order.open_at_once() {
                opened.push(open);
                answers = answers.min(answer);
            }
        }
        (opened.iter().copied().min().unwrap_or(Duration::MAX), answers, opened.len())
    }
}

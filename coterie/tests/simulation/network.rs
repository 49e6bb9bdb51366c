//! A model of TCP between nodes: ordered, reliable while it lasts, slow when packets are lost, silent when cut.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use coterie_common::{Address, Instant};
use rand::{Rng, RngExt};

/// What stands between nodes.
#[derive(Debug)]
pub(crate) struct Network {
    /// Pairs between which nothing passes, in this direction.
    cuts: BTreeSet<(Address, Address)>,
    /// The share of packets that are lost.
    pub loss: f64,
    latency: (Duration, Duration),
    /// When the last packet of a connection arrives in one direction: none overtakes it.
    last: BTreeMap<(u64, Address), Instant>,
}

/// How long the kernel waits before it repeats a packet.
const REPEAT_AFTER: Duration = Duration::from_millis(200);

impl Network {
    pub(crate) fn new() -> Self {
        let latency = (Duration::from_micros(50), Duration::from_millis(3));
        Network { cuts: BTreeSet::new(), loss: 0.0, latency, last: BTreeMap::new() }
    }

    pub(crate) fn cut(&mut self, from: Address, to: Address) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.loss = 0.0;
    }

    pub(crate) fn passes(&self, from: Address, to: Address) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// Both ways.
    pub(crate) fn connects(&self, a: Address, b: Address) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }

    /// How long one packet takes, its repetitions included.
    pub(crate) fn delay(&self, rng: &mut impl Rng) -> Duration {
        let mut delay = rng.random_range(self.latency.0..=self.latency.1);
        let mut pause = REPEAT_AFTER;
        while self.loss > 0.0 && rng.random_bool(self.loss) && pause < Duration::from_secs(2) {
            delay += pause;
            pause *= 2;
        }
        delay
    }

    /// When a packet sent now on a connection arrives at `to`.
    pub(crate) fn arrival(
        &mut self,
        now: Instant,
        connection: u64,
        to: Address,
        rng: &mut impl Rng,
    ) -> Instant {
        let earliest = self.last.get(&(connection, to)).copied().unwrap_or(now);
        let at = (now + self.delay(rng)).max(earliest);
        self.last.insert((connection, to), at);
        at
    }

    pub(crate) fn forget(&mut self, connection: u64, ends: [Address; 2]) {
        for end in ends {
            self.last.remove(&(connection, end));
        }
    }
}

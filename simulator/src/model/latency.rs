//! How long a packet takes, or a disk.

use std::time::Duration;

use rand::{Rng, RngExt};

/// How long one packet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Anything between these, equally likely.
    Uniform(Duration, Duration),
    /// The first at least; beyond it, exponential with the second as its mean.
    Tail(Duration, Duration),
    /// Mostly the first, now and then the second.
    Spikes(Duration, Duration),
}

impl Latency {
    /// One packet's.
    pub fn draw(self, rng: &mut impl Rng) -> Duration {
        match self {
            Latency::Uniform(least, most) => rng.random_range(least..=most),
            Latency::Tail(least, mean) => {
                let uniform: f64 = 1.0 - rng.random::<f64>();
                least + mean.mul_f64((-uniform.ln()).min(8.0))
            }
            Latency::Spikes(mostly, rarely) => {
                if rng.random_ratio(1, 50) {
                    rarely
                } else {
                    mostly
                }
            }
        }
    }

    /// Any of the three kinds.
    pub(crate) fn any(rng: &mut impl Rng) -> Self {
        let micros = |rng: &mut _, range| Duration::from_micros(RngExt::random_range(rng, range));
        match rng.random_range(0..3) {
            0 => Latency::Uniform(micros(rng, 20..100), micros(rng, 100..20_000)),
            1 => Latency::Tail(micros(rng, 20..2_000), micros(rng, 50..5_000)),
            _ => Latency::Spikes(micros(rng, 20..2_000), micros(rng, 5_000..60_000)),
        }
    }
}

//! How long an answer takes, learnt.
//!
//! The estimator of TCP's retransmission timer (RFC 6298): a smoothed round trip and its mean deviation, time-out
//! at the one plus four of the other. A fixed time-out is wrong twice: on loopback it waits four thousand round
//! trips, between continents it accuses the healthy.
//!
//! A repeated ping teaches nothing, since its answer could be that of either (Karn): the detector sees to that.

use std::time::Duration;

/// Bounds of the learnt time-out on native links. Below 20 ms a busy scheduler looks like loss; above 500 ms
/// three misses take longer than the jury (both a guess).
const NATIVE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The same on JSON links: such programs may be busy for a second with a check of their own.
const JSON: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// The estimate for one link.
#[derive(Clone, Debug)]
pub(super) struct RoundTrips {
    /// None before the first sample.
    smoothed: Option<Duration>,
    /// How far samples lie from it, smoothed too.
    deviation: Duration,
    /// The least and the most that a time-out may be.
    bounds: (Duration, Duration),
}

impl RoundTrips {
    /// Nothing known yet: the time-out is the longest.
    pub(super) fn new(is_json: bool) -> Self {
        RoundTrips { smoothed: None, deviation: Duration::ZERO, bounds: if is_json { JSON } else { NATIVE } }
    }

    /// One round trip was measured. The first sample, and the weights of an eighth and a quarter, are those of RFC
    /// 6298.
    pub(super) fn learn(&mut self, sample: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.deviation = sample / 2;
            }
            Some(smoothed) => {
                // Before the mean moves: the deviation is from what was expected.
                self.deviation = (self.deviation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
    }

    /// The smoothed round trip, once one was measured. Unbounded: probes space their connections by it.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// How long to wait for an answer before asking again.
    pub(super) fn timeout(&self) -> Duration {
        let (least, most) = self.bounds;
        self.smoothed.map_or(most, |s| (s + self.deviation * 4).clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_time_out_follows_the_link_within_its_bounds() {
        let mut loopback = RoundTrips::new(false);
        assert_eq!(loopback.timeout(), 500 * MS);
        loopback.learn(MS / 20);
        assert_eq!(loopback.timeout(), 20 * MS);
        let mut far = RoundTrips::new(false);
        (0..50).for_each(|_| far.learn(100 * MS));
        assert!(far.timeout() >= 100 * MS && far.timeout() < 110 * MS, "{:?}", far.timeout());
        far.learn(4000 * MS);
        assert_eq!(far.timeout(), 500 * MS);
    }

    #[test]
    fn a_json_program_is_given_a_second_at_least() {
        let mut json = RoundTrips::new(true);
        json.learn(MS);
        assert_eq!(json.timeout(), 1000 * MS);
    }
}

//! How long an answer takes, learnt.
//!
//! The estimator of TCP's retransmission timer (RFC 6298): a smoothed round trip and its mean deviation, time-out
//! at the one plus four of the other. A fixed time-out is wrong twice: on loopback it waits four thousand round
//! trips, between continents it accuses the healthy.
//!
//! Each ping is numbered, so every answer is a sample, also one that comes when the ping was repeated. An answer that
//! does not come doubles the time-out, as it does in TCP, until one comes.

use std::time::Duration;

use coterie_common::Wire;
use coterie_common::knob::Knob;

/// The least time-out on native links. Below 20 ms a busy scheduler looks like loss (a guess).
const LEAST: Knob<Duration> = Knob::new("peer/round_trips/LEAST", Duration::from_millis(20));

/// All time-outs of one silence together, on native links. The least: TCP repeats a lost segment after 200 ms, so one
/// loss must not make a suspicion. The most: what a silent death may take before anybody is asked about it.
const TOGETHER: Knob<(Duration, Duration)> =
    Knob::new("peer/round_trips/TOGETHER", (Duration::from_millis(300), Duration::from_secs(2)));

/// The most, where this peer itself is not well.
const TOGETHER_UNWELL: Knob<Duration> = Knob::new("peer/round_trips/TOGETHER_UNWELL", Duration::from_secs(4));

/// On JSON links: such programs may be busy for a second with a check of their own. They are not doubled.
const JSON: Knob<(Duration, Duration)> =
    Knob::new("peer/round_trips/JSON", (Duration::from_secs(1), Duration::from_secs(2)));

/// What takes longer was a pause, not a round trip.
const SAMPLE_MAX: Knob<Duration> = Knob::new("peer/round_trips/SAMPLE_MAX", Duration::from_secs(1));

/// What the time-outs of all links are held to, by how well this peer is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    /// They are multiplied by that.
    pub(super) stretch: f64,
    /// None is shorter than that.
    pub(super) least: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { stretch: 1.0, least: Duration::ZERO }
    }
}

/// The estimate for one link.
#[derive(Clone, Debug)]
pub(super) struct RoundTrips {
    /// None before the first sample.
    smoothed: Option<Duration>,
    /// How far samples lie from it, smoothed too.
    deviation: Duration,
    wire: Wire,
    /// So many pings are sent in one silence.
    pings: u32,
}

impl RoundTrips {
    /// Nothing known yet: the time-out is the longest. In one silence so many `pings` are sent.
    pub(super) fn new(wire: Wire, pings: u32) -> Self {
        assert!(pings > 0, "no time-out is needed where no ping is sent");
        RoundTrips { smoothed: None, deviation: Duration::ZERO, wire, pings }
    }

    /// One round trip was measured. The first sample, and the weights of an eighth and a quarter, are those of RFC
    /// 6298.
    pub(super) fn learn(&mut self, sample: Duration) {
        let sample = sample.min(SAMPLE_MAX.get());
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

    /// How long to wait for an answer to a ping before which so many went unanswered.
    ///
    /// Twice as long each time, where all of them fit the time of one silence so. Where they do not, because answers
    /// take long or many pings are sent, all are as long: a time-out below the round trip would be missed by every
    /// answer.
    pub(super) fn timeout(&self, unanswered: u32, bounds: Bounds) -> Duration {
        let learnt = self.smoothed.map(|smoothed| smoothed + self.deviation * 4);
        if self.wire == Wire::Json {
            let (least, most) = JSON.get();
            let first = learnt.unwrap_or(most).clamp(least, most);
            return first
                .mul_f64(bounds.stretch)
                .min(most)
                .min((TOGETHER_UNWELL.get() / self.pings).max(first));
        }
        let doubled = 2_u32.pow(self.pings.min(16)) - 1;
        let first = learnt.unwrap_or(TOGETHER.get().1 / doubled).max(LEAST.get()).max(bounds.least);
        let is_doubled = first.max(TOGETHER.get().0 / doubled) <= TOGETHER.get().1 / doubled;
        let parts = if is_doubled { doubled } else { self.pings };
        let first = first.clamp(TOGETHER.get().0 / parts, TOGETHER.get().1 / parts);
        let first = first.mul_f64(bounds.stretch).min(TOGETHER_UNWELL.get() / parts);
        if is_doubled { first * 2_u32.pow(unanswered.min(16)) } else { first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Those of one silence with three pings.
    fn timeouts(round_trips: &RoundTrips, bounds: Bounds) -> Duration {
        (0..3).map(|unanswered| round_trips.timeout(unanswered, bounds)).sum()
    }

    #[test]
    fn the_time_outs_follow_the_link_and_are_together_what_one_silence_may_take() {
        let mut loopback = RoundTrips::new(Wire::Native, 3);
        assert_eq!(timeouts(&loopback, Bounds::default()).as_millis(), 1999);
        loopback.learn(MS / 20);
        assert_eq!(
            timeouts(&loopback, Bounds::default()).as_millis(),
            299,
            "a lost segment is repeated in that"
        );
        let mut far = RoundTrips::new(Wire::Native, 3);
        (0..50).for_each(|_| far.learn(100 * MS));
        let first = far.timeout(0, Bounds::default());
        assert!(first >= 100 * MS && first < 110 * MS, "{first:?}");
        far.learn(4000 * MS);
        assert_eq!(timeouts(&far, Bounds::default()).as_millis(), 1999, "each of three a third");
    }

    /// Where five pings or more are sent, doubled time-outs would begin below the round trip.
    #[test]
    fn no_time_out_is_shorter_than_the_round_trip_however_many_pings_are_sent() {
        for pings in 1..=20 {
            let mut round_trips = RoundTrips::new(Wire::Native, pings);
            (0..50).for_each(|_| round_trips.learn(80 * MS));
            let first = round_trips.timeout(0, Bounds::default());
            assert!(first >= 80 * MS, "{pings} pings, {first:?}");
        }
    }

    #[test]
    fn they_are_longer_where_this_peer_is_late_or_unwell_but_not_for_ever() {
        let mut loopback = RoundTrips::new(Wire::Native, 3);
        loopback.learn(MS / 20);
        assert_eq!(loopback.timeout(0, Bounds { stretch: 1.0, least: 120 * MS }), 120 * MS);
        assert_eq!(timeouts(&loopback, Bounds { stretch: 2.0, least: Duration::ZERO }).as_millis(), 599);
        assert_eq!(timeouts(&loopback, Bounds { stretch: 8.0, least: 500 * MS }).as_millis(), 3999);
        assert_eq!(timeouts(&loopback, Bounds { stretch: 8.0, least: 200 * MS }).as_millis(), 3999);
    }

    #[test]
    fn a_json_program_is_given_a_second_at_least_and_two_at_most() {
        let mut json = RoundTrips::new(Wire::Json, 3);
        json.learn(MS);
        assert_eq!(json.timeout(2, Bounds::default()), 1000 * MS);
        let unwell = Bounds { stretch: 8.0, least: Duration::ZERO };
        assert_eq!(json.timeout(0, unwell).as_millis(), 1333, "three of them are four seconds");
    }

    /// Probes space their connections by what is smoothed: one pause must not make them wait for seconds.
    #[test]
    fn a_pause_is_no_round_trip() {
        let mut paused = RoundTrips::new(Wire::Native, 3);
        paused.learn(MS);
        paused.learn(Duration::from_secs(60));
        assert!(paused.smoothed().is_some_and(|smoothed| smoothed < 130 * MS), "{paused:?}");
    }
}

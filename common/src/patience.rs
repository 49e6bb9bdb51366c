//! How long silence is borne.
//!
//! One option, `--patience`, scales every time-out that waits for silence to end, and nothing else: pings,
//! retries and limits on work keep their own clocks. So a cluster on a slow network is given time in one
//! place, and a test takes time away in one place.

use std::time::Duration;

use crate::knob::Knob;

/// The default of `--patience`: eight round trips of 100 ms, the slowest link between two continents on
/// which a membership service is still of use (a guess).
pub const DEFAULT: Duration = Duration::from_millis(800);

/// The default, as a world may draw it: not less, for the slow links of the worlds are as slow as it bears.
const BORNE: Knob<Duration> = Knob::new("patience", DEFAULT).at_least(DEFAULT);

/// The limits of `--patience`: below, a busy machine's scheduler looks like death; above, the detection of a
/// paused peer takes minutes.
pub const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);

/// How long a connection may take to open, for a prober that has reason to think the suspect's host gone: a
/// connection to it broke. Four round trips of 50 ms, or one of 200 ms.
const AFTER_A_BREAK: Duration = Duration::from_millis(200);

/// The longest patience of one probe, however much is lost on the way.
const LONGEST: Duration = Duration::from_millis(1500);

/// How far a probe is stretched where there is a reason to be lenient: a node that is unwell, a joiner in a crowd.
const LENIENT_FACTOR: f64 = 1.5;

/// The value of `--patience`, from which the others follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Patience(BORNE.get())
    }
}

impl Patience {
    /// Patience of `silence` with a suspect that nothing else speaks against.
    pub fn new(silence: Duration) -> Self {
        Patience(silence)
    }

    /// `time`, scaled as `--patience` is to its default.
    pub fn scale(self, time: Duration) -> Duration {
        time.mul_f64(self.0.as_secs_f64() / DEFAULT.as_secs_f64())
    }

    /// How long a juror may take beyond its own patience before another is asked.
    pub fn juror_grace(self) -> Duration {
        self.scale(Duration::from_millis(200))
    }

    /// How long one probe waits: longer by the share of this node's own pings that needed a repeat (`loss`, 0 to 1),
    /// and where it is to be `lenient`.
    pub fn for_probe(self, loss: f64, lenient: bool) -> Duration {
        self.stretched(DEFAULT, loss, lenient)
    }

    /// How long it waits for a connection to open: shorter when a connection to the suspect `broke`.
    pub fn for_opening(self, broke: bool, loss: f64, lenient: bool) -> Duration {
        self.stretched(if broke { AFTER_A_BREAK } else { DEFAULT }, loss, lenient)
    }

    fn stretched(self, base: Duration, loss: f64, lenient: bool) -> Duration {
        let doubt = if lenient { LENIENT_FACTOR } else { 1.0 };
        self.scale(base.mul_f64((1.0 + loss) * doubt).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_waits_longer_on_a_lossy_network_but_not_for_ever() {
        let patience = Patience::default();
        assert_eq!(patience.for_opening(true, 0.0, false), Duration::from_millis(200));
        assert_eq!(patience.for_opening(false, 0.0, false), patience.for_probe(0.0, false));
        assert_eq!(patience.for_probe(0.5, false), Duration::from_millis(1200));
        assert_eq!(patience.for_probe(0.5, true), Duration::from_millis(1500));
        assert_eq!(
            Patience::new(Duration::from_millis(80)).for_opening(true, 0.0, false),
            Duration::from_millis(20)
        );
    }
}

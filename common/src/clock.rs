//! Time and chance, and the only place that asks the operating system for either.
//!
//! Cores never read a clock: they are told `now` with every input, as an [`Instant`] of ours, and they draw
//! from a generator whose seed they were given. So a test owns time, and one number repeats a run.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of one process, in nanoseconds since that process started.
///
/// It never goes back and means nothing to another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the process.
    pub const START: Instant = Instant(0);

    /// A moment that does not come: the deadline of what has none.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The moment `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Instant(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, rhs: Instant) -> Duration {
        self.since(rhs)
    }
}

/// A moment as people write it: microseconds since 1970-01-01, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `micros` microseconds after 1970-01-01, UTC.
    pub const fn from_micros(micros: u64) -> Self {
        Timestamp(micros)
    }

    /// Microseconds since 1970-01-01, UTC.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Seconds since 1970-01-01, UTC, with their fraction.
    pub fn as_secs_f64(self) -> f64 {
        Duration::from_micros(self.0).as_secs_f64()
    }

    /// The moment `elapsed` later.
    pub fn after(self, elapsed: Duration) -> Self {
        Timestamp(self.0.saturating_add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with six digits of a second, as in the log lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400_000_000, self.0 % 86_400_000_000);
        let (year, month, day) = civil_from_days(days);
        let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Year, month and day of the `days`-th day after 1970-01-01 in the Gregorian calendar.
///
/// The year is taken to begin in March, so that the leap day is its last and month lengths follow one line
/// (153 days in five months); eras of 400 years make the rest integer division.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(all(feature = "net", coterie_simulated))]
pub use system::draw_entropy_from;
#[cfg(feature = "net")]
pub use system::{Clock, entropy, wall};

#[cfg(feature = "net")]
mod system {
    use super::{Instant, Timestamp};
    #[cfg(not(coterie_simulated))]
    use rand::TryRng;
    use std::time::Duration;
    #[cfg(not(coterie_simulated))]
    use std::time::{SystemTime, UNIX_EPOCH};

    /// Reads the monotonic clock for one process: the operating system's, unless the runtime's time is a test's.
    #[derive(Clone, Copy, Debug)]
    pub struct Clock {
        origin: tokio::time::Instant,
    }

    impl Clock {
        /// A clock that starts now.
        #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
        pub fn start() -> Self {
            Clock { origin: tokio::time::Instant::now() }
        }

        /// The present moment.
        pub fn now(&self) -> Instant {
            let elapsed = self.origin.elapsed();
            Instant(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
        }

        /// The same moment for the timers of tokio.
        pub fn timer(&self, at: Instant) -> tokio::time::Instant {
            self.origin + Duration::from_nanos(at.0)
        }
    }

    /// The present moment as people write it. It may jump when the machine's clock is set.
    #[cfg(not(coterie_simulated))]
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    pub fn wall() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// The present moment of the simulation.
    #[cfg(coterie_simulated)]
    pub fn wall() -> Timestamp {
        let since = turmoil::since_epoch().unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// A seed for a generator, from the operating system.
    ///
    /// # Panics
    /// If the operating system has no entropy to give: nothing that follows would be sound.
    #[cfg(not(coterie_simulated))]
    pub fn entropy() -> [u8; 32] {
        let mut seed = [0; 32];
        assert!(
            rand::rngs::SysRng.try_fill_bytes(&mut seed).is_ok(),
            "the operating system gave no entropy: lives and cluster ids would repeat"
        );
        seed
    }

    #[cfg(coterie_simulated)]
    thread_local! {
        static ENTROPY: std::cell::RefCell<rand::rngs::ChaCha8Rng> =
            std::cell::RefCell::new(rand::SeedableRng::seed_from_u64(0));
    }

    /// A seed for a generator, from the number that the simulation was given.
    #[cfg(coterie_simulated)]
    pub fn entropy() -> [u8; 32] {
        ENTROPY.with_borrow_mut(rand::RngExt::random)
    }

    /// What [`entropy`] gives on this thread follows from `number` from now on.
    #[cfg(coterie_simulated)]
    pub fn draw_entropy_from(number: u64) {
        ENTROPY.set(rand::SeedableRng::seed_from_u64(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339() {
        let text = |micros| Timestamp::from_micros(micros).to_string();
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(951_782_400_000_001), "2000-02-29T00:00:00.000001Z");
        assert_eq!(text(1_795_153_490_047_147), "2026-11-20T05:44:50.047147Z");
        assert_eq!(text(4_107_542_399_999_999), "2100-02-28T23:59:59.999999Z");
        assert_eq!(text(4_107_542_400_000_000), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn the_future_is_no_time_ago() {
        let later = Instant::START + Duration::from_secs(1);
        assert_eq!(Instant::START.since(later), Duration::ZERO);
        assert_eq!(later - Instant::START, Duration::from_secs(1));
    }
}

//! Whether this seed's probes have come to nothing for long: no descriptor, no port, no route.
//!
//! One that could not be made is an accident, and makes a ballot be held again. A seed that makes none for long casts
//! no vote, and who counts on it should know.

use std::time::Duration;

use coterie_common::Instant;
use coterie_common::knob::Knob;

/// Probes that come to nothing for so long are no accident. Without one for so long it is not known any more.
const UNABLE_FOR: Knob<Duration> = Knob::new("UNABLE_FOR", Duration::from_secs(10));

/// The first and the last of the probes that came to nothing one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inability(Option<(Instant, Instant)>);

impl Inability {
    /// A probe could not be made.
    pub(super) fn failed(&mut self, now: Instant) {
        let row = self.0.filter(|(_, last)| now.since(*last) < UNABLE_FOR.get());
        self.0 = Some((row.map_or(now, |(first, _)| first), now));
    }

    /// A probe was made, whatever it found.
    pub(super) fn worked(&mut self) {
        self.0 = None;
    }

    /// Whether none could be made for long.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.0.is_some_and(|(first, last)| {
            assert!(
                first <= last && last <= now,
                "probes failed from {first:?} to {last:?}, and it is {now:?}"
            );
            last.since(first) >= UNABLE_FOR.get() && now.since(last) < UNABLE_FOR.get()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_could_make_no_probe_for_ten_seconds_is_unable_until_one_is_made() {
        let mut inability = Inability::default();
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        for second in 0..10 {
            inability.failed(at(second));
            assert!(!inability.lasts(at(second)), "after {second} s");
        }
        inability.failed(at(10));
        assert!(inability.lasts(at(10)));
        assert!(!inability.lasts(at(20)), "nobody has tried since");
        // Once in a while is no row.
        inability.failed(at(20));
        assert!(!inability.lasts(at(20)));
        for second in 21..=30 {
            inability.failed(at(second));
        }
        assert!(inability.lasts(at(30)));
        inability.worked();
        assert!(!inability.lasts(at(30)));
    }
}

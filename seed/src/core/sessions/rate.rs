//! So many a second, and no more.
//!
//! A session that asks too often is answered or passed over, never slowed down: to hold back its frames would hold back
//! its signs of life.

use std::time::Duration;

use coterie_common::Instant;

/// Counts within one second at a time. Coarser than a token bucket, and one word of memory instead of two.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    second: Instant,
    count: u32,
}

impl Rate {
    /// Whether one more is allowed at `now`, of `most` a second. Two bursts on either side of a second's end pass
    /// together: at most twice `most` in any second.
    pub(super) fn allows(&mut self, now: Instant, most: u32) -> bool {
        if now.since(self.second) >= Duration::from_secs(1) {
            *self = Rate { second: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_in_a_second_is_refused_and_the_next_second_is_new() {
        let mut rate = Rate::default();
        let at = |ms| Instant::START + Duration::from_millis(ms);
        assert_eq!((0..12).filter(|i| rate.allows(at(1000 + i), 10)).count(), 10);
        assert!(rate.allows(at(2000), 10));
    }
}

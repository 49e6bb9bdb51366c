//! How often a suspicion is reported.

use std::time::Duration;

use coterie_common::{Backoff, Instant};

/// A report that was made and stands until the seeds have answered. It is repeated, for a report may be lost with its
/// session, or with a leader.
#[derive(Clone, Debug)]
pub(super) struct Reporting {
    next: Instant,
    backoff: Backoff,
    made: usize,
}

impl Reporting {
    /// The first report is due `now`.
    pub(super) fn new(now: Instant) -> Self {
        // The first repetition leaves the seeds time for a ballot on a healthy network (a guess).
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        Reporting { next: now, backoff, made: 0 }
    }

    /// Whether one is due; if so, it counts as made, and the next is due later.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.backoff.pause();
            self.made += 1;
            assert!(self.next > now, "a report is due again at once");
        }
        due
    }

    /// The next is due at once, and the others as soon and as often as at first.
    pub(super) fn again(&mut self, now: Instant) {
        self.next = self.next.min(now);
        self.backoff.reset();
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// How many were made.
    pub(super) fn made(&self) -> usize {
        self.made
    }
}

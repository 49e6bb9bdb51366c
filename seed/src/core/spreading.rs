//! How often everybody is told what keeps happening.
//!
//! News costs as many frames as there are sessions, and each makes a member take in a view. Where members come or die
//! by the hundred, each of a hundred batches told at once would be a hundred times that, at a moment when all are busy.
//! So they wait for each other: the first after a quiet time is told at once, the next ones less and less often.

use std::time::Duration;

use coterie_common::Instant;

/// Where the longest pause comes to less than this, nothing waits.
const NOT_WORTH_IT: Duration = Duration::from_millis(20);

/// The first pause after a quiet time is that part of the longest.
const FIRST_PAUSE: u32 = 4;

/// When news of one kind is told next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spreading {
    /// Not before then.
    next: Instant,
    /// How long it is from the last to the next.
    pause: Duration,
    /// Whether anything waits for that.
    is_awaited: bool,
}

impl Spreading {
    /// There is news for so many: whether it may be told now. If not it waits: at the longest for as long as telling it
    /// costs, so much for `each` of them, and never longer than `most`.
    pub(crate) fn take(&mut self, now: Instant, (each, most): (Duration, Duration), many: usize) -> bool {
        if !self.may(now) {
            return false;
        }
        let many = u32::try_from(many).unwrap_or(u32::MAX);
        let longest = each.saturating_mul(many).min(most);
        let first = longest / FIRST_PAUSE;
        let was_quiet = now >= self.next + self.pause;
        self.pause = match (longest < NOT_WORTH_IT, was_quiet) {
            (true, _) => Duration::ZERO,
            (false, true) => first,
            (false, false) => (self.pause * 2).clamp(first, longest),
        };
        self.next = now + self.pause;
        self.is_awaited = false;
        true
    }

    /// Whether news may be told now. If not it waits.
    pub(crate) fn may(&mut self, now: Instant) -> bool {
        self.is_awaited |= now < self.next;
        now >= self.next
    }

    /// There is nobody whom what waits could be told now.
    pub(crate) fn nobody_waits(&mut self) {
        self.is_awaited = false;
    }

    /// Before then nothing is told.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// When what waits is to be told.
    pub(crate) fn deadline(&self) -> Instant {
        if self.is_awaited { self.next } else { Instant::NEVER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const WAIT: (Duration, Duration) = (MS, Duration::from_secs(1));

    #[test]
    fn what_keeps_happening_is_told_less_and_less_often() {
        let mut spreading = Spreading::default();
        let start = Instant::START + 1_000 * MS;
        let mut told = Vec::new();
        for ms in 0..2_000 {
            if spreading.take(start + ms * MS, WAIT, 2_000) {
                told.push(ms);
            }
        }
        assert_eq!(told, [0, 250, 750, 1_750]);
        assert_eq!(spreading.deadline(), start + 2_750 * MS);
    }

    #[test]
    fn the_first_after_a_quiet_time_is_told_at_once_and_a_few_never_wait() {
        let mut spreading = Spreading::default();
        let start = Instant::START + 1_000 * MS;
        assert!(spreading.take(start, WAIT, 2_000));
        assert!(!spreading.take(start + MS, WAIT, 2_000));
        assert!(spreading.take(spreading.deadline(), WAIT, 2_000));
        assert!(spreading.take(start + 2_000 * MS, WAIT, 2_000));
        assert_eq!((spreading.deadline(), spreading.next()), (Instant::NEVER, start + 2_250 * MS));
        let mut few = Spreading::default();
        assert!((0..9).all(|ms| few.take(start + ms * MS, WAIT, 9)));
    }
}

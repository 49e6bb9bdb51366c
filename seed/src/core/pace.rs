//! How many ballots about silence a leader opens at a time.
//!
//! Each makes every seed probe, and a probe that looks for silence takes connections and time. Were more of them open
//! than the seeds have the means for, each seed would probe others of them, and none would be decided. So the oldest
//! doubts are asked about first, and the others wait unopened. Where most sessions fell silent together it is more
//! likely the network of the seeds: then the silent are asked about a few at a time.
//!
//! A broken or a refused connection knows no pace: the first connection of a probe may prove that death.

use std::time::Duration;

use coterie_common::Instant;

/// So many may be open at once, and so many be opened in each patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Open at once: half of what the seeds can probe.
    pub(crate) at_once: usize,
    /// Opened in each patience; none: as many as may be.
    pub(crate) in_each_patience: Option<usize>,
    /// How long silence is borne.
    pub(crate) patience: Duration,
}

impl Pace {
    /// For a leader that can have so many probes under way, of so many members, which has just heard hardly anybody or
    /// not.
    pub(crate) fn new(probes: usize, members: usize, is_cut_off: bool, patience: Duration) -> Self {
        assert!(probes > 0, "the seeds may probe nobody");
        let in_each_patience = is_cut_off.then_some((members / 20).max(1));
        Pace { at_once: (probes / 2).max(1), in_each_patience, patience }
    }
}

/// The ballots about silence that were opened lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openings {
    /// The patience in which they are counted ends then.
    until: Instant,
    /// So many were opened in it.
    opened: usize,
}

impl Openings {
    /// Whether one more may be opened, while so many are open; if so, it counts as opened.
    pub(crate) fn take(&mut self, now: Instant, pace: Pace, open: usize) -> bool {
        if now >= self.until {
            *self = Openings { until: now + pace.patience, opened: 0 };
        }
        let may = open < pace.at_once && pace.in_each_patience.is_none_or(|most| self.opened < most);
        self.opened += usize::from(may);
        may
    }

    /// When those that wait may be opened at the latest.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(800);

    #[test]
    fn half_of_what_the_seeds_can_probe_is_open_at_once() {
        let pace = Pace::new(64, 1_000, false, PATIENCE);
        let mut openings = Openings::default();
        assert!((0..32).all(|open| openings.take(Instant::START, pace, open)));
        assert!(!openings.take(Instant::START, pace, 32));
        assert!(openings.take(Instant::START, pace, 31), "one of them is over");
    }

    #[test]
    fn a_leader_that_hears_hardly_anybody_asks_about_a_twentieth_of_the_members_in_each_patience() {
        let pace = Pace::new(64, 40, true, PATIENCE);
        let mut openings = Openings::default();
        assert!((0..2).all(|_| openings.take(Instant::START, pace, 0)));
        assert!(!openings.take(Instant::START, pace, 0));
        assert!(openings.take(openings.until(), pace, 0));
        assert_eq!(Pace::new(64, 3, true, PATIENCE).in_each_patience, Some(1), "and one at least");
    }
}

//! How many ballots about silence a leader opens at a time.
//!
//! Each makes every seed probe, and a probe that looks for silence takes connections and time. Were more of them open
//! than a majority has the means for, each seed would probe others of them, and none would be decided. So the oldest
//! doubts are asked about first, and the others wait unopened. Where most sessions fell silent together it is more
//! likely the network of the seeds: then the silent are asked about a few at a time.
//!
//! A broken or a refused connection knows no pace: the first connection of a probe may prove that death.

use std::time::Duration;

use coterie_common::message::Means;
use coterie_common::{Instant, majority};

/// So many may be open at once, and so many be opened in each patience. By what a majority of the seeds can do: those
/// with the most to spare decide, and one that has less holds up nobody.
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
    /// For a leader with these means, where the other seeds told of those, of so many voters. The leader's own word is
    /// enough to go slowly, and so is that of a majority: then it is the network of the seeds that is out.
    pub(crate) fn new(
        own: Means,
        others: &[Means],
        voters: usize,
        members: usize,
        patience: Duration,
    ) -> Self {
        // All of them, where the leader has just lost its own vote.
        assert!(others.len() <= voters, "{} seeds told what they can do, of {voters}", others.len());
        let all = || others.iter().chain([&own]);
        let mut probes: Vec<u32> = all().map(|means| means.probes).collect();
        probes.sort_unstable_by(|a, b| b.cmp(a));
        // Fewer than a majority told: then the least of theirs.
        let last = majority(voters).min(probes.len()) - 1;
        let probes = probes.get(last).copied().unwrap_or_default() as usize;
        let cut_off = all().filter(|means| means.is_cut_off).count();
        let is_slow = own.is_cut_off || cut_off >= majority(voters);
        let in_each_patience = is_slow.then_some((members / 20).max(1));
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

    const WELL: Means = Means { probes: 64, is_cut_off: false };
    const CUT_OFF: Means = Means { probes: 64, is_cut_off: true };

    #[test]
    fn the_majority_with_the_most_to_spare_sets_the_pace() {
        let weak = Means { probes: 8, ..WELL };
        let at_once = |own, others: &[Means]| Pace::new(own, others, 3, 1_000, PATIENCE).at_once;
        assert_eq!(at_once(WELL, &[WELL, weak]), 32, "the weak one is not needed");
        assert_eq!(at_once(WELL, &[weak, weak]), 4);
        assert_eq!(at_once(WELL, &[weak]), 4, "it is, where the third is away");
        assert_eq!(at_once(weak, &[]), 4);
        assert_eq!(at_once(WELL, &[Means { probes: 0, ..WELL }]), 1, "one at least");
    }

    #[test]
    fn a_majority_that_hears_hardly_anybody_slows_a_leader_that_does() {
        let is_slow =
            |own, others: &[Means]| Pace::new(own, others, 5, 40, PATIENCE).in_each_patience.is_some();
        assert!(!is_slow(WELL, &[CUT_OFF, CUT_OFF, WELL, WELL]));
        assert!(is_slow(WELL, &[CUT_OFF, CUT_OFF, CUT_OFF, WELL]));
        assert!(is_slow(CUT_OFF, &[WELL, WELL, WELL, WELL]), "its own sessions are enough");
    }

    #[test]
    fn half_of_what_the_seeds_can_probe_is_open_at_once() {
        let pace = Pace::new(WELL, &[WELL, WELL], 3, 1_000, PATIENCE);
        let mut openings = Openings::default();
        assert!((0..32).all(|open| openings.take(Instant::START, pace, open)));
        assert!(!openings.take(Instant::START, pace, 32));
        assert!(openings.take(Instant::START, pace, 31), "one of them is over");
    }

    #[test]
    fn a_leader_that_hears_hardly_anybody_asks_about_a_twentieth_of_the_members_in_each_patience() {
        let pace = Pace::new(CUT_OFF, &[], 3, 40, PATIENCE);
        let mut openings = Openings::default();
        assert!((0..2).all(|_| openings.take(Instant::START, pace, 0)));
        assert!(!openings.take(Instant::START, pace, 0));
        assert!(openings.take(openings.until(), pace, 0));
        assert_eq!(Pace::new(CUT_OFF, &[], 3, 3, PATIENCE).in_each_patience, Some(1), "and one at least");
    }
}

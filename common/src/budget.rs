//! What the doubts of one node may cost.
//!
//! A doubt makes probes, probes make work, and work makes a machine slow, which looks dead to others. So that this
//! comes to an end, everything that a doubt makes a node do is drawn from one budget, whoever has the doubt. What finds
//! no place is not decided: it waits, or somebody else looks.
//!
//! The first connection of a probe is free, for it may bring proof, and the quickest deaths are those that are proved.
//! A probe takes what it needs beyond that when it begins, and all of it: silence on a part of its connections says
//! nothing.

use std::time::Duration;

use crate::knob::Quantity;
use crate::{Effort, Instant};

/// How much a node may have under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct Allowance {
    /// Probes with more than one connection at a time.
    pub probes: usize,
    /// Connections beyond the first of each probe, a second. So many may be opened at once, too.
    pub connections: u32,
}

impl Allowance {
    /// A part of it, for a node that is not well.
    #[must_use]
    pub fn shared_by(self, parts: u32, probes_min: usize) -> Self {
        assert!(parts > 0, "an allowance is divided by nothing");
        let probes = (self.probes / parts as usize).max(probes_min).min(self.probes);
        Allowance { probes, connections: self.connections / parts }
    }
}

impl Quantity for Allowance {
    fn times(self, factor: f64) -> Self {
        Allowance { probes: self.probes.times(factor), connections: self.connections.times(factor) }
    }
}

/// What is spent of an allowance.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// Probes under way that took more than their first connection.
    whole: usize,
    /// Until when what was opened counts, at the rate that is allowed: a second from now it is used up.
    spent_until: Instant,
}

impl Budget {
    /// A probe begins, which wants so many connections. Returns whether it may open all of them, or its first alone.
    pub fn begin(&mut self, now: Instant, allowance: Allowance, connections: usize) -> Effort {
        let further = u32::try_from(connections.saturating_sub(1)).unwrap_or(u32::MAX);
        let cost = Duration::from_secs(1) * further / allowance.connections.max(1);
        let spent_until = self.spent_until.max(now) + cost;
        if self.whole >= allowance.probes || spent_until > now + Duration::from_secs(1) {
            return Effort::FirstOnly;
        }
        (self.whole, self.spent_until) = (self.whole + 1, spent_until);
        Effort::Whole
    }

    /// Whether a probe that wants so many connections would get all of them now.
    pub fn has_room(&self, now: Instant, allowance: Allowance, connections: usize) -> bool {
        self.clone().begin(now, allowance, connections) == Effort::Whole
    }

    /// A probe has ended that began with that effort.
    pub fn end(&mut self, effort: Effort) {
        if effort == Effort::Whole {
            assert!(self.whole > 0, "a probe has ended that took nothing from the budget");
            self.whole -= 1;
        }
    }

    /// How many probes under way took more than their first connection.
    pub fn under_way(&self) -> usize {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance { probes: 2, connections: 10 };

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    #[test]
    fn as_many_probes_as_are_allowed_open_all_their_connections() {
        let mut budget = Budget::default();
        let begin = |budget: &mut Budget| budget.begin(at(0), ALLOWANCE, 5);
        assert_eq!([begin(&mut budget), begin(&mut budget)], [Effort::Whole, Effort::Whole]);
        assert_eq!(begin(&mut budget), Effort::FirstOnly);
        budget.end(Effort::FirstOnly);
        assert_eq!(budget.under_way(), 2, "who took nothing gives nothing back");
        budget.end(Effort::Whole);
        assert_eq!(budget.begin(at(1_000), ALLOWANCE, 5), Effort::Whole);
    }

    #[test]
    fn connections_are_counted_by_the_second_and_a_probe_gets_all_or_its_first() {
        let mut budget = Budget::default();
        let mut one_after_the_other = |ms| {
            let effort = budget.begin(at(ms), ALLOWANCE, 5);
            budget.end(effort);
            effort
        };
        assert_eq!(
            [0, 0, 0].map(&mut one_after_the_other),
            [Effort::Whole, Effort::Whole, Effort::FirstOnly]
        );
        assert_eq!([199, 200].map(&mut one_after_the_other), [Effort::FirstOnly, Effort::Whole]);
    }

    #[test]
    fn who_is_not_well_takes_on_less_but_never_less_than_is_set_aside() {
        let well = Allowance { probes: 64, connections: 1_024 };
        assert_eq!(well.shared_by(4, 8), Allowance { probes: 16, connections: 256 });
        assert_eq!(well.shared_by(8, 16).probes, 16);
        assert_eq!(Allowance { probes: 4, connections: 8 }.shared_by(2, 8).probes, 4);
    }
}

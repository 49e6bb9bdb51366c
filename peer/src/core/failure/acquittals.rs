//! Whom this peer itself has just found alive.
//!
//! A member that many suspect is asked about by many. One look serves them all for a moment, but not those whose
//! connection to it broke: that may have been after the look.

use std::collections::BTreeMap;

use coterie_common::limits::PROBE_SERVES_FOR;
use coterie_common::{Instant, MemberId};

/// When each was found alive.
#[derive(Clone, Debug, Default)]
pub(super) struct Acquittals {
    found: BTreeMap<MemberId, Instant>,
}

impl Acquittals {
    /// It has answered then.
    pub(super) fn note(&mut self, at: Instant, life: MemberId) {
        let found = self.found.entry(life).or_insert(at);
        *found = at.max(*found);
    }

    /// Whether it was found alive just now.
    pub(super) fn holds(&self, now: Instant, life: MemberId) -> bool {
        self.found.get(&life).is_some_and(|at| now.since(*at) <= PROBE_SERVES_FOR.get())
    }

    /// Its connection broke, or it is over: what was found is of before.
    pub(super) fn forget(&mut self, life: MemberId) {
        self.found.remove(&life);
    }

    /// Forgets what serves no longer.
    pub(super) fn expire(&mut self, now: Instant) {
        self.found.retain(|_, at| now.since(*at) <= PROBE_SERVES_FOR.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::Incarnation;
    use std::time::Duration;

    #[test]
    fn what_was_found_serves_for_half_a_second_and_not_after_a_break() {
        let life = MemberId { address: "127.0.0.1:1".parse().unwrap(), incarnation: Incarnation(4) };
        let mut acquittals = Acquittals::default();
        acquittals.note(Instant::START, life);
        let later = Instant::START + PROBE_SERVES_FOR.get();
        acquittals.expire(later);
        assert!(acquittals.holds(later, life));
        assert!(!acquittals.holds(later + Duration::from_nanos(1), life));
        acquittals.forget(life);
        assert!(!acquittals.holds(later, life));
    }
}

//! Members that are not to be accused again yet, because the seeds would not remove them.
//!
//! A report that the seeds rejected means: they reach the suspect, this peer does not. To accuse again at once
//! would keep everybody busy with one broken cable. So that life is left alone (not dialled, not accused, not
//! hinted at) for one second, then two, up to a minute; one frame from it and all is forgotten. (A circuit breaker, in
//! other words.)

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::{Backoff, Instant, MemberId};

/// After the first rejection (a guess).
const FIRST: Duration = Duration::from_secs(1);
/// After many. Longer would leave a member that really died to the seeds' check of absences alone.
const MOST: Duration = Duration::from_secs(60);

/// The lives that are left alone.
#[derive(Clone, Debug, Default)]
pub(super) struct CoolDown {
    /// Until when, and how long the next time. It stays when that is over, so that the next rejection lasts longer.
    lives: BTreeMap<MemberId, (Instant, Backoff)>,
}

impl CoolDown {
    /// The seeds rejected a report about `life`. Each further one lasts twice as long as the one before.
    pub(super) fn begin(&mut self, now: Instant, life: MemberId) {
        let (until, backoff) = self.lives.entry(life).or_insert((now, Backoff::new(FIRST, MOST)));
        *until = now + backoff.pause();
        assert!(*until > now, "{life} is left alone for no time");
    }

    /// A frame came from `life`, or it is over. The next rejection is the first again.
    pub(super) fn forget(&mut self, life: MemberId) {
        self.lives.remove(&life);
    }

    /// When the next life may be dialled and accused again. None: nobody is left alone now.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.lives.values().map(|(until, _)| *until).filter(|until| *until > now).min()
    }

    /// Whether `life` is to be left alone.
    pub(super) fn covers(&self, now: Instant, life: MemberId) -> bool {
        self.lives.get(&life).is_some_and(|(until, _)| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::Incarnation;

    #[test]
    fn each_rejection_doubles_the_peace_and_one_frame_ends_it() {
        let life = MemberId { address: "127.0.0.1:1".parse().unwrap(), incarnation: Incarnation(4) };
        let at = |ms| Instant::START + Duration::from_millis(ms);
        let mut cool_down = CoolDown::default();
        cool_down.begin(at(0), life);
        assert!(cool_down.covers(at(999), life) && !cool_down.covers(at(1000), life));
        cool_down.begin(at(1000), life);
        assert!(cool_down.covers(at(2999), life) && !cool_down.covers(at(3000), life));
        assert_eq!((cool_down.deadline(at(1000)), cool_down.deadline(at(3000))), (Some(at(3000)), None));
        cool_down.forget(life);
        assert!(!cool_down.covers(at(1500), life));
    }
}

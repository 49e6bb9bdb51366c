//! Lives that the seeds would not bury.
//!
//! A report that the seeds rejected means: they reach the suspect, this peer does not. To accuse again at once
//! would keep everybody busy with one broken cable. So that life is left alone (not dialled, not accused, not
//! hinted at) for one second, then two, up to a minute; one frame from it and all is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::{Backoff, Instant, MemberId};

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);

/// The lives that are left alone.
#[derive(Clone, Debug, Default)]
pub struct Leniency {
    lives: BTreeMap<MemberId, (Instant, Backoff)>,
}

impl Leniency {
    /// The seeds rejected a report about `life`.
    pub fn grant(&mut self, now: Instant, life: MemberId) {
        let (until, backoff) = self.lives.entry(life).or_insert((now, Backoff::new(FIRST, MOST)));
        *until = now + backoff.pause();
    }

    /// A frame came from `life`, or it is over.
    pub fn forget(&mut self, life: MemberId) {
        self.lives.remove(&life);
    }

    /// When the next life may be dialled and accused again.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.lives.values().map(|(until, _)| *until).filter(|until| *until > now).min()
    }

    /// Whether `life` is to be left alone.
    pub fn covers(&self, now: Instant, life: MemberId) -> bool {
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
        let mut leniency = Leniency::default();
        leniency.grant(at(0), life);
        assert!(leniency.covers(at(999), life) && !leniency.covers(at(1000), life));
        leniency.grant(at(1000), life);
        assert!(leniency.covers(at(2999), life) && !leniency.covers(at(3000), life));
        assert_eq!((leniency.deadline(at(1000)), leniency.deadline(at(3000))), (Some(at(3000)), None));
        leniency.forget(life);
        assert!(!leniency.covers(at(1500), life));
    }
}

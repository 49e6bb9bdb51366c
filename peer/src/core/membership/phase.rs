//! How far this peer has come with its cluster, and how soon it may come back after it was removed.
//!
//! One value, so that nobody leaves who never joined, and no incarnation outlives its membership. Transitions that
//! the log cannot bring about are asserted against.

use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::{JOIN_SETTLES, LEAVE_TIME_MAX};
use coterie_common::{Backoff, Incarnation, Instant};

/// A removed life rejoins without a pause the first time, then after this, doubling: a peer that is cut off every few
/// seconds is not to keep the seeds busy with its returns.
const REJOIN: Knob<(Duration, Duration)> =
    Knob::new("REJOIN", (Duration::from_secs(1), Duration::from_secs(60)));

/// Within so long after that, for what removed it may have removed others with it, and all would come at once; and
/// within so long where more than [`CROWD`] lives ended together.
const RETURN_SPREAD: Knob<(Duration, Duration)> =
    Knob::new("RETURN_SPREAD", (Duration::from_millis(200), Duration::from_secs(2)));

/// Lives that end together and are no crowd yet (a guess).
const CROWD: usize = 20;

/// So long a membership makes the next removal the first again (a guess).
const REJOIN_RESET: Knob<Duration> = Knob::new("REJOIN_RESET", Duration::from_secs(300));

/// A LEAVE that is not in the log by then is sent again, to another seed. Four tries fit into the time that a
/// departure may take (a guess).
const LEAVE_AGAIN: Knob<Duration> = Knob::new("LEAVE_AGAIN", Duration::from_millis(500));

/// How far it has come.
///
/// ```text
/// Joining --admitted--> Member --asked to stop--> Leaving --in the log, or too late--> Stopped
///    ^                     |
///    +---declared dead-----+            (asked to stop while Joining: Stopped at once)
/// ```
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// No member, or no longer: it asks to be registered.
    Joining,
    /// In the log. `announced`: JOINED was said and neighbours were chosen, which waits for sessions.
    Member { incarnation: Incarnation, since: Instant, announced: bool },
    /// It wants its departure in the log before it ends.
    Leaving { incarnation: Incarnation, until: Instant, again: Instant, tries: usize },
    /// The end, in order or refused for good.
    Stopped,
}

/// What a peer that leaves has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaveDue {
    Nothing,
    /// Ask a seed, another one at each turn.
    Ask {
        turn: usize,
    },
    /// No seed could be told in time: it ends all the same, and will be found dead.
    GiveUp,
}

impl Phase {
    /// The log has admitted this peer.
    pub(super) fn become_member(&mut self, now: Instant, incarnation: Incarnation) {
        assert!(matches!(self, Phase::Joining), "{incarnation} is admitted in the phase {self:?}");
        *self = Phase::Member { incarnation, since: now, announced: false };
    }

    /// JOINED is said, of this incarnation. Once in each membership.
    pub(super) fn announce(&mut self) -> Incarnation {
        let Phase::Member { announced, incarnation, .. } = self else {
            panic!("JOINED is said in the phase {self:?}");
        };
        assert!(!*announced, "JOINED is said a second time of {incarnation}");
        *announced = true;
        *incarnation
    }

    /// The log has removed this member, which lives; returns how long it was one.
    pub(super) fn become_removed(&mut self, now: Instant) -> Duration {
        let Phase::Member { since, .. } = *self else { panic!("it is removed in the phase {self:?}") };
        *self = Phase::Joining;
        now.since(since)
    }

    /// The operator wants it to stop; returns whether there is nothing to wait for.
    pub(super) fn leave(&mut self, now: Instant) -> bool {
        match *self {
            Phase::Member { incarnation, .. } => {
                // Due at once: `again` is now.
                *self =
                    Phase::Leaving { incarnation, until: now + LEAVE_TIME_MAX.get(), again: now, tries: 0 };
                false
            }
            // Nothing stands in the log that would have to be taken out.
            Phase::Joining => true,
            // It is on its way out already.
            Phase::Leaving { .. } | Phase::Stopped => false,
        }
    }

    /// What is to be done about leaving; another attempt is due half a second after this one.
    pub(super) fn leave_due(&mut self, now: Instant) -> LeaveDue {
        match self {
            // The end of its time comes before another try.
            Phase::Leaving { until, .. } if now >= *until => LeaveDue::GiveUp,
            Phase::Leaving { again, tries, .. } if now >= *again => {
                let turn = *tries;
                (*again, *tries) = (now + LEAVE_AGAIN.get(), turn + 1);
                LeaveDue::Ask { turn }
            }
            Phase::Leaving { .. } | Phase::Joining | Phase::Member { .. } | Phase::Stopped => {
                LeaveDue::Nothing
            }
        }
    }

    /// Who leaves is a member until the log says otherwise.
    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        match self {
            Phase::Member { incarnation, .. } | Phase::Leaving { incarnation, .. } => Some(*incarnation),
            Phase::Joining | Phase::Stopped => None,
        }
    }

    /// When the phase itself has something to do.
    pub(super) fn deadline(&self) -> Instant {
        match self {
            Phase::Member { since, announced: false, .. } => *since + JOIN_SETTLES.get(),
            Phase::Leaving { until, again, .. } => *until.min(again),
            Phase::Joining | Phase::Member { .. } | Phase::Stopped => Instant::NEVER,
        }
    }
}

/// How often this peer was declared dead lately, which says how long it stays away.
#[derive(Clone, Debug)]
pub(super) struct Removals {
    /// Whether there was a removal since the last long membership: the first return needs no pause.
    any: bool,
    /// The pauses of the returns after that.
    backoff: Backoff,
}

impl Removals {
    /// It was never removed.
    pub(super) fn none() -> Self {
        Removals { any: false, backoff: Backoff::new(REJOIN.get().0, REJOIN.get().1) }
    }

    /// Once more, after it was a member for so long, and together with so many: how long to stay away. `chance` is
    /// between 0 and 1.
    pub(super) fn another(&mut self, membership: Duration, together: usize, chance: f64) -> Duration {
        if membership >= REJOIN_RESET.get() {
            self.any = false;
            self.backoff.reset();
        }
        let again = std::mem::replace(&mut self.any, true);
        let pause = if again { self.backoff.pause() } else { Duration::ZERO };
        let (few, many) = RETURN_SPREAD.get();
        pause + if together > CROWD { many } else { few }.mul_f64(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_return_has_no_pause_and_each_further_one_waits_longer_until_a_long_membership() {
        let mut removals = Removals::none();
        let short = Duration::from_secs(10);
        assert_eq!(removals.another(short, 1, 0.0), Duration::ZERO);
        assert_eq!(removals.another(short, 1, 0.0), Duration::from_secs(1));
        assert_eq!(removals.another(short, 1, 0.0), Duration::from_secs(2));
        assert_eq!(removals.another(REJOIN_RESET.get(), 1, 0.0), Duration::ZERO);
    }

    #[test]
    fn those_that_were_removed_together_come_back_one_after_the_other() {
        let back = |together, chance| Removals::none().another(Duration::ZERO, together, chance);
        assert_eq!(back(CROWD, 1.0), Duration::from_millis(200));
        assert_eq!(back(CROWD + 1, 1.0), Duration::from_secs(2));
        assert_eq!(back(CROWD + 1, 0.5), Duration::from_secs(1));
        let mut removals = Removals::none();
        removals.another(Duration::ZERO, 1, 0.0);
        assert_eq!(removals.another(Duration::ZERO, 1, 1.0), Duration::from_millis(1_200));
    }

    #[test]
    fn a_leave_is_asked_of_one_seed_after_the_other_until_its_time_is_over() {
        let at = |ms| Instant::START + Duration::from_millis(ms);
        let mut phase = Phase::Joining;
        phase.become_member(at(0), Incarnation(5));
        assert!(!phase.leave(at(0)));
        assert_eq!(phase.leave_due(at(0)), LeaveDue::Ask { turn: 0 });
        assert_eq!(phase.leave_due(at(499)), LeaveDue::Nothing);
        assert_eq!(phase.leave_due(at(500)), LeaveDue::Ask { turn: 1 });
        assert_eq!(phase.leave_due(Instant::START + LEAVE_TIME_MAX.get()), LeaveDue::GiveUp);
        assert!(Phase::Joining.leave(at(0)), "who is no member has nothing to wait for");
    }
}

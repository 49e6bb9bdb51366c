//! Members that are not to be accused again yet, because others reach them.
//!
//! A jury, or the seeds, found a suspect alive: they reach it, this peer does not. To accuse it again at once would
//! keep everybody busy with one broken cable. So that life is left alone (not dialled, not accused, not hinted at)
//! for one second, then two, up to a minute. (A circuit breaker, in other words.) A frame from it does not end that,
//! for it is the one that comes and goes which is suspected again and again. What hides a death that comes later
//! would be worse: a connection that breaks is followed by one question, and a refusal ends the peace.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::{Instant, MemberId};

/// After the first acquittal (a guess).
const FIRST: Knob<Duration> = Knob::new("peer/cool_down/FIRST", Duration::from_secs(1));
/// After many. Longer would leave a member that really died to the seeds' check of absences alone.
const MOST: Knob<Duration> = Knob::new("peer/cool_down/MOST", Duration::from_secs(60));
/// For each such time without a doubt, half as long is enough.
const HALVED_AFTER: Knob<Duration> = Knob::new("HALVED_AFTER", Duration::from_secs(60));
/// One question after a break in so long a time, at most (a guess).
const ASKED_AGAIN_AFTER: Knob<Duration> = Knob::new("ASKED_AGAIN_AFTER", Duration::from_secs(1));

/// The lives that are left alone.
#[derive(Clone, Debug, Default)]
pub(super) struct CoolDown {
    /// An entry stays when its time is over, so that the next acquittal lasts longer.
    lives: BTreeMap<MemberId, Acquitted>,
}

#[derive(Clone, Copy, Debug)]
struct Acquitted {
    until: Instant,
    lasts: Duration,
    /// When it was last asked whether a broken connection is the end of it.
    asked: Option<Instant>,
}

impl CoolDown {
    /// The jury or the seeds found `life` alive. Each further time lasts twice as long as the one before.
    pub(super) fn begin(&mut self, now: Instant, life: MemberId) {
        let lasts = self.lives.get(&life).map_or(FIRST.get(), |before| {
            let quiet = now.since(before.until).as_nanos() / HALVED_AFTER.get().as_nanos();
            let halved = before.lasts / 2_u32.pow(u32::try_from(quiet).unwrap_or(u32::MAX).min(31));
            (halved * 2).clamp(FIRST.get(), MOST.get())
        });
        self.lives.insert(life, Acquitted { until: now + lasts, lasts, asked: None });
        assert!(self.covers(now, life), "{life} is left alone for no time");
    }

    /// It is over, or proved to be.
    pub(super) fn forget(&mut self, life: MemberId) {
        self.lives.remove(&life);
    }

    /// Its peace is over, for it is proved dead. Should others reach it all the same, the next one lasts longer.
    pub(super) fn end(&mut self, now: Instant, life: MemberId) {
        if let Some(life) = self.lives.get_mut(&life) {
            life.until = life.until.min(now);
        }
        assert!(!self.covers(now, life), "{life} is left alone, and proved dead");
    }

    /// When the next life may be dialled and accused again. None: nobody is left alone now.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.lives.values().map(|life| life.until).filter(|until| *until > now).min()
    }

    /// Whether `life` is to be left alone.
    pub(super) fn covers(&self, now: Instant, life: MemberId) -> bool {
        self.lives.get(&life).is_some_and(|life| now < life.until)
    }

    /// Whether it may be asked now if it is gone, for its connection broke; it counts as asked.
    pub(super) fn may_ask(&mut self, now: Instant, life: MemberId) -> bool {
        let Some(life) = self.lives.get_mut(&life) else { return true };
        let may = life.asked.is_none_or(|asked| now.since(asked) >= ASKED_AGAIN_AFTER.get());
        if may {
            life.asked = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::Incarnation;

    fn life() -> MemberId {
        MemberId { address: "127.0.0.1:1".parse().unwrap(), incarnation: Incarnation(4) }
    }

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    #[test]
    fn each_acquittal_doubles_the_peace_and_quiet_minutes_halve_it() {
        let mut cool_down = CoolDown::default();
        cool_down.begin(at(0), life());
        assert!(cool_down.covers(at(999), life()) && !cool_down.covers(at(1000), life()));
        cool_down.begin(at(1000), life());
        assert!(cool_down.covers(at(2999), life()) && !cool_down.covers(at(3000), life()));
        assert_eq!((cool_down.deadline(at(1000)), cool_down.deadline(at(3000))), (Some(at(3000)), None));
        cool_down.begin(at(3000), life());
        assert_eq!(cool_down.deadline(at(3000)), Some(at(7000)));
        cool_down.begin(at(127_000), life());
        assert_eq!(
            cool_down.deadline(at(127_000)),
            Some(at(129_000)),
            "two minutes: 4 s are 1, and twice that"
        );
        cool_down.forget(life());
        assert!(!cool_down.covers(at(127_500), life()));
    }

    #[test]
    fn whose_connection_breaks_in_that_time_is_asked_once_a_second() {
        let mut cool_down = CoolDown::default();
        cool_down.begin(at(0), life());
        assert!(cool_down.may_ask(at(100), life()));
        assert!(!cool_down.may_ask(at(1_099), life()));
        assert!(cool_down.may_ask(at(1_100), life()));
    }
}

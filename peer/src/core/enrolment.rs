//! Sessions with seeds, and the registration over one of them.
//!
//! A peer keeps sessions with floor(n/2)+1 seeds, drawn at random; another takes the place of one that is down.
//! One of them carries the registration. Which seeds have sessions says nothing about who is a member: that
//! stands in the log.

use std::time::Duration;

use coterie_common::limits::{JOIN_SETTLES, REGISTRATION_TIME_MAX, SESSION_SILENCE_MAX};
use coterie_common::{Backoff, Instant, Patience, majority};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::effect::SeedSlot;

/// A session that broke is dialled again after this, doubling.
const REDIAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A registration that was refused or timed out is tried again after this, doubling.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How much longer than a seed's own limit a peer waits for the answer to a registration.
const ANSWER_TRAVELS: Duration = Duration::from_secs(1);

/// The state of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Down,
    Opening,
    Up {
        heard: Instant,
        said: Instant,
        /// Whether this seed knows which member we are.
        introduced: bool,
    },
}

#[derive(Clone, Debug)]
struct Slot {
    session: Session,
    not_before: Instant,
    backoff: Backoff,
    /// Whether it is one of the seeds: one that was removed is not opened any more.
    is_in_use: bool,
}

impl Slot {
    fn new() -> Self {
        let backoff = Backoff::new(REDIAL.0, REDIAL.1);
        Slot { session: Session::Down, not_before: Instant::START, backoff, is_in_use: true }
    }
}

/// What is due with the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Open a session.
    Open(SeedSlot),
    /// It has been silent for too long: close it.
    Silent(SeedSlot),
    /// Say something, so that the seed hears us.
    Ping(SeedSlot),
}

/// The seeds as this peer sees them.
#[derive(Clone, Debug)]
pub struct Enrolment {
    slots: Vec<Slot>,
    order: Vec<SeedSlot>,
    silence: Duration,
    ping_interval: Duration,
    registering: Option<(SeedSlot, Instant)>,
    ask_not_before: Instant,
    ask_backoff: Backoff,
}

impl Enrolment {
    /// No session yet, with any of so many `seeds`.
    pub fn new(seeds: usize, ping_interval: Duration, patience: Patience, rng: &mut impl Rng) -> Self {
        let mut order: Vec<SeedSlot> = (0..seeds).map(SeedSlot).collect();
        order.shuffle(rng);
        let silence = patience.scale(SESSION_SILENCE_MAX);
        Enrolment {
            slots: vec![Slot::new(); seeds],
            order,
            silence,
            ping_interval: ping_interval.min(silence / 3),
            registering: None,
            ask_not_before: Instant::START,
            ask_backoff: Backoff::new(ASK_AGAIN.0, ASK_AGAIN.1),
        }
    }

    /// How many sessions are wanted.
    pub fn quorum(&self) -> usize {
        majority(self.slots.iter().filter(|slot| slot.is_in_use).count())
    }

    /// There is another seed, at the next place.
    pub fn add(&mut self, rng: &mut impl Rng) {
        let slot = SeedSlot(self.slots.len());
        self.slots.push(Slot::new());
        self.order.insert(rng.random_range(0..=self.order.len()), slot);
    }

    /// Whether that one is a seed now; returns whether its session is to be closed.
    pub fn set_in_use(&mut self, seed: SeedSlot, is_in_use: bool) -> bool {
        let slot = &mut self.slots[seed.0];
        slot.is_in_use = is_in_use;
        !is_in_use && slot.session != Session::Down
    }

    /// A session was opened.
    pub fn up(&mut self, now: Instant, seed: SeedSlot) {
        let slot = &mut self.slots[seed.0];
        slot.session = Session::Up { heard: now, said: now, introduced: false };
    }

    /// A session could not be opened, or broke.
    pub fn down(&mut self, now: Instant, seed: SeedSlot, rng: &mut impl Rng) {
        let slot = &mut self.slots[seed.0];
        slot.session = Session::Down;
        slot.not_before = now + slot.backoff.pause_with_jitter(rng.random());
        if self.registering.is_some_and(|(at, _)| at == seed) {
            self.registering = None;
        }
    }

    /// A frame came from a seed.
    pub fn heard(&mut self, now: Instant, seed: SeedSlot) {
        let slot = &mut self.slots[seed.0];
        if let Session::Up { heard, .. } = &mut slot.session {
            *heard = now;
            // A connection that was merely accepted may be closed again at once.
            slot.backoff.reset();
        }
    }

    /// A frame went to a seed.
    pub fn said(&mut self, now: Instant, seed: SeedSlot) {
        if let Session::Up { said, .. } = &mut self.slots[seed.0].session {
            *said = now;
        }
    }

    /// The seeds with open sessions, in the order of this peer's preference.
    pub fn open(&self) -> impl Iterator<Item = SeedSlot> + '_ {
        self.order.iter().copied().filter(|s| matches!(self.slots[s.0].session, Session::Up { .. }))
    }

    /// The seeds that know which member we are.
    pub fn introduced(&self) -> impl Iterator<Item = SeedSlot> + '_ {
        let is = |s: &SeedSlot| matches!(self.slots[s.0].session, Session::Up { introduced: true, .. });
        self.order.iter().copied().filter(is)
    }

    /// The seeds that do not.
    pub fn strangers(&self) -> Vec<SeedSlot> {
        self.open()
            .filter(|s| matches!(self.slots[s.0].session, Session::Up { introduced: false, .. }))
            .collect()
    }

    /// A seed was told which member we are.
    pub fn introduce(&mut self, seed: SeedSlot) {
        if let Session::Up { introduced, .. } = &mut self.slots[seed.0].session {
            *introduced = true;
        }
    }

    /// We are somebody else now, or nobody: no seed knows which.
    pub fn forget_introductions(&mut self) {
        for slot in &mut self.slots {
            if let Session::Up { introduced, .. } = &mut slot.session {
                *introduced = false;
            }
        }
        self.registering = None;
    }

    /// Which seed to send a registration to now, if one is due. The next falls due when its time is over.
    pub fn registration_due(&mut self, now: Instant) -> Option<SeedSlot> {
        if let Some((seed, _)) = self.registering.filter(|(_, until)| now >= *until) {
            self.registering = None;
            self.prefer_others(seed);
        }
        if self.registering.is_some() || now < self.ask_not_before {
            return None;
        }
        let seed = self.open().next()?;
        self.registering = Some((seed, now + REGISTRATION_TIME_MAX + ANSWER_TRAVELS));
        Some(seed)
    }

    /// That seed could not have anything decided: another is asked first from now on.
    pub fn prefer_others(&mut self, seed: SeedSlot) {
        self.order.retain(|other| *other != seed);
        self.order.push(seed);
    }

    /// The registration was answered; returns whether one was under way there.
    pub fn registration_answered(&mut self, seed: SeedSlot) -> bool {
        let answered = self.registering.is_some_and(|(at, _)| at == seed);
        if answered {
            self.registering = None;
        }
        answered
    }

    /// The next registration is to wait: the last one was refused.
    pub fn ask_later(&mut self, now: Instant, rng: &mut impl Rng) {
        self.ask_not_before = now + self.ask_backoff.pause_with_jitter(rng.random());
    }

    /// The next registration is to wait so long: this peer was declared dead.
    pub fn ask_after(&mut self, at: Instant) {
        self.ask_not_before = at;
    }

    /// The registration succeeded.
    pub fn admitted(&mut self, seed: SeedSlot) {
        self.ask_backoff.reset();
        self.introduce(seed);
    }

    /// Whether the peer has as many sessions as it wants, or has waited long enough since `admitted`.
    pub fn is_settled(&self, now: Instant, admitted: Instant) -> bool {
        self.introduced().count() >= self.quorum() || now >= admitted + JOIN_SETTLES
    }

    /// What is due at `now`.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        for seed in (0..self.slots.len()).map(SeedSlot) {
            if let Session::Up { heard, said, .. } = &mut self.slots[seed.0].session {
                if now >= *heard + self.silence {
                    due.push(Due::Silent(seed));
                } else if now >= *said + self.ping_interval {
                    *said = now;
                    due.push(Due::Ping(seed));
                }
            }
        }
        let wanted = self.quorum();
        for seed in self.order.clone() {
            let busy = self.slots.iter().filter(|s| s.session != Session::Down).count();
            let slot = &mut self.slots[seed.0];
            if busy < wanted && slot.is_in_use && slot.session == Session::Down && now >= slot.not_before {
                slot.session = Session::Opening;
                due.push(Due::Open(seed));
            }
        }
        due
    }

    /// When something is due, for a peer that still has to register or does not.
    pub fn deadline(&self, is_member: bool) -> Instant {
        let far = Instant::from_nanos(u64::MAX);
        let busy = self.slots.iter().filter(|s| s.session != Session::Down).count();
        let of_slot = |slot: &Slot| match slot.session {
            Session::Down if busy < self.quorum() && slot.is_in_use => slot.not_before,
            Session::Down | Session::Opening => far,
            Session::Up { heard, said, .. } => (heard + self.silence).min(said + self.ping_interval),
        };
        let sessions = self.slots.iter().map(of_slot).min().unwrap_or(far);
        let registration = match self.registering {
            _ if is_member => far,
            Some((_, until)) => until,
            None if self.open().next().is_some() => self.ask_not_before,
            None => far,
        };
        sessions.min(registration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    fn five_seeds() -> (Enrolment, ChaCha8Rng) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (Enrolment::new(5, Duration::from_secs(1), Patience::default(), &mut rng), rng)
    }

    #[test]
    fn a_majority_of_the_seeds_is_opened_and_a_lost_one_replaced_by_another() {
        let (mut enrolment, mut rng) = five_seeds();
        let due = enrolment.due(at(0));
        assert_eq!(due.len(), 3);
        let Due::Open(first) = due[0] else { panic!("{due:?}") };
        enrolment.down(at(1), first, &mut rng);
        let due = enrolment.due(at(1));
        assert!(matches!(due[..], [Due::Open(other)] if other != first), "{due:?}");
    }

    #[test]
    fn a_registration_is_asked_of_one_seed_and_passes_to_another_when_it_goes_down() {
        let (mut enrolment, mut rng) = five_seeds();
        for due in enrolment.due(at(0)) {
            let Due::Open(seed) = due else { panic!("{due:?}") };
            enrolment.up(at(0), seed);
        }
        let first = enrolment.registration_due(at(1)).unwrap();
        assert_eq!(enrolment.registration_due(at(2)), None);
        enrolment.down(at(3), first, &mut rng);
        let second = enrolment.registration_due(at(3)).unwrap();
        assert_ne!(first, second);
        assert!(enrolment.registration_answered(second) && !enrolment.registration_answered(second));
    }

    #[test]
    fn a_seed_that_was_removed_gives_its_session_to_one_that_was_added() {
        let (mut enrolment, mut rng) = five_seeds();
        let opened = enrolment.due(at(0));
        for due in &opened {
            let Due::Open(seed) = due else { panic!("{due:?}") };
            enrolment.up(at(0), *seed);
        }
        let Due::Open(first) = opened[0] else { panic!() };
        enrolment.add(&mut rng);
        assert_eq!((enrolment.quorum(), enrolment.due(at(1)).len()), (4, 1));
        assert!(enrolment.set_in_use(first, false), "its session is to be closed");
        enrolment.down(at(1), first, &mut rng);
        assert_eq!(enrolment.quorum(), 3);
        assert!(!enrolment.due(at(10_000)).contains(&Due::Open(first)));
    }

    #[test]
    fn a_quiet_session_is_pinged_and_a_silent_one_closed() {
        let (mut enrolment, _) = five_seeds();
        let Due::Open(seed) = enrolment.due(at(0))[0] else { panic!() };
        enrolment.up(at(0), seed);
        assert_eq!(enrolment.due(at(999)), []);
        assert_eq!(enrolment.due(at(1000)), [Due::Ping(seed)]);
        assert_eq!(enrolment.due(at(2000)), [Due::Ping(seed)]);
        assert_eq!(enrolment.due(at(3000)), [Due::Silent(seed)]);
    }
}

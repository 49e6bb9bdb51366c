//! The request to be admitted: asked of one seed at a time, and asked again until it is answered.

use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::REGISTRATION_TIME_MAX;
use coterie_common::{Backoff, Instant};

use crate::core::effect::SeedSlot;

/// A registration that was refused is tried again after this, doubling (a guess). One that timed out is tried again at
/// once, at another seed where there is one.
const ASK_AGAIN: Knob<(Duration, Duration)> =
    Knob::new("ASK_AGAIN", (Duration::from_millis(250), Duration::from_secs(5)));

/// How much longer than a seed's own limit a peer waits for the answer: asking another seed any sooner would only
/// have the first one's ballot joined by a second one.
const ANSWER_TRAVELS: Knob<Duration> = Knob::new("ANSWER_TRAVELS", Duration::from_secs(1));

/// The attempt to be registered. At most one is under way, at one seed.
#[derive(Clone, Debug)]
pub(super) struct RegistrationAttempt {
    /// Where it is under way, and until when an answer is awaited.
    under_way: Option<(SeedSlot, Instant)>,
    /// No other is sent before then.
    not_before: Instant,
    /// It grows with refusals only: a time-out has taken long enough by itself.
    backoff: Backoff,
}

impl RegistrationAttempt {
    /// None was made yet, so the first may be sent at once.
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(ASK_AGAIN.get().0, ASK_AGAIN.get().1);
        RegistrationAttempt { under_way: None, not_before: Instant::START, backoff }
    }

    /// Where one is under way.
    pub(super) fn at(&self) -> Option<SeedSlot> {
        self.under_way.map(|(seed, _)| seed)
    }

    /// The seed whose time to answer is over; its attempt is given up.
    pub(super) fn expired(&mut self, now: Instant) -> Option<SeedSlot> {
        self.under_way.take_if(|(_, until)| now >= *until).map(|(seed, _)| seed)
    }

    /// Whether another may begin. It does not ask whether there is a session to send it on.
    pub(super) fn may_begin(&self, now: Instant) -> bool {
        self.under_way.is_none() && now >= self.not_before
    }

    /// One is sent to `seed`.
    pub(super) fn begin(&mut self, now: Instant, seed: SeedSlot) {
        assert!(self.under_way.is_none(), "a registration is under way at {:?}", self.under_way);
        self.under_way = Some((seed, now + REGISTRATION_TIME_MAX.get() + ANSWER_TRAVELS.get()));
    }

    /// It has ended at `seed`, whatever came of it; false if none was under way there.
    pub(super) fn end_at(&mut self, seed: SeedSlot) -> bool {
        self.under_way.take_if(|(at, _)| *at == seed).is_some()
    }

    /// It has ended, wherever it was. Whoever asked is somebody else now; an answer that still comes is for nobody.
    pub(super) fn end(&mut self) {
        self.under_way = None;
    }

    /// It was refused: the next one waits, a little less or more by `chance` (0 to 1). That spreads peers that were
    /// refused together, as when the seeds had no majority.
    pub(super) fn refused(&mut self, now: Instant, chance: f64) {
        self.not_before = now + self.backoff.pause_with_jitter(chance);
    }

    /// The next one waits until then. It replaces the pause after a refusal.
    pub(super) fn wait_until(&mut self, at: Instant) {
        self.not_before = at;
    }

    /// It was granted: the next refusal, in another life, is the first again.
    pub(super) fn granted(&mut self) {
        self.backoff.reset();
    }

    /// When there is something to do, with at least one session open or none.
    pub(super) fn deadline(&self, has_session: bool) -> Instant {
        match self.under_way {
            Some((_, until)) => until,
            None if has_session => self.not_before,
            None => Instant::NEVER,
        }
    }
}

//! Whether the neighbour at the other end of one link still speaks.
//!
//! Any frame is a sign of life, so a busy link is never pinged. On a quiet one the lower address pings, and the
//! other end only when it hears nothing one time-out later: one ping serves both. What the detector says is a
//! doubt, not a verdict; juries and seeds decide.
//!
//! Weighed and left out: a suspicion level as in the phi-accrual detector. It pays where heartbeats are the only
//! evidence; here a broken socket speaks first, and every doubt is checked by probes anyway.

use std::time::Duration;

use coterie_common::Instant;

use super::round_trips::RoundTrips;

/// What is to be done about the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// Nothing yet.
    Wait,
    /// Send a ping.
    Ping,
    /// It has been silent through all pings.
    Suspect,
}

/// The state of one link's detector.
#[derive(Clone, Debug)]
pub(super) struct Detector {
    interval: Duration,
    misses_allowed: u32,
    pings_first: bool,
    heard: Instant,
    /// The last ping, while it is unanswered.
    asked: Option<Instant>,
    /// Pings of this silence, the unanswered one included.
    asked_times: u32,
    suspected: bool,
    /// When this end's greeting went out, until it is answered.
    greeted: Option<Instant>,
    round_trips: RoundTrips,
}

impl Detector {
    /// A link that came up `now`. `pings_first`: this end is the one to ping when it grows quiet.
    pub(super) fn new(
        now: Instant,
        interval: Duration,
        misses_allowed: u32,
        pings_first: bool,
        is_json: bool,
    ) -> Self {
        assert!(misses_allowed > 0, "a link that may miss no ping is suspected before the first");
        Detector {
            interval,
            misses_allowed,
            pings_first,
            heard: now,
            asked: None,
            asked_times: 0,
            suspected: false,
            greeted: None,
            round_trips: RoundTrips::new(is_json),
        }
    }

    /// A ping is outstanding exactly while pings of this silence are counted, and no more of them than are allowed.
    fn assert_counted(&self) {
        let (asked, times, most) = (self.asked, self.asked_times, self.misses_allowed);
        assert_eq!(
            asked.is_some(),
            times > 0,
            "a ping is outstanding since {asked:?}, and {times} are counted"
        );
        assert!(times <= most, "{times} pings of one silence, {most} are allowed");
    }

    /// A frame came. Returns whether pings had to be repeated for it, when it ends a round of them.
    pub(super) fn heard(&mut self, now: Instant) -> Option<bool> {
        assert!(now >= self.heard, "a frame of {now:?} comes after one of {:?}", self.heard);
        let repeated = (self.asked_times > 0).then_some(self.asked_times > 1);
        self.heard = now;
        self.asked = None;
        self.asked_times = 0;
        self.suspected = false;
        self.assert_counted();
        repeated
    }

    /// This end greeted the other then, and the next frame answers it. Without that sample the end that does not ping
    /// would know nothing of the round trips when the other falls silent.
    pub(super) fn greeted(&mut self, at: Instant) {
        self.greeted = Some(at);
    }

    /// A frame came from the other end: if it is the first after this end's greeting, it answers that.
    pub(super) fn greeting_answered(&mut self, now: Instant) {
        if let Some(greeted) = self.greeted.take() {
            assert!(now >= greeted, "a greeting of {greeted:?} is answered at {now:?}");
            self.round_trips.learn(now.since(greeted));
        }
    }

    /// A PONG came; to be called before [`heard`](Self::heard). Only the answer to an unrepeated ping teaches a
    /// round trip: another could belong to either (Karn's rule).
    pub(super) fn pong(&mut self, now: Instant) {
        if let (Some(asked), 1) = (self.asked, self.asked_times) {
            assert!(now >= asked, "a ping of {asked:?} is answered at {now:?}");
            self.round_trips.learn(now.since(asked));
        }
    }

    /// This end, not the neighbour, was silent: what went unanswered meanwhile does not count.
    pub(super) fn forgive(&mut self, now: Instant) {
        if self.asked.is_some() {
            self.asked = Some(now);
            self.asked_times = 1;
        }
        self.assert_counted();
    }

    /// What to do at `now`, with time-outs stretched by `stretch`.
    pub(super) fn tick(&mut self, now: Instant, stretch: f64) -> Tick {
        if now < self.deadline(stretch) {
            return Tick::Wait;
        }
        if self.asked_times >= self.misses_allowed {
            self.suspected = true;
            return Tick::Suspect;
        }
        self.asked = Some(now);
        self.asked_times += 1;
        self.assert_counted();
        Tick::Ping
    }

    /// Whether at least one ping is overdue.
    pub(super) fn is_missing(&self, now: Instant) -> bool {
        self.asked_times > 1 || self.asked.is_some_and(|at| now.since(at) >= self.round_trips.timeout())
    }

    /// When [`tick`](Self::tick) has something to do; far away once it said [`Tick::Suspect`].
    pub(super) fn deadline(&self, stretch: f64) -> Instant {
        let timeout = self.round_trips.timeout().mul_f64(stretch);
        match self.asked {
            _ if self.suspected => Instant::NEVER,
            Some(asked) => asked + timeout,
            None if self.pings_first => self.heard + self.interval,
            None => self.heard + self.interval + timeout,
        }
    }

    /// What was learnt of this link's round trips.
    pub(super) fn round_trips(&self) -> &RoundTrips {
        &self.round_trips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Instant {
        Instant::START + MS * ms as u32
    }

    fn detector(pings_first: bool) -> Detector {
        Detector::new(at(0), 1000 * MS, 3, pings_first, false)
    }

    /// Runs the detector against silence and tells what it did when.
    fn in_silence(mut detector: Detector) -> Vec<(u64, Tick)> {
        let mut story = Vec::new();
        while story.last().is_none_or(|(_, tick)| *tick != Tick::Suspect) {
            let now = detector.deadline(1.0);
            story.push((now.as_nanos() / 1_000_000, detector.tick(now, 1.0)));
        }
        story
    }

    #[test]
    fn three_pings_in_a_row_go_unanswered_before_it_suspects() {
        let story = [(1000, Tick::Ping), (1500, Tick::Ping), (2000, Tick::Ping), (2500, Tick::Suspect)];
        assert_eq!(in_silence(detector(true)), story);
    }

    #[test]
    fn the_higher_address_pings_only_when_the_lower_one_did_not() {
        assert_eq!(in_silence(detector(false))[0], (1500, Tick::Ping));
    }

    #[test]
    fn any_frame_ends_the_doubt_and_an_unrepeated_answer_teaches_the_time_out() {
        let mut detector = detector(true);
        assert_eq!(detector.tick(at(1000), 1.0), Tick::Ping);
        detector.pong(at(1010));
        assert_eq!(detector.heard(at(1010)), Some(false));
        assert_eq!(detector.round_trips().timeout(), 30 * MS);
        assert_eq!(detector.tick(at(2010), 1.0), Tick::Ping);
        assert_eq!(detector.tick(at(2040), 1.0), Tick::Ping);
        detector.pong(at(2041));
        assert_eq!(detector.heard(at(2041)), Some(true), "the ping was repeated");
        assert_eq!(detector.round_trips().timeout(), 30 * MS, "and taught nothing");
    }

    #[test]
    fn a_ping_is_missing_when_its_time_is_over_and_not_before() {
        let mut detector = detector(true);
        assert!(!detector.is_missing(at(900)), "none was sent");
        assert_eq!(detector.tick(at(1000), 1.0), Tick::Ping);
        assert!(!detector.is_missing(at(1499)));
        assert!(detector.is_missing(at(1500)));
        assert_eq!(detector.tick(at(1500), 1.0), Tick::Ping);
        assert!(detector.is_missing(at(1501)), "the first is, though the second is not");
    }

    /// A process that was stopped for ten seconds finds every ping overdue. The neighbours are not to blame.
    #[test]
    fn a_late_loop_forgives_before_it_looks() {
        let mut detector = detector(true);
        detector.tick(at(1000), 1.0);
        detector.tick(at(1500), 1.0);
        detector.forgive(at(12_000));
        assert_eq!(detector.tick(at(12_000), 1.0), Tick::Wait);
        assert_eq!(detector.tick(at(12_500), 1.0), Tick::Ping);
    }
}

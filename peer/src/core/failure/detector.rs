//! Whether the neighbour at the other end of one link still speaks, and still hears.
//!
//! Any frame is a sign of life, so a busy link is never pinged. On a quiet one the lower address pings, and the
//! other end only when it hears nothing one time-out later: one ping serves both. What the detector says is a
//! doubt, not a verdict; juries and seeds decide.
//!
//! Each ping has a number of its own, which the PONG repeats. So an answer that comes late still says how long it
//! took, and a slow neighbour is told from a silent one: what Karn's rule throws away, for TCP cannot tell which of two
//! it is, is the very sample that is needed where a machine has become slow.
//!
//! Weighed and left out: a suspicion level as in the phi-accrual detector. It pays where heartbeats are the only
//! evidence; here a broken socket speaks first, and every doubt is checked by probes anyway.

use std::collections::VecDeque;
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::message::Cause;
use coterie_common::{Instant, Wire};

use super::round_trips::{Bounds, RoundTrips};

/// Pings whose answers are still known when they come: those of two silences, and of a probe or two.
const PINGS_KEPT: usize = 8;

/// For so long at least pings must go unanswered, while other frames come, until a neighbour counts as deaf: it may
/// be slow with one kind of answer.
const DEAF_AFTER: Knob<Duration> = Knob::new("DEAF_AFTER", Duration::from_secs(1));

/// What is to be done about the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// Nothing yet.
    Wait,
    /// Send a ping of that number.
    Ping(u64),
    /// All pings went unanswered: nothing else came either, or other frames did.
    Suspect(Cause),
}

/// A ping that has not been answered.
#[derive(Clone, Copy, Debug)]
struct Sent {
    nonce: u64,
    at: Instant,
}

/// Pings in a row that were not answered.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    first: Instant,
    last: Instant,
    times: u32,
}

/// What a PONG tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// When the ping went out that it answers.
    pub(super) asked: Instant,
    /// Whether pings had to be repeated for it.
    pub(super) was_repeated: bool,
}

/// The state of one link's detector.
#[derive(Clone, Debug)]
pub(super) struct Detector {
    interval: Duration,
    misses_allowed: u32,
    wire: Wire,
    pings_first: bool,
    heard: Instant,
    /// From when on quiet counts: since it was heard, or was last left alone.
    quiet_from: Instant,
    /// The last ping since anything was heard.
    asked: Option<Instant>,
    /// Pings of this silence.
    asked_times: u32,
    /// The pings since the last PONG, whatever else was heard; not those of probes.
    unanswered: Option<Unanswered>,
    suspected: bool,
    /// In the order in which they were sent.
    sent: VecDeque<Sent>,
    last_nonce: u64,
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
        wire: Wire,
        pings_first: bool,
    ) -> Self {
        assert!(misses_allowed > 0, "a link that may miss no ping is suspected before the first");
        Detector {
            interval,
            misses_allowed,
            wire,
            pings_first,
            heard: now,
            quiet_from: now,
            asked: None,
            asked_times: 0,
            unanswered: None,
            suspected: false,
            sent: VecDeque::new(),
            last_nonce: 0,
            greeted: None,
            round_trips: RoundTrips::new(wire, misses_allowed),
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
        assert!(
            self.sent.len() <= PINGS_KEPT,
            "{} pings are kept, {PINGS_KEPT} are the most",
            self.sent.len()
        );
    }

    /// A frame came. It ends a silence; whether it answers a ping, `pong` says.
    pub(super) fn heard(&mut self, now: Instant) {
        assert!(now >= self.heard, "a frame of {now:?} comes after one of {:?}", self.heard);
        self.heard = now;
        self.look_again(now);
    }

    /// It is left alone for now, and asked anew. That is no sign of life.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.quiet_from = now;
        self.asked = None;
        self.asked_times = 0;
        self.suspected = false;
        self.assert_counted();
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

    /// A PONG came. None: it answers no ping that is known, and tells no more than any other frame.
    ///
    /// A JSON program need not repeat the number. Such an answer may be that of any ping, so it teaches a round trip
    /// only where there was one (Karn's rule).
    pub(super) fn pong(&mut self, now: Instant, nonce: u64) -> Option<Answered> {
        let is_numbered = self.wire == Wire::Native || nonce != 0;
        let place = match is_numbered {
            true => self.sent.iter().position(|ping| ping.nonce == nonce)?,
            false => self.sent.len().checked_sub(1)?,
        };
        let asked = self.sent[place].at;
        assert!(now >= asked, "a ping of {asked:?} is answered at {now:?}");
        let times = self.unanswered.map_or(0, |pings| pings.times);
        if is_numbered || times <= 1 {
            self.round_trips.learn(now.since(asked));
        }
        // What was sent before it has been overtaken: on one connection nothing is, so its answer was lost with
        // another connection of this link.
        self.sent.drain(..=place);
        self.unanswered = None;
        Some(Answered { asked, was_repeated: times > 1 })
    }

    /// This end, not the neighbour, was silent: what went unanswered meanwhile does not count.
    pub(super) fn forgive(&mut self, now: Instant) {
        if self.asked.is_some() {
            self.asked = Some(now);
            self.asked_times = 1;
        }
        self.unanswered = self.unanswered.map(|_| Unanswered { first: now, last: now, times: 1 });
        self.assert_counted();
    }

    /// A ping that a probe sends over the link, beside those of the detector. No answer to it is missed.
    pub(super) fn ping(&mut self, now: Instant) -> u64 {
        self.last_nonce += 1;
        self.sent.push_back(Sent { nonce: self.last_nonce, at: now });
        if self.sent.len() > PINGS_KEPT {
            self.sent.pop_front();
        }
        self.last_nonce
    }

    /// What to do at `now`, by time-outs within those bounds.
    pub(super) fn tick(&mut self, now: Instant, bounds: Bounds) -> Tick {
        if now < self.deadline(bounds) {
            return Tick::Wait;
        }
        // Said once: where the jury finds it well, as many more must go unanswered.
        if self.asked_times >= self.misses_allowed {
            (self.suspected, self.unanswered) = (true, None);
            return Tick::Suspect(Cause::PingsMissed);
        }
        if now >= self.deaf_at(bounds) {
            self.unanswered = None;
            return Tick::Suspect(Cause::Deaf);
        }
        self.asked = Some(now);
        self.asked_times += 1;
        let before = self.unanswered.unwrap_or(Unanswered { first: now, last: now, times: 0 });
        self.unanswered = Some(Unanswered { last: now, times: before.times + 1, ..before });
        self.assert_counted();
        Tick::Ping(self.ping(now))
    }

    /// When as many pings in a row as are allowed have gone unanswered, though other frames came. JSON programs may
    /// answer none.
    fn deaf_at(&self, bounds: Bounds) -> Instant {
        match self.unanswered {
            Some(Unanswered { first, last, times })
                if times >= self.misses_allowed && self.wire == Wire::Native =>
            {
                (last + self.timeout(bounds)).max(first + DEAF_AFTER.get())
            }
            Some(_) | None => Instant::NEVER,
        }
    }

    /// For how long nothing has come.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        now.since(self.heard)
    }

    /// Whether no more pings are sent: what comes next is a suspicion.
    pub(super) fn is_exhausted(&self) -> bool {
        let unanswered = self.unanswered.map_or(0, |pings| pings.times);
        self.asked_times >= self.misses_allowed
            || self.wire == Wire::Native && unanswered >= self.misses_allowed
    }

    /// Whether at least one ping is overdue.
    pub(super) fn is_missing(&self, now: Instant) -> bool {
        self.asked_times > 1 || self.asked.is_some_and(|at| now.since(at) >= self.timeout(Bounds::default()))
    }

    /// How long an answer to the last ping is waited for: twice as long for each one before it that went unanswered,
    /// until one is answered.
    fn timeout(&self, bounds: Bounds) -> Duration {
        let before = self.unanswered.map_or(0, |pings| pings.times.saturating_sub(1));
        self.round_trips.timeout(before.min(self.misses_allowed - 1), bounds)
    }

    /// When [`tick`](Self::tick) has something to do; far away once it said [`Tick::Suspect`] of a silent link.
    pub(super) fn deadline(&self, bounds: Bounds) -> Instant {
        let silent_at = match self.asked {
            _ if self.suspected => Instant::NEVER,
            Some(asked) => asked + self.timeout(bounds),
            None if self.pings_first => self.quiet_from + self.interval,
            None => self.quiet_from + self.interval + self.round_trips.timeout(0, bounds),
        };
        silent_at.min(self.deaf_at(bounds))
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
        Detector::new(at(0), 1000 * MS, 3, Wire::Native, pings_first)
    }

    fn tick(detector: &mut Detector, ms: u64) -> Tick {
        detector.tick(at(ms), Bounds::default())
    }

    /// The neighbour answers that ping then.
    fn answer(detector: &mut Detector, ms: u64, nonce: u64) -> Option<Answered> {
        let answered = detector.pong(at(ms), nonce);
        detector.heard(at(ms));
        answered
    }

    /// Runs the detector against silence and tells what it did when.
    fn in_silence(mut detector: Detector) -> Vec<(u64, Tick)> {
        let mut story = Vec::new();
        while story.last().is_none_or(|(_, tick)| !matches!(tick, Tick::Suspect(_))) {
            let now = detector.deadline(Bounds::default());
            story.push((now.as_nanos() / 1_000_000, detector.tick(now, Bounds::default())));
        }
        assert_eq!(detector.deadline(Bounds::default()), Instant::NEVER, "and says it once");
        story
    }

    #[test]
    fn three_pings_in_a_row_go_unanswered_each_waited_for_twice_as_long_before_it_suspects() {
        let mut near = detector(true);
        assert_eq!(tick(&mut near, 1000), Tick::Ping(1));
        assert!(answer(&mut near, 1001, 1).is_some());
        let story = [
            (2001, Tick::Ping(2)),
            (2043, Tick::Ping(3)),
            (2129, Tick::Ping(4)),
            (2300, Tick::Suspect(Cause::PingsMissed)),
        ];
        assert_eq!(in_silence(near), story);
    }

    #[test]
    fn of_a_neighbour_of_whom_nothing_is_known_two_seconds_of_silence_are_borne() {
        let story = in_silence(detector(true));
        assert_eq!(story.first(), Some(&(1000, Tick::Ping(1))));
        assert_eq!(story.last(), Some(&(2999, Tick::Suspect(Cause::PingsMissed))));
    }

    #[test]
    fn the_higher_address_pings_only_when_the_lower_one_did_not() {
        assert_eq!(in_silence(detector(false))[0], (1285, Tick::Ping(1)));
    }

    /// A machine that has become slow answers the first ping when the second is on its way. Were that answer taken for
    /// nobody's, the time-out would stay what it was when the machine was quick.
    #[test]
    fn a_late_answer_says_how_late_it_is_and_the_time_out_follows() {
        let mut slow = detector(true);
        assert_eq!(tick(&mut slow, 1000), Tick::Ping(1));
        answer(&mut slow, 1001, 1);
        assert_eq!(tick(&mut slow, 2001), Tick::Ping(2));
        assert_eq!(tick(&mut slow, 2044), Tick::Ping(3));
        let late = answer(&mut slow, 2061, 2).expect("that ping is known");
        assert_eq!(late, Answered { asked: at(2001), was_repeated: true });
        assert!(slow.round_trips().smoothed().is_some_and(|s| s > 8 * MS), "{:?}", slow.round_trips());
        assert!(answer(&mut slow, 2104, 3).is_some(), "and so does the next");
        assert_eq!(tick(&mut slow, 3104), Tick::Ping(4));
        assert_eq!(tick(&mut slow, 3104 + 60), Tick::Wait, "60 ms are no miss any more");
    }

    #[test]
    fn an_answer_to_no_ping_of_ours_teaches_nothing() {
        let mut detector = detector(true);
        assert_eq!(tick(&mut detector, 1000), Tick::Ping(1));
        assert_eq!(detector.pong(at(1001), 7), None);
        assert!(detector.pong(at(1002), 1).is_some());
        assert_eq!(detector.pong(at(1003), 1), None, "answered already");
    }

    #[test]
    fn a_json_program_that_repeats_no_number_teaches_by_unrepeated_pings_alone() {
        let mut json = Detector::new(at(0), 1000 * MS, 3, Wire::Json, true);
        assert_eq!(tick(&mut json, 1000), Tick::Ping(1));
        assert!(answer(&mut json, 1010, 0).is_some());
        assert_eq!(json.round_trips().smoothed(), Some(10 * MS));
        assert_eq!(tick(&mut json, 2010), Tick::Ping(2));
        assert_eq!(tick(&mut json, 3010), Tick::Ping(3));
        assert!(answer(&mut json, 3900, 0).is_some_and(|answered| answered.was_repeated));
        assert_eq!(json.round_trips().smoothed(), Some(10 * MS), "whose answer was it?");
    }

    /// It speaks, and nothing of ours reaches it, or it has stopped answering.
    #[test]
    fn a_neighbour_that_speaks_and_answers_no_ping_is_deaf() {
        let mut detector = detector(true);
        assert_eq!(tick(&mut detector, 1000), Tick::Ping(1));
        answer(&mut detector, 1001, 1);
        for (ms, nonce) in [(2001, 2), (3001, 3), (4001, 4)] {
            assert_eq!(tick(&mut detector, ms), Tick::Ping(nonce));
            detector.heard(at(ms));
        }
        assert_eq!(tick(&mut detector, 4172), Tick::Wait, "the last may be answered yet");
        assert_eq!(tick(&mut detector, 4173), Tick::Suspect(Cause::Deaf));
        assert_eq!(tick(&mut detector, 5001), Tick::Ping(5), "and it is asked anew");
    }

    #[test]
    fn a_ping_is_missing_when_its_time_is_over_and_not_before() {
        let mut detector = detector(true);
        assert!(!detector.is_missing(at(900)), "none was sent");
        assert_eq!(tick(&mut detector, 1000), Tick::Ping(1));
        assert!(!detector.is_missing(at(1285)));
        assert!(detector.is_missing(at(1286)));
        assert_eq!(tick(&mut detector, 1300), Tick::Ping(2));
        assert!(detector.is_missing(at(1301)), "the first is, though the second is not");
    }

    /// A process that was stopped for ten seconds finds every ping overdue. The neighbours are not to blame.
    #[test]
    fn a_late_loop_forgives_before_it_looks() {
        let mut detector = detector(true);
        tick(&mut detector, 1000);
        tick(&mut detector, 1500);
        detector.forgive(at(12_000));
        assert_eq!(tick(&mut detector, 12_000), Tick::Wait);
        assert_eq!(tick(&mut detector, 12_500), Tick::Ping(3));
    }
}

//! Whether the links still speak: a detector for each, and what their silence says of this peer itself.
//!
//! The links are watched together, because together they tell what one alone does not: where most are silent at once,
//! it is this peer that is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::Cause;
use coterie_common::{Address, Instant, LocalHealth, MemberId, Message, Wire};

use super::detector::{Detector, Tick};
use super::round_trips::Bounds;
use crate::core::context::Context;
use crate::core::overlay::{Linked, Overlay};

/// A time-out is at least so many times this peer's own lateness: what it takes to notice an answer is part of it.
const LATENESS_FACTOR: u32 = 4;

/// All links, watched.
#[derive(Clone, Debug, Default)]
pub(super) struct LinkWatch {
    /// Invariant: one for each link of the overlay.
    detectors: BTreeMap<MemberId, Detector>,
    /// Of this peer, not of any link: it outlasts them all.
    local_health: LocalHealth,
}

impl LinkWatch {
    /// The loop wished to run at `deadline` and runs now. If it is late, it was this end that was silent: what went
    /// unanswered meanwhile does not count. Returns for how long it stood still.
    pub(super) fn woke(&mut self, cx: &mut Context, deadline: Instant) -> Option<Duration> {
        let was_late = self.local_health.woke(cx.now, deadline);
        if was_late {
            cx.count("loops_late");
            self.detectors.values_mut().for_each(|detector| detector.forgive(cx.now));
        }
        was_late.then(|| cx.now.since(deadline))
    }

    /// How well this peer is.
    pub(super) fn local_health(&self) -> &LocalHealth {
        &self.local_health
    }

    /// A probe of this peer's came to nothing for want of means or time of its own.
    pub(super) fn could_not_probe(&mut self, now: Instant) {
        self.local_health.could_not_probe(now);
    }

    fn bounds(&self, now: Instant) -> Bounds {
        let (score, lateness) = (self.local_health.score(now), self.local_health.lateness(now));
        Bounds { stretch: f64::from(score), least: lateness * LATENESS_FACTOR }
    }

    /// The round trip to a neighbour, as far as it was learnt. None without a link, and before the first answer on
    /// it.
    pub(super) fn round_trip(&self, id: MemberId) -> Option<Duration> {
        self.detectors.get(&id)?.round_trips().smoothed()
    }

    /// For how long nothing has come over the link with a neighbour. None without a link.
    pub(super) fn quiet_for(&self, now: Instant, id: MemberId) -> Option<Duration> {
        self.detectors.get(&id).map(|detector| detector.quiet_for(now))
    }

    /// Whether this peer hears hardly anybody, and says nothing against who is silent.
    pub(super) fn doubts_itself(&self, now: Instant) -> bool {
        self.local_health.silence_is_own(now)
    }

    /// Whose links are watched.
    pub(super) fn watched(&self) -> Vec<MemberId> {
        self.detectors.keys().copied().collect()
    }

    // ---- links come and go ----

    /// There is a link where there was none.
    pub(super) fn begin(&mut self, cx: &Context, linked: &Linked) {
        // One ping serves both ends: the lower address asks. A JSON program may never ask.
        let pings_first = linked.wire == Wire::Json || cx.me < linked.id.address;
        let (interval, misses) = (cx.config.ping_interval, cx.config.ping_misses);
        let detector = Detector::new(cx.now, interval, misses, linked.wire, pings_first);
        let before = self.detectors.insert(linked.id, detector);
        assert!(before.is_none(), "the link with {} is new and has a detector", linked.id);
    }

    /// Our HELLO went out on a link; what comes next answers it, or has just answered it.
    pub(super) fn greeted(&mut self, cx: &Context, linked: &Linked) {
        let detector = self.detector(linked.id);
        if let Some(at) = linked.greeted {
            detector.greeted(at);
            if linked.is_answered {
                detector.greeting_answered(cx.now);
            }
        }
    }

    /// A link is no more.
    pub(super) fn end(&mut self, id: MemberId) {
        let detector = self.detectors.remove(&id);
        assert!(detector.is_some(), "the link with {id} had no detector");
    }

    /// A life is over, and with it the link, if there was one.
    pub(super) fn forget(&mut self, id: MemberId) {
        self.detectors.remove(&id);
    }

    /// No link is left.
    pub(super) fn clear(&mut self) {
        self.detectors.clear();
    }

    // ---- what they say ----

    /// A link without one would never be found silent, so its absence is a fault of ours.
    fn detector(&mut self, id: MemberId) -> &mut Detector {
        let detector = self.detectors.get_mut(&id);
        let Some(detector) = detector else { panic!("the link with {id} has no detector") };
        detector
    }

    /// A frame came over a link: a PONG with that nonce, or another one. Returns when the ping was sent that it
    /// answers.
    pub(super) fn heard(&mut self, now: Instant, id: MemberId, pong: Option<u64>) -> Option<Instant> {
        let detector = self.detector(id);
        detector.greeting_answered(now);
        let answered = pong.and_then(|nonce| detector.pong(now, nonce));
        detector.heard(now);
        // Other frames come by themselves, and say nothing of the pings that were lost.
        if let Some(answered) = answered {
            self.local_health.saw_answer(now, answered.was_repeated);
        }
        answered.map(|answered| answered.asked)
    }

    /// The nonce of a ping that a probe sends over a link. Its answer is not waited for here.
    pub(super) fn ping(&mut self, now: Instant, id: MemberId) -> u64 {
        self.detector(id).ping(now)
    }

    /// Where there is a link, it is pinged anew: it is silent, and to be looked at again later.
    pub(super) fn look_again(&mut self, now: Instant, id: MemberId) {
        if let Some(detector) = self.detectors.get_mut(&id) {
            detector.look_again(now);
        }
    }

    /// Pings quiet links, and returns those that answered no ping, and what that is called. Who is `busy` cannot
    /// answer: a JSON program that is checking a suspect for us answers nothing meanwhile.
    #[must_use]
    pub(super) fn silent(
        &mut self,
        cx: &mut Context,
        overlay: &Overlay,
        busy: &BTreeSet<Address>,
    ) -> Vec<(MemberId, Cause)> {
        // Before any link is judged: if they are silent together, the time-outs of this very step are longer.
        let silent = self.detectors.values().filter(|detector| detector.is_missing(cx.now)).count();
        let borne = cx.config.patience.for_probe(0.0, false);
        if self.local_health.saw_silence(cx.now, silent, self.detectors.len(), borne) {
            cx.count("links_silent_together");
        }
        let (bounds, doubts_itself) = (self.bounds(cx.now), self.doubts_itself(cx.now));
        let mut suspects = Vec::new();
        for link in overlay.links() {
            let detector = self.detector(link.id);
            if link.wire == Wire::Json && busy.contains(&link.id.address) {
                detector.forgive(cx.now);
            }
            if doubts_itself && detector.is_exhausted() {
                // Judged when this peer has borne it for one patience.
                continue;
            }
            match detector.tick(cx.now, bounds) {
                Tick::Wait => {}
                Tick::Ping(nonce) => cx.send(link.connection, Message::Ping { nonce }),
                Tick::Suspect(cause) => suspects.push((link.id, cause)),
            }
        }
        suspects
    }

    /// When a link is to be pinged, or was silent for too long.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let bounds = self.bounds(now);
        let judged = self.local_health.silence_judged_from();
        let deadline = |detector: &Detector| match detector.is_exhausted() {
            true => detector.deadline(bounds).max(judged),
            false => detector.deadline(bounds),
        };
        let deadlines = self.detectors.values().map(deadline);
        deadlines.min().unwrap_or(Instant::NEVER)
    }
}

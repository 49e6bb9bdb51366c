//! Whether the links still speak: a detector for each, and what their silence says of this peer itself.
//!
//! The links are watched together, because together they tell what one alone does not: where most are silent at once,
//! it is this peer that is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::{Address, Instant, MemberId, Message, Wire};

use super::detector::{Detector, Tick};
use super::local_health::LocalHealth;
use crate::core::context::Context;
use crate::core::overlay::{Linked, Overlay};

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
    /// unanswered meanwhile does not count.
    pub(super) fn woke(&mut self, cx: &mut Context, deadline: Instant) {
        if self.local_health.woke(cx.now, deadline) {
            cx.count("loops_late");
            self.detectors.values_mut().for_each(|detector| detector.forgive(cx.now));
        }
    }

    /// How well this peer is: the share of its pings that had to be repeated, and whether it is slow or cut off. Both
    /// make its probes wait longer.
    pub(super) fn health(&self, now: Instant) -> (f64, bool) {
        (self.local_health.loss(), self.local_health.is_unwell(now))
    }

    /// The round trip to a neighbour, as far as it was learnt. None without a link, and before the first answer on
    /// it.
    pub(super) fn round_trip(&self, id: MemberId) -> Option<Duration> {
        self.detectors.get(&id)?.round_trips().smoothed()
    }

    /// Whose links are watched.
    pub(super) fn watched(&self) -> Vec<MemberId> {
        self.detectors.keys().copied().collect()
    }

    // ---- links come and go ----

    /// There is a link where there was none.
    pub(super) fn begin(&mut self, cx: &Context, linked: &Linked) {
        let is_json = linked.wire == Wire::Json;
        // One ping serves both ends: the lower address asks. A JSON program may never ask.
        let pings_first = is_json || cx.me < linked.id.address;
        let (interval, misses) = (cx.config.ping_interval, cx.config.ping_misses);
        let detector = Detector::new(cx.now, interval, misses, pings_first, is_json);
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

    /// A frame came over a link, and was a PONG or another one.
    pub(super) fn heard(&mut self, now: Instant, id: MemberId, is_pong: bool) {
        let detector = self.detector(id);
        // The order matters: what was asked is forgotten when the frame counts as heard.
        detector.greeting_answered(now);
        if is_pong {
            detector.pong(now);
        }
        let repeated = detector.heard(now);
        // Other frames come by themselves, and say nothing of the pings that were lost.
        if let (true, Some(repeated)) = (is_pong, repeated) {
            self.local_health.saw_answer(repeated);
        }
    }

    /// Where there is a link, it is pinged anew: it is silent, and to be looked at again later.
    pub(super) fn look_again(&mut self, now: Instant, id: MemberId) {
        if let Some(detector) = self.detectors.get_mut(&id) {
            detector.heard(now);
        }
    }

    /// Pings quiet links, and returns those that were silent through all pings. Who is `busy` cannot answer: a JSON
    /// program that is checking a suspect for us answers nothing meanwhile.
    #[must_use]
    pub(super) fn silent(
        &mut self,
        cx: &mut Context,
        overlay: &Overlay,
        busy: &BTreeSet<Address>,
    ) -> Vec<MemberId> {
        // Before any link is judged: if they are silent together, the time-outs of this very step are longer.
        let silent = self.detectors.values().filter(|detector| detector.is_missing(cx.now)).count();
        if self.local_health.saw_silence(cx.now, silent, self.detectors.len()) {
            cx.count("links_silent_together");
        }
        let stretch = self.local_health.stretch(cx.now);
        let mut suspects = Vec::new();
        for link in overlay.links() {
            let detector = self.detector(link.id);
            if link.wire == Wire::Json && busy.contains(&link.id.address) {
                detector.forgive(cx.now);
            }
            match detector.tick(cx.now, stretch) {
                Tick::Wait => {}
                // The number in it is not looked at: the detector counts its pings itself.
                Tick::Ping => cx.send(link.connection, Message::Ping { nonce: 1 }),
                Tick::Suspect => suspects.push(link.id),
            }
        }
        suspects
    }

    /// When a link is to be pinged, or was silent for too long.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let stretch = self.local_health.stretch(now);
        let deadlines = self.detectors.values().map(|detector| detector.deadline(stretch));
        deadlines.min().unwrap_or(Instant::NEVER)
    }
}

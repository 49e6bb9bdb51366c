//! What falls due by itself: silence, absence, soft state, an overlay that came apart.
//!
//! None of it is urgent, so it is looked at ten times a second, in one place; but for requests whose time is over.

use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::BALLOTS_MAX;
use coterie_common::message::{Answer, Cause, ForwardedRequest, MeshMessage, SessionMessage};
use coterie_common::{Refusal, Why};

use crate::core::Seed;

/// How often everything is looked at.
const EVERY: Knob<Duration> = Knob::new("seed/upkeep/EVERY", Duration::from_millis(100));

/// What is wrong with a seed whose probes come to nothing.
const CANNOT_PROBE: &str = "no probe can be made, and no vote cast";

impl Seed {
    pub(in crate::core) fn upkeep(&mut self) {
        self.expire_requests();
        if self.cx.now < self.upkeep_next {
            return;
        }
        self.upkeep_next = self.cx.now + EVERY.get();
        self.leadership.note_progress(self.cx.now, &self.registry);
        self.leadership.note_taking_part(self.cx.now, &self.registry);
        self.leadership.note_quorum(&mut self.cx, &self.registry);
        self.leadership.note_troubles(&mut self.cx, &self.registry);
        let is_unable = self.voter.cannot_probe(self.cx.now);
        self.cx
            .trouble(CANNOT_PROBE, is_unable.then(|| "for want of descriptors, ports or a route".to_owned()));
        self.cx.say_troubles();
        self.voter.expire(&self.cx);
        self.presence.expire(self.cx.now);
        let quiet = self.sessions.quiet(&self.cx);
        self.voter.saw_quiet(&mut self.cx, quiet);
        self.sessions.end_silent(&mut self.cx);
        self.forwarding.expire_early(self.cx.now);
        if self.forwarding.resend_is_due(self.cx.now) {
            self.forward_again();
        }
        self.look_after_quiet_programs();
        if self.presence.is_time_to_tell(self.cx.now) {
            self.tell_soft_state();
        }
        self.leadership.found_if_first(&mut self.cx, &self.registry);
        if self.leadership.leads() && self.registry.cluster().is_some() {
            self.leadership.record_directories(&mut self.cx, &self.registry);
            self.leader.settle_voters(&mut self.cx, &self.registry);
            self.find_absent();
            self.repair_overlay();
        }
    }

    fn expire_requests(&mut self) {
        for request in self.forwarding.expired(self.cx.now) {
            let detail = match request.forwarded {
                ForwardedRequest::Report { .. } | ForwardedRequest::Leave(_) => {
                    // That nobody could decide is no verdict. Who reports or leaves asks again by itself.
                    self.cx.count("requests_undecided");
                    continue;
                }
                ForwardedRequest::Register(_) => {
                    "no leader with a majority of the seeds has decided within 10 s, which may have many before \
                     this one: undecided, it may still happen"
                }
                ForwardedRequest::Seeds { .. } => {
                    "no leader with a majority of the seeds answered within 10 s: undecided, it may still happen"
                }
            };
            self.answer(request, Answer::Refused(Refusal::new(Why::NoQuorum, detail)));
        }
    }

    fn look_after_quiet_programs(&mut self) {
        for member in self.sessions.quiet_programs(self.cx.now) {
            if let Some(member) = self.registry.member(member) {
                self.voter.look_after(&mut self.cx, &self.registry, member);
            }
        }
    }

    fn tell_soft_state(&mut self) {
        let Some(leader) = self.leadership.leader() else {
            // There is nobody to tell: the next leader is told everything.
            return;
        };
        let held = self.sessions.held(&self.registry);
        let means = self.voter.means(&self.cx, &self.registry);
        for news in self.presence.news(held, means, self.leadership.term()) {
            match self.leadership.leads() {
                true => self.presence.take_own(leader, news),
                false => self.cx.tell_seed(leader, MeshMessage::Soft(news)),
            }
        }
    }

    /// Opens a ballot about each member that has been absent for too long.
    fn find_absent(&mut self) {
        for member in self.presence.absent(&self.cx, &self.registry) {
            if self.leader.open_deaths() >= BALLOTS_MAX.get() {
                return;
            }
            if !self.leader.has_death_open(member) {
                self.open_death((member, Cause::Absent), None);
            }
        }
    }

    /// Tells a member of each smaller piece of the overlay to dial into the largest.
    ///
    /// The order goes to all seeds and not to the one that holds the session as the leader knows it: that knowledge
    /// is up to 200 ms old. Who does not hold it drops the order, and it is repeated after 2 s.
    fn repair_overlay(&mut self) {
        for order in self.presence.dial_orders(&mut self.cx, &self.registry) {
            let dial = SessionMessage::Dial(order.target);
            self.relay(order.member, dial.clone());
            for seed in self.leadership.others() {
                let message = MeshMessage::Relay { to: order.member, message: Box::new(dial.clone()) };
                self.cx.tell_seed(seed, message);
            }
        }
    }
}

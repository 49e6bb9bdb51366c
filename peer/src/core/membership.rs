//! Being a member: registering, following the view, being declared dead and coming back, leaving.

use std::time::Duration;

use coterie_common::limits::{LEAVE_TIME_MAX, SEEDS_MAX};
use coterie_common::message::{Candidate, CloseReason, Registration, Roster, SessionMessage};
use coterie_common::{Address, Incarnation, Instant, Line, MemberId, Message, Refusal, Why, Wire};

use super::effect::{Effect, SeedSlot};
use super::enrolment::Due;
use super::standing::State;
use super::{Peer, draw_life, log, overlay};

/// How often a peer that cannot join says so.
const WAITING_SAID_EVERY: Duration = Duration::from_secs(10);

/// A LEAVE that is not in the log by then is sent again, to another seed.
const LEAVE_AGAIN: Duration = Duration::from_millis(500);

const FAR: Instant = Instant::from_nanos(u64::MAX);

impl Peer {
    /// A seed said something.
    pub(super) fn on_session(
        &mut self,
        now: Instant,
        seed: SeedSlot,
        message: Message,
        out: &mut Vec<Effect>,
    ) {
        self.enrolment.heard(now, seed);
        match message {
            Message::Ping { nonce } => {
                let pong = self.pong(nonce);
                self.tell(now, seed, pong, out);
            }
            Message::Pong { .. } => {}
            Message::Close(reason) => self.on_session_closed(now, seed, &reason, out),
            Message::Session(message) => self.on_session_message(now, seed, message, out),
            Message::Link(_) | Message::Mesh(_) => self.count("session_frames_out_of_place"),
        }
    }

    fn on_session_closed(
        &mut self,
        now: Instant,
        seed: SeedSlot,
        reason: &CloseReason,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::CloseSession(seed));
        self.enrolment.down(now, seed, &mut self.rng);
        // A close that is older than this incarnation is about the one before it.
        if let (CloseReason::Ended(epoch), Some(incarnation)) = (reason, self.standing.incarnation())
            && epoch.0 > incarnation.0
        {
            self.removed(now, *epoch, out);
        }
    }

    fn on_session_message(
        &mut self,
        now: Instant,
        seed: SeedSlot,
        message: SessionMessage,
        out: &mut Vec<Effect>,
    ) {
        match message {
            SessionMessage::Registered(registration) => self.on_registered(now, seed, registration, out),
            SessionMessage::Changes { previous, .. } if previous > self.view.epoch => {
                self.count("session_gaps");
                let ask = SessionMessage::ChangesSince(self.view.epoch);
                self.tell(now, seed, Message::Session(ask), out);
            }
            SessionMessage::Changes { epoch, changes, .. } => self.follow(now, epoch, changes, out),
            SessionMessage::Whole { roster, ended } => {
                self.count("views_whole");
                self.follow_whole(now, seed, roster, &ended, out);
            }
            SessionMessage::Rejected { dead, refusal } => self.on_report_rejected(now, dead, &refusal, out),
            SessionMessage::Dial(address) => self.mend(now, address, out),
            SessionMessage::Say { content, via } => self.say(now, content, Some(via), out),
            SessionMessage::Seeds { since, seeds } => self.follow_seeds(now, since, &seeds, out),
            SessionMessage::Register(_)
            | SessionMessage::Open { .. }
            | SessionMessage::Observe { .. }
            | SessionMessage::ListRequest { .. }
            | SessionMessage::List(_)
            | SessionMessage::ChangesSince(_)
            | SessionMessage::Hint { .. }
            | SessionMessage::Report(_)
            | SessionMessage::Leave(_)
            | SessionMessage::Neighbours(_)
            | SessionMessage::Said(_)
            | SessionMessage::ChangeSeeds(_)
            | SessionMessage::SeedsChanged(_)
            | SessionMessage::EvidenceRequest(_)
            | SessionMessage::Evidence(_)
            | SessionMessage::StatusRequest
            | SessionMessage::Status(_) => self.count("session_frames_out_of_place"),
        }
    }

    /// The seeds are others than this peer's list says: sessions are kept with those that vote now.
    fn follow_seeds(&mut self, now: Instant, since: u64, seeds: &[String], out: &mut Vec<Effect>) {
        if since <= self.seeds_since {
            return;
        }
        if seeds.is_empty() || seeds.len() > SEEDS_MAX {
            return self.count("session_frames_out_of_place");
        }
        self.seeds_since = since;
        for name in seeds {
            if !self.config.seeds.contains(name) {
                self.config.seeds.push(name.clone());
                self.enrolment.add(&mut self.rng);
            }
        }
        for slot in (0..self.config.seeds.len()).map(SeedSlot) {
            let is_seed = seeds.contains(&self.config.seeds[slot.0]);
            if self.enrolment.set_in_use(slot, is_seed) {
                self.tell(now, slot, Message::Close(CloseReason::ShuttingDown), out);
                out.push(Effect::CloseSession(slot));
                self.enrolment.down(now, slot, &mut self.rng);
            }
        }
        self.count("seeds_changed");
    }

    fn on_registered(&mut self, now: Instant, seed: SeedSlot, answer: Registration, out: &mut Vec<Effect>) {
        if !self.enrolment.registration_answered(seed) || self.standing.incarnation().is_some() {
            return;
        }
        match answer {
            Registration::Admitted { incarnation, roster } => {
                self.admitted(now, seed, incarnation, roster, out);
            }
            Registration::Refused(refusal) => self.refused(now, seed, &refusal, out),
        }
    }

    fn refused(&mut self, now: Instant, seed: SeedSlot, refusal: &Refusal, out: &mut Vec<Effect>) {
        if !refusal.why.may_retry() {
            self.standing.state = State::Over;
            out.push(Effect::Exit(Err(format!("registration of {} rejected: {refusal}", self.me))));
            return;
        }
        if refusal.why == Why::Ended {
            self.life = draw_life(&mut self.rng);
        }
        if refusal.why == Why::NoQuorum {
            self.enrolment.prefer_others(seed);
        }
        out.push(Effect::Warn(format!("not registered yet: {refusal}; trying again")));
        self.enrolment.ask_later(now, &mut self.rng);
    }

    fn admitted(
        &mut self,
        now: Instant,
        seed: SeedSlot,
        incarnation: Incarnation,
        roster: Roster,
        out: &mut Vec<Effect>,
    ) {
        self.standing.state = State::Member { incarnation, since: now, announced: false };
        self.standing.ever_joined = true;
        self.enrolment.admitted(seed);
        self.overlay.wanted = overlay::wanted(self.config.overlay, self.config.max_neighbours, &mut self.rng);
        self.follow_whole(now, seed, roster, &[], out);
    }

    /// The operator wants this peer to stop.
    pub(super) fn leave(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match self.standing.state {
            State::Member { incarnation, .. } => {
                let until = now + LEAVE_TIME_MAX;
                self.standing.state = State::Leaving { incarnation, until, again: now, tries: 0 };
            }
            State::Outside => self.finish(out),
            State::Leaving { .. } | State::Over => {}
        }
    }

    pub(super) fn finish(&mut self, out: &mut Vec<Effect>) {
        self.drop_all_links(&CloseReason::ShuttingDown, out);
        for seed in self.enrolment.open() {
            out.push(Effect::Tell { seed, message: Message::Close(CloseReason::ShuttingDown) });
            out.push(Effect::CloseSession(seed));
        }
        self.standing.state = State::Over;
        out.push(Effect::Exit(Ok(())));
    }

    /// What is due with the seeds and with this peer's own membership.
    pub(super) fn settle_membership(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match self.standing.state {
            State::Outside => self.settle_outside(now, out),
            State::Member { incarnation, since, announced } => {
                self.introduce(now, out);
                if !announced && self.enrolment.is_settled(now, since) {
                    self.announce(now, incarnation, since, out);
                }
            }
            State::Leaving { incarnation, until, again, tries } => {
                self.introduce(now, out);
                self.settle_leaving(now, (incarnation, until, again, tries), out);
            }
            State::Over => return,
        }
        for due in self.enrolment.due(now) {
            match due {
                Due::Open(seed) => {
                    let address = self.config.seeds[seed.0].clone();
                    out.push(Effect::OpenSession { seed, address });
                }
                Due::Ping(seed) => out.push(Effect::Tell { seed, message: Message::Ping { nonce: 1 } }),
                Due::Silent(seed) => {
                    out.push(Effect::CloseSession(seed));
                    self.enrolment.down(now, seed, &mut self.rng);
                }
            }
        }
    }

    fn settle_outside(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if let Some(limit) = self.config.join_timeout.filter(|_| !self.standing.ever_joined)
            && now >= Instant::START + limit
        {
            self.standing.state = State::Over;
            let reason = format!("not a member after {}", humantime::format_duration(limit));
            out.push(Effect::Exit(Err(reason)));
            return;
        }
        if now >= self.standing.said_waiting + WAITING_SAID_EVERY {
            self.standing.said_waiting = now;
            let open = self.enrolment.open().count();
            let wanted = self.enrolment.quorum();
            out.push(Effect::Warn(format!(
                "waiting for the seeds: {open} of {wanted} sessions are open, not registered yet"
            )));
        }
        if let Some(seed) = self.enrolment.registration_due(now) {
            if !self.view.is_empty() {
                // A life that was removed first learns how everything ended that it had in its view.
                let missed = SessionMessage::ChangesSince(self.view.epoch);
                self.tell(now, seed, Message::Session(missed), out);
            }
            let candidate = Candidate {
                address: self.me,
                life: self.life,
                wire: Wire::Native,
                tags: self.config.tags.clone(),
            };
            self.tell(now, seed, Message::Session(SessionMessage::Register(candidate)), out);
        }
    }

    /// Tells the seeds that do not know it which member this is.
    fn introduce(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.id() else { return };
        for seed in self.enrolment.strangers() {
            let open = SessionMessage::Open { member, life: self.life, epoch: self.view.epoch };
            self.tell(now, seed, Message::Session(open), out);
            let links = self.number_links(self.neighbours.keys().copied().collect());
            self.tell(now, seed, Message::Session(SessionMessage::Neighbours(links)), out);
            self.enrolment.introduce(seed);
        }
    }

    fn announce(&mut self, now: Instant, incarnation: Incarnation, since: Instant, out: &mut Vec<Effect>) {
        self.standing.state = State::Member { incarnation, since, announced: true };
        log(
            out,
            Line::new("JOINED")
                .with("incarnation", incarnation)
                .with("epoch", self.view.epoch)
                .with("members", self.view.len())
                .with("seeds", self.enrolment.introduced().count()),
        );
        self.choose_neighbours(now, out);
    }

    fn settle_leaving(
        &mut self,
        now: Instant,
        (incarnation, until, again, tries): (Incarnation, Instant, Instant, usize),
        out: &mut Vec<Effect>,
    ) {
        if now >= until {
            return self.finish(out);
        }
        let open: Vec<SeedSlot> = self.enrolment.open().collect();
        if now >= again {
            if !open.is_empty() {
                let leave = SessionMessage::Leave(MemberId { address: self.me, incarnation });
                self.tell(now, open[tries % open.len()], Message::Session(leave), out);
            }
            let again = now + LEAVE_AGAIN;
            self.standing.state = State::Leaving { incarnation, until, again, tries: tries + 1 };
        }
    }

    pub(super) fn membership_deadline(&self) -> Instant {
        let own = match self.standing.state {
            State::Over => return FAR,
            State::Outside => {
                let limit = self.config.join_timeout.filter(|_| !self.standing.ever_joined);
                let given_up = limit.map_or(FAR, |limit| Instant::START + limit);
                given_up.min(self.standing.said_waiting + WAITING_SAID_EVERY)
            }
            State::Member { since, announced: false, .. } => since + coterie_common::limits::JOIN_SETTLES,
            State::Member { .. } => FAR,
            State::Leaving { until, again, .. } => until.min(again),
        };
        own.min(self.enrolment.deadline(!matches!(self.standing.state, State::Outside)))
    }

    /// This member, while it is one.
    pub(super) fn id(&self) -> Option<MemberId> {
        self.standing.incarnation().map(|incarnation| MemberId { address: self.me, incarnation })
    }

    pub(super) fn pong(&self, nonce: u64) -> Message {
        Message::Pong {
            nonce,
            address: self.me,
            life: Some(self.life),
            incarnation: self.standing.incarnation(),
            ready: self.standing.is_member(),
        }
    }

    pub(super) fn tell(&mut self, now: Instant, seed: SeedSlot, message: Message, out: &mut Vec<Effect>) {
        self.enrolment.said(now, seed);
        out.push(Effect::Tell { seed, message });
    }

    /// The degree of a member as far as it is known here.
    pub(super) fn degree(&self, address: Address) -> u32 {
        self.degrees.get(&address).copied().unwrap_or(0)
    }
}

//! Sessions: what is asked on them, and what is answered.

use coterie_common::limits::{
    CONTENT_BYTES_MAX, HINTS_PER_SECOND, JURY_MAX, LINKS_MAX, REQUESTS_PER_SECOND, VIA_BYTES_MAX,
};
use coterie_common::message::{
    Answer, Candidate, Cause, CloseReason, DeathReport, Errand, Registration, SessionMessage,
};
use coterie_common::{Epoch, Incarnation, Instant, Life, Line, MemberId, Message, Refusal, Why, Wire};

use super::effect::{Effect, SessionId};
use super::errands::{Asker, Pending};
use super::observing::NOT_LED;
use super::voting::check_tags;
use super::{Seed, log};

/// Registrations that one session may ask for in a second.
const REGISTRATIONS_PER_SECOND: u32 = 10;

/// Reports and departures a second of one whose admission this registry has not seen: enough for what one peer sees.
const EARLY_REQUESTS_PER_SECOND: u32 = 10;

/// Links of members whose admission this registry has not seen are kept for so many of them.
const EARLY_LINKS_MAX: usize = 1_024;

impl Seed {
    pub(super) fn on_session(
        &mut self,
        now: Instant,
        id: SessionId,
        wire: Wire,
        message: Message,
        out: &mut Vec<Effect>,
    ) {
        let session = self.sessions.open(id, now, wire);
        session.heard = now;
        session.seems_gone = false;
        match message {
            Message::Ping { nonce } => out.push(Effect::Send { to: id, message: self.pong(nonce) }),
            Message::Pong { .. } => {}
            Message::Close(_) => {
                self.sessions.close(id);
                out.push(Effect::Close { session: id, reason: CloseReason::ShuttingDown });
            }
            Message::Session(message) => self.on_session_message(now, id, message, out),
            Message::Link(_) | Message::Mesh(_) => {
                self.count("frames_out_of_place");
                self.close_session(id, CloseReason::Protocol("this is a seed, not a peer".to_owned()), out);
            }
        }
    }

    fn pong(&self, nonce: u64) -> Message {
        let ready = self.takes_part();
        Message::Pong { nonce, address: self.config.address, life: None, incarnation: None, ready }
    }

    fn on_session_message(
        &mut self,
        now: Instant,
        id: SessionId,
        message: SessionMessage,
        out: &mut Vec<Effect>,
    ) {
        match message {
            SessionMessage::Register(candidate) => self.on_register(now, id, candidate, out),
            SessionMessage::Open { member, life, epoch } => self.on_open(id, member, life, epoch, out),
            SessionMessage::Observe { .. } | SessionMessage::ListRequest { .. }
                if self.registry.cluster().is_none() || !self.was_led =>
            {
                let detail = match self.registry.cluster() {
                    None => "the cluster is not founded yet",
                    Some(_) => NOT_LED,
                };
                self.close_session(id, CloseReason::Refused(detail.to_owned()), out);
            }
            SessionMessage::Observe { linearizable: true } if !self.may_ask(now, id) => {
                let detail = format!("at most {REQUESTS_PER_SECOND} such reads a second");
                self.close_session(id, CloseReason::Refused(detail), out);
            }
            SessionMessage::Observe { linearizable } => self.on_observe(id, linearizable, out),
            SessionMessage::ListRequest { asker } => self.send_list(id, asker, out),
            SessionMessage::ChangesSince(_) if !self.was_led => self.count("requests_dropped"),
            SessionMessage::ChangesSince(epoch) => self.send_changes_since(id, epoch, out),
            SessionMessage::Hint { suspect, cause } => self.on_session_hint(now, id, suspect, cause, out),
            // Who reports or leaves asks again by itself.
            SessionMessage::Report(_) | SessionMessage::Leave(_) if !self.may_ask(now, id) => {
                self.count("requests_dropped");
            }
            SessionMessage::Report(report) => self.on_report(now, id, report, out),
            SessionMessage::Leave(member) => self.on_leave(now, id, member, out),
            SessionMessage::Neighbours(links) if links.to.len() > LINKS_MAX => {
                self.count("neighbours_over_limit");
            }
            SessionMessage::Neighbours(links) => {
                let member = self.sessions.get(id).and_then(|s| s.member);
                let room = self.soft.len() < self.registry.members().len() + EARLY_LINKS_MAX;
                match member
                    .filter(|m| self.may_tell_of_links(*m) && (room || self.registry.member(*m).is_some()))
                {
                    Some(member) => self.soft.set_links(member, links),
                    None => self.count("neighbours_over_limit"),
                }
            }
            SessionMessage::Say { content, via }
                if content.len() > CONTENT_BYTES_MAX || via.len() > VIA_BYTES_MAX =>
            {
                let detail = format!("at most {CONTENT_BYTES_MAX} bytes can be said");
                self.send(id, SessionMessage::Said(Err(detail)), out);
            }
            SessionMessage::Say { content, via } => {
                let said = self.hand_on(SessionMessage::Say { content, via }, out);
                self.send(id, SessionMessage::Said(said), out);
            }
            SessionMessage::ChangeSeeds(change) => match self.check_seed_change(&change) {
                Ok(()) => self.run_errand(now, Errand::Seeds(change), Asker::Session(id), out),
                Err(refusal) => self.send(id, SessionMessage::SeedsChanged(Err(refusal)), out),
            },
            SessionMessage::EvidenceRequest(dead) => {
                let evidence = self.evidence(dead).map(Box::new);
                self.send(id, SessionMessage::Evidence(evidence), out);
            }
            SessionMessage::StatusRequest => {
                let status = SessionMessage::Status(self.status());
                self.send(id, status, out);
            }
            SessionMessage::Registered(_)
            | SessionMessage::List(_)
            | SessionMessage::Changes { .. }
            | SessionMessage::Whole { .. }
            | SessionMessage::Rejected { .. }
            | SessionMessage::Dial(_)
            | SessionMessage::Said(_)
            | SessionMessage::Evidence(_)
            | SessionMessage::Seeds { .. }
            | SessionMessage::SeedsChanged(_)
            | SessionMessage::Status(_) => self.count("frames_out_of_place"),
        }
    }

    pub(super) fn send(&mut self, to: SessionId, message: SessionMessage, out: &mut Vec<Effect>) {
        out.push(Effect::Send { to, message: Message::Session(message) });
    }

    /// A member, or one whose admission this registry has not seen yet: a seed that has just started knows of nobody.
    fn may_be_member(&self, id: MemberId) -> bool {
        self.registry.member(id).is_some() || id.incarnation.0 > self.registry.applied()
    }

    /// Whose links are of interest: a member's; or those of one who is admitted somewhere and not yet here, unless its
    /// address is another's as far as is known here.
    pub(super) fn may_tell_of_links(&self, id: MemberId) -> bool {
        match self.registry.at(id.address) {
            Some(member) => member.id == id,
            None => self.may_be_member(id),
        }
    }

    fn may_ask(&mut self, now: Instant, id: SessionId) -> bool {
        let member = self.sessions.get(id).and_then(|session| session.member);
        let is_early = member.is_some_and(|m| self.registry.member(m).is_none());
        let most = if is_early { EARLY_REQUESTS_PER_SECOND } else { REQUESTS_PER_SECOND };
        self.sessions.get_mut(id).is_some_and(|session| session.requests.allows(now, most))
    }

    pub(super) fn close_session(&mut self, session: SessionId, reason: CloseReason, out: &mut Vec<Effect>) {
        self.sessions.close(session);
        out.push(Effect::Close { session, reason });
    }

    pub(super) fn close_sessions(&mut self, out: &mut Vec<Effect>) {
        for (session, _) in self.sessions.iter().map(|(id, s)| (id, s.wire)).collect::<Vec<_>>() {
            self.close_session(session, CloseReason::ShuttingDown, out);
        }
    }

    // ---- what is asked ----

    fn on_register(&mut self, now: Instant, id: SessionId, candidate: Candidate, out: &mut Vec<Effect>) {
        log(out, Line::new("REGISTER_REQUEST").with("peer", candidate.address));
        let allowed =
            self.sessions.get_mut(id).is_some_and(|s| s.registrations.allows(now, REGISTRATIONS_PER_SECOND));
        if !allowed {
            let detail = format!("at most {REGISTRATIONS_PER_SECOND} registrations a second on one session");
            let pending = Pending { errand: Errand::Register(candidate), asker: Asker::Session(id) };
            return self.answer(pending, Answer::Refused(Refusal::new(Why::TooOften, detail)), out);
        }
        if let Err(refusal) = check_tags(&candidate) {
            let pending = Pending { errand: Errand::Register(candidate), asker: Asker::Session(id) };
            return self.answer(pending, Answer::Refused(refusal), out);
        }
        self.run_errand(now, Errand::Register(candidate), Asker::Session(id), out);
    }

    fn on_open(&mut self, id: SessionId, member: MemberId, life: Life, epoch: Epoch, out: &mut Vec<Effect>) {
        let is_another = self.registry.member(member).is_some_and(|m| m.life != life);
        if is_another || !self.may_be_member(member) {
            // By its epoch the peer tells whether this is about the life that it is by now.
            let end = self.registry.ended().rev().find(|ended| ended.id == member).map(|ended| ended.epoch);
            let end = end.unwrap_or(self.registry.epoch());
            return self.close_session(id, CloseReason::Ended(end), out);
        }
        let bound = self.sessions.get(id).and_then(|session| session.member);
        if bound.is_some_and(|bound| bound.address != member.address) {
            let reason = CloseReason::Protocol("this session is another member's".to_owned());
            return self.close_session(id, reason, out);
        }
        self.sessions.bind(id, member);
        self.begin_pushing(id, epoch, out);
        self.tell_seeds(id, out);
    }

    fn on_session_hint(
        &mut self,
        now: Instant,
        id: SessionId,
        suspect: MemberId,
        cause: Cause,
        out: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let allowed = session.hints.allows(now, HINTS_PER_SECOND);
        let member = session.member;
        if !allowed || member.is_none_or(|m| self.registry.member(m).is_none()) {
            return self.count("hints_dropped");
        }
        self.on_hint(now, suspect, cause, out);
    }

    fn on_report(&mut self, now: Instant, id: SessionId, mut report: DeathReport, out: &mut Vec<Effect>) {
        if report.votes.len() > JURY_MAX {
            let detail = format!("{} votes, a jury has {JURY_MAX} at most", report.votes.len());
            let refusal = Refusal::new(Why::BadVotes, detail);
            return self.send(id, SessionMessage::Rejected { dead: report.dead, refusal }, out);
        }
        let reporter = self.sessions.get(id).and_then(|s| s.member);
        if report.dead.incarnation == Incarnation::NONE
            && let Some(member) = self.registry.at(report.dead.address)
        {
            report.dead = member.id;
        }
        let Some(reporter) = reporter.filter(|m| self.may_be_member(*m)) else {
            log(
                out,
                Line::new("DEAD_REJECTED")
                    .with("dead", report.dead.address)
                    .with("reason", Why::Stranger.as_str()),
            );
            let rejected = SessionMessage::Rejected { dead: report.dead, refusal: Why::Stranger.into() };
            return self.send(id, rejected, out);
        };
        log(out, report.line(report.dead, reporter.address));
        self.run_errand(now, Errand::Report { report, reporter }, Asker::Session(id), out);
    }

    fn on_leave(&mut self, now: Instant, id: SessionId, member: MemberId, out: &mut Vec<Effect>) {
        if self.sessions.get(id).and_then(|s| s.member) == Some(member) {
            self.run_errand(now, Errand::Leave(member), Asker::Session(id), out);
        } else {
            self.count("frames_out_of_place");
        }
    }

    pub(super) fn on_relay(&mut self, to: MemberId, message: SessionMessage, out: &mut Vec<Effect>) {
        let session = self.sessions.of(to).next();
        if let Some(session) = session {
            self.send(session, message, out);
        }
    }

    // ---- what is answered ----

    /// Passes an answer on to who asked. What it is about is applied here.
    pub(super) fn answer(&mut self, pending: Pending, answer: Answer, out: &mut Vec<Effect>) {
        let session = match pending.asker {
            Asker::Local(request) => return out.push(Effect::Reply { request, answer }),
            Asker::Session(session) => session,
        };
        match (pending.errand, answer) {
            (Errand::Register(candidate), Answer::Refused(refusal)) => {
                let event =
                    if refusal.why == Why::NoQuorum { "REGISTER_TIMEOUT" } else { "REGISTER_REJECTED" };
                log(out, Line::new(event).with("peer", candidate.address).show("reason", &refusal));
                self.send(session, SessionMessage::Registered(Registration::Refused(refusal)), out);
            }
            (Errand::Register(candidate), Answer::Admitted { incarnation, .. }) => {
                self.send_admitted(session, MemberId { address: candidate.address, incarnation }, out);
            }
            (Errand::Report { report, .. }, Answer::Refused(refusal)) => {
                log(
                    out,
                    Line::new("DEAD_REJECTED").with("dead", report.dead.address).show("reason", &refusal),
                );
                self.send(session, SessionMessage::Rejected { dead: report.dead, refusal }, out);
            }
            (Errand::Seeds(_), Answer::Refused(refusal)) => {
                self.send(session, SessionMessage::SeedsChanged(Err(refusal)), out);
            }
            (Errand::Seeds(_), Answer::Recorded { .. } | Answer::Admitted { .. }) => {
                self.send(session, SessionMessage::SeedsChanged(Ok(())), out);
            }
            // What is in the log is pushed to every session; nothing more is to be said.
            (Errand::Report { .. } | Errand::Leave(_), Answer::Recorded { .. } | Answer::Admitted { .. })
            | (Errand::Register(_), Answer::Recorded { .. })
            | (Errand::Leave(_), Answer::Refused(_)) => {}
        }
    }

    fn send_admitted(&mut self, id: SessionId, member: MemberId, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get(id) else { return };
        let wire = session.wire;
        if self.registry.member(member).is_none() {
            // It was admitted, and has ended since: it has to come as another life.
            let ended = Registration::Refused(Why::Ended.into());
            return self.send(id, SessionMessage::Registered(ended), out);
        }
        // A death of the address's former life is told before the new life becomes visible here.
        self.flush(id, out);
        let roster = self.roster(wire);
        let epoch = roster.epoch;
        self.sessions.bind(id, member);
        if let Some(session) = self.sessions.get_mut(id) {
            session.told = Some(epoch);
        }
        let admitted = Registration::Admitted { incarnation: member.incarnation, roster };
        self.send(id, SessionMessage::Registered(admitted), out);
        self.tell_seeds(id, out);
    }
}

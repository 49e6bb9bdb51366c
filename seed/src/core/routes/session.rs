//! From sessions: what is asked on them, and what is answered.
//!
//! What a session says is checked here as far as this seed can: who it is, how often it asks, whether it fits a frame.
//! Whether it is right, the leader and the log decide. What comes too often is answered where somebody waits for the
//! answer, and counted and dropped where it is asked again by itself.

use coterie_common::limits::{CONTENT_BYTES_MAX, JURY_MAX, LINKS_MAX, REQUESTS_PER_SECOND, VIA_BYTES_MAX};
use coterie_common::message::{
    Answer, Candidate, Cause, CloseReason, DeathReport, Evidence, ForwardedRequest, Links, Registration,
    SeedChange, SeedFinding, SeedStatus, SessionMessage, Vote,
};
use coterie_common::{
    Address, Epoch, Incarnation, Life, Line, MemberId, Message, Refusal, Secret, Why, Wire,
};

use crate::core::Seed;
use crate::core::effect::{Effect, SessionId};
use crate::core::entry::DeathRecord;
use crate::core::forwarding::{Caller, PendingRequest};
use crate::core::leader::{check_seed_change, too_many_votes};
use crate::core::sessions::{REGISTRATIONS_PER_SECOND, VIEWS_PER_SECOND};
use crate::core::voter::check_tags;

/// Why a seed tells nothing: what its own disk says may be old, and a view never goes back.
const NOT_LED: &str = "no leader has been heard of since this seed started";

impl Seed {
    pub(super) fn on_session(&mut self, id: SessionId, wire: Wire, message: Message) {
        self.sessions.heard(self.cx.now, id, wire);
        match message {
            Message::Ping { nonce } => self.cx.want(Effect::Send { to: id, message: self.pong(nonce) }),
            Message::Pong { .. } => {}
            Message::Close(_) => self.sessions.close(&mut self.cx, id, CloseReason::ShuttingDown),
            Message::Session(message) => self.on_session_message(id, message),
            Message::Link(_) | Message::Mesh(_) => {
                self.cx.count("frames_out_of_place");
                let reason = CloseReason::Protocol("this is a seed, not a peer".to_owned());
                self.sessions.close(&mut self.cx, id, reason);
            }
        }
    }

    /// Ready means that it can have something decided, not merely that it listens.
    fn pong(&self, nonce: u64) -> Message {
        let (address, ready) = (self.cx.config.address, self.takes_part());
        Message::Pong { nonce, address, life: None, incarnation: None, ready }
    }

    fn on_session_message(&mut self, id: SessionId, message: SessionMessage) {
        match message {
            SessionMessage::Cluster(theirs) => {
                let own = self.leadership.cluster();
                if self.sessions.greeted(&mut self.cx, &self.registry, own, id, theirs) {
                    self.forwarding.drop_requests_of(&[id].into());
                }
            }
            SessionMessage::Register(joiner) => self.on_register(id, joiner),
            SessionMessage::ListRequest { .. }
            | SessionMessage::Observe { linearizable: false }
            | SessionMessage::Open { .. }
            | SessionMessage::ChangesSince(_)
                if !self.sessions.may_have_view(self.cx.now, id) =>
            {
                let why = format!("at most {VIEWS_PER_SECOND} lists or views a second on one session");
                self.sessions.close(&mut self.cx, id, CloseReason::Refused(why));
            }
            SessionMessage::Open { member, life, epoch } => self.on_open(id, (member, life), epoch),
            SessionMessage::Observe { linearizable } => self.on_observe(id, linearizable),
            SessionMessage::ListRequest { asker } => self.on_list_request(id, asker),
            SessionMessage::ChangesSince(_) if !self.leadership.was_led() => {
                self.cx.count("requests_dropped");
            }
            SessionMessage::ChangesSince(epoch) => {
                let (registry, presence) = (&self.registry, &self.presence);
                self.sessions.send_changes_since(&mut self.cx, registry, presence, (id, epoch));
            }
            SessionMessage::Hint { suspect, cause } => self.on_hint(id, suspect, cause),
            // Who reports or leaves asks again by itself.
            SessionMessage::Report(_) | SessionMessage::Leave { .. } if !self.may_ask(id) => {
                self.cx.count("requests_dropped");
            }
            SessionMessage::Report(report) => self.on_report(id, report),
            SessionMessage::Leave { member, secret } => self.on_leave(id, member, secret),
            SessionMessage::Neighbours(links) => self.on_links(id, links),
            SessionMessage::Say { content, via } => self.on_say(id, content, via),
            SessionMessage::ChangeSeeds(change) => self.on_change_seeds(id, change),
            SessionMessage::EvidenceRequest(dead) => {
                let evidence = self.evidence(dead).map(Box::new);
                self.sessions.send(&mut self.cx, id, SessionMessage::Evidence(evidence));
            }
            SessionMessage::StatusRequest => {
                let status = SessionMessage::Status(Box::new(self.status()));
                self.sessions.send(&mut self.cx, id, status);
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
            | SessionMessage::SilenceMax(_)
            | SessionMessage::Status(_) => self.cx.count("frames_out_of_place"),
        }
    }

    fn may_ask(&mut self, id: SessionId) -> bool {
        self.sessions.may_ask(self.cx.now, &self.registry, id)
    }

    // ---- members ----

    fn on_register(&mut self, id: SessionId, joiner: Candidate) {
        self.cx.log(Line::new("REGISTER_REQUEST").with("peer", joiner.address));
        let checked = match self.sessions.may_register(self.cx.now, id) {
            true => check_tags(&joiner),
            false => {
                let most = REGISTRATIONS_PER_SECOND.get();
                let detail = format!("at most {most} registrations a second on one session");
                Err(Refusal::new(Why::TooOften, detail))
            }
        };
        let (forwarded, caller) = (ForwardedRequest::Register(joiner), Caller::Session(id));
        match checked {
            Ok(()) => self.forward(forwarded, caller),
            Err(refusal) => self.answer(PendingRequest { forwarded, caller }, Answer::Refused(refusal)),
        }
    }

    /// A registration without a session, from within the process.
    pub(super) fn register_local(&mut self, request: u64, joiner: Candidate) {
        self.cx.log(Line::new("REGISTER_REQUEST").with("peer", joiner.address));
        self.forward(ForwardedRequest::Register(joiner), Caller::Local(request));
    }

    fn on_open(&mut self, id: SessionId, (member, life): (MemberId, Life), epoch: Epoch) {
        if self.sessions.may_open(&mut self.cx, &self.registry, id, (member, life)) {
            let (registry, presence) = (&self.registry, &self.presence);
            self.sessions.opened(&mut self.cx, registry, presence, (id, member, epoch));
        }
    }

    /// From members alone, since each costs this seed a probe. Dropped, it is missed by nobody: the report follows.
    fn on_hint(&mut self, id: SessionId, suspect: MemberId, cause: Cause) {
        let is_allowed = self.sessions.may_hint(self.cx.now, id);
        let member = self.sessions.member_on(id);
        if !is_allowed || member.is_none_or(|m| self.registry.member(m).is_none()) {
            return self.cx.count("hints_dropped");
        }
        self.voter.hint(&mut self.cx, &self.registry, suspect, cause);
    }

    fn on_report(&mut self, id: SessionId, mut report: DeathReport) {
        if report.votes.len() > JURY_MAX.get() {
            let (dead, refusal) = (report.dead, too_many_votes(&report));
            return self.sessions.send(&mut self.cx, id, SessionMessage::Rejected { dead, refusal });
        }
        // A JSON program knows addresses only: it means the life that is there now.
        if report.dead.incarnation == Incarnation::NONE
            && let Some(member) = self.registry.at(report.dead.address)
        {
            report.dead = member.id;
        }
        // One that was admitted elsewhere and not yet here may report: a seed that has just started would call
        // everybody a stranger. The leader, which has every entry, asks again.
        let reporter = self.sessions.member_on(id).filter(|m| self.registry.may_be_member(*m));
        let Some(reporter) = reporter else {
            let (dead, why) = (report.dead, Why::Stranger);
            self.cx.log(Line::new("DEAD_REJECTED").with("dead", dead.address).with("reason", why.as_str()));
            let rejected = SessionMessage::Rejected { dead, refusal: why.into() };
            return self.sessions.send(&mut self.cx, id, rejected);
        };
        self.cx.log(report.line(report.dead, reporter.address));
        self.forward(ForwardedRequest::Report { report, reporter }, Caller::Session(id));
    }

    /// On the member's own session, and with its secret: whoever reads the view knows its life, and could open one in
    /// its name. No answer is sent: the change is pushed. Who is not applied here yet asks again.
    fn on_leave(&mut self, id: SessionId, member: MemberId, secret: Secret) {
        if self.sessions.member_on(id) != Some(member) {
            return self.cx.count("frames_out_of_place");
        }
        match self.registry.member(member) {
            Some(known) if known.life == secret.life(member.address) => {
                self.forward(ForwardedRequest::Leave(member), Caller::Session(id));
            }
            Some(_) => self.cx.count("departures_without_the_secret"),
            None => {}
        }
    }

    fn on_links(&mut self, id: SessionId, links: Links) {
        let fits = links.to.len() <= LINKS_MAX;
        let member = self.sessions.member_on(id).filter(|_| fits);
        let taken = member.is_some_and(|m| self.presence.told_of_links(&self.registry, m, links));
        if !taken {
            self.cx.count("neighbours_over_limit");
        }
    }

    // ---- observers ----

    /// Why nothing can be told yet, if that is so.
    fn nothing_to_tell(&self) -> Option<&'static str> {
        match self.registry.cluster() {
            None => Some("the cluster is not founded yet"),
            Some(_) if !self.leadership.was_led() => Some(NOT_LED),
            Some(_) => None,
        }
    }

    /// A refusal closes the session, for whoever watches has nothing to do on it then, and tries again.
    fn on_observe(&mut self, id: SessionId, linearizable: bool) {
        if let Some(why) = self.nothing_to_tell() {
            return self.sessions.close(&mut self.cx, id, CloseReason::Refused(why.to_owned()));
        }
        if !linearizable {
            let (registry, presence) = (&self.registry, &self.presence);
            return self.sessions.send_whole(&mut self.cx, registry, presence, id);
        }
        if !self.may_ask(id) {
            let detail = format!("at most {REQUESTS_PER_SECOND} such reads a second");
            return self.sessions.close(&mut self.cx, id, CloseReason::Refused(detail));
        }
        self.sessions.begin_read(&mut self.cx, id);
    }

    fn on_list_request(&mut self, id: SessionId, asker: Option<Address>) {
        match self.nothing_to_tell() {
            Some(why) => self.sessions.close(&mut self.cx, id, CloseReason::Refused(why.to_owned())),
            None => {
                let (registry, presence) = (&self.registry, &self.presence);
                self.sessions.send_list(&mut self.cx, registry, presence, (id, asker));
            }
        }
    }

    /// Hands words to any peer that holds a session here, which broadcasts them.
    fn on_say(&mut self, id: SessionId, content: bytes::Bytes, via: String) {
        // Checked here: passed on, it might not fit a frame of gossip.
        if content.len() > CONTENT_BYTES_MAX || via.len() > VIA_BYTES_MAX {
            let detail = format!("at most {CONTENT_BYTES_MAX} bytes can be said");
            return self.sessions.send(&mut self.cx, id, SessionMessage::Said(Err(detail)));
        }
        let said = match self.sessions.any_peer(&mut self.cx, &self.registry) {
            // Handed over, not delivered: the address says to whom.
            Some((peer, address)) => {
                self.sessions.send(&mut self.cx, peer, SessionMessage::Say { content, via });
                Ok(address)
            }
            None if self.leadership.was_led() => Err("this seed holds no session of a peer".to_owned()),
            None => Err(NOT_LED.to_owned()),
        };
        self.sessions.send(&mut self.cx, id, SessionMessage::Said(said));
    }

    fn on_change_seeds(&mut self, id: SessionId, change: SeedChange) {
        match check_seed_change(&self.registry, change) {
            Ok(change) => {
                let seat = self.registry.seed_at(change.address());
                self.forward(ForwardedRequest::Seeds { change, seat }, Caller::Session(id));
            }
            Err(refusal) => {
                self.sessions.send(&mut self.cx, id, SessionMessage::SeedsChanged(Err(refusal)));
            }
        }
    }

    /// How a death was found, while the registry remembers it.
    fn evidence(&self, dead: MemberId) -> Option<Evidence> {
        let death = self.registry.deaths().rev().find(|death| death.record.dead == dead)?;
        let DeathRecord { cause, reporter, jurors, ballot, votes, stages, .. } = death.record.clone();
        let found = |vote: &Vote| SeedFinding {
            seed: self.leadership.name(&self.registry, vote.seed),
            finding: vote.finding,
            host: vote.host,
        };
        let seeds = votes.iter().map(found).collect();
        Some(Evidence { dead, epoch: death.epoch, cause, reporter, jurors, ballot, seeds, stages })
    }

    fn status(&self) -> SeedStatus {
        let (now, registry, leadership) = (self.cx.now, &self.registry, &self.leadership);
        let takes_part = leadership.takes_part(now, registry);
        let counters = self.cx.counters.iter().map(|(name, count)| ((*name).to_owned(), *count));
        SeedStatus {
            seed: leadership.name(registry, leadership.me()),
            cluster: leadership.cluster(),
            seeds: registry
                .seeds()
                .iter()
                .map(|(id, seed)| (seed.address.clone(), registry.votes(*id)))
                .collect(),
            available: leadership.available(now, registry, &registry.voters().into_iter().collect()) as u64,
            // One that cannot be reached leads nobody here.
            leader: leadership.leader().filter(|_| takes_part).map(|l| leadership.name(registry, l)),
            term: leadership.term(),
            applied: registry.applied(),
            last: self.log_end,
            epoch: registry.epoch(),
            members: registry.members().len() as u64,
            sessions: self.sessions.len() as u64,
            counters: counters.collect(),
            as_of: leadership.as_of(now, registry),
            troubles: self.cx.troubles.told(now).collect(),
            health: self.voter.health(now),
        }
    }

    // ---- what is answered ----

    /// Passes an answer on to who asked. What it is about is applied here.
    pub(super) fn answer(&mut self, request: PendingRequest, answer: Answer) {
        let session = match request.caller {
            Caller::Local(request) => return self.cx.want(Effect::Reply { request, answer }),
            Caller::Session(session) => session,
        };
        match (request.forwarded, answer) {
            (ForwardedRequest::Register(joiner), Answer::Refused(refusal)) => {
                let event =
                    if refusal.why == Why::NoQuorum { "REGISTER_TIMEOUT" } else { "REGISTER_REJECTED" };
                self.cx.log(Line::new(event).with("peer", joiner.address).show("reason", &refusal));
                let refused = SessionMessage::Registered(Registration::Refused(refusal));
                self.sessions.send(&mut self.cx, session, refused);
            }
            (ForwardedRequest::Register(joiner), Answer::Admitted { incarnation, .. }) => {
                self.answer_admitted(session, MemberId { address: joiner.address, incarnation });
            }
            (ForwardedRequest::Report { report, .. }, Answer::Refused(refusal)) => {
                let dead = report.dead;
                let has_ended = || self.registry.ended().rev().any(|ended| ended.id == dead);
                if refusal.why == Why::NotMember && has_ended() {
                    // It came late: others had reported the same. That is what was wanted, and nobody's trouble.
                    self.cx.count("reports_late");
                    return self.sessions.send(
                        &mut self.cx,
                        session,
                        SessionMessage::Rejected { dead, refusal },
                    );
                }
                self.cx.log(Line::new("DEAD_REJECTED").with("dead", dead.address).show("reason", &refusal));
                self.sessions.send(&mut self.cx, session, SessionMessage::Rejected { dead, refusal });
            }
            (ForwardedRequest::Seeds { .. }, Answer::Refused(refusal)) => {
                self.sessions.send(&mut self.cx, session, SessionMessage::SeedsChanged(Err(refusal)));
            }
            (ForwardedRequest::Seeds { .. }, Answer::Recorded { .. } | Answer::Admitted { .. }) => {
                self.sessions.send(&mut self.cx, session, SessionMessage::SeedsChanged(Ok(())));
            }
            // What is in the log is pushed to every session; nothing more is to be said.
            (
                ForwardedRequest::Report { .. } | ForwardedRequest::Leave(_),
                Answer::Recorded { .. } | Answer::Admitted { .. },
            )
            | (ForwardedRequest::Register(_), Answer::Recorded { .. })
            | (ForwardedRequest::Leave(_), Answer::Refused(_)) => {}
        }
    }

    fn answer_admitted(&mut self, id: SessionId, member: MemberId) {
        if !self.sessions.is_there(id) {
            // It has ended meanwhile: who asked will ask again, and be known.
            return;
        }
        if self.registry.member(member).is_none() {
            // It was admitted, and has ended since: it has to come as another life.
            let ended = SessionMessage::Registered(Registration::Refused(Why::Ended.into()));
            return self.sessions.send(&mut self.cx, id, ended);
        }
        self.sessions.admitted(&mut self.cx, &self.registry, &self.presence, (id, member));
    }

    /// Something for a member, by way of the seed that holds its session; who does not, drops it.
    pub(super) fn relay(&mut self, to: MemberId, message: SessionMessage) {
        if let Some(session) = self.sessions.of(to).first() {
            self.sessions.send(&mut self.cx, *session, message);
        }
    }
}

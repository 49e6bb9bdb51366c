//! Probing a suspect, for oneself and for those who ask for this peer's vote.
//!
//! One probe of a member is under way at most, and serves everybody who wants to know. It is made of some connections
//! of its own; where there is a link with the suspect, a ping on that counts too.
//!
//! In SWIM the one who suspects and those it asks all ping the suspect. So it is here, with one difference: each
//! opens connections of its own, for the one that is open may be what is broken.

use coterie_common::limits::{PROBE_SPACING_MIN, PROBES_MAX};
use coterie_common::message::{Cause, LinkMessage};
use coterie_common::{Address, Finding, HostEvidence, Life, Line, MemberId, Message, ProbeOrder, UnderWay};

use super::FailureDetection;
use crate::core::context::Context;
use crate::core::effect::{ConnectionId, Effect};
use crate::core::membership::Membership;
use crate::core::overlay::{Link, Overlay};

/// Questions about one suspect that wait for one probe: more than a jury asks (a guess).
pub(super) const QUESTIONS_MAX: usize = 64;

/// A probe under way, and who wants to know.
#[derive(Clone, Debug)]
pub(super) struct RunningProbe {
    /// Says what a result is still worth when it comes.
    probe: UnderWay,
    /// None where only this peer wants to know.
    pub(super) questions: Vec<Question>,
}

/// Somebody asked for this peer's vote.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Where the answer goes.
    pub(crate) connection: ConnectionId,
    /// Who asks.
    pub(crate) requester: Address,
    /// About whom, as it was named.
    pub(crate) suspect: MemberId,
}

impl Question {
    /// Answers it, with what was found. With the name that it was asked by, which need not have an incarnation.
    fn answer(&self, cx: &mut Context, alive: bool, found: &str) {
        cx.log(
            Line::new("SUSPECT_REQUEST")
                .with("suspect", self.suspect.address)
                .with("from", self.requester)
                .with("answer", if alive { "alive" } else { "dead" })
                .with("probe", found),
        );
        let responder = cx.me;
        let message = LinkMessage::SuspectResponse { suspect: self.suspect, alive, responder };
        cx.send(self.connection, Message::Link(message));
    }
}

impl FailureDetection {
    /// Somebody asks for this peer's vote: it is answered at once where no probe is needed, else when the probe has
    /// ended.
    pub(crate) fn asked(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        question: Question,
        cause: Cause,
    ) {
        let Some(id) = members.member_named(question.suspect) else {
            // As far as this peer was told. It may be behind; the other jurors and the seeds judge too.
            return question.answer(cx, false, "not_member");
        };
        if id.address == cx.me {
            return question.answer(cx, true, "self");
        }
        if self.probes.len() >= PROBES_MAX && !self.probes.contains_key(&id) {
            // No answer is an abstention: another is asked in this peer's place.
            return cx.count("suspect_requests_over_limit");
        }
        self.probe(cx, members, overlay, id, cause);
        let probe = self.probes.get_mut(&id);
        match probe {
            Some(probe) if probe.questions.len() < QUESTIONS_MAX => probe.questions.push(question),
            Some(_) | None => cx.count("suspect_requests_over_limit"),
        }
    }

    /// Probes a member, which must be in the view, or joins the probe that is under way. What is known of the way
    /// there decides how long it may take: the round trip, this peer's own health, and whether a connection has just
    /// broken.
    pub(crate) fn probe(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        id: MemberId,
        cause: Cause,
    ) {
        if self.probes.contains_key(&id) {
            return;
        }
        let member = members.view().get(id);
        let Some(member) = member else { panic!("{id} is probed, and no member") };
        let broke = self.broke.contains_key(&id) || cause.is_break();
        let link = overlay.link_with(id.address).filter(|link| link.id == id);
        let round_trip = self.links.round_trip(id).unwrap_or_default();
        let (loss, unwell) = self.links.health(cx.now);
        let patience = cx.config.patience;
        let order = ProbeOrder {
            address: id.address,
            life: member.life,
            wire: member.wire,
            patience: patience.for_probe(loss, unwell),
            open_within: patience.for_opening(broke, loss, unwell),
            spacing: (round_trip * 2).max(PROBE_SPACING_MIN),
        };
        if let Some(link) = link {
            // The open link counts as one of the probe's connections.
            cx.send(link.connection, Message::Ping { nonce: 1 });
        }
        let probe = UnderWay::new(cx.now, order.patience);
        self.probes.insert(id, RunningProbe { probe, questions: Vec::new() });
        cx.want(Effect::Probe { target: id, order });
    }

    /// A probe has ended.
    pub(crate) fn probed(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        target: MemberId,
        (finding, host): (Finding, HostEvidence),
    ) {
        let Some(RunningProbe { probe, questions }) = self.probes.remove(&target) else {
            // It was cancelled: its result was on its way already.
            return;
        };
        // A death that was found too late is no finding.
        let finding = probe.weigh(cx.now, finding);
        let found = match host {
            HostEvidence::Unknown => finding.to_string(),
            HostEvidence::Answers | HostEvidence::Silent => format!("{finding},host_{host}"),
        };
        let Some(dead) = finding.is_dead() else {
            // Who asked is not answered, and asks another.
            cx.count("probes_abstained");
            let pending = self.suspicions.get(&target).filter(|s| !s.is_reported());
            if let Some(cause) = pending.map(|s| s.cause) {
                // Nothing was learnt: the probe is tried again while the jury sits.
                self.probe(cx, members, overlay, target, cause);
            }
            return;
        };
        for question in &questions {
            question.answer(cx, !dead, &found);
        }
        if let (Some(suspicion), Some(me)) = (self.suspicions.get_mut(&target), members.id()) {
            suspicion.own_vote(me, dead);
        }
    }

    /// A frame came over a link: a sign of life, whatever it says. `pong` holds the life that a PONG names, if it was
    /// one.
    pub(crate) fn heard(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        link: &Link,
        pong: Option<Option<Life>>,
    ) {
        self.links.heard(cx.now, link.id, pong.is_some());
        // A JSON program names no life, so any PONG of it will do.
        let is_same = pong.is_some_and(|life| life.is_none_or(|life| life == link.life));
        if is_same && self.probes.contains_key(&link.id) {
            // The link has answered the probe before its own connections did.
            cx.want(Effect::CancelProbe(link.id));
            let found = (Finding::Alive, HostEvidence::Unknown);
            self.probed(cx, members, overlay, link.id, found);
        }
        // This peer reaches it again. A suspicion stays all the same: its votes end it.
        self.cool_down.forget(link.id);
    }

    /// The life that may be being probed is over: whoever asked about it is told.
    pub(super) fn end_probe_of(&mut self, cx: &mut Context, id: MemberId) {
        if let Some(RunningProbe { questions, .. }) = self.probes.remove(&id) {
            cx.want(Effect::CancelProbe(id));
            for question in &questions {
                question.answer(cx, false, "not_member");
            }
        }
    }
}

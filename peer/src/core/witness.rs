//! Probing a suspect, for oneself and for those who ask for this peer's vote.

use coterie_common::limits::{PROBE_SPACING_MIN, PROBES_MAX};
use coterie_common::message::{Cause, LinkMessage};
use coterie_common::{
    Address, Finding, HostEvidence, Instant, Line, MemberId, Message, ProbeOrder, UnderWay,
};

use super::effect::{ConnectionId, Effect};
use super::{Peer, log};

/// Questions about one suspect that wait for one probe.
const ASKERS_MAX: usize = 64;

/// A probe under way, and who wants to know.
#[derive(Clone, Debug)]
pub(super) struct Probing {
    probe: UnderWay,
    askers: Vec<Asker>,
}

/// Somebody who asked for this peer's vote.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) connection: ConnectionId,
    pub(super) requester: Address,
    pub(super) suspect: MemberId,
}

impl Peer {
    pub(super) fn on_suspect_request(
        &mut self,
        now: Instant,
        asker: Asker,
        cause: Cause,
        out: &mut Vec<Effect>,
    ) {
        self.connections.entry(asker.connection).or_insert(super::Connection::Question);
        let Some(id) = self.member_named(asker.suspect) else {
            return self.answer(&asker, false, "not_member", out);
        };
        if id.address == self.me {
            return self.answer(&asker, true, "self", out);
        }
        if self.probes.len() >= PROBES_MAX && !self.probes.contains_key(&id) {
            return self.count("suspect_requests_over_limit");
        }
        self.probe(now, id, cause, out);
        if let Some(probing) = self.probes.get_mut(&id) {
            if probing.askers.len() < ASKERS_MAX {
                probing.askers.push(asker);
            } else {
                self.count("suspect_requests_over_limit");
            }
        }
    }

    fn answer(&mut self, asker: &Asker, alive: bool, found: &str, out: &mut Vec<Effect>) {
        log(
            out,
            Line::new("SUSPECT_REQUEST")
                .with("suspect", asker.suspect.address)
                .with("from", asker.requester)
                .with("answer", if alive { "alive" } else { "dead" })
                .with("probe", found),
        );
        let message = LinkMessage::SuspectResponse { suspect: asker.suspect, alive, responder: self.me };
        out.push(Effect::Send { to: asker.connection, message: Message::Link(message) });
    }

    // ---- probes ----

    /// Probes a member, or joins the probe that is under way.
    pub(super) fn probe(&mut self, now: Instant, id: MemberId, cause: Cause, out: &mut Vec<Effect>) {
        let Some(member) = self.view.get(id) else { return };
        if self.probes.contains_key(&id) {
            return;
        }
        let broke =
            self.broke.contains_key(&id) || matches!(cause, Cause::ConnectionLost | Cause::ConnectRefused);
        let neighbour = self.neighbours.get(&id.address).filter(|n| n.id == id);
        let round_trip = neighbour.and_then(|n| n.detector.round_trips().smoothed()).unwrap_or_default();
        let (loss, doubts) = (self.doubt.loss(), self.doubt.holds(now));
        let order = ProbeOrder {
            address: id.address,
            life: member.life,
            wire: member.wire,
            patience: self.config.patience.for_probe(loss, doubts),
            open_within: self.config.patience.for_opening(broke, loss, doubts),
            spacing: (round_trip * 2).max(PROBE_SPACING_MIN),
        };
        if let Some(neighbour) = neighbour {
            // The open link counts as one of the probe's connections.
            out.push(Effect::Send { to: neighbour.connection, message: Message::Ping { nonce: 1 } });
        }
        let probe = UnderWay::new(now, order.patience);
        self.probes.insert(id, Probing { probe, askers: Vec::new() });
        out.push(Effect::Probe { target: id, order });
    }

    pub(super) fn on_probed(
        &mut self,
        now: Instant,
        target: MemberId,
        finding: Finding,
        host: HostEvidence,
        out: &mut Vec<Effect>,
    ) {
        let Some(probing) = self.probes.remove(&target) else { return };
        let finding = probing.probe.weigh(now, finding);
        let found = match host {
            HostEvidence::Unknown => finding.to_string(),
            HostEvidence::Answers | HostEvidence::Silent => format!("{finding},host_{host}"),
        };
        let Some(dead) = finding.is_dead() else {
            self.count("probes_abstained");
            let pending = self.suspicions.get(&target).filter(|s| !s.is_reported());
            if let Some(cause) = pending.map(|s| s.cause) {
                // Nothing was learnt: the probe is tried again while the jury sits.
                self.probe(now, target, cause, out);
            }
            return;
        };
        for asker in &probing.askers {
            self.answer(asker, !dead, &found, out);
        }
        if let (Some(suspicion), Some(incarnation)) =
            (self.suspicions.get_mut(&target), self.standing.incarnation())
        {
            suspicion.own_vote(MemberId { address: self.me, incarnation }, dead);
        }
    }

    /// A PONG of the life came on its link while it was being probed.
    pub(super) fn probe_answered_on_link(&mut self, now: Instant, id: MemberId, out: &mut Vec<Effect>) {
        out.push(Effect::CancelProbe(id));
        self.on_probed(now, id, Finding::Alive, HostEvidence::Unknown, out);
    }

    /// The life that is being probed is over.
    pub(super) fn settle_probe_of_ended(&mut self, id: MemberId, out: &mut Vec<Effect>) {
        out.push(Effect::CancelProbe(id));
        let askers = self.probes.remove(&id).map(|p| p.askers).unwrap_or_default();
        for asker in &askers {
            self.answer(asker, false, "not_member", out);
        }
    }
}

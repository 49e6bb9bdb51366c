//! Suspecting, judging with others, reporting; and being asked as a juror.

use std::time::Duration;

use coterie_common::limits::{PROBE_SPACING_MIN, SUSPICIONS_MAX};
use coterie_common::message::{Cause, DeathReport, LinkMessage, SessionMessage};
use coterie_common::{
    Address, Finding, HostEvidence, Instant, Line, MemberId, Message, ProbeOrder, Refusal, Wire,
};
use rand::RngExt;

use super::effect::{ConnectionId, Effect};
use super::suspicion::{Suspicion, Verdict};
use super::{Peer, log};

/// How long a broken connection is a reason for a shorter probe.
const BREAK_COUNTS_FOR: Duration = Duration::from_secs(2);

/// Questions about one suspect that wait for one probe.
const ASKERS_MAX: usize = 64;

const FAR: Instant = Instant::from_nanos(u64::MAX);

/// A probe under way, and who wants to know.
#[derive(Debug, Default)]
pub(super) struct Probing {
    askers: Vec<Asker>,
}

/// Somebody who asked for this peer's vote.
#[derive(Clone, Debug)]
struct Asker {
    connection: ConnectionId,
    requester: Address,
    suspect: MemberId,
}

impl Peer {
    // ---- the suspecting peer ----

    /// Begins to suspect a member, unless it does already or was told to leave it alone.
    pub(super) fn suspect(&mut self, now: Instant, id: MemberId, cause: Cause, out: &mut Vec<Effect>) {
        if self.view.get(id).is_none() || !self.standing.is_member() || self.suspicions.contains_key(&id) {
            return;
        }
        if self.leniency.covers(now, id) {
            return;
        }
        if self.suspicions.len() >= SUSPICIONS_MAX {
            return self.count("suspicions_over_limit");
        }
        log(
            out,
            Line::new("SUSPICION")
                .with("suspect", id.address)
                .with("incarnation", id.incarnation)
                .show("cause", cause),
        );
        let others = self.view.len() - 1;
        let suspicion = Suspicion::new(now, id, cause, others, self.config.patience);
        self.suspicions.insert(id, suspicion);
        for seed in self.enrolment.introduced().collect::<Vec<_>>() {
            let hint = SessionMessage::Hint { suspect: id, cause };
            self.tell(now, seed, Message::Session(hint), out);
        }
        self.probe(now, id, cause, out);
    }

    /// Asks witnesses, reports, or gives up, as far as each suspicion has come.
    pub(super) fn settle_suspicions(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.broke.retain(|_, at| now.since(*at) < BREAK_COUNTS_FOR);
        for id in self.suspicions.keys().copied().collect::<Vec<_>>() {
            self.seat_witnesses(now, id, out);
            let Some(suspicion) = self.suspicions.get_mut(&id) else { continue };
            if suspicion.is_reported() {
                self.report_if_due(now, id, false, out);
                continue;
            }
            match suspicion.verdict(now) {
                Verdict::Pending => {}
                Verdict::Dead => self.report_if_due(now, id, false, out),
                Verdict::Undecided => self.report_if_due(now, id, true, out),
                Verdict::Alive => self.drop_suspicion(now, id, "alive", out),
            }
        }
    }

    /// Fills the empty seats of a jury: neighbours first, then anybody.
    fn seat_witnesses(&mut self, now: Instant, id: MemberId, out: &mut Vec<Effect>) {
        let Some(suspicion) = self.suspicions.get_mut(&id) else { return };
        let mut wanted = suspicion.wants(now);
        if wanted == 0 {
            return;
        }
        let cause = suspicion.cause;
        let mut candidates: Vec<(bool, u32, MemberId, Wire)> = self
            .view
            .members()
            .filter(|m| m.id.address != self.me && m.id != id && !suspicion.has_asked(m.id.address))
            .map(|m| (!self.neighbours.contains_key(&m.id.address), self.rng.random(), m.id, m.wire))
            .collect();
        candidates.sort_unstable();
        let broke = matches!(cause, Cause::ConnectionLost | Cause::ConnectRefused);
        let patience =
            self.config.patience.for_probe(broke, 0.0, false) + self.config.patience.witness_grace();
        for (stranger, _, witness, wire) in candidates {
            if wanted == 0 {
                return;
            }
            wanted -= 1;
            if let Some(suspicion) = self.suspicions.get_mut(&id) {
                suspicion.asked(witness, wire, now + patience);
            }
            let request = LinkMessage::SuspectRequest { suspect: id, cause, requester: self.me };
            let link = self.neighbours.get(&witness.address).filter(|_| !stranger);
            out.push(match link {
                Some(neighbour) => {
                    Effect::Send { to: neighbour.connection(), message: Message::Link(request) }
                }
                None => Effect::Ask { witness: witness.address, wire, message: request, patience },
            });
        }
        if let Some(suspicion) = self.suspicions.get_mut(&id) {
            suspicion.nobody_left();
        }
    }

    fn on_suspect_response(
        &mut self,
        witness: Address,
        suspect: MemberId,
        alive: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(id) = self.member_named(suspect) else { return };
        let Some(suspicion) = self.suspicions.get_mut(&id) else { return };
        if !suspicion.vote(witness, !alive) {
            return self.count("votes_unasked");
        }
        log(
            out,
            Line::new("SUSPECT_RESPONSE")
                .with("suspect", id.address)
                .with("from", witness)
                .with("alive", alive)
                .with("dead_votes", suspicion.dead_votes())
                .with("jury", suspicion.jury),
        );
    }

    fn report_if_due(&mut self, now: Instant, id: MemberId, undecided: bool, out: &mut Vec<Effect>) {
        let timestamp = self.wall(now);
        let Some(suspicion) = self.suspicions.get_mut(&id) else { return };
        let seeds: Vec<_> = self.enrolment.introduced().collect();
        if seeds.is_empty() || !suspicion.report_is_due(now) {
            return;
        }
        let (votes, cause) = (suspicion.votes(), suspicion.cause);
        let undecided = undecided || suspicion.dead_votes() < suspicion.needed();
        let report = DeathReport { dead: id, timestamp, cause, votes, undecided };
        log(out, report.line(id, self.me));
        let seed = seeds[(suspicion.reports() - 1) % seeds.len()];
        self.tell(now, seed, Message::Session(SessionMessage::Report(report)), out);
    }

    pub(super) fn on_report_rejected(
        &mut self,
        now: Instant,
        dead: MemberId,
        refusal: &Refusal,
        out: &mut Vec<Effect>,
    ) {
        if self.suspicions.contains_key(&dead) {
            self.leniency.grant(now, dead);
            self.drop_suspicion(now, dead, &refusal.to_string(), out);
        }
    }

    fn drop_suspicion(&mut self, now: Instant, id: MemberId, reason: &str, out: &mut Vec<Effect>) {
        if self.suspicions.remove(&id).is_some() {
            log(out, Line::new("SUSPICION_DROPPED").with("suspect", id.address).with("reason", reason));
            if let Some(neighbour) = self.neighbours.get_mut(&id.address) {
                // The link is still there, and silent: it is pinged anew.
                neighbour.detector.heard(now);
            }
        }
    }

    /// A frame came from a life on a new link: whatever was thought of it, it lives.
    pub(super) fn heard_from(&mut self, id: MemberId, out: &mut Vec<Effect>) {
        self.leniency.forget(id);
        self.broke.remove(&id);
        if self.suspicions.remove(&id).is_some() {
            log(out, Line::new("SUSPICION_DROPPED").with("suspect", id.address).with("reason", "heard"));
        }
    }

    pub(super) fn forget_suspicions(&mut self, out: &mut Vec<Effect>) {
        self.suspicions.clear();
        self.broke.clear();
        self.leniency = super::Leniency::default();
        for id in std::mem::take(&mut self.probes).into_keys() {
            out.push(Effect::CancelProbe(id));
        }
    }

    // ---- the juror ----

    /// Everything on a link that is not about the link itself. `asked` is who it must come from when it came on
    /// a connection that this peer opened for one question.
    pub(super) fn on_link_message(
        &mut self,
        now: Instant,
        connection: Option<ConnectionId>,
        asked: Option<Address>,
        message: LinkMessage,
        out: &mut Vec<Effect>,
    ) {
        let neighbour = connection.and_then(|c| self.neighbour_on(c)).map(|n| (n.id.address, n.number));
        match (message, neighbour) {
            (LinkMessage::SuspectRequest { suspect, cause, requester }, _) => {
                if let Some(connection) = connection {
                    let asker = Asker { connection, requester, suspect };
                    self.on_suspect_request(now, asker, cause, out);
                }
            }
            (LinkMessage::SuspectResponse { suspect, alive, .. }, neighbour) => {
                if let Some(witness) = asked.or(neighbour.map(|(address, _)| address)) {
                    self.on_suspect_response(witness, suspect, alive, out);
                }
            }
            (LinkMessage::Gossip(rumor), Some((from, number))) => {
                self.on_gossip(now, rumor, from, number, out);
            }
            (LinkMessage::Recent(ids), Some((from, _))) => self.on_recent(ids, from, out),
            (LinkMessage::Want(ids), Some((from, number))) => self.on_want(ids, from, number, out),
            (LinkMessage::Gossip(_) | LinkMessage::Recent(_) | LinkMessage::Want(_), None)
            | (LinkMessage::Hello { .. }, _) => self.count("frames_out_of_place"),
        }
    }

    fn neighbour_on(&self, connection: ConnectionId) -> Option<&super::Neighbour> {
        match self.connections.get(&connection) {
            Some(super::Connection::Link(address)) => self.neighbours.get(address),
            Some(_) | None => None,
        }
    }

    fn on_suspect_request(&mut self, now: Instant, asker: Asker, cause: Cause, out: &mut Vec<Effect>) {
        self.connections.entry(asker.connection).or_insert(super::Connection::Question);
        let Some(id) = self.member_named(asker.suspect) else {
            return self.answer(&asker, false, "not_member", out);
        };
        if id.address == self.me {
            return self.answer(&asker, true, "self", out);
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
    fn probe(&mut self, now: Instant, id: MemberId, cause: Cause, out: &mut Vec<Effect>) {
        let Some(member) = self.view.get(id) else { return };
        if self.probes.contains_key(&id) {
            return;
        }
        let broke =
            self.broke.contains_key(&id) || matches!(cause, Cause::ConnectionLost | Cause::ConnectRefused);
        let neighbour = self.neighbours.get(&id.address).filter(|n| n.id == id);
        let round_trip = neighbour.and_then(|n| n.detector.round_trips().smoothed()).unwrap_or_default();
        let order = ProbeOrder {
            address: id.address,
            life: member.life,
            wire: member.wire,
            patience: self.config.patience.for_probe(broke, self.doubt.loss(), self.doubt.holds(now)),
            spacing: (round_trip * 2).max(PROBE_SPACING_MIN),
        };
        if let Some(neighbour) = neighbour {
            // The open link counts as one of the probe's connections.
            out.push(Effect::Send { to: neighbour.connection(), message: Message::Ping { nonce: 1 } });
        }
        self.probes.insert(id, Probing::default());
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

    pub(super) fn suspicions_deadline(&self) -> Instant {
        if self.enrolment.introduced().next().is_none() {
            // Nobody to report to: the session that comes up is what to wait for.
            let pending = self.suspicions.values().filter(|s| !s.is_reported());
            return pending.map(Suspicion::deadline).filter(|d| *d > self.now).min().unwrap_or(FAR);
        }
        self.suspicions.values().map(Suspicion::deadline).min().unwrap_or(FAR)
    }
}

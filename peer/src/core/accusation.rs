//! Suspecting a member, judging it with others, reporting.

use std::time::Duration;

use coterie_common::limits::SUSPICIONS_MAX;
use coterie_common::message::{Cause, DeathReport, LinkMessage, SessionMessage};
use coterie_common::{Address, Instant, Line, MemberId, Message, Refusal, Wire};
use rand::RngExt;

use super::effect::Effect;
use super::suspicion::{Suspicion, Verdict};
use super::{Peer, log};

/// How long a broken connection is a reason for a shorter probe.
const BREAK_COUNTS_FOR: Duration = Duration::from_secs(2);

const FAR: Instant = Instant::from_nanos(u64::MAX);

impl Peer {
    /// Begins to suspect a member, unless it does already or was told to leave it alone.
    pub(super) fn suspect(&mut self, now: Instant, id: MemberId, cause: Cause, out: &mut Vec<Effect>) {
        if self.view.get(id).is_none() || !self.standing.is_member() {
            return;
        }
        if self.suspicions.contains_key(&id) {
            return self.count("suspicions_joined");
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
                Verdict::Alive => {
                    self.count("juries_alive");
                    self.drop_suspicion(now, id, "alive", out);
                }
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
        // Another takes the place of one that has not found a gone host gone by then; whose host accepts connections
        // may take longer, and its vote counts all the same.
        let grace = self.config.patience.witness_grace();
        let replaced_after = self.config.patience.for_opening(broke, 0.0, false) + grace;
        let patience = self.config.patience.for_probe(0.0, false) + grace;
        for (stranger, _, witness, wire) in candidates {
            if wanted == 0 {
                return;
            }
            wanted -= 1;
            if let Some(suspicion) = self.suspicions.get_mut(&id) {
                suspicion.asked(witness, wire, now + replaced_after);
                if suspicion.has_replaced() {
                    self.count("witnesses_replaced");
                }
            }
            let request = LinkMessage::SuspectRequest { suspect: id, cause, requester: self.me };
            let link = self.neighbours.get(&witness.address).filter(|_| !stranger);
            out.push(match link {
                Some(neighbour) => Effect::Send { to: neighbour.connection, message: Message::Link(request) },
                None => Effect::Ask { witness: witness.address, wire, message: request, patience },
            });
        }
        if let Some(suspicion) = self.suspicions.get_mut(&id) {
            suspicion.nobody_left();
        }
    }

    pub(super) fn on_suspect_response(
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
        let began = self.suspicions.get(&id).map(|s| self.wall(s.since));
        let Some(suspicion) = self.suspicions.get_mut(&id) else { return };
        let seeds: Vec<_> = self.enrolment.introduced().collect();
        if seeds.is_empty() || !suspicion.report_is_due(now) {
            return;
        }
        let (votes, cause) = (suspicion.votes(), suspicion.cause);
        let undecided = undecided || suspicion.dead_votes() < suspicion.needed();
        let turn = suspicion.reports() - 1;
        let report = DeathReport { dead: id, suspected: began, timestamp, cause, votes, undecided };
        log(out, report.line(id, self.me));
        match turn {
            0 if undecided => self.count("juries_undecided"),
            0 => {}
            _ => self.count("reports_repeated"),
        }
        let seed = seeds[turn % seeds.len()];
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
            self.count("reports_rejected");
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
    pub(super) fn met_again(&mut self, id: MemberId, out: &mut Vec<Effect>) {
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

    pub(super) fn suspicions_deadline(&self) -> Instant {
        if self.enrolment.introduced().next().is_none() {
            // Nobody to report to: the session that comes up is what to wait for.
            let pending = self.suspicions.values().filter(|s| !s.is_reported());
            return pending.map(Suspicion::deadline).filter(|d| *d > self.now).min().unwrap_or(FAR);
        }
        self.suspicions.values().map(Suspicion::deadline).min().unwrap_or(FAR)
    }
}

//! What falls due by itself: silence, absence, soft state, an overlay that came apart.
//!
//! None of it is urgent, so it is looked at ten times a second, in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::limits::{
    ABSENCE_GRACE, ABSENCE_TIME, BALLOTS_MAX, JSON_PROBE_EVERY, REGISTRATION_TIME_MAX, SESSION_SILENCE_MAX,
    SOFT_STATE_EVERY,
};
use coterie_common::message::{Cause, CloseReason, MeshMessage, SessionMessage};
use coterie_common::{Address, Instant, MemberId, Wire};
use rand::seq::IndexedRandom;

use super::Seed;
use super::admitting::Owner;
use super::components::components;
use super::effect::{Effect, SessionId};
use super::probes::Waiting;

/// How often everything is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// How often unanswered errands are sent again.
const RESEND_EVERY: Duration = Duration::from_secs(1);

/// How often the overlay's pieces are counted: with ten thousand members that takes some milliseconds.
const PIECES_EVERY: Duration = Duration::from_millis(500);

/// How long the overlay must have been in pieces before somebody is told to mend it: newcomers are dialling.
const PIECES_FOR: Duration = Duration::from_secs(1);

/// How long a mender is given before another is told.
const MEND_AGAIN: Duration = Duration::from_secs(2);

/// What the seed looks after.
#[derive(Clone, Debug, Default)]
pub(super) struct Tending {
    next: Instant,
    soft_state_next: Instant,
    /// No absence is acted on before: sessions are being opened again.
    absence_from: Instant,
    pieces_since: Option<Instant>,
    pieces_next: Instant,
    mend_next: Instant,
    founded_in: Option<u64>,
    resend_next: Instant,
    /// Leaves under way at the leader.
    pub(super) leaving: BTreeMap<MemberId, Vec<Owner>>,
}

impl Tending {
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn new_leader(&mut self, now: Instant) {
        self.absence_from = now + ABSENCE_GRACE;
        self.pieces_since = None;
        self.soft_state_next = now;
        self.leaving.clear();
    }

    /// Whether the founding was proposed in this term; from now on it was.
    pub(super) fn proposed_founding(&mut self, term: u64) -> bool {
        self.founded_in.replace(term) == Some(term)
    }

    pub(super) fn founding_failed(&mut self) {
        self.founded_in = None;
    }
}

impl Seed {
    pub(super) fn tend(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.expire_errands(now, out);
        if now < self.tending.next {
            return;
        }
        self.tending.next = now + EVERY;
        self.probes.expire(now);
        self.forget_long_ended(now);
        self.end_silent_sessions(now, out);
        self.early.retain(|(at, ..)| now.since(*at) < REGISTRATION_TIME_MAX);
        if now >= self.tending.resend_next {
            // An errand or its answer may have been lost with a connection; asking again does no harm.
            self.tending.resend_next = now + RESEND_EVERY;
            self.resend_errands(now, out);
        }
        self.look_after_quiet_programs(now, out);
        if now >= self.tending.soft_state_next {
            self.tending.soft_state_next = now + SOFT_STATE_EVERY;
            self.tell_soft_state(out);
        }
        self.found_if_first(out);
        if self.leads() && self.registry.cluster().is_some() {
            self.record_births(out);
            self.settle_seats(now, out);
            self.find_absent(now, out);
            self.mend_overlay(now, out);
        }
    }

    fn end_silent_sessions(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let silence = self.config.patience.scale(SESSION_SILENCE_MAX);
        let silent = |s: &super::sessions::Session| {
            s.wire == Wire::Native && s.member.is_some() && now >= s.heard + silence
        };
        let over: Vec<SessionId> =
            self.sessions.iter().filter(|(_, s)| silent(s)).map(|(id, _)| id).collect();
        for session in over {
            self.sessions.close(session);
            out.push(Effect::Close { session, reason: CloseReason::Silent });
        }
    }

    /// JSON programs never write after registering: they are probed where they listen.
    fn look_after_quiet_programs(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let quiet = |s: &super::sessions::Session| {
            s.wire == Wire::Json
                && now.since(s.heard) >= JSON_PROBE_EVERY
                && now.since(s.probed) >= JSON_PROBE_EVERY
        };
        let due: Vec<(SessionId, MemberId)> = self
            .sessions
            .iter()
            .filter(|(_, s)| quiet(s))
            .filter_map(|(id, s)| Some((id, s.member?)))
            .collect();
        for (id, member) in due {
            if let Some(session) = self.sessions.get_mut(id) {
                session.probed = now;
            }
            if let Some(member) = self.registry.member(member) {
                let (target, wire) = ((member.id.address, member.life), member.wire);
                self.probe(now, target, (wire, false), Waiting::Result, out);
            }
        }
    }

    fn tell_soft_state(&mut self, out: &mut Vec<Effect>) {
        let Some(leader) = self.leader else { return };
        let held: BTreeSet<MemberId> =
            self.sessions.held().into_iter().filter(|m| self.registry.member(*m).is_some()).collect();
        let Some(news) = self.soft.news(held, self.term) else { return };
        if leader == self.config.id {
            self.soft.take(leader, news);
        } else {
            out.push(Effect::ToSeed { to: leader, message: MeshMessage::Soft(news) });
        }
    }

    /// Seeds act on absence, not on breakage.
    fn find_absent(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let time = self.config.patience.scale(ABSENCE_TIME);
        let members: Vec<MemberId> = self.registry.members().map(|m| m.id).collect();
        let absent = self.soft.absent(now, members.into_iter(), time);
        if now < self.tending.absence_from {
            return;
        }
        for member in absent {
            if self.open_burials() >= BALLOTS_MAX {
                return;
            }
            if !self.is_open(member) {
                self.open_burial(now, member, Cause::Absent, None, out);
            }
        }
    }

    /// Tells a member of each smaller piece of the overlay to dial into the largest.
    fn mend_overlay(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if now < self.tending.pieces_next {
            return;
        }
        self.tending.pieces_next = now + PIECES_EVERY;
        let mut links: BTreeMap<Address, Vec<Address>> =
            self.registry.members().map(|m| (m.id.address, Vec::new())).collect();
        for (member, to) in self.soft.links() {
            if let Some(known) = links.get_mut(member) {
                known.clone_from(to);
            }
        }
        let pieces = components(&links);
        if pieces.len() < 2 {
            self.tending.pieces_since = None;
            return;
        }
        let since = *self.tending.pieces_since.get_or_insert(now);
        if now < since + PIECES_FOR || now < self.tending.mend_next {
            return;
        }
        self.tending.mend_next = now + MEND_AGAIN;
        let (largest, smaller) = pieces.split_at(1);
        for piece in smaller {
            self.mend(piece, &largest[0], out);
        }
    }

    /// Has one member of `piece` dial one of `largest`; or the other way about, where only JSON programs are in it.
    fn mend(&mut self, piece: &[Address], largest: &[Address], out: &mut Vec<Effect>) {
        let native = |seed: &Seed, among: &[Address]| -> Vec<MemberId> {
            let member = |a: &Address| seed.registry.at(*a).filter(|m| m.wire == Wire::Native).map(|m| m.id);
            among.iter().filter_map(member).collect()
        };
        let (from, to) = match native(self, piece) {
            none if none.is_empty() => (native(self, largest), piece),
            some => (some, largest),
        };
        let (Some(mender), Some(target)) =
            (from.choose(&mut self.rng).copied(), to.choose(&mut self.rng).copied())
        else {
            return;
        };
        let dial = SessionMessage::Dial(target);
        self.on_relay(mender, dial.clone(), out);
        for seed in self.others.keys().copied().collect::<Vec<_>>() {
            let message = MeshMessage::Relay { to: mender, message: Box::new(dial.clone()) };
            out.push(Effect::ToSeed { to: seed, message });
        }
    }
}

//! What sessions are told of the view: lists, whole views, and the numbered changes pushed to them.
//!
//! Changes are numbered by epochs, from one that the session was told to one that it will have been told: so a peer
//! sees a gap, and asks (`ChangesSince`). One push is under way for each session, and what happens meanwhile goes into
//! the next, so that a slow reader is sent few large ones and no queue grows here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::JSON_PEER_LIST_MAX;
use coterie_common::message::{CloseReason, Registration, Roster, SessionMessage};
use coterie_common::{Address, Change, Epoch, Event, Instant, Life, Member, MemberId, Message, Wire};
use rand::seq::SliceRandom;

use super::recent_changes::RecentChanges;
use super::{Session, Sessions};
use crate::core::context::Context;
use crate::core::effect::{Effect, SessionId};
use crate::core::presence::Presence;
use crate::core::registry::Registry;

/// How long a push of joins may wait for other joins: for each session, and at most. A guess, by how long a crowd of
/// two thousand took to form. Half of what a neighbour bears with the hello of a newcomer that it was not told of.
/// What ends a life never waits.
const JOINS_WAIT: Knob<(Duration, Duration)> =
    Knob::new("JOINS_WAIT", (Duration::from_millis(1), Duration::from_secs(1)));

impl Sessions {
    // ---- changes ----

    /// The view has changed. Before anything is pushed of them: what is pushed is read from here.
    pub(crate) fn note(&mut self, changes: &[Change]) {
        self.recent.extend(changes);
    }

    /// The view is another one, and how it came about is not known. A session that was told an earlier epoch is sent
    /// the whole view next, but for JSON programs (`tell_json_difference`).
    pub(crate) fn begin_anew(&mut self, epoch: Epoch) {
        self.recent = RecentChanges::new(epoch);
    }

    /// Pushes what is new to every session that has no push in flight: at once what nobody should wait for, joins at
    /// their pace.
    pub(crate) fn push(&mut self, cx: &mut Context, registry: &Registry, presence: &Presence) {
        let epoch = registry.epoch();
        let is_behind =
            |session: &Session| !session.in_flight && session.told.is_some_and(|told| told < epoch);
        let is_patient = |session: &Session| session.told >= Some(self.recent.urgent());
        let behind = self.all.iter().filter(|(_, session)| is_behind(session));
        let behind: Vec<(SessionId, bool)> = behind.map(|(id, session)| (*id, is_patient(session))).collect();
        if behind.is_empty() {
            // Told otherwise, ended, or busy with the push before: what is new follows that.
            return self.joins.nobody_waits();
        }
        // Where everybody is to be told of an end, joins go with it.
        let may = !behind.iter().any(|(_, is_patient)| *is_patient)
            || self.joins.take(cx.now, JOINS_WAIT.get(), self.all.len());
        let due = behind.into_iter().filter(|(_, is_patient)| may || !is_patient);
        let due: Vec<SessionId> = due.map(|(id, _)| id).collect();
        self.push_to(cx, registry, presence, &due);
    }

    /// Joins that have waited for others are pushed with them. Asked at each step.
    pub(crate) fn push_what_waited(&mut self, cx: &mut Context, registry: &Registry, presence: &Presence) {
        if cx.now >= self.joins.deadline() {
            self.push(cx, registry, presence);
        }
    }

    /// When joins that wait are to be pushed.
    pub(crate) fn push_deadline(&self) -> Instant {
        self.joins.deadline()
    }

    fn push_to(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        sessions: &[SessionId],
    ) {
        let epoch = registry.epoch();
        let mut by_told: BTreeMap<Epoch, Vec<SessionId>> = BTreeMap::new();
        for id in sessions {
            if let Some(told) = self.all.get(id).and_then(|s| s.told).filter(|told| *told < epoch) {
                by_told.entry(told).or_default().push(*id);
            }
        }
        for (previous, to) in by_told {
            // Too long ago, or before a snapshot.
            let Some(changes) = self.recent.since(previous) else {
                to.into_iter().for_each(|id| self.send_whole(cx, registry, presence, id));
                continue;
            };
            for id in &to {
                let session = self.session(*id);
                session.told = Some(epoch);
                session.in_flight = true;
            }
            let message = Message::Session(SessionMessage::Changes { previous, epoch, changes });
            cx.want(Effect::Push { to, message });
        }
    }

    /// Says what a session was not told yet, whether a push is in flight or not. For an answer that must not come
    /// before the changes that led to it.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        id: SessionId,
    ) {
        self.push_to(cx, registry, presence, &[id]);
    }

    /// What was pushed to a session is written: what has happened meanwhile may follow.
    pub(crate) fn drained(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        id: SessionId,
    ) {
        // It may have been closed while that was written.
        let Some(session) = self.all.get_mut(&id) else { return };
        session.in_flight = false;
        let is_urgent = session.told < Some(self.recent.urgent());
        if is_urgent || session.told >= Some(registry.epoch()) || self.joins.may(cx.now) {
            self.push_to(cx, registry, presence, &[id]);
        }
    }

    /// A session asks for what has changed since `epoch`.
    pub(crate) fn send_changes_since(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        (id, epoch): (SessionId, Epoch),
    ) {
        match self.recent.since(epoch) {
            Some(changes) => {
                let to = registry.epoch();
                // What happens from now on is told as it happens, also to one that is not admitted again yet.
                self.session(id).told.get_or_insert(to);
                self.send(cx, id, SessionMessage::Changes { previous: epoch, epoch: to, changes });
            }
            None => self.send_whole(cx, registry, presence, id),
        }
    }

    // ---- whole views ----

    /// The members and their degrees, without whoever asks.
    pub(crate) fn send_list(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        (id, asker): (SessionId, Option<Address>),
    ) {
        let session = self.session(id);
        // A JSON program names itself in its request; a peer is known by its session.
        let (wire, member) = (session.wire, session.member);
        let asker = asker.or(member.map(|member| member.address));
        self.flush(cx, registry, presence, id);
        let mut roster = roster(cx, registry, presence, wire);
        roster.members.retain(|(member, _)| Some(member.id.address) != asker);
        self.send(cx, id, SessionMessage::List(roster));
    }

    /// The whole view; changes follow from then on. Not counted as in flight: whatever changes next may follow it at
    /// once.
    pub(crate) fn send_whole(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        id: SessionId,
    ) {
        let session = self.session(id);
        session.told = Some(registry.epoch());
        let wire = session.wire;
        let ended = registry.ended().copied().collect();
        let whole = SessionMessage::Whole { roster: roster(cx, registry, presence, wire), ended };
        self.send(cx, id, whole);
    }

    // ---- members ----

    /// A member says that this session is its, and up to which epoch it was told: the rest follows.
    pub(crate) fn opened(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        (id, member, epoch): (SessionId, MemberId, Epoch),
    ) {
        self.bind(id, member);
        // Its own word, and it may be ahead of this registry: then it is pushed nothing until the registry is further.
        self.session(id).told = Some(epoch);
        if epoch < registry.epoch() {
            cx.count("sessions_behind");
        }
        self.push_to(cx, registry, presence, &[id]);
        self.tell_seeds(cx, registry, id);
    }

    /// Tells whoever asked to be registered that it is a member now, and who the others are.
    pub(crate) fn admitted(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        (id, member): (SessionId, MemberId),
    ) {
        // A death of the address's former life is told before the new life becomes visible here. The order in which
        // a batch of entries is told to sessions does not see to that (`routes/log`, `catch_up`): this line does.
        self.flush(cx, registry, presence, id);
        let wire = self.session(id).wire;
        let roster = roster(cx, registry, presence, wire);
        self.bind(id, member);
        self.session(id).told = Some(roster.epoch);
        let admitted = Registration::Admitted { incarnation: member.incarnation, roster };
        self.send(cx, id, SessionMessage::Registered(admitted));
        self.tell_seeds(cx, registry, id);
    }

    /// Whether a session may be said to be this member's; if not, it is closed with the reason.
    #[must_use]
    pub(crate) fn may_open(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        id: SessionId,
        (member, life): (MemberId, Life),
    ) -> bool {
        if !self.names_cluster(id) {
            let problem = "a member that does not say of which cluster".to_owned();
            self.close(cx, id, CloseReason::Protocol(problem));
            return false;
        }
        // One who is admitted elsewhere and not yet here may open: a seed that has just started knows of nobody.
        let is_another = registry.member(member).is_some_and(|known| known.life != life);
        if is_another || !registry.may_be_member(member) {
            // By its epoch the peer tells whether this is about the life that it is by now.
            let end = registry.ended().rev().find(|ended| ended.id == member).map(|ended| ended.epoch);
            self.close(cx, id, CloseReason::Ended(end.unwrap_or(registry.epoch())));
            return false;
        }
        let bound = self.member_on(id);
        // Another life at the same address may take over: the program has been admitted anew on it.
        if bound.is_some_and(|bound| bound.address != member.address) {
            self.close(cx, id, CloseReason::Protocol("this session is another member's".to_owned()));
            return false;
        }
        true
    }

    // ---- the seeds ----

    /// Every peer is told of the seeds that vote, if they have changed. Once a batch of entries, after its last: a seed
    /// that catches up must not tell of voters that were replaced long ago, for peers would leave it for those.
    pub(crate) fn tell_seeds_to_all(&mut self, cx: &mut Context, registry: &Registry) {
        let since = registry.voters_changed_at();
        if std::mem::replace(&mut self.voters_told_at, since) == since {
            return;
        }
        let bound = self.all.iter().filter(|(_, session)| session.member.is_some());
        for id in bound.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.tell_seeds(cx, registry, id);
        }
    }

    /// A peer is told of the seeds that vote, where they are no longer those of its list.
    fn tell_seeds(&mut self, cx: &mut Context, registry: &Registry, id: SessionId) {
        let since = registry.voters_changed_at();
        let session = self.session(id);
        if session.wire != Wire::Native || session.seeds_told_at >= since {
            return;
        }
        session.seeds_told_at = since;
        let voters = registry.voters();
        let seeds = voters.iter().filter_map(|id| registry.seeds().get(id));
        let seeds = seeds.map(|seed| seed.address.clone()).collect();
        self.send(cx, id, SessionMessage::Seeds { since, seeds });
    }

    // ---- JSON programs ----

    /// After a snapshot: JSON has no word for a whole view, so such programs are told the difference.
    pub(crate) fn tell_json_difference(&mut self, cx: &mut Context, registry: &Registry, changes: &[Change]) {
        let epoch = registry.epoch();
        let mut told: Vec<(SessionId, Epoch)> = Vec::new();
        for (id, session) in self.all.iter_mut().filter(|(_, session)| session.wire == Wire::Json) {
            if let Some(previous) = session.told {
                session.told = Some(epoch);
                told.push((*id, previous));
            }
        }
        for (id, previous) in told {
            self.send(cx, id, SessionMessage::Changes { previous, epoch, changes: changes.to_vec() });
        }
    }

    /// A JSON program ignores the news of its own end: its sessions are closed with it.
    pub(crate) fn close_ended_json(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        changes: &[Change],
    ) {
        for change in changes {
            let (Event::Died(member) | Event::Left(member)) = &change.event else {
                // A life that another replaces has its sessions' connections closed by the program itself.
                continue;
            };
            for id in self.of(*member) {
                if self.session(id).wire == Wire::Json {
                    self.flush(cx, registry, presence, id);
                    self.close(cx, id, CloseReason::Ended(change.epoch));
                }
            }
        }
    }
}

/// The members and their degrees; for a JSON program a random part, where they are too many for it.
fn roster(cx: &mut Context, registry: &Registry, presence: &Presence, wire: Wire) -> Roster {
    let with_degree = |m: &Arc<Member>| (Arc::clone(m), presence.degree(m.id.address));
    let mut members: Vec<_> = registry.members().map(with_degree).collect();
    if wire == Wire::Json && members.len() > JSON_PEER_LIST_MAX {
        let (sample, _) = members.partial_shuffle(&mut cx.rng, JSON_PEER_LIST_MAX);
        members = sample.to_vec();
    }
    Roster { epoch: registry.epoch(), members }
}

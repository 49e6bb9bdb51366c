//! What sessions are told of the view: lists, whole views, and the numbered changes pushed to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use coterie_common::limits::JSON_PEER_LIST_MAX;
use coterie_common::message::{CloseReason, Roster, SessionMessage};
use coterie_common::{Address, Change, Epoch, Event, Member, Message, Wire};
use rand::seq::SliceRandom;

use super::Seed;
use super::effect::{Effect, SessionId};

impl Seed {
    pub(super) fn send_list(&mut self, id: SessionId, asker: Option<Address>, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get(id) else { return };
        let wire = session.wire;
        let asker = asker.or(session.member.map(|member| member.address));
        self.flush(id, out);
        let mut roster = self.roster(wire);
        roster.members.retain(|(member, _)| Some(member.id.address) != asker);
        self.send(id, SessionMessage::List(roster), out);
    }

    pub(super) fn send_changes_since(&mut self, id: SessionId, epoch: Epoch, out: &mut Vec<Effect>) {
        match self.history.since(epoch) {
            Some(changes) => {
                let to = self.registry.epoch();
                // What happens from now on is told as it happens, also to one that is not admitted again yet.
                if let Some(session) = self.sessions.get_mut(id) {
                    session.told.get_or_insert(to);
                }
                self.send(id, SessionMessage::Changes { previous: epoch, epoch: to, changes }, out);
            }
            None => self.send_whole(id, out),
        }
    }

    pub(super) fn send_whole(&mut self, id: SessionId, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.told = Some(self.registry.epoch());
        let wire = session.wire;
        let ended = self.registry.ended().copied().collect();
        let whole = SessionMessage::Whole { roster: self.roster(wire), ended };
        self.send(id, whole, out);
    }

    /// The members and their degrees; for a JSON program a random part, where they are too many for it.
    pub(super) fn roster(&mut self, wire: Wire) -> Roster {
        let with_degree = |m: &Arc<Member>| (Arc::clone(m), self.soft.degree(m.id.address));
        let mut members: Vec<_> = self.registry.members().map(with_degree).collect();
        if wire == Wire::Json && members.len() > JSON_PEER_LIST_MAX {
            let (sample, _) = members.partial_shuffle(&mut self.rng, JSON_PEER_LIST_MAX);
            members = sample.to_vec();
        }
        Roster { epoch: self.registry.epoch(), members }
    }

    /// Pushes what is new to every session that has no push in flight.
    pub(super) fn push(&mut self, out: &mut Vec<Effect>) {
        let idle: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.told.is_some() && !s.in_flight)
            .map(|(id, _)| id)
            .collect();
        self.push_to(&idle, out);
    }

    pub(super) fn push_to(&mut self, sessions: &[SessionId], out: &mut Vec<Effect>) {
        let epoch = self.registry.epoch();
        let mut by_told: BTreeMap<Epoch, Vec<SessionId>> = BTreeMap::new();
        for id in sessions {
            if let Some(told) = self.sessions.get(*id).and_then(|s| s.told).filter(|told| *told < epoch) {
                by_told.entry(told).or_default().push(*id);
            }
        }
        for (previous, to) in by_told {
            let Some(changes) = self.history.since(previous) else {
                to.into_iter().for_each(|id| self.send_whole(id, out));
                continue;
            };
            for id in &to {
                if let Some(session) = self.sessions.get_mut(*id) {
                    session.told = Some(epoch);
                    session.in_flight = true;
                }
            }
            let message = Message::Session(SessionMessage::Changes { previous, epoch, changes });
            out.push(Effect::Push { to, message });
        }
    }

    /// Says what a session was not told yet, whether a push is in flight or not.
    pub(super) fn flush(&mut self, id: SessionId, out: &mut Vec<Effect>) {
        self.push_to(&[id], out);
    }

    pub(super) fn on_drained(&mut self, id: SessionId, out: &mut Vec<Effect>) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.in_flight = false;
            self.push_to(&[id], out);
        }
    }

    /// After a snapshot: JSON has no word for a whole view, so such programs are told the difference.
    pub(super) fn tell_json_difference(&mut self, changes: &[Change], out: &mut Vec<Effect>) {
        let epoch = self.registry.epoch();
        let told: Vec<(SessionId, Epoch)> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.wire == Wire::Json)
            .filter_map(|(id, s)| Some((id, s.told?)))
            .collect();
        for (id, previous) in told {
            if let Some(session) = self.sessions.get_mut(id) {
                session.told = Some(epoch);
            }
            self.send(id, SessionMessage::Changes { previous, epoch, changes: changes.to_vec() }, out);
        }
    }

    /// A JSON program ignores the news of its own end: its sessions are closed with it.
    pub(super) fn close_ended_json(&mut self, changes: &[Change], out: &mut Vec<Effect>) {
        for change in changes {
            let (Event::Died(id) | Event::Left(id)) = &change.event else { continue };
            let sessions: Vec<SessionId> = self.sessions.of(*id).collect();
            for session in sessions {
                if self.sessions.get(session).is_some_and(|s| s.wire == Wire::Json) {
                    self.flush(session, out);
                    self.close_session(session, CloseReason::Ended(change.epoch), out);
                }
            }
        }
    }

    pub(super) fn begin_pushing(&mut self, id: SessionId, epoch: Epoch, out: &mut Vec<Effect>) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.told = Some(epoch);
        }
        if epoch < self.registry.epoch() {
            self.count("sessions_behind");
        }
        self.push_to(&[id], out);
    }
}

//! Sessions: who is at the other end, and up to which epoch it was told.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::{Epoch, Instant, MemberId, Wire};

use super::effect::SessionId;
use super::rate::Rate;

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    /// How the other end speaks.
    pub wire: Wire,
    /// The member at the other end, once it said or was told.
    pub member: Option<MemberId>,
    /// Whether it watches without being a member.
    pub observes: bool,
    /// The epoch up to which it was told; none while nothing is pushed to it.
    pub told: Option<Epoch>,
    /// The index at which the voters changed that it was last told of.
    pub seeds_told_at: u64,
    /// Whether a push is being written: what happens meanwhile goes into the next.
    pub in_flight: bool,
    /// When the last frame came.
    pub heard: Instant,
    /// When a quiet JSON member was last looked after.
    pub probed: Instant,
    /// Whether the last look after a quiet JSON member found nobody.
    pub seems_gone: bool,
    /// Registrations asked for on it.
    pub registrations: Rate,
    /// Hints given on it.
    pub hints: Rate,
    /// Reports, departures and linearizable reads asked for on it.
    pub requests: Rate,
}

/// All sessions.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    holders: BTreeMap<MemberId, u32>,
}

impl Sessions {
    /// The session of that number, made if it is new.
    pub fn open(&mut self, id: SessionId, now: Instant, wire: Wire) -> &mut Session {
        self.sessions.entry(id).or_insert(Session {
            wire,
            member: None,
            observes: false,
            told: None,
            seeds_told_at: 0,
            in_flight: false,
            heard: now,
            probed: now,
            seems_gone: false,
            registrations: Rate::default(),
            hints: Rate::default(),
            requests: Rate::default(),
        })
    }

    /// The session of that number.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// The same, to change. Its member is changed by [`bind`](Self::bind) alone.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// All sessions.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The other end is this member.
    pub fn bind(&mut self, id: SessionId, member: MemberId) {
        self.release(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.member = Some(member);
            session.seems_gone = false;
            *self.holders.entry(member).or_insert(0) += 1;
        }
    }

    /// The session has ended.
    pub fn close(&mut self, id: SessionId) {
        self.release(id);
        self.sessions.remove(&id);
    }

    fn release(&mut self, id: SessionId) {
        let Some(member) = self.sessions.get_mut(&id).and_then(|s| s.member.take()) else { return };
        if let Some(count) = self.holders.get_mut(&member) {
            *count -= 1;
            if *count == 0 {
                self.holders.remove(&member);
            }
        }
    }

    /// The sessions of a member.
    pub fn of(&self, member: MemberId) -> impl Iterator<Item = SessionId> + '_ {
        let held = self.holders.contains_key(&member);
        self.sessions.iter().filter(move |(_, s)| held && s.member == Some(member)).map(|(id, _)| *id)
    }

    /// The members that hold a session here and are not thought gone.
    pub fn held(&self) -> BTreeSet<MemberId> {
        self.sessions.values().filter(|s| !s.seems_gone).filter_map(|s| s.member).collect()
    }

    /// The native members that hold a session here.
    pub fn native(&self) -> Vec<(SessionId, MemberId)> {
        let native = self.sessions.iter().filter(|(_, s)| s.wire == Wire::Native);
        native.filter_map(|(id, s)| Some((*id, s.member?))).collect()
    }
}

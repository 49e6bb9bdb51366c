//! Which sessions a member holds here: what is to be told to one member is not sought among all sessions.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::MemberId;

use crate::core::effect::SessionId;

/// The sessions of each member.
///
/// Invariant: those of all that are bound to one, and nobody without any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders(BTreeMap<MemberId, BTreeSet<SessionId>>);

impl Holders {
    /// The session is that member's.
    pub(super) fn bind(&mut self, member: MemberId, id: SessionId) {
        self.0.entry(member).or_default().insert(id);
    }

    /// It is that member's no longer.
    pub(super) fn release(&mut self, member: MemberId, id: SessionId) {
        let held = self.0.get_mut(&member);
        let Some(held) = held else { panic!("{id:?} is released by {member}, who holds none") };
        assert!(held.remove(&id), "{id:?} is released by {member}, who holds {held:?}");
        if held.is_empty() {
            self.0.remove(&member);
        }
    }

    /// Those of a member, the oldest first.
    pub(super) fn of(&self, member: MemberId) -> impl Iterator<Item = SessionId> + '_ {
        self.0.get(&member).into_iter().flatten().copied()
    }
}

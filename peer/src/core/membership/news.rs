//! What a newer view changes: which lives end, which begin.
//!
//! A change names what the log says; the lives that this peer knew are what it has to tell the end of. Both are
//! needed, for a peer may hear of a life for the first time by its end.

use std::collections::BTreeSet;

use coterie_common::{Change, Event, MemberId, View};

/// The changes between the view before and the view now.
#[derive(Clone, Debug)]
pub(crate) struct News {
    changes: Vec<Change>,
    /// The lives that the old view had where something changed: only of their ends does this peer tell.
    known: BTreeSet<MemberId>,
}

impl News {
    /// The lives that the `old` view has at the addresses that these changes are about. To be called before the view
    /// moves on: afterwards the ended lives are gone from it.
    pub(super) fn known(old: &View, changes: &[Change]) -> BTreeSet<MemberId> {
        let about = changes.iter().flat_map(|change| [ended_by(change), begun_by(change)]).flatten();
        about.filter_map(|id| old.at(id.address)).map(|m| m.id).collect()
    }

    /// The changes that came true, and the lives that were known before them.
    pub(super) fn new(changes: Vec<Change>, known: BTreeSet<MemberId>) -> Self {
        News { changes, known }
    }

    /// The changes, in their order. None, if the view was told of nothing new.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How many lives end.
    pub(crate) fn ended(&self) -> usize {
        self.changes.iter().filter_map(ended_by).count()
    }

    /// Whether this peer had that life in its view.
    pub(super) fn was_known(&self, id: MemberId) -> bool {
        self.known.contains(&id)
    }
}

/// The life that a change ends. A change may end one and begin another.
pub(crate) fn ended_by(change: &Change) -> Option<MemberId> {
    match &change.event {
        Event::Joined(_) => None,
        Event::Replaced { old: id, .. } | Event::Left(id) | Event::Died(id) => Some(*id),
    }
}

/// The life that a change begins.
pub(crate) fn begun_by(change: &Change) -> Option<MemberId> {
    match &change.event {
        Event::Joined(new) | Event::Replaced { new, .. } => Some(new.id),
        Event::Left(_) | Event::Died(_) => None,
    }
}

//! The members at an epoch, and the numbered changes that lead from one view to the next.
//!
//! Every seed computes the same changes from the same log, so a view is wholly determined by its epoch. A
//! node may skip epochs and never goes back: [`View::apply`] takes what is newer than the view and leaves the
//! rest, however often and by whichever session it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Address, Epoch, Member, MemberId};

/// What became of one life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was admitted at an address that nobody had.
    Joined(Arc<Member>),
    /// It was admitted, and ended the life that had the address before.
    Replaced {
        /// The life that had the address.
        old: MemberId,
        /// The life that has it now.
        new: Arc<Member>,
    },
    /// It left of its own will.
    Left(MemberId),
    /// It was confirmed dead.
    Died(MemberId),
}

/// One numbered change of the view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The epoch of the entry that made it.
    pub epoch: Epoch,
    /// What changed.
    pub event: Event,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ending {
    /// It left.
    Left,
    /// It was confirmed dead.
    Died,
    /// A new life at the same address took its place.
    Replaced,
}

/// A life that is over, as told to those who missed its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Who it was.
    pub id: MemberId,
    /// The epoch of the entry that ended it.
    pub epoch: Epoch,
    /// How.
    pub how: Ending,
}

/// How many members a step of the view gained and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Admitted at a free address.
    pub joined: usize,
    /// Left of their own will.
    pub left: usize,
    /// Confirmed dead.
    pub died: usize,
    /// Succeeded by a new life.
    pub replaced: usize,
}

/// The members at an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The index of the log entry that made it.
    pub epoch: Epoch,
    members: BTreeMap<Address, Arc<Member>>,
}

impl View {
    /// The view of `members` at `epoch`.
    pub fn new(epoch: Epoch, members: impl IntoIterator<Item = Arc<Member>>) -> Self {
        View { epoch, members: members.into_iter().map(|m| (m.id.address, m)).collect() }
    }

    /// The member at `address`.
    pub fn at(&self, address: Address) -> Option<&Member> {
        self.members.get(&address).map(AsRef::as_ref)
    }

    /// The member that `id` names, if that life is still in the view.
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.at(id.address).filter(|m| m.id == id)
    }

    /// All members, by address.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is a member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes those of `changes` that are newer than the view, moves it to `epoch`, and returns them.
    ///
    /// They are returned as they came true here: a life that begins where this view has another one has replaced it,
    /// whatever the change says. So no life is ever gone from a view without a change that ends it.
    pub fn apply(&mut self, epoch: Epoch, changes: Vec<Change>) -> Vec<Change> {
        let from = self.epoch;
        let mut news: Vec<Change> = changes.into_iter().filter(|c| c.epoch > from).collect();
        for change in &mut news {
            self.take(&mut change.event);
        }
        self.epoch = self.epoch.max(epoch);
        news
    }

    fn take(&mut self, event: &mut Event) {
        match event {
            Event::Joined(new) | Event::Replaced { new, .. } => {
                let new = new.clone();
                let before = self.members.insert(new.id.address, new.clone());
                if let Some(old) = before.map(|m| m.id).filter(|old| *old != new.id) {
                    *event = Event::Replaced { old, new };
                }
            }
            Event::Left(id) | Event::Died(id) => {
                if self.get(*id).is_some() {
                    self.members.remove(&id.address);
                }
            }
        }
    }

    /// The changes that lead from this view to `next`, the endings that `ended` tells of first.
    ///
    /// A life that is missing from `next` and not in `ended` ended too long ago for the seeds to remember how:
    /// it counts as dead, so that nothing holds on to it.
    pub fn difference(&self, next: &View, ended: &[Ended]) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut gone = BTreeSet::new();
        let endings: BTreeMap<MemberId, &Ended> = ended.iter().map(|e| (e.id, e)).collect();
        for old in self.members.values().filter(|m| next.get(m.id).is_none()) {
            let end = endings.get(&old.id);
            let epoch = end.map_or(next.epoch, |e| e.epoch);
            match (end.map_or(Ending::Died, |e| e.how), next.at(old.id.address)) {
                (Ending::Replaced, Some(_)) => continue,
                (Ending::Left, _) => changes.push(Change { epoch, event: Event::Left(old.id) }),
                (Ending::Died | Ending::Replaced, _) => {
                    changes.push(Change { epoch, event: Event::Died(old.id) });
                }
            }
            gone.insert(old.id);
        }
        changes.sort_by_key(|c| c.epoch);
        for new in next.members.values().filter(|m| self.get(m.id).is_none()) {
            let epoch = Epoch(new.id.incarnation.0);
            let event = match self.at(new.id.address) {
                Some(old) if !gone.contains(&old.id) => Event::Replaced { old: old.id, new: new.clone() },
                Some(_) | None => Event::Joined(new.clone()),
            };
            changes.push(Change { epoch, event });
        }
        changes
    }
}

impl Tally {
    /// Counts `changes` by kind.
    pub fn of(changes: &[Change]) -> Self {
        let mut tally = Tally::default();
        changes.iter().for_each(|change| tally.count(change));
        tally
    }

    /// One more.
    pub fn count(&mut self, change: &Change) {
        match change.event {
            Event::Joined(_) => self.joined += 1,
            Event::Replaced { .. } => self.replaced += 1,
            Event::Left(_) => self.left += 1,
            Event::Died(_) => self.died += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, Life, Tags, Wire};

    fn member(port: u16, incarnation: u64) -> Arc<Member> {
        let address = Address::new([127, 0, 0, 1].into(), port);
        let id = MemberId { address, incarnation: Incarnation(incarnation) };
        Arc::new(Member { id, life: Life(incarnation), wire: Wire::Native, tags: Tags::new() })
    }

    #[test]
    fn a_change_that_arrives_twice_is_taken_once() {
        let mut view = View::default();
        let joined = vec![Change { epoch: Epoch(4), event: Event::Joined(member(1, 4)) }];
        assert_eq!(view.apply(Epoch(4), joined.clone()), joined);
        assert_eq!(view.apply(Epoch(4), joined), vec![]);
        assert_eq!((view.epoch, view.len()), (Epoch(4), 1));
    }

    #[test]
    fn a_life_that_is_displaced_without_a_word_has_been_replaced() {
        let said = [
            Event::Joined(member(1, 9)),
            Event::Replaced { old: member(2, 5).id, new: member(1, 9) },
            Event::Replaced { old: member(1, 3).id, new: member(1, 9) },
        ];
        for event in said {
            let mut view = View::new(Epoch(8), [member(1, 4), member(2, 5)]);
            let news = view.apply(Epoch(9), vec![Change { epoch: Epoch(9), event }]);
            let came_true = Event::Replaced { old: member(1, 4).id, new: member(1, 9) };
            assert_eq!(news, [Change { epoch: Epoch(9), event: came_true }]);
            assert_eq!(view, View::new(Epoch(9), [member(1, 9), member(2, 5)]));
        }
    }

    #[test]
    fn an_old_death_does_not_remove_a_new_life() {
        let mut view = View::new(Epoch(9), [member(1, 9)]);
        let old = Change { epoch: Epoch(10), event: Event::Died(member(1, 4).id) };
        view.apply(Epoch(10), vec![old]);
        assert!(view.at(member(1, 9).id.address).is_some());
    }

    #[test]
    fn a_whole_view_tells_the_ended_first_and_then_the_new() {
        let before = View::new(Epoch(9), [member(1, 4), member(2, 5), member(3, 6), member(4, 7)]);
        let after = View::new(Epoch(20), [member(1, 15), member(3, 6), member(4, 18), member(5, 12)]);
        let ended = [
            Ended { id: member(2, 5).id, epoch: Epoch(14), how: Ending::Left },
            Ended { id: member(1, 4).id, epoch: Epoch(13), how: Ending::Died },
            Ended { id: member(4, 7).id, epoch: Epoch(18), how: Ending::Replaced },
        ];
        let changes = before.difference(&after, &ended);
        let expected = vec![
            Change { epoch: Epoch(13), event: Event::Died(member(1, 4).id) },
            Change { epoch: Epoch(14), event: Event::Left(member(2, 5).id) },
            Change { epoch: Epoch(15), event: Event::Joined(member(1, 15)) },
            Change { epoch: Epoch(18), event: Event::Replaced { old: member(4, 7).id, new: member(4, 18) } },
            Change { epoch: Epoch(12), event: Event::Joined(member(5, 12)) },
        ];
        assert_eq!(changes, expected);
        let mut replayed = before;
        replayed.apply(after.epoch, changes);
        assert_eq!(replayed, after);
    }
}

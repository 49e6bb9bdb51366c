//! The latest changes of the view, to bring sessions up to date.

use std::collections::VecDeque;

use coterie_common::limits::CHANGES_KEPT;
use coterie_common::{Change, Epoch};

/// Changes, oldest first, without a gap since `floor`.
#[derive(Clone, Debug)]
pub struct History {
    floor: Epoch,
    changes: VecDeque<Change>,
}

impl History {
    /// Nothing has changed yet since `epoch`.
    pub fn new(epoch: Epoch) -> Self {
        History { floor: epoch, changes: VecDeque::new() }
    }

    /// Changes were made.
    pub fn extend(&mut self, changes: &[Change]) {
        self.changes.extend(changes.iter().cloned());
        while self.changes.len() > CHANGES_KEPT {
            if let Some(oldest) = self.changes.pop_front() {
                self.floor = oldest.epoch;
            }
        }
    }

    /// What changed since `epoch`; none when that is too long ago to tell.
    pub fn since(&self, epoch: Epoch) -> Option<Vec<Change>> {
        if epoch < self.floor {
            return None;
        }
        let start = self.changes.partition_point(|change| change.epoch <= epoch);
        Some(self.changes.range(start..).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::{Address, Event, Incarnation, MemberId};

    #[test]
    fn what_is_too_long_ago_is_not_told_in_part() {
        let id = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let change = |epoch| Change { epoch: Epoch(epoch), event: Event::Left(id) };
        let mut history = History::new(Epoch(5));
        assert_eq!(history.since(Epoch(4)), None);
        assert_eq!(history.since(Epoch(5)), Some(vec![]));
        history.extend(&[change(6), change(9)]);
        assert_eq!(history.since(Epoch(6)), Some(vec![change(9)]));
        let many: Vec<Change> = (10..10 + CHANGES_KEPT as u64).map(change).collect();
        history.extend(&many);
        assert_eq!(history.since(Epoch(8)), None);
        assert_eq!(history.since(Epoch(9)).map(|c| c.len()), Some(CHANGES_KEPT));
    }
}

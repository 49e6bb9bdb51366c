//! The latest changes of the view, to bring sessions up to date.

use std::collections::VecDeque;

use coterie_common::limits::{CHANGES_BYTES_MAX, CHANGES_KEPT};
use coterie_common::{Change, Epoch, Event, tag_bytes};

/// Changes, oldest first, without a gap since `floor`.
#[derive(Clone, Debug)]
pub struct History {
    floor: Epoch,
    changes: VecDeque<Change>,
    bytes: usize,
}

impl History {
    /// Nothing has changed yet since `epoch`.
    pub fn new(epoch: Epoch) -> Self {
        History { floor: epoch, changes: VecDeque::new(), bytes: 0 }
    }

    /// Changes were made.
    pub fn extend(&mut self, changes: &[Change]) {
        self.changes.extend(changes.iter().cloned());
        self.bytes += changes.iter().map(size).sum::<usize>();
        while self.changes.len() > CHANGES_KEPT || self.bytes > CHANGES_BYTES_MAX {
            let Some(oldest) = self.changes.pop_front() else { return };
            self.bytes -= size(&oldest);
            self.floor = oldest.epoch;
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

/// About what a change takes in a frame.
fn size(change: &Change) -> usize {
    const WITHOUT_TAGS: usize = 64;
    match &change.event {
        Event::Joined(member) | Event::Replaced { new: member, .. } => WITHOUT_TAGS + tag_bytes(&member.tags),
        Event::Left(_) | Event::Died(_) => WITHOUT_TAGS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::limits::TAG_BYTES_MAX;
    use coterie_common::{Address, Incarnation, Life, Member, MemberId, Wire};

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

    #[test]
    fn what_is_kept_fits_a_frame_whatever_the_members_carry() {
        let join = |epoch: u64| {
            let id =
                MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(epoch) };
            let tags = [("t".to_owned(), "x".repeat(TAG_BYTES_MAX - 3))].into();
            let member = Member { id, life: Life(epoch), wire: Wire::Native, tags };
            Change { epoch: Epoch(epoch), event: Event::Joined(member.into()) }
        };
        let mut history = History::new(Epoch(0));
        (1..=200).for_each(|epoch| history.extend(&[join(epoch)]));
        assert_eq!(history.since(Epoch(0)), None);
        let kept = (0..200).find_map(|epoch| history.since(Epoch(epoch))).map(|changes| changes.len());
        assert_eq!(kept, Some(CHANGES_BYTES_MAX / (TAG_BYTES_MAX + 64)));
    }
}

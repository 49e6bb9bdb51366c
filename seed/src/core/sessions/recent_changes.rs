//! The latest changes of the view, to bring sessions up to date.
//!
//! A seed that keeps these can bring a session up to date in a few bytes; one that does not sends the whole view, which
//! is always right and may be large. So what is kept here is a saving, and may be cut at any time.

use std::collections::VecDeque;

use coterie_common::limits::{CHANGES_BYTES_MAX, CHANGES_KEPT};
use coterie_common::{Change, Epoch, Event, tag_bytes};

/// Changes, oldest first, without a gap since `floor`.
#[derive(Clone, Debug)]
pub(super) struct RecentChanges {
    /// A session that was told less than this needs the whole view.
    floor: Epoch,
    changes: VecDeque<Change>,
    /// The epoch of the last one that nobody should wait for: any but a join.
    urgent: Epoch,
    /// About what all of them take in one frame, in which they must fit.
    bytes: usize,
}

impl RecentChanges {
    /// Nothing has changed yet since `epoch`. After a snapshot, too: how its view came about is not known.
    pub(super) fn new(epoch: Epoch) -> Self {
        RecentChanges { floor: epoch, changes: VecDeque::new(), urgent: epoch, bytes: 0 }
    }

    /// Changes were made.
    pub(super) fn extend(&mut self, changes: &[Change]) {
        let last = self.changes.back().map_or(self.floor, |change| change.epoch);
        let is_later = changes.iter().all(|change| change.epoch >= last);
        assert!(is_later, "changes of epochs before {last}: {changes:?}");
        let is_urgent = |change: &&Change| !matches!(change.event, Event::Joined(_));
        self.urgent = changes.iter().rev().find(is_urgent).map_or(self.urgent, |change| change.epoch);
        self.changes.extend(changes.iter().cloned());
        self.bytes += changes.iter().map(size).sum::<usize>();
        while self.changes.len() > CHANGES_KEPT.get() || self.bytes > CHANGES_BYTES_MAX {
            let Some(oldest) = self.changes.pop_front() else { panic!("{} bytes of no changes", self.bytes) };
            self.bytes -= size(&oldest);
            self.floor = oldest.epoch;
        }
    }

    /// Who was told less than this is not to wait.
    pub(super) fn urgent(&self) -> Epoch {
        self.urgent
    }

    /// Checks that it tells of all changes up to `epoch`, that of the view.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self, epoch: Epoch) {
        let last = self.changes.back().map_or(self.floor, |change| change.epoch);
        assert_eq!(last, epoch, "the last change that is told, and the view");
        assert_eq!(
            self.bytes,
            self.changes.iter().map(size).sum::<usize>(),
            "bytes of changes, and their sum"
        );
    }

    /// What changed since `epoch`; none when that is too long ago to tell.
    pub(super) fn since(&self, epoch: Epoch) -> Option<Vec<Change>> {
        if epoch < self.floor {
            return None;
        }
        let start = self.changes.partition_point(|change| change.epoch <= epoch);
        Some(self.changes.range(start..).cloned().collect())
    }
}

/// About what a change takes in a frame.
fn size(change: &Change) -> usize {
    // Bytes: addresses, numbers and their lengths, rounded up. A guess.
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
        let mut recent = RecentChanges::new(Epoch(5));
        assert_eq!(recent.since(Epoch(4)), None);
        assert_eq!(recent.since(Epoch(5)), Some(vec![]));
        recent.extend(&[change(6), change(9)]);
        assert_eq!(recent.since(Epoch(6)), Some(vec![change(9)]));
        let many: Vec<Change> = (10..10 + CHANGES_KEPT.get() as u64).map(change).collect();
        recent.extend(&many);
        assert_eq!(recent.since(Epoch(8)), None);
        assert_eq!(recent.since(Epoch(9)).map(|c| c.len()), Some(CHANGES_KEPT.get()));
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
        let mut recent = RecentChanges::new(Epoch(0));
        (1..=200).for_each(|epoch| recent.extend(&[join(epoch)]));
        assert_eq!(recent.since(Epoch(0)), None);
        let kept = (0..200).find_map(|epoch| recent.since(Epoch(epoch))).map(|changes| changes.len());
        assert_eq!(kept, Some(CHANGES_BYTES_MAX / (TAG_BYTES_MAX + 64)));
    }
}

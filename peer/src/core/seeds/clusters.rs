//! Of which cluster each seed is, and which of them this peer belongs to.
//!
//! A seed list may be wrong, and seeds may begin anew with empty disks. So a peer holds no number of one cluster's log
//! against another's: each seed names its cluster before anything else. A line of the list that is of another cluster
//! is reported and not used; where a majority of the list names another one, and nobody is left of this peer's own, it
//! follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::ClusterId;
use coterie_common::{Instant, majority};

use crate::core::effect::SeedSlot;

/// So long after the first seed has named its cluster, whoever wants to join waits for those that are being asked: the
/// first to answer may be the one that is in the list by mistake. A guess, and no more than a dead host may cost.
const OTHERS_ANSWER: Duration = Duration::from_millis(200);

/// So long nobody of its own cluster was heard, when a peer follows the others. Longer than an election, and as long as
/// a session may be silent.
const OWN_UNHEARD: Duration = Duration::from_secs(3);

/// What the seeds said of their clusters.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    /// What each said last. It stays when the session ends.
    named: BTreeMap<SeedSlot, ClusterId>,
    /// Those of another cluster that the operator was told of.
    reported: BTreeSet<(SeedSlot, ClusterId)>,
    /// When the first of those that are there named its cluster.
    first: Option<Instant>,
    /// When a seed of this peer's own cluster was last heard.
    own_heard: Instant,
}

impl Clusters {
    /// Nobody has said anything.
    pub(super) fn new() -> Self {
        Clusters { named: BTreeMap::new(), reported: BTreeSet::new(), first: None, own_heard: Instant::START }
    }

    /// What a seed said last.
    pub(super) fn of(&self, seed: SeedSlot) -> Option<ClusterId> {
        self.named.get(&seed).copied()
    }

    /// A seed has named its cluster.
    pub(super) fn name(&mut self, now: Instant, seed: SeedSlot, cluster: ClusterId) {
        self.first.get_or_insert(now);
        self.named.insert(seed, cluster);
    }

    /// Whether the operator is still to be told that a seed is of that cluster, and not of this peer's; counts as told.
    #[must_use]
    pub(super) fn report(&mut self, seed: SeedSlot, cluster: ClusterId) -> bool {
        self.reported.insert((seed, cluster))
    }

    /// Somebody of this peer's own cluster was heard.
    pub(super) fn own_heard(&mut self, now: Instant) {
        self.own_heard = now;
    }

    /// No seed is there any more: whoever comes next is the first again.
    pub(super) fn nobody_is_there(&mut self) {
        self.first = None;
    }

    /// The cluster that most of the seeds that are there are of, for one who is of none. None while others may still
    /// answer, or while two have as many.
    pub(super) fn to_join(
        &self,
        now: Instant,
        there: impl Iterator<Item = SeedSlot>,
        are_others_asked: bool,
    ) -> Option<ClusterId> {
        if are_others_asked && self.first.is_none_or(|first| now < first + OTHERS_ANSWER) {
            return None;
        }
        let mut counts: BTreeMap<ClusterId, usize> = BTreeMap::new();
        for cluster in there.filter_map(|seed| self.of(seed)) {
            *counts.entry(cluster).or_insert(0) += 1;
        }
        let most = counts.values().copied().max()?;
        let mut first = counts.into_iter().filter(|(_, count)| *count == most).map(|(cluster, _)| cluster);
        first.next().filter(|_| first.next().is_none())
    }

    /// When it is clear without the others.
    pub(super) fn settles(&self) -> Instant {
        self.first.map_or(Instant::NEVER, |first| first + OTHERS_ANSWER)
    }

    /// The other cluster that a majority of these seeds is of, and from when on a peer of `own` follows them.
    pub(super) fn to_follow(
        &self,
        own: ClusterId,
        seeds: impl Iterator<Item = SeedSlot>,
    ) -> Option<(ClusterId, Instant)> {
        let mut counts: BTreeMap<ClusterId, usize> = BTreeMap::new();
        let mut all = 0;
        for seed in seeds {
            all += 1;
            if let Some(cluster) = self.of(seed).filter(|cluster| *cluster != own) {
                *counts.entry(cluster).or_insert(0) += 1;
            }
        }
        let (cluster, _) = counts.into_iter().find(|(_, count)| *count >= majority(all))?;
        Some((cluster, self.own_heard + OWN_UNHEARD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: ClusterId = ClusterId([1; 16]);
    const OTHERS: ClusterId = ClusterId([2; 16]);

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    fn slots(slots: &[usize]) -> impl Iterator<Item = SeedSlot> {
        slots.iter().copied().map(SeedSlot).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn who_joins_goes_with_the_most_and_waits_a_little_for_those_that_are_asked() {
        let mut clusters = Clusters::new();
        assert_eq!(clusters.to_join(at(0), slots(&[]), false), None);
        clusters.name(at(0), SeedSlot(0), OTHERS);
        assert_eq!(clusters.to_join(at(199), slots(&[0]), true), None, "another may answer");
        assert_eq!(clusters.to_join(at(200), slots(&[0]), true), Some(OTHERS));
        assert_eq!(clusters.to_join(at(1), slots(&[0]), false), Some(OTHERS), "nobody else is asked");
        clusters.name(at(1), SeedSlot(1), OURS);
        assert_eq!(clusters.to_join(at(300), slots(&[0, 1]), false), None, "one each");
        clusters.name(at(2), SeedSlot(2), OURS);
        assert_eq!(clusters.to_join(at(300), slots(&[0, 1, 2]), false), Some(OURS));
    }

    #[test]
    fn a_member_follows_a_majority_once_nobody_of_its_own_cluster_is_heard_for_three_seconds() {
        let mut clusters = Clusters::new();
        clusters.own_heard(at(1_000));
        clusters.name(at(0), SeedSlot(0), OTHERS);
        assert_eq!(clusters.to_follow(OURS, slots(&[0, 1, 2])), None, "one line that is wrong");
        clusters.name(at(0), SeedSlot(1), ClusterId([3; 16]));
        assert_eq!(clusters.to_follow(OURS, slots(&[0, 1, 2])), None, "two that disagree");
        clusters.name(at(0), SeedSlot(1), OTHERS);
        assert_eq!(clusters.to_follow(OURS, slots(&[0, 1, 2])), Some((OTHERS, at(4_000))));
    }
}

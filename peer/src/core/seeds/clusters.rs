//! Of which cluster each seed is, and which of them this peer belongs to.
//!
//! A seed list may be wrong, and seeds may begin anew with empty disks. So a peer holds no number of one cluster's log
//! against another's: each seed names its cluster before anything else. A line of the list that is of another cluster
//! is reported and not used; where a majority of the list names another one, and nobody is left of this peer's own who
//! can have anything decided, it follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::ClusterId;
use coterie_common::{Instant, majority};

use crate::core::effect::SeedSlot;

/// So long after the first seed has named its cluster, whoever wants to join waits for a majority of the list to name
/// the same: the first to answer may be in the list by mistake, and the others may be starting. A guess.
const OTHERS_ANSWER: Duration = Duration::from_secs(3);

/// What the seeds said of their clusters.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    /// What each said last, and when. It stays when the session ends.
    named: BTreeMap<SeedSlot, (ClusterId, Instant)>,
    /// Those of another cluster that the operator was told of.
    reported: BTreeSet<(SeedSlot, ClusterId)>,
    /// When the first of those that are there named its cluster.
    first: Option<Instant>,
    /// When a seed of this peer's own cluster was last heard that can have something decided.
    own_heard: Instant,
    /// So long it was not, when the peer follows the others: as long as a session may be silent, and longer than an
    /// election.
    own_unheard: Duration,
}

impl Clusters {
    /// Nobody has said anything.
    pub(super) fn new(own_unheard: Duration) -> Self {
        let (named, reported) = (BTreeMap::new(), BTreeSet::new());
        Clusters { named, reported, first: None, own_heard: Instant::START, own_unheard }
    }

    /// What a seed said last.
    pub(super) fn of(&self, seed: SeedSlot) -> Option<ClusterId> {
        self.named.get(&seed).map(|(cluster, _)| *cluster)
    }

    /// A seed has named its cluster.
    pub(super) fn name(&mut self, now: Instant, seed: SeedSlot, cluster: ClusterId) {
        self.first.get_or_insert(now);
        self.named.insert(seed, (cluster, now));
    }

    /// Whether the operator is still to be told that a seed is of that cluster, and not of this peer's; counts as told.
    #[must_use]
    pub(super) fn report(&mut self, seed: SeedSlot, cluster: ClusterId) -> bool {
        self.reported.insert((seed, cluster))
    }

    /// Somebody of this peer's own cluster was heard, or the peer has another one from now on.
    pub(super) fn own_heard(&mut self, now: Instant) {
        self.own_heard = now;
    }

    /// No seed is there any more: whoever comes next is the first again.
    pub(super) fn nobody_is_there(&mut self) {
        self.first = None;
    }

    /// The cluster to join, for one who is of none: that which a majority of so many seeds names; or, a while after the
    /// first was named, that which most of those that are there are of. None while two have as many.
    pub(super) fn to_join(
        &self,
        now: Instant,
        there: impl Iterator<Item = SeedSlot>,
        seeds: usize,
    ) -> Option<ClusterId> {
        let counts = self.count(there);
        let most = counts.values().copied().max()?;
        let is_late = self.first.is_some_and(|first| now >= first + OTHERS_ANSWER);
        if most < majority(seeds) && !is_late {
            return None;
        }
        let mut first = counts.into_iter().filter(|(_, count)| *count == most).map(|(cluster, _)| cluster);
        first.next().filter(|_| first.next().is_none())
    }

    fn count(&self, seeds: impl Iterator<Item = SeedSlot>) -> BTreeMap<ClusterId, usize> {
        let mut counts = BTreeMap::new();
        for cluster in seeds.filter_map(|seed| self.of(seed)) {
            *counts.entry(cluster).or_insert(0) += 1;
        }
        counts
    }

    /// When it is clear without the others, if it is not yet.
    pub(super) fn settles(&self, now: Instant) -> Instant {
        let at = self.first.map(|first| first + OTHERS_ANSWER).filter(|at| now < *at);
        at.unwrap_or(Instant::NEVER)
    }

    /// Whether these are of more than one.
    pub(super) fn are_several(&self, seeds: impl Iterator<Item = SeedSlot>) -> bool {
        self.count(seeds).len() > 1
    }

    /// The other cluster that a majority of these seeds named lately, and from when on a peer of `own` follows them.
    pub(super) fn to_follow(
        &self,
        now: Instant,
        own: ClusterId,
        seeds: &[SeedSlot],
    ) -> Option<(ClusterId, Instant)> {
        // Seeds that turn a peer away are tried again every two seconds: what was said long before is not so any more.
        let lately = |seed: &SeedSlot| {
            let said = self.named.get(seed);
            said.is_some_and(|(cluster, at)| *cluster != own && now.since(*at) < 3 * self.own_unheard)
        };
        let counts = self.count(seeds.iter().copied().filter(lately));
        let (cluster, _) = counts.into_iter().find(|(_, count)| *count >= majority(seeds.len()))?;
        Some((cluster, self.own_heard + self.own_unheard))
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

    fn slots(slots: &[usize]) -> Vec<SeedSlot> {
        slots.iter().copied().map(SeedSlot).collect()
    }

    fn clusters() -> Clusters {
        Clusters::new(Duration::from_secs(3))
    }

    #[test]
    fn who_joins_goes_with_a_majority_at_once_and_with_the_most_after_a_while() {
        let mut clusters = clusters();
        let to_join =
            |clusters: &Clusters, ms, there: &[usize]| clusters.to_join(at(ms), slots(there).into_iter(), 3);
        assert_eq!(to_join(&clusters, 0, &[]), None);
        clusters.name(at(0), SeedSlot(0), OTHERS);
        assert_eq!(to_join(&clusters, 2_999, &[0]), None, "one of three may be in the list by mistake");
        assert_eq!(to_join(&clusters, 3_000, &[0]), Some(OTHERS), "nobody else answers");
        clusters.name(at(1), SeedSlot(1), OURS);
        assert_eq!(to_join(&clusters, 3_000, &[0, 1]), None, "one each");
        clusters.name(at(2), SeedSlot(2), OURS);
        assert_eq!(to_join(&clusters, 2, &[0, 1, 2]), Some(OURS));
    }

    #[test]
    fn a_member_follows_a_majority_once_nobody_of_its_own_cluster_is_heard_for_three_seconds() {
        let mut clusters = clusters();
        clusters.own_heard(at(1_000));
        clusters.name(at(900), SeedSlot(0), OTHERS);
        let to_follow = |clusters: &Clusters, ms| clusters.to_follow(at(ms), OURS, &slots(&[0, 1, 2]));
        assert_eq!(to_follow(&clusters, 1_000), None, "one line that is wrong");
        clusters.name(at(900), SeedSlot(1), ClusterId([3; 16]));
        assert_eq!(to_follow(&clusters, 1_000), None, "two that disagree");
        clusters.name(at(1_000), SeedSlot(1), OTHERS);
        assert_eq!(to_follow(&clusters, 1_000), Some((OTHERS, at(4_000))));
        assert_eq!(to_follow(&clusters, 9_900), None, "what was said long ago");
    }
}

//! Of which cluster each seed is, and which of them this peer belongs to.
//!
//! A seed list may be wrong, and seeds may begin anew with empty disks. So a peer holds no number of one cluster's log
//! against another's: each seed names its cluster before anything else. A line of the list that is of another cluster
//! is reported and not used; where a majority of the list names another one, and nobody is left of this peer's own who
//! can have anything decided, it follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::message::ClusterId;
use coterie_common::{Instant, majority};

use crate::core::effect::SeedSlot;

/// So long after the first seed has named its cluster, whoever wants to join waits for a majority of the list to name
/// the same: the first to answer may be in the list by mistake, and the others may be starting. A guess.
const OTHERS_ANSWER: Knob<Duration> = Knob::new("OTHERS_ANSWER", Duration::from_secs(3));

/// What the seeds said of their clusters.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    /// What each said last. It stays when the session ends.
    named: BTreeMap<SeedSlot, Named>,
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

/// What a seed said of its cluster.
#[derive(Clone, Copy, Debug)]
struct Named {
    cluster: ClusterId,
    /// The cluster of this peer, if the seed's goes on for that one, by an operator's word.
    goes_on_for: Option<ClusterId>,
    at: Instant,
}

/// Another cluster that this peer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    /// Which.
    pub(crate) cluster: ClusterId,
    /// Whether it goes on for the former one, and has its members.
    pub(crate) goes_on: bool,
    /// From when on.
    from: Instant,
}

impl Followed {
    /// Whether it is time.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now >= self.from
    }

    /// When it is time.
    pub(crate) fn due(&self) -> Instant {
        self.from
    }
}

impl Clusters {
    /// Nobody has said anything.
    pub(super) fn new(own_unheard: Duration) -> Self {
        let (named, reported) = (BTreeMap::new(), BTreeSet::new());
        Clusters { named, reported, first: None, own_heard: Instant::START, own_unheard }
    }

    /// What a seed said last.
    pub(super) fn of(&self, seed: SeedSlot) -> Option<ClusterId> {
        self.named.get(&seed).map(|named| named.cluster)
    }

    /// A seed has named its cluster.
    pub(super) fn name(
        &mut self,
        at: Instant,
        seed: SeedSlot,
        cluster: ClusterId,
        goes_on_for: Option<ClusterId>,
    ) {
        assert_ne!(goes_on_for, Some(cluster), "{seed:?} is of a cluster that goes on for itself");
        self.first.get_or_insert(at);
        self.named.insert(seed, Named { cluster, goes_on_for, at });
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

    /// Whether somebody of this peer's own cluster was heard lately that can have something decided.
    pub(super) fn can_decide(&self, now: Instant) -> bool {
        now < self.own_heard + self.own_unheard
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
        let is_late = self.first.is_some_and(|first| now >= first + OTHERS_ANSWER.get());
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
        let at = self.first.map(|first| first + OTHERS_ANSWER.get()).filter(|at| now < *at);
        at.unwrap_or(Instant::NEVER)
    }

    /// Whether these are of more than one.
    pub(super) fn are_several(&self, seeds: impl Iterator<Item = SeedSlot>) -> bool {
        self.count(seeds).len() > 1
    }

    /// The other cluster that a peer of `own` follows, by what these seeds named lately: that which a majority names,
    /// or that which goes on for its own. The latter may have one seed alone, and it is no mistake in a list.
    pub(super) fn to_follow(&self, now: Instant, own: ClusterId, seeds: &[SeedSlot]) -> Option<Followed> {
        // Seeds that turn a peer away are tried again every two seconds: what was said long before is not so any more.
        let lately = |seed: &SeedSlot| {
            let named = self.named.get(seed)?;
            (named.cluster != own && now.since(named.at) < 3 * self.own_unheard).then_some((*seed, *named))
        };
        let others: BTreeMap<SeedSlot, Named> = seeds.iter().filter_map(lately).collect();
        let from = self.own_heard + self.own_unheard;
        if let Some(heir) = others.values().find(|named| named.goes_on_for == Some(own)) {
            return Some(Followed { cluster: heir.cluster, goes_on: true, from });
        }
        let counts = self.count(others.into_keys());
        let (cluster, _) = counts.into_iter().find(|(_, count)| *count >= majority(seeds.len()))?;
        Some(Followed { cluster, goes_on: false, from })
    }
}

/// What the operator is told of a seed of another cluster.
pub(super) fn report(seed: &str, own: ClusterId, (cluster, goes_on): (ClusterId, bool)) -> String {
    match goes_on {
        true => format!("seed {seed}: cluster {own} goes on as cluster {cluster}, by its operator's word"),
        false => format!("seed {seed} is of another cluster, {cluster}: this peer is of {own}"),
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
        clusters.name(at(0), SeedSlot(0), OTHERS, None);
        assert_eq!(to_join(&clusters, 2_999, &[0]), None, "one of three may be in the list by mistake");
        assert_eq!(to_join(&clusters, 3_000, &[0]), Some(OTHERS), "nobody else answers");
        clusters.name(at(1), SeedSlot(1), OURS, None);
        assert_eq!(to_join(&clusters, 3_000, &[0, 1]), None, "one each");
        clusters.name(at(2), SeedSlot(2), OURS, None);
        assert_eq!(to_join(&clusters, 2, &[0, 1, 2]), Some(OURS));
    }

    #[test]
    fn a_member_follows_a_majority_once_nobody_of_its_own_cluster_is_heard_for_three_seconds() {
        let mut clusters = clusters();
        clusters.own_heard(at(1_000));
        clusters.name(at(900), SeedSlot(0), OTHERS, None);
        let to_follow = |clusters: &Clusters, ms| clusters.to_follow(at(ms), OURS, &slots(&[0, 1, 2]));
        assert_eq!(to_follow(&clusters, 1_000), None, "one line that is wrong");
        clusters.name(at(900), SeedSlot(1), ClusterId([3; 16]), None);
        assert_eq!(to_follow(&clusters, 1_000), None, "two that disagree");
        clusters.name(at(1_000), SeedSlot(1), OTHERS, None);
        assert_eq!(
            to_follow(&clusters, 1_000),
            Some(Followed { cluster: OTHERS, goes_on: false, from: at(4_000) })
        );
        assert_eq!(to_follow(&clusters, 9_900), None, "what was said long ago");
    }

    #[test]
    fn a_member_follows_one_seed_alone_whose_cluster_goes_on_for_its_own() {
        let mut clusters = clusters();
        clusters.own_heard(at(1_000));
        let to_follow = |clusters: &Clusters| clusters.to_follow(at(1_000), OURS, &slots(&[0, 1, 2]));
        clusters.name(at(900), SeedSlot(0), OTHERS, Some(ClusterId([3; 16])));
        assert_eq!(to_follow(&clusters), None, "it goes on for another");
        clusters.name(at(900), SeedSlot(0), OTHERS, Some(OURS));
        assert_eq!(to_follow(&clusters), Some(Followed { cluster: OTHERS, goes_on: true, from: at(4_000) }));
    }
}

//! How far this seed is with what is decided: whether it lacks anything, and since when.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::Instant;
use coterie_common::limits::{BEHIND_TIME_MAX, SEEDS_MAX};
use coterie_common::message::ClusterId;

/// What of the log this seed has, beside what others know to be committed.
#[derive(Clone, Debug)]
pub(crate) struct LogProgress {
    /// What this seed lacks of what the leader has committed; none while it lacks nothing.
    lag: Option<Lag>,
    /// When it last could have anything decided.
    took_part: Instant,
    /// So much of its log had an earlier run.
    printed: u64,
    /// What was decided before this seed took part, in each cluster that it met, by what others said before it knew of
    /// a leader. It is learned, and is no news.
    decided_before: BTreeMap<ClusterId, u64>,
}

/// An entry that the leader has committed and this seed lacks.
#[derive(Clone, Copy, Debug)]
struct Lag {
    /// Since when.
    since: Instant,
    /// Which.
    committed: u64,
}

impl LogProgress {
    /// A seed that starts with a log of which so much was logged by an earlier run.
    pub(crate) fn new(printed: u64) -> Self {
        LogProgress { lag: None, took_part: Instant::START, printed, decided_before: BTreeMap::new() }
    }

    /// Another seed knows all up to that index to be committed, and this one takes no part yet.
    pub(crate) fn learn_decided(&mut self, cluster: ClusterId, index: u64) {
        // Anybody may say that it is a seed of anything.
        if self.decided_before.len() < SEEDS_MAX || self.decided_before.contains_key(&cluster) {
            let before = self.decided_before.entry(cluster).or_default();
            *before = index.max(*before);
        }
    }

    /// Whether an entry was decided since this seed takes part. Others are logged by nobody again: an alert on the log
    /// would ring for deaths of long ago.
    pub(crate) fn is_news(&self, cluster: Option<ClusterId>, index: u64) -> bool {
        let before = cluster.and_then(|cluster| self.decided_before.get(&cluster).copied());
        index > self.printed.max(before.unwrap_or(0))
    }

    /// So much is applied here, and so much is committed at the leader.
    pub(crate) fn note(&mut self, now: Instant, applied: u64, committed: u64) {
        // Under load there is always a next one: it is late by itself, and not by those before it.
        let lacks_the_same = self.lag.filter(|lag| applied < lag.committed);
        self.lag = match applied < committed {
            true => lacks_the_same.or(Some(Lag { since: now, committed })),
            false => None,
        };
    }

    /// The entry that this seed has lacked for too long, if there is one.
    pub(crate) fn lacks(&self, now: Instant) -> Option<u64> {
        self.lag.filter(|lag| now.since(lag.since) >= BEHIND_TIME_MAX.get()).map(|lag| lag.committed)
    }

    /// It can have things decided now.
    pub(crate) fn takes_part(&mut self, now: Instant) {
        assert!(now >= self.took_part, "it took part at {:?}, and now it is {now:?}", self.took_part);
        self.took_part = now;
    }

    /// For how long it cannot.
    pub(crate) fn idle_for(&self, now: Instant) -> Duration {
        now.since(self.took_part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_before_is_no_news_in_that_cluster() {
        let (own, other) = (ClusterId([1; 16]), ClusterId([2; 16]));
        let mut progress = LogProgress::new(3);
        progress.learn_decided(own, 7);
        progress.learn_decided(own, 5);
        let is_news = |cluster, index| progress.is_news(Some(cluster), index);
        assert_eq!((is_news(own, 7), is_news(own, 8)), (false, true));
        assert_eq!((is_news(other, 3), is_news(other, 4)), (false, true), "printed by an earlier run");
    }

    /// Anybody may say that it is a seed of anything.
    #[test]
    fn as_many_clusters_are_remembered_as_there_may_be_seeds() {
        let cluster = |number: usize| ClusterId([u8::try_from(number).unwrap(); 16]);
        let mut progress = LogProgress::new(0);
        (0..=SEEDS_MAX).for_each(|number| progress.learn_decided(cluster(number), 7));
        assert!(!progress.is_news(Some(cluster(SEEDS_MAX - 1)), 7));
        assert!(progress.is_news(Some(cluster(SEEDS_MAX)), 7), "one too many");
        progress.learn_decided(cluster(0), 9);
        assert!(!progress.is_news(Some(cluster(0)), 9), "one that is known");
    }
}

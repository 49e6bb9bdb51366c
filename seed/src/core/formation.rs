//! Whether a seed without a history may begin, and with whom.
//!
//! A voter that forgets what it acknowledged breaks consensus, so an empty directory is not enough to take part:
//! it may belong to a seed that lost its disk. A seed whose log has no Found asks the others first. The answer
//! follows from what their logs tell of this seed's birth, the number drawn when its directory was made.

use std::collections::BTreeMap;

use coterie_common::majority;
use coterie_common::message::{ClusterId, SeedHello, SeedId};

/// What a seed without a history should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The log of a cluster names this very directory: take part.
    GoOn,
    /// Enough seeds are as empty as this one: begin a cluster.
    Form,
    /// A cluster has another directory of this seed in its log: this one is not it.
    Lost(ClusterId),
    /// Wait for these seeds to answer, or for a leader to record this seed's birth.
    Wait(Vec<SeedId>),
}

/// Decides for seed `me`, whose directory has the number `birth`, among so many `seeds`, from what those others
/// that are connected said last.
pub fn decide(me: SeedId, birth: u64, seeds: &[SeedId], others: &BTreeMap<SeedId, SeedHello>) -> Decision {
    let histories = || others.values().filter_map(|hello| hello.history.as_ref());
    let births = || histories().filter_map(|history| Some((history.cluster, *history.births.get(&me)?)));
    if births().any(|(_, known)| known == birth) {
        return Decision::GoOn;
    }
    if let Some((cluster, _)) = births().next() {
        return Decision::Lost(cluster);
    }
    let empty = 1 + others.values().filter(|hello| hello.history.is_none()).count();
    if histories().next().is_none() && empty >= majority(seeds.len()) {
        return Decision::Form;
    }
    Decision::Wait(seeds.iter().copied().filter(|seed| *seed != me && !others.contains_key(seed)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::message::History;

    fn hello(id: u64, births: Option<&[(u64, u64)]>) -> (SeedId, SeedHello) {
        let history = births.map(|births| History {
            cluster: ClusterId([1; 16]),
            births: births.iter().map(|(id, birth)| (SeedId(*id), *birth)).collect(),
        });
        let hello = SeedHello {
            version: 1,
            id: SeedId(id),
            birth: id,
            address: String::new(),
            list: vec![],
            history,
        };
        (SeedId(id), hello)
    }

    fn decision(others: impl IntoIterator<Item = (SeedId, SeedHello)>) -> Decision {
        decide(SeedId(0), 70, &[SeedId(0), SeedId(1), SeedId(2)], &others.into_iter().collect())
    }

    #[test]
    fn a_cluster_begins_when_a_majority_is_empty() {
        assert_eq!(decision([]), Decision::Wait(vec![SeedId(1), SeedId(2)]));
        assert_eq!(decision([hello(1, None)]), Decision::Form);
        assert_eq!(decide(SeedId(0), 70, &[SeedId(0)], &BTreeMap::new()), Decision::Form);
    }

    #[test]
    fn a_late_seed_waits_until_its_birth_is_in_the_log() {
        let history: &[(u64, u64)] = &[(1, 1), (2, 2)];
        assert_eq!(decision([hello(1, Some(history)), hello(2, None)]), Decision::Wait(vec![]));
        let recorded: &[(u64, u64)] = &[(0, 70), (1, 1), (2, 2)];
        assert_eq!(decision([hello(1, Some(history)), hello(2, Some(recorded))]), Decision::GoOn);
    }

    #[test]
    fn a_seed_that_lost_its_disk_is_not_the_seed_it_was() {
        let history: &[(u64, u64)] = &[(0, 69), (1, 1), (2, 2)];
        assert_eq!(decision([hello(1, None), hello(2, Some(history))]), Decision::Lost(ClusterId([1; 16])));
    }
}

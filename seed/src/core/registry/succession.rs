//! A cluster that has lost a majority of its seeds for good goes on as another one, by an operator's word.

use std::collections::BTreeSet;

use coterie_common::Epoch;
use coterie_common::limits::PREDECESSORS_KEPT;
use coterie_common::message::ClusterId;

use super::{Registry, added_seed};
use crate::core::entry::SeedRecord;

/// The registry of the cluster that goes on for that of `registry`: with its members, and with `seed` alone.
///
/// It begins at `index`, far above whatever the lost seeds may have decided beside this one: so no epoch and no
/// incarnation is used twice. Its name follows from that of the former and the new directory of the seed.
///
/// # Panics
/// If there is no cluster yet, or `index` is not above what is applied.
#[must_use]
pub fn succeed(mut registry: Registry, seed: SeedRecord, index: u64) -> Registry {
    let applied = registry.applied;
    assert!(index > applied, "a successor begins at {index}, and {applied} is applied");
    let Some(former) = registry.cluster else { panic!("before the founding there is nothing to go on with") };
    let Some(directory_id) = seed.directory_id else {
        panic!("{} goes on without a directory", seed.address)
    };
    for id in registry.seeds.keys().copied().collect::<Vec<_>>() {
        registry.unseat(id);
    }
    registry.predecessors.push(former);
    if registry.predecessors.len() > PREDECESSORS_KEPT {
        registry.predecessors.remove(0);
    }
    registry.cluster = Some(ClusterId::succeeding(former, directory_id));
    let id = added_seed(index);
    registry.seeds.insert(id, seed);
    registry.seed_sets = vec![BTreeSet::from([id])];
    (registry.applied, registry.voters_changed_at, registry.epoch) = (index, index, Epoch(index));
    registry.verify();
    registry
}

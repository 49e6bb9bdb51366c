//! *A dead peer is removed, also when no neighbour was left, when many die at once, when it died while all seeds were
//! down, as long as a majority of seeds lives.* (Promise 5)

use super::Invariant;
use crate::sim::watch::State;

pub(super) struct Completeness;

impl Invariant for Completeness {
    fn name(&self) -> &'static str {
        "completeness"
    }

    fn unsettled(&self, state: &State<'_>) -> Option<String> {
        let dead = state.peers.iter().filter(|(_, core)| core.is_none());
        let member = dead.filter_map(|(address, _)| state.truth.registry.at(*address)).next()?;
        Some(format!("{} is dead and a member", member.id))
    }
}

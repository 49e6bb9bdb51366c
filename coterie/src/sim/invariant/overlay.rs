//! The overlay of the living is connected again after healing.

use std::collections::BTreeMap;

use coterie_common::Address;
use coterie_seed::core::components::components;

use super::Invariant;
use crate::sim::watch::State;

pub(super) struct Overlay;

impl Invariant for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn unsettled(&self, state: &State<'_>) -> Option<String> {
        let alive = state.peers.iter().filter_map(|(address, core)| Some((*address, (*core)?)));
        let links: BTreeMap<Address, Vec<Address>> = alive
            .map(|(address, core)| (address, core.neighbours().map(|id| id.address).collect()))
            .collect();
        let pieces = components(&links).len();
        (pieces > 1).then(|| format!("the overlay is in {pieces} pieces"))
    }
}

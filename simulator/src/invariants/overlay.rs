//! The overlay of the living is connected again after healing.

use std::collections::BTreeMap;

use coterie_common::Address;
use coterie_peer::core::Peer;
use coterie_seed::core::components::components;

use crate::check::invariant::Invariant;
use crate::check::processes::Processes;
use crate::check::truth::Truth;

pub(super) struct Overlay;

/// The pieces of the overlay of those that live, the largest first.
pub(crate) fn overlay_pieces<'a>(
    peers: impl Iterator<Item = (Address, Option<&'a Peer>)>,
) -> Vec<Vec<Address>> {
    let links = |core: &Peer| core.neighbours().map(|id| id.address).collect();
    let links: BTreeMap<Address, Vec<Address>> =
        peers.filter_map(|(address, core)| Some((address, links(core?)))).collect();
    components(&links)
}

impl Invariant for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn unsettled(&self, processes: &Processes<'_>, _: &Truth) -> Option<String> {
        let pieces = overlay_pieces(processes.peers.iter().copied());
        pieces.get(1).map(|piece| format!("the overlay is in {} pieces, one of them {piece:?}", pieces.len()))
    }
}

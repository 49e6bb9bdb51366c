//! *A gossip message reaches every peer that stays connected; a peer briefly cut off catches up with what is still
//! remembered.* (Promise 7): after everything was healed, what anybody says reaches everybody.

use std::collections::BTreeSet;

use bytes::Bytes;
use coterie_common::{Address, Instant};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::processes::Processes;
use crate::check::truth::Truth;

#[derive(Default)]
pub(super) struct DeliveredToAll {
    heard: BTreeSet<(Address, Address, Bytes)>,
}

impl Invariant for DeliveredToAll {
    fn name(&self) -> &'static str {
        "delivered_to_all"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        if let Observed::Delivered { peer, origin, content, .. } = observed {
            self.heard.insert((*peer, *origin, (*content).clone()));
        }
        Ok(())
    }

    fn unsettled(&self, processes: &Processes<'_>, _: &Truth) -> Option<String> {
        let alive = || processes.peers.iter().filter(|(_, core)| core.is_some()).map(|(address, _)| *address);
        // Who was told to leave before, and has left since, may have taken its words with it.
        let stayed = processes.last_words.iter().filter(|(origin, _)| alive().any(|peer| peer == *origin));
        for (origin, content) in stayed {
            for peer in alive().filter(|peer| peer != origin) {
                if !self.heard.contains(&(peer, *origin, content.clone())) {
                    return Some(format!("{peer} has not heard {content:?} of {origin}"));
                }
            }
        }
        None
    }
}

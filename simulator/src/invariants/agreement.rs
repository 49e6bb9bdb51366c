//! *Every join, leave and death is decided by one entry of one log, committed by floor(n/2)+1 seeds. No two nodes ever
//! see different views under one epoch.* (Promise 1)
//!
//! The truth applies the log once, without ever being late. Whatever view a peer has must be the one of that log at
//! that epoch, and whatever registry a seed has must be the one of that log at that index.

use std::collections::BTreeMap;

use coterie_common::message::SeedId;
use coterie_common::{Address, Epoch, Instant, View};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::processes::Processes;
use crate::check::truth::Truth;

/// Views that are compared in full at each look: the rest is compared by what changed.
const LOOKED_AT: usize = 4;

/// Members of a registry that is compared after every entry.
const COMPARED_ALWAYS: usize = 100;

#[derive(Default)]
pub(super) struct Agreement {
    /// Whose view is compared in full next.
    next: usize,
    seeds: BTreeMap<SeedId, Epoch>,
}

fn compare(
    view: &View,
    truth: &Truth,
    addresses: impl Iterator<Item = Address>,
    whose: Address,
) -> Result<(), String> {
    let epoch = view.epoch;
    for address in addresses {
        let (seen, expected) = (view.at(address).map(|m| m.id.incarnation), truth.tenant(epoch, address));
        if seen != expected {
            return Err(format!(
                "under epoch {epoch} {whose} sees {seen:?} at {address}, the log has {expected:?} there"
            ));
        }
    }
    match (view.len(), truth.size(epoch)) {
        (seen, expected) if seen == expected => Ok(()),
        (seen, expected) => {
            Err(format!("under epoch {epoch} {whose} sees {seen} members, the log has {expected}"))
        }
    }
}

impl Invariant for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Viewed { peer, from, view, .. } if !view.is_empty() => {
                if !truth.is_epoch(view.epoch) {
                    return Err(format!("{peer} has a view of epoch {}, which no entry made", view.epoch));
                }
                compare(view, truth, truth.changed(*from, view.epoch), *peer)
            }
            Observed::Applied { seed, registry, .. } => {
                // To compare large registries at every entry would cost more than all the rest.
                let is_news = self.seeds.insert(*seed, registry.epoch()) != Some(registry.epoch());
                let is_compared = is_news || registry.members().len() <= COMPARED_ALWAYS;
                let differs =
                    || registry.applied() == truth.registry().applied() && *registry != truth.registry();
                match is_compared && !registry.seed_sets().is_empty() && differs() {
                    true => Err(format!(
                        "seed {seed} made another registry of the log up to {}",
                        registry.applied()
                    )),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn look(&mut self, _now: Instant, processes: &Processes<'_>, truth: &Truth) -> Result<(), String> {
        for _ in 0..LOOKED_AT.min(processes.peers.len()) {
            self.next = (self.next + 1) % processes.peers.len();
            let (address, core) = processes.peers[self.next];
            let Some(view) = core.map(coterie_peer::core::Peer::view).filter(|view| !view.is_empty()) else {
                continue;
            };
            compare(view, truth, view.members().map(|m| m.id.address), address)?;
        }
        Ok(())
    }

    fn unsettled(&self, processes: &Processes<'_>, truth: &Truth) -> Option<String> {
        let truth = truth.registry();
        let (seed, core) = processes.seeds.iter().find(|(_, core)| core.registry() != truth)?;
        let (has, all) = (core.registry().applied(), truth.applied());
        Some(format!(
            "seed {seed} has applied up to {has}, the log goes to {all}, and their registries differ"
        ))
    }
}

//! *A view's number, its epoch, is the index of the entry that made it. A node may skip epochs and never goes back.*
//! (Promise 1) Incarnations are the indices of the entries that admitted: they rise, and none is given twice.

use std::collections::BTreeMap;

use coterie_common::message::SeedId;
use coterie_common::{Address, Epoch, Event, Incarnation, Instant};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;

#[derive(Default)]
pub(super) struct Epochs {
    peers: BTreeMap<(Address, u64), Epoch>,
    seeds: BTreeMap<(SeedId, u64), (u64, Epoch)>,
    last: Incarnation,
}

impl Invariant for Epochs {
    fn name(&self) -> &'static str {
        "epochs"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Viewed { peer, start, view, .. } => {
                let before = self.peers.insert((*peer, *start), view.epoch).unwrap_or_default();
                match before > view.epoch {
                    true => Err(format!("{peer} went back from epoch {before} to {}", view.epoch)),
                    false => Ok(()),
                }
            }
            Observed::Applied { seed, start, registry } => {
                let reached = (registry.applied(), registry.epoch());
                let before = self.seeds.insert((*seed, *start), reached).unwrap_or_default();
                match before.0 > reached.0 || before.1 > reached.1 {
                    true => Err(format!("seed {seed} went back from {before:?} to {reached:?}")),
                    false => Ok(()),
                }
            }
            Observed::Committed { index, outcome: Some(outcome), .. } => {
                for change in &outcome.changes {
                    if change.epoch != Epoch(*index) {
                        return Err(format!("the entry at {index} made a change of epoch {}", change.epoch));
                    }
                    let (Event::Joined(new) | Event::Replaced { new, .. }) = &change.event else { continue };
                    let given = new.id.incarnation;
                    if given != Incarnation(*index) || given <= self.last {
                        return Err(format!(
                            "the entry at {index} gave incarnation {given} after {}",
                            self.last
                        ));
                    }
                    self.last = given;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

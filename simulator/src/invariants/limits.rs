//! Tables stay within their limits.

use std::collections::BTreeMap;

use coterie_common::limits::{DEATHS_KEPT, ENDED_KEPT, SUSPICIONS_MAX};
use coterie_common::{Address, Instant};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::processes::Processes;
use crate::check::truth::Truth;

#[derive(Default)]
pub(super) struct Limits {
    /// How often a peer was one end of a link that the seeds told to be made: such links are taken over the cap.
    mended: BTreeMap<Address, usize>,
}

impl Invariant for Limits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        if let Observed::Mends { peer, target } = observed {
            *self.mended.entry(*peer).or_insert(0) += 1;
            *self.mended.entry(*target).or_insert(0) += 1;
        }
        Ok(())
    }

    fn look(&mut self, _now: Instant, processes: &Processes<'_>, truth: &Truth) -> Result<(), String> {
        let registry = &truth.registry();
        if registry.deaths().count() > DEATHS_KEPT || registry.ended().count() > ENDED_KEPT {
            return Err("the registry keeps more than it may".to_owned());
        }
        for (address, core) in &processes.peers {
            let Some(core) = core else { continue };
            let most = processes.max_neighbours + self.mended.get(address).copied().unwrap_or(0);
            if core.neighbours().len() > most {
                return Err(format!("{address} has {} links, at most {most}", core.neighbours().len()));
            }
            if core.suspicions().len() > SUSPICIONS_MAX.get() {
                return Err(format!("{address} pursues {} suspicions", core.suspicions().len()));
            }
        }
        Ok(())
    }
}

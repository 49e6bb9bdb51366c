//! *A peer declared dead while alive learns it and rejoins by itself, as a new incarnation. So does one whose seeds all
//! restarted. No split, however long, needs an operator.* (Promise 6)

use crate::check::invariant::Invariant;
use crate::check::processes::Processes;
use crate::check::truth::Truth;

pub(super) struct Comeback;

impl Invariant for Comeback {
    fn name(&self) -> &'static str {
        "comeback"
    }

    fn unsettled(&self, processes: &Processes<'_>, truth: &Truth) -> Option<String> {
        let registry = &truth.registry();
        processes.peers.iter().find_map(|(address, core)| {
            let core = (*core)?;
            match registry.at(*address) {
                None => Some(format!("{address} lives and is no member")),
                Some(member) if member.life != core.life() => {
                    Some(format!("{} is of a former life", member.id))
                }
                Some(_) if core.view().epoch != registry.epoch() => {
                    let (own, all) = (core.view().epoch, registry.epoch());
                    Some(format!("{address} has the view of {own}, the log that of {all}"))
                }
                Some(_) => None,
            }
        })
    }
}

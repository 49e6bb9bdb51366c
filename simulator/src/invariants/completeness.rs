//! *A dead peer is removed, also when no neighbour was left, when many die at once, when it died while all seeds were
//! down, as long as a majority of seeds lives.* (Promise 5)

use crate::check::invariant::Invariant;
use crate::check::processes::Processes;
use crate::check::truth::Truth;

pub(super) struct Completeness;

impl Invariant for Completeness {
    fn name(&self) -> &'static str {
        "completeness"
    }

    fn unsettled(&self, processes: &Processes<'_>, truth: &Truth) -> Option<String> {
        let dead = processes.peers.iter().filter(|(_, core)| core.is_none());
        let member = dead.filter_map(|(address, _)| truth.registry().at(*address)).next()?;
        Some(format!("{} is dead and a member", member.id))
    }
}

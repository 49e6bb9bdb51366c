//! *Within ten seconds of the end of whatever disturbed them, nobody alive is suspected, and no ballot about a death is
//! open.* (DESIGN, Calm) That everybody has the newest view by then, the other invariants demand at the same moment.

use crate::check::invariant::Invariant;
use crate::check::processes::Processes;
use crate::check::truth::Truth;

pub(super) struct Calm;

impl Invariant for Calm {
    fn name(&self) -> &'static str {
        "calm"
    }

    fn unsettled(&self, processes: &Processes<'_>, _truth: &Truth) -> Option<String> {
        let suspicions = processes.peers.iter().filter_map(|(at, core)| {
            let suspect = (*core)?.suspicions().next()?;
            Some(format!("{at} suspects {suspect}"))
        });
        let ballots = processes.seeds.iter().filter(|(_, core)| core.open_deaths() > 0);
        let ballots =
            ballots.map(|(seed, core)| format!("seed {seed} has {} open ballots", core.open_deaths()));
        suspicions.chain(ballots).next()
    }
}

//! No node is useless and silent for ten seconds: it says what keeps it from its work. A member that no seed hears, or
//! whose seeds decide nothing, looks like one that is well; so does a seed without a majority.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::Instant;
use coterie_common::knob::at_longest;
use coterie_peer::core::Peer;
use coterie_seed::core::Seed;

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::processes::Processes;
use crate::check::truth::Truth;
use crate::model::host::Host;

/// So long a node may be useless before it says so.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// A node that takes no step for so long does not run: a useless one tries again every two seconds.
const STOOD_STILL: Duration = Duration::from_millis(2_500);

/// What a node says of its own uselessness. Other warnings do not count.
const COMPLAINTS: [&str; 2] = ["no seed can have anything decided", "nothing can be decided here"];

#[derive(Default)]
pub(super) struct NotSilent {
    /// What each node has said that is wrong, and not yet that it is over.
    complaints: BTreeMap<Host, BTreeSet<String>>,
    /// How long each is useless by now, and its own last step: what passed while it stood still does not count.
    useless: BTreeMap<Host, (Duration, Instant)>,
}

impl NotSilent {
    fn judge(&mut self, host: Host, is_useful: bool, now: Instant) -> Result<(), String> {
        if is_useful {
            self.useless.remove(&host);
            return Ok(());
        }
        let (time, last) = self.useless.entry(host).or_insert((Duration::ZERO, now));
        let passed = now.since(*last);
        *time += if passed < at_longest(STOOD_STILL) { passed } else { Duration::ZERO };
        *last = now;
        let (time, most) = (*time, at_longest(SILENT_MAX));
        let complains = self.complaints.get(&host).is_some_and(|complaints| !complaints.is_empty());
        match time > most && !complains {
            true => Err(format!("{host} is of no use for {time:?}, and does not say why")),
            false => Ok(()),
        }
    }
}

impl Invariant for NotSilent {
    fn name(&self) -> &'static str {
        "not_silent"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Started { host } => {
                self.complaints.remove(host);
                self.useless.remove(host);
            }
            Observed::Warned { by, text } => {
                let (what, why) = text.split_once(": ").unwrap_or((text, ""));
                let complaints = self.complaints.entry(*by).or_default();
                if why.starts_with("over, after ") {
                    complaints.remove(what);
                } else if COMPLAINTS.contains(&what) {
                    complaints.insert(what.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn look(&mut self, _now: Instant, processes: &Processes<'_>, _truth: &Truth) -> Result<(), String> {
        let peer = |core: &Peer| core.incarnation().is_none() || core.is_served();
        for (host, core) in processes.peers.iter().filter_map(|(at, core)| Some((Host::at(*at)?, (*core)?))) {
            self.judge(host, peer(core), core.now())?;
        }
        let seed = |core: &Seed| core.registry().cluster().is_none() || core.takes_part();
        for (host, core) in
            processes.seeds.iter().filter_map(|(_, core)| Some((Host::at(core.address())?, core)))
        {
            self.judge(host, seed(core), core.now())?;
        }
        Ok(())
    }
}

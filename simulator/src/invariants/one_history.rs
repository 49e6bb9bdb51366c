//! *No seed forgets what it acknowledged and goes on, and no node goes by two clusters.* Whoever has heard what a
//! directory had hears of no less from it afterwards: a copy of before is found by the first seed that it meets of
//! those who knew. Seeds of two clusters do not greet each other, and all that a peer's view is made of comes from one.

use std::collections::BTreeMap;

use coterie_common::message::{ClusterId, DirectoryState};
use coterie_common::{Address, Instant};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;
use crate::model::host::Host;

#[derive(Default)]
pub(super) struct OneHistory {
    /// By who has heard it and of which directory, the most that was heard.
    heard: BTreeMap<(Host, u64), DirectoryState>,
    /// By peer and start, the cluster whose seeds have told it who the members are.
    clusters: BTreeMap<(Address, u64), ClusterId>,
}

impl Invariant for OneHistory {
    fn name(&self) -> &'static str {
        "one_history"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Greeted { by, clusters: (Some(own), Some(other)), .. } if own != other => {
                return Err(format!("{by} is of cluster {own}, and lets in a seed of {other}"));
            }
            Observed::Viewed { peer, start, told_by: Some(cluster), .. } => {
                let known = *self.clusters.entry((*peer, *start)).or_insert(*cluster);
                if known != *cluster {
                    return Err(format!("{peer} has its view from cluster {known}, and then from {cluster}"));
                }
            }
            Observed::Greeted { by, directory_id, state, .. } => {
                let had = self.heard.get(&(*by, *directory_id)).copied().unwrap_or_default();
                if state.last < had.committed || state.term < had.term || state.run < had.run {
                    return Err(format!(
                        "{by} knew that directory {directory_id} had {had:?}: it has {state:?}"
                    ));
                }
                self.hear(*by, *directory_id, state);
            }
            Observed::Heard { by, directory_id, state } => self.hear(*by, *directory_id, state),
            // What it had heard was in the former one.
            Observed::DirectoryReplaced { host } => self.heard.retain(|(by, _), _| by != host),
            _ => {}
        }
        Ok(())
    }
}

impl OneHistory {
    fn hear(&mut self, by: Host, directory_id: u64, state: &DirectoryState) {
        let known = self.heard.entry((by, directory_id)).or_insert(*state);
        known.committed = known.committed.max(state.committed);
        (known.term, known.run) = (known.term.max(state.term), known.run.max(state.run));
    }
}

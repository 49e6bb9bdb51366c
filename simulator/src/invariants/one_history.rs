//! *No seed forgets what it acknowledged and goes on.* Whoever has heard what a directory had hears of no less from it
//! afterwards: a copy of before is found by the first seed that it meets of those who knew.

use std::collections::BTreeMap;

use coterie_common::Instant;
use coterie_common::message::DirectoryState;

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;
use crate::model::host::Host;

#[derive(Default)]
pub(super) struct OneHistory {
    /// By who has heard it and of which directory, the most that was heard.
    heard: BTreeMap<(Host, u64), DirectoryState>,
}

impl Invariant for OneHistory {
    fn name(&self) -> &'static str {
        "one_history"
    }

    fn observe(&mut self, _now: Instant, observed: &Observed<'_>, _truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Greeted { by, directory_id, state } => {
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

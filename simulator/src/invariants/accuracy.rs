//! *A peer that answers the probes of a majority of the seeds, at the time they ask, stays a member: under 20 % packet
//! loss, one-way cuts, long pauses of its accusers.* (Promise 4)
//!
//! A verdict is about the moment of its votes, so that is the moment that is looked at: when a death is proposed, the
//! peer must not have been reached by a majority, without any hindrance, during the time from which its evidence is.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::limits::EVIDENCE_AGE_MAX;
use coterie_common::message::BallotId;
use coterie_common::{Event, Instant, MemberId, Patience, majority};
use coterie_seed::core::Payload;
use coterie_seed::core::entry::{Body, DeathRecord};

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;

/// The longest patience of a probe.
const PROBE: Duration = Duration::from_millis(1_500);

/// By so much clocks may be off.
const DRIFT: Duration = Duration::from_millis(500);

/// The age that evidence may have, and the longest patience of the probe behind it, and a clock that is off.
fn well_for() -> Duration {
    Patience::default().scale(EVIDENCE_AGE_MAX.get() + PROBE) + DRIFT
}

#[derive(Default)]
pub(super) struct Accuracy {
    /// Deaths that were proposed while the one they are about was well, and how well.
    wrong: BTreeMap<(MemberId, BallotId), usize>,
    /// Those of the entry that is being committed.
    committing: BTreeMap<MemberId, usize>,
}

impl Invariant for Accuracy {
    fn name(&self) -> &'static str {
        "accuracy"
    }

    fn observe(&mut self, now: Instant, observed: &Observed<'_>, truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Proposed { entry, .. } => {
                let Body::Deaths(verdicts) = &entry.body else { return Ok(()) };
                for verdict in verdicts {
                    let Some(member) = truth.registry().member(verdict.dead) else { continue };
                    let reached = truth.reached_by(member.id.address, member.life, now, well_for());
                    let enough = |set: &std::collections::BTreeSet<_>| {
                        set.intersection(&reached).count() >= majority(set.len())
                    };
                    if truth.registry().seed_sets().iter().all(enough) {
                        self.wrong.insert((verdict.dead, verdict.ballot), reached.len());
                    }
                }
                Ok(())
            }
            Observed::Committing { payload: Payload::Entry(entry), .. } => {
                let Body::Deaths(verdicts) = &entry.body else { return Ok(()) };
                let wrong = |v: &DeathRecord| Some((v.dead, *self.wrong.get(&(v.dead, v.ballot))?));
                self.committing = verdicts.iter().filter_map(wrong).collect();
                Ok(())
            }
            Observed::Committed { outcome: Some(outcome), .. } => {
                for change in &outcome.changes {
                    let Event::Died(dead) = &change.event else { continue };
                    if let Some(seeds) = self.committing.remove(dead) {
                        return Err(format!(
                            "{dead} was confirmed dead while {seeds} seeds had reached it for {:?}",
                            well_for()
                        ));
                    }
                }
                self.committing.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

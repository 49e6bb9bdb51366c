//! *A death carries the votes of a majority of the seeds, each of which probed the suspect itself; where peers accused,
//! their votes are kept with it as a record.* (Promise 3)
//!
//! Held against the probes that really took place, not against what the registry checks of the votes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::limits::{EVIDENCE_AGE_MAX, PROBE_SERVES_FOR};
use coterie_common::message::{BallotId, SeedId};
use coterie_common::{Event, Instant, MemberId, Patience, ProbeTarget, majority};
use coterie_seed::core::Payload;
use coterie_seed::core::entry::Body;

use crate::check::invariant::Invariant;
use crate::check::observed::Observed;
use crate::check::truth::Truth;

/// By so much clocks may be off.
const DRIFT: Duration = Duration::from_millis(500);

/// The age that evidence may have when it is proposed, and the time for which a probe serves before that.
fn evidence_counts_for() -> Duration {
    Patience::default().scale(EVIDENCE_AGE_MAX.get()) + PROBE_SERVES_FOR.get() + DRIFT
}

#[derive(Default)]
pub(super) struct NoUnilateralDeath {
    /// When each seed's probes of a life last found it dead.
    found_dead: BTreeMap<(SeedId, ProbeTarget), Instant>,
    /// The seeds that had found the dead of a proposal dead when it was made, by what it says.
    proposed: BTreeMap<(MemberId, BallotId), BTreeSet<SeedId>>,
    /// Of the entry that is being committed: verdicts that must not be taken, and who had found them dead.
    unfounded: BTreeMap<MemberId, BTreeSet<SeedId>>,
}

impl Invariant for NoUnilateralDeath {
    fn name(&self) -> &'static str {
        "no_unilateral_death"
    }

    fn observe(&mut self, now: Instant, observed: &Observed<'_>, truth: &Truth) -> Result<(), String> {
        match observed {
            Observed::Probed { seed, target, finding } if finding.is_dead() == Some(true) => {
                self.found_dead.insert((*seed, *target), now);
            }
            Observed::Proposed { entry, .. } => {
                let Body::Deaths(verdicts) = &entry.body else { return Ok(()) };
                for verdict in verdicts {
                    let Some(member) = truth.registry().member(verdict.dead) else { continue };
                    let target = ProbeTarget { address: member.id.address, life: member.life };
                    let lately = |seed: &SeedId| {
                        self.found_dead
                            .get(&(*seed, target))
                            .is_some_and(|at| now.since(*at) <= evidence_counts_for())
                    };
                    let found: BTreeSet<SeedId> =
                        verdict.votes.iter().map(|v| v.seed).filter(lately).collect();
                    self.proposed.insert((verdict.dead, verdict.ballot), found);
                }
            }
            Observed::Committing { payload: Payload::Entry(entry), .. } => {
                self.unfounded.clear();
                let Body::Deaths(verdicts) = &entry.body else { return Ok(()) };
                for verdict in verdicts.iter().filter(|v| truth.registry().member(v.dead).is_some()) {
                    let found = self.proposed.get(&(verdict.dead, verdict.ballot));
                    let found = found.cloned().unwrap_or_default();
                    let enough =
                        |set: &BTreeSet<SeedId>| found.intersection(set).count() >= majority(set.len());
                    if !truth.registry().seed_sets().iter().all(enough) {
                        self.unfounded.insert(verdict.dead, found);
                    }
                }
            }
            Observed::Committed { outcome: Some(outcome), .. } => {
                for change in &outcome.changes {
                    let Event::Died(dead) = &change.event else { continue };
                    if let Some(found) = self.unfounded.get(dead) {
                        return Err(format!(
                            "{dead} was confirmed dead, and only seeds {found:?} had found it dead"
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

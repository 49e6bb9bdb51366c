//! Holds everything that nodes do against the invariants that it was given.

use coterie_common::{Instant, Life, Member, MemberId, Tags, Wire};
use coterie_seed::core::Commit;

use super::invariant::Invariant;
use super::measure::Measure;
use super::observed::Observed;
use super::processes::Processes;
use super::report::Violation;
use super::truth::Truth;

/// The invariants, what really is, and the first thing that was against one of them.
pub struct Checker {
    truth: Truth,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
    /// What is counted meanwhile, in a scenario.
    measure: Option<Measure>,
}

impl Checker {
    /// Holds a run against these.
    pub fn new(invariants: Vec<Box<dyn Invariant>>) -> Self {
        Checker { truth: Truth::default(), invariants, violation: None, measure: None }
    }

    /// What really is.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// For who makes networks fail: who reaches whom is no longer what it was.
    pub fn truth_mut(&mut self) -> &mut Truth {
        &mut self.truth
    }

    /// The first thing that was against an invariant.
    pub fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// From now on this is counted too.
    pub(crate) fn begin_measure(&mut self, measure: Measure) {
        self.measure = Some(measure);
    }

    /// What was counted.
    pub(crate) fn end_measure(&mut self) -> Option<Measure> {
        self.measure.take()
    }

    /// Something happened: every invariant is asked whether it may.
    pub fn observe(&mut self, now: Instant, observed: &Observed<'_>) {
        if let Some(measure) = &mut self.measure {
            measure.observe(now, observed);
        }
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.observe(now, observed, &self.truth) {
                self.violation.get_or_insert(Violation { invariant: invariant.name(), at: now, what });
            }
        }
    }

    /// Something is not as it must be.
    pub fn object(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// The log has grown.
    pub fn commit(&mut self, now: Instant, commit: &Commit) {
        let Commit { index, payload } = commit;
        self.observe(now, &Observed::Committing { index: *index, payload });
        let outcome = self.truth.commit(commit);
        self.observe(now, &Observed::Committed { index: *index, outcome: outcome.as_ref() });
    }

    /// A life that has ended, as if it were a member.
    pub fn revenant(&self, id: MemberId) -> Option<Member> {
        let ended = self.truth.end_of(id).is_some();
        ended.then(|| Member { id, life: Life(id.incarnation.0), wire: Wire::Native, tags: Tags::new() })
    }

    /// The whole state, now and then.
    pub fn look(&mut self, now: Instant, processes: &Processes<'_>) {
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.look(now, processes, &self.truth) {
                self.violation.get_or_insert(Violation { invariant: invariant.name(), at: now, what });
            }
        }
    }

    /// What is not yet as it must be once everything was healed, and whose demand that is.
    pub fn unsettled(&self, processes: &Processes<'_>) -> Option<(&'static str, String)> {
        self.invariants
            .iter()
            .find_map(|invariant| Some((invariant.name(), invariant.unsettled(processes, &self.truth)?)))
    }
}

//! One run, from its plan to its end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use coterie_common::Instant;

use super::marks::Marks;
use super::plan::Plan;
use super::world::World;

/// What was against which invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, or `panic`.
    pub invariant: &'static str,
    /// When.
    pub at: Instant,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.invariant, self.at.as_nanos() as f64 / 1e9, self.what)
    }
}

/// What came of a run that kept every promise.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Time that passed in it.
    pub simulated: Duration,
    /// Happenings.
    pub events: u64,
    /// Steps of cores.
    pub steps: u64,
    /// The last epoch.
    pub epoch: u64,
    /// A digest of everything that nodes logged: the same for the same plan.
    pub digest: u64,
    /// What was visited.
    pub marks: Marks,
}

/// Runs a plan, held against all invariants or against that one alone.
pub fn run(plan: &Plan, only: Option<&str>) -> Result<Report, Violation> {
    let result = catch_unwind(AssertUnwindSafe(|| World::new(plan, only).run()));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "something that is no text".to_owned());
        Err(Violation { invariant: "panic", at: Instant::START, what })
    })
}

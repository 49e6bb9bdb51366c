//! What comes of a run: a violation, or what it has visited.

use std::fmt;
use std::time::Duration;

use coterie_common::Instant;

use super::marks::Marks;

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
pub struct RunReport {
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

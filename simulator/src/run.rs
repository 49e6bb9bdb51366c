//! One run, from its plan to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use coterie_common::Instant;

use crate::check::checker::Checker;
use crate::check::report::{RunReport, Violation};
use crate::invariants;
use crate::plan::Plan;
use crate::sink::Sink;
use crate::world::World;

/// Runs a plan, held against all invariants or against that one alone.
pub fn run(plan: &Plan, only: Option<&str>) -> Result<RunReport, Violation> {
    tell(plan, only, Sink::nobody())
}

/// The same, for somebody who wants to read what happens.
pub fn tell(plan: &Plan, only: Option<&str>, sink: Sink) -> Result<RunReport, Violation> {
    let world = || World::new(plan.clone(), Checker::new(invariants::only(only)), sink).run();
    caught(world)
}

/// A panic in a run is a violation like any other.
pub fn caught(run: impl FnOnce() -> Result<RunReport, Violation>) -> Result<RunReport, Violation> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "something that is no text".to_owned());
        Err(Violation { invariant: "panic", at: Instant::START, what })
    })
}

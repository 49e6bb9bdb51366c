//! Holding a run against what must hold: what was seen, what really is, and who judges.

pub mod checker;
pub mod invariant;
pub mod marks;
pub mod measure;
pub mod observed;
pub mod processes;
pub mod report;
pub mod truth;

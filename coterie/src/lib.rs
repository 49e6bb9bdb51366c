//! The operator's program: whole clusters on this machine, questions to a running one, measurements.
//!
//! One executable can run anything: `coterie seed` and `coterie peer` are the programs of those names.

pub mod ask;
pub mod bench;
pub mod cluster;
pub mod command;
mod evidence;
pub mod share;
pub mod up;

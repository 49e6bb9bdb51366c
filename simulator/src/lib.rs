//! Whole clusters in simulated time: the real cores of peers and seeds, over models of network, clocks and log.
//!
//! ```text
//! number --> Plan (options, faults) --> World: one thread, one queue of happenings, one generator
//!                                         |  Observed
//!                                         v
//!                                       Checker: the invariants, each in a file of its own
//! ```
//!
//! One number determines a run. It draws the options of a world (swarm testing: each world lacks most kinds of
//! faults and exaggerates the others, see Groce et al., *Swarm Testing*, ISSTA 2012) and a list of faults. They
//! happen while every invariant is checked after every event; then everything is healed, and the cluster must
//! become one again within a bound. A run that fails is shrunk: fewer faults, fewer nodes, a shorter time.
//!
//! What is real: every decision of peers and seeds. What is modelled: TCP (`model::tcp`, `model::network`),
//! probes, clocks (`model::process`), and the replicated log (`model::replicated_log`), whose promises alone
//! matter here; openraft itself is put to the test by the seeds' own suites. Left out: JSON programs, which are
//! tested on sockets; readers that do not read; probers that find no descriptor; elections that fail; logs that are
//! compacted.
//!
//! Who may name whom: `model` names nothing of this crate, `plan` and `check` name `model`, `invariants` name `check`
//! and `model`, `world` names all of these. A world owns its plan, tells its lines to a [`sink::Sink`] and can be run
//! a slice at a time, so it runs wherever cores run, in a browser too. The feature `command` adds the program.
#![cfg_attr(not(feature = "command"), allow(dead_code, reason = "what only the program and real nodes use"))]

pub mod check;
#[cfg(feature = "command")]
pub mod command;
pub mod invariants;
pub mod model;
pub mod plan;
pub mod run;
#[cfg(feature = "command")]
pub mod runner;
pub mod scenario;
pub mod shrink;
pub mod sink;
pub mod world;

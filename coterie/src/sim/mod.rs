//! Whole clusters in simulated time: the real cores of peers and seeds, over models of network, clocks and log.
//!
//! ```text
//! number --> Plan (options, faults) --> World: one thread, one queue of happenings, one generator
//!                                         |  what is observed
//!                                         v
//!                                       Watch: the invariants, each in a file of its own
//! ```
//!
//! One number determines a run. It draws the options of a world (swarm testing: each world lacks most kinds of
//! faults and exaggerates the others, see Groce et al., *Swarm Testing*, ISSTA 2012) and a list of faults. They
//! happen while every invariant is checked after every event; then everything is healed, and the cluster must
//! become one again within a bound. A run that fails is shrunk: fewer faults, fewer nodes, a shorter time.
//!
//! What is real: every decision of peers and seeds. What is modelled: TCP (`connection`, `network`), probes, clocks
//! (`process`), and the replicated log (`replica`), whose promises alone matter here; openraft itself is put to the
//! test by the seeds' own suites. Left out: JSON programs, which are tested on sockets; readers that do not read;
//! probers that find no descriptor; elections that fail; logs that are compacted.

pub mod command;
mod connection;
mod fault;
mod host;
mod invariant;
mod marks;
mod measure;
mod network;
#[cfg(coterie_simulated)]
pub mod nodes;
mod plan;
mod process;
mod replica;
mod run;
mod sabotage;
mod scenario;
mod shrink;
mod swarm;
mod tell;
mod watch;
mod world;

pub use fault::Fault;
pub use marks::{MARKS, Marks};
pub use measure::Measured;
pub use plan::{Plan, Restriction};
pub use run::{Report, Violation, run};
pub use sabotage::Sabotage;
pub use scenario::Scenario;
pub use shrink::shrink;

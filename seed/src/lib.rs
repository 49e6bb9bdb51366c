//! A seed of a Coterie cluster.
//!
//! [`core`] decides: what happened goes in, what is to be done comes out. [`raft`] keeps the log, and [`shell`]
//! performs on sockets and timers what the core wants; both are behind the feature `net`.

pub mod core;
#[cfg(feature = "net")]
pub mod raft;
#[cfg(feature = "net")]
pub mod shell;

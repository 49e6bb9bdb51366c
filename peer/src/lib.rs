//! A peer of a Coterie cluster.
//!
//! [`core`] decides: what happened goes in, what is to be done comes out. [`shell`], behind the feature `net`,
//! performs it on sockets and timers.

pub mod core;
#[cfg(feature = "net")]
pub mod shell;

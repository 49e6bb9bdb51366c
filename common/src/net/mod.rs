//! What seeds and peers share of the operating system: connections, probes, log files, options.

pub mod check;
pub mod connection;
pub mod diagnostics;
pub mod guests;
pub mod icmp;
pub mod journal;
pub mod listener;
pub mod observer;
pub mod options;
pub mod platform;
pub mod probe;
pub mod process;
pub mod resolve;
pub mod shortages;
mod sink;
pub mod task;
pub mod tcp;

pub use connection::{ConnectionEvent, Outbox};
pub use journal::{Journal, JournalOptions};
pub use probe::Prober;

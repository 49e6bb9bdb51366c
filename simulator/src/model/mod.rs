//! Models of what a cluster stands on: hosts, processes and their clocks, network, TCP, the replicated log.

pub mod host;
pub mod latency;
pub mod machine;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod replicated_log;
pub(crate) mod tcp;

//! What strangers may do to the ports of a cluster: that connection is closed or the frame passed over, and
//! everybody else is served meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod endless;
mod nonsense;
mod one_host;
mod registrations;
mod shared;
mod sockets;
mod too_much;

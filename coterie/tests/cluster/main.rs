//! Whole clusters of real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

#[path = "../common/mod.rs"]
mod common;
mod peers;
mod quorum;
mod seeds;

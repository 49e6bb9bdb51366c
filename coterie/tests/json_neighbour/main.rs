//! A program in another language among our nodes: it speaks the JSON of WIRE.md, and no line of its wire is ours.
//!
//! [`Program`] is that program, written from the contract alone: threads, blocking sockets, JSON by hand. It has
//! the habits that such programs have: it registers with every seed and never writes there again, forwards
//! gossip by the hash of its content, checks a suspect by connecting and closing without a byte, answers PING on
//! the connection it came on, and ignores the news of its own death.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

#[path = "../common/mod.rs"]
mod common;
mod deaths;
mod links;
mod membership;
mod program;
mod questions;
mod shared;
mod wire;

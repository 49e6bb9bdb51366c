//! The command line as its users meet it: what is refused and in which words, and how things end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

#[path = "../common/mod.rs"]
mod common;
mod diagnostics;
mod nodes;
mod operator;
mod output;

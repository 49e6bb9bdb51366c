//! What no compiler checks: who names whom, how large things grow, which words are used, what documents say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

mod asserts;
mod documents;
mod knobs;
mod libraries;
mod rooms;
mod sizes;
mod sources;
mod words;

//! Targets for fuzzing: each takes any bytes, does with them what a node does with what others say, and panics when
//! something is wrong beyond a panic of its own.
//!
//! Ordinary tests play each target over its corpus and some thousand inputs (`tests/corpus.rs`); `fuzz/run` lets
//! libFuzzer look for what they miss. What it finds is kept in `fuzz/crashes`, and is a test from then on.

mod ballots;
mod codecs;
mod frames;
mod peer;
mod registry;
mod seed_lists;
mod stream;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("frames", frames::target),
    ("codecs", codecs::target),
    ("seed_lists", seed_lists::target),
    ("peer", peer::target),
    ("registry", registry::target),
    ("ballots", ballots::target),
];

/// The target of that name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|(own, _)| *own == name)
}

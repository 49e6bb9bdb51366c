//! Whole clusters in simulated time: the real cores of peers and seeds, over a model of network and log.
//!
//! One number determines a run. A run draws a number of peers and a list of faults (kills, pauses, cuts, lost
//! packets, seeds that die and return, leaders that change between commit and answer), lets them happen while
//! invariants are checked at every step, then heals everything and demands that the cluster converges.
//!
//! A failure prints the number and the command that repeats it; with `COTERIE_SIM_TELL=1` that prints what happened.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod faults;
mod model_log;
mod network;
mod truth;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::World;

/// Runs one world, and on failure says how to see it again.
fn run(seed: u64, peers: Option<usize>) {
    let result = catch_unwind(AssertUnwindSafe(|| World::run(seed, peers)));
    if let Err(panic) = result {
        let peers = peers.map_or(String::new(), |peers| format!("COTERIE_SIM_PEERS={peers} "));
        eprintln!(
            "simulation {seed} failed; to repeat it: \
             {peers}COTERIE_SIM_SEED={seed} cargo test -p coterie --test simulation one_run -- --nocapture"
        );
        resume_unwind(panic);
    }
}

fn run_all(seeds: std::ops::Range<u64>) {
    seeds.for_each(|seed| run(seed, None));
}

/// The run that the environment names, or the first.
#[test]
fn one_run() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let peers = number("COTERIE_SIM_PEERS").map(|peers| peers as usize);
    run(number("COTERIE_SIM_SEED").unwrap_or(0), peers);
}

// Two hundred runs of 5 to 30 peers, in four parts, so that two cores share them.

#[test]
fn runs_0_to_49_keep_their_promises() {
    run_all(0..50);
}

#[test]
fn runs_50_to_99_keep_their_promises() {
    run_all(50..100);
}

#[test]
fn runs_100_to_149_keep_their_promises() {
    run_all(100..150);
}

#[test]
fn runs_150_to_199_keep_their_promises() {
    run_all(150..200);
}

#[test]
fn five_hundred_peers_keep_their_promises() {
    run(1_000, Some(500));
}

/// The same number makes the same run: otherwise a failure could not be repeated.
#[test]
fn a_run_is_determined_by_its_number() {
    assert_eq!(World::run(7, None), World::run(7, None));
}

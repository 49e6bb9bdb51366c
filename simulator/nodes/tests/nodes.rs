//! Real nodes on simulated time, network and disks; see `coterie_simulator_nodes`.
//!
//! `(cd simulator/nodes && cargo test)`: only what is built in that directory is simulated.

#![cfg(coterie_simulated)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

use std::process::{Command, Output};

fn simulate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulate-nodes"));
    command.args(["--threads", "1"]).args(args).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn keep_every_promise(from: u64, count: u64) {
    let ran = simulate(&["--from", &from.to_string(), "--seeds", &count.to_string()]);
    assert!(ran.status.success(), "{}", text(&ran));
    println!("{}", text(&ran));
}

#[test]
fn runs_0_to_39_keep_every_promise() {
    keep_every_promise(0, 40);
}

#[test]
fn runs_40_to_79_keep_every_promise() {
    keep_every_promise(40, 40);
}

/// All but the last line, which tells how long it took.
fn story(number: u64) -> Vec<String> {
    let ran = simulate(&["--seeds", "1", "--tell", "--from", &number.to_string()]);
    assert!(ran.status.success(), "{}", text(&ran));
    let mut lines: Vec<String> = text(&ran).lines().map(str::to_owned).collect();
    lines.pop();
    lines
}

#[test]
fn a_run_is_determined_by_its_number() {
    for number in 5..10 {
        let (one, other) = (story(number), story(number));
        assert!(one.len() > 100, "something happens in run {number}");
        let differs = one.iter().zip(&other).find(|(a, b)| a != b);
        assert_eq!(differs, None, "run {number}");
        assert_eq!(one.len(), other.len(), "run {number}");
    }
}

/// A disk that forgets what it said it had written breaks what is promised of the log: that the invariants find it
/// shows that they see what real logs do.
#[test]
fn disks_that_lie_about_what_they_have_synced_are_found() {
    let ran = simulate(&["--lying-disks", "--from", "0", "--seeds", "200"]);
    assert!(!ran.status.success(), "some power is cut in 200 runs");
    let told = text(&ran);
    let by_an_invariant = told.contains(" violates ") && !told.contains("violates child");
    assert!(by_an_invariant && !told.contains("violates panic"), "{told}");
    println!("{}", text(&ran));
}

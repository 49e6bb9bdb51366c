//! How quickly deaths are known, against what this machine takes at least: `coterie bench detect`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::process::Command;

/// The number after `what` on the line that begins with `line`.
fn number(text: &str, line: &str, what: &str) -> f64 {
    let read = text.lines().find(|read| read.starts_with(line));
    let read = read.unwrap_or_else(|| panic!("no such line, {line:?}, in:\n{text}"));
    let rest = read.split_once(what).unwrap_or_else(|| panic!("no {what:?} in {read:?}")).1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// The bars are for a machine that does nothing else (docs/benchmarks.md). Beside other tests a death takes longer, and
/// never less than the floor.
#[test]
fn deaths_are_told_in_multiples_of_what_the_machine_takes_at_least() {
    let program = env!("CARGO_BIN_EXE_coterie");
    let output = Command::new(program).args(["bench", "detect", "--peers", "5", "--rounds", "5"]).output();
    let output = output.expect("the program starts");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let floor = number(&text, "floor", "median");
    let both = number(&text, "both", "median");
    assert!(floor > 0.0 && both > floor, "{text}");
    let multiple = number(&text, "in floors", "median");
    assert!((multiple - both / floor).abs() < 0.2, "{text}");
    let (p99, slowest) = (number(&text, "in floors", "p99"), number(&text, "both", "p99"));
    assert!((p99 - slowest / floor).abs() < 0.2, "{text}");
}

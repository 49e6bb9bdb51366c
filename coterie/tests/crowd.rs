//! A crowd of processes on one machine, which is taken away from them for a while: `coterie bench crowd`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// One crowd at a time: each takes the machine away from everybody.
static MACHINE: Mutex<()> = Mutex::new(());

/// The number before `what` on the line that begins with `line`.
fn number(text: &str, line: &str, what: &str) -> f64 {
    let line = text.lines().find(|read| read.starts_with(line));
    let line = line.unwrap_or_else(|| panic!("no such line, {line:?}, in:\n{text}"));
    let before = line.split(what).next().unwrap().trim_end();
    before
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap_or_else(|_| panic!("no number before {what:?} in {line:?}"))
}

fn crowd(args: &[&str]) -> String {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(env!("CARGO_BIN_EXE_coterie")).args(["bench", "crowd"]).args(args).output();
    let output = output.expect("the program starts");
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // It fails where somebody was wrongly removed, who was killed was not, or it does not become calm.
    assert!(output.status.success(), "{text}{errors}");
    text
}

#[test]
fn a_crowd_that_is_starved_suspects_hardly_anybody_and_is_calm_soon_after() {
    let text = crowd(&["--peers", "150", "--idle", "12", "--burst", "8"]);
    assert!(number(&text, "idle", "suspicions") <= 2.0, "ten a minute at most:\n{text}");
    assert!(number(&text, "calm", "s after") <= 10.0, "{text}");
}

#[test]
fn a_crowd_that_stood_still_goes_on_as_if_nothing_had_been() {
    let text = crowd(&["--peers", "40", "--idle", "2", "--burst", "12", "--stop"]);
    assert!(number(&text, "calm", "s after") <= 10.0, "{text}");
}

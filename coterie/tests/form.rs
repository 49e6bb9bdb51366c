//! Hundreds of peers in one process: `coterie bench form`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::process::Command;

/// The bars are for a machine that does nothing else (docs/benchmarks.md).
#[test]
fn a_crowd_in_one_process_forms_and_buries_who_stops_and_nobody_else() {
    let program = env!("CARGO_BIN_EXE_coterie");
    let args = ["bench", "form", "--peers", "300", "--newcomers", "5", "--stopped", "30"];
    let output = Command::new(program).args(args).output().expect("the program starts");
    let text = String::from_utf8(output.stdout).unwrap();
    // It fails where not all see the same members, or one was removed that had not stopped.
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = |begin: &str| {
        let found = text.lines().find(|line| line.starts_with(begin));
        found.unwrap_or_else(|| panic!("no line begins with {begin:?}:\n{text}")).to_owned()
    };
    let seconds = |line: &str| -> f64 {
        let words: Vec<&str> = line.split(' ').collect();
        let place = words.iter().position(|word| *word == "s").expect("a number of seconds");
        words[place - 1].parse().unwrap()
    };
    assert!(seconds(&line("formed: 300 members")) < 25.0, "{text}");
    assert!(seconds(&line("30 stopped")) < 5.0, "{text}");
    line("5 newcomers");
}

#[test]
fn more_than_there_are_cannot_stop() {
    let args = ["bench", "form", "--peers", "3", "--stopped", "4"];
    let output = Command::new(env!("CARGO_BIN_EXE_coterie")).args(args).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text, "coterie: --stopped 4: there are 3 peers\n");
}

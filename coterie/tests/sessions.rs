//! Many sessions with one seed: `coterie bench sessions`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::process::Command;

/// The bars are for a machine that does nothing else (docs/benchmarks.md).
#[test]
fn hundreds_of_sessions_take_little_and_all_are_told() {
    let args = ["bench", "sessions", "--sessions", "600", "--for", "2s", "--joins", "3"];
    let output = Command::new(env!("CARGO_BIN_EXE_coterie")).args(args).output().expect("the program starts");
    let text = String::from_utf8(output.stdout).unwrap();
    // It fails where a session is not told of each join.
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let each = text.strip_prefix("600 sessions with one seed: ").expect("the first line");
    let kib: f64 = each.split(' ').next().expect("a number").parse().unwrap();
    assert!(kib > 0.0 && kib <= 40.0, "{text}");
    assert!(text.contains("3 joins, each told to all"), "{text}");
}

#[test]
fn of_nothing_nothing_is_measured() {
    for option in ["--sessions", "--joins"] {
        let args = ["bench", "sessions", option, "0"];
        let output =
            Command::new(env!("CARGO_BIN_EXE_coterie")).args(args).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(text, format!("coterie: {option} 0: there is nothing to measure\n"));
    }
}

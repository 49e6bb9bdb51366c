//! What must not be passed over in silence.

use super::sources::{CORES, before_tests, code_of, name_of, sources_of};

/// At least one assert for so many lines of each core. May only be lowered.
const LINES_PER_ASSERT_MAX: usize = 60;

#[test]
fn whoever_leaves_a_core_in_silence_says_why() {
    let mut silent = Vec::new();
    for path in sources_of(&CORES) {
        let lines = before_tests(&path);
        for (place, line) in lines.iter().enumerate() {
            let Some((_, end)) = line.split_once("else {") else { continue };
            let end = end.trim();
            // On one line, or on the next one.
            let next = lines.get(place + 1).map(|next| next.trim()).unwrap_or_default();
            let leaves = [end.trim_end_matches('}').trim(), if end.is_empty() { next } else { "" }];
            let is_silent =
                leaves.iter().any(|text| ["return;", "return", "continue;", "continue"].contains(text));
            let starts_with_let = (0..=place.min(8)).any(|back| {
                let line = lines[place - back].trim_start();
                line.starts_with("let ") || line.starts_with("&& let ")
            });
            if !is_silent || !starts_with_let {
                continue;
            }
            let is_explained = (place.saturating_sub(6)..=(place + 1).min(lines.len() - 1))
                .any(|at| lines[at].contains("//"));
            if !is_explained {
                silent.push(format!("{}:{} leaves in silence: {}", name_of(&path), place + 1, line.trim()));
            }
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn cores_assert_what_they_rely_on() {
    for core in CORES {
        let code: String = sources_of(&[core]).iter().map(|path| code_of(path) + "\n").collect();
        let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
        // What cannot be otherwise is said by an assert, or by a panic where a value is taken apart.
        let asserts = code.matches("assert!(").count() + code.matches("assert_eq!(").count();
        let asserts = asserts + code.matches("assert_ne!(").count() + code.matches("panic!(").count();
        let least = lines.div_ceil(LINES_PER_ASSERT_MAX);
        assert!(asserts >= least, "{core} has {asserts} asserts in {lines} lines of code");
    }
}

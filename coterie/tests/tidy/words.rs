//! Words: one for one thing, and none for what is not there yet.

use std::collections::{BTreeMap, BTreeSet};

use super::documents::DOCUMENTS;
use super::sources::{CRATES, before_tests, name_of, read, root, scripts, sources_of};

#[test]
fn nothing_is_left_for_later_and_no_test_is_skipped() {
    for part in CRATES {
        for path in sources_of(&[part]) {
            let text = read(&path);
            for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore")] {
                assert!(!text.contains(word), "{} says {word:?}", path.display());
            }
        }
    }
}

/// Types that several rooms have under one name, because each is the same thing to its room.
const SHARED_NAMES: [&str; 11] = [
    "Arrival",
    "Command",
    "Config",
    "Context",
    "Effect",
    "Handle",
    "Input",
    "Node",
    "OpenConnection",
    "Options",
    "Tap",
];

/// Words that were given up for those of the glossary, and in which files they may still stand: a name that is stored,
/// sent or counted keeps the word it had.
const RETIRED: [(&str, &[&str]); 11] = [
    ("birth", &[]),
    ("errand", &["seed/src/core/counters.rs", "seed/src/core/routes/ballot.rs"]),
    ("witness", &[]),
    ("leniency", &[]),
    ("self_doubt", &[]),
    ("self-doubt", &[]),
    ("enrolment", &[]),
    ("buried", &[]),
    ("burial", &[]),
    ("sabotage", &[]),
    ("stand_in", &[]),
];

#[test]
fn retired_words_stay_retired() {
    let documents = DOCUMENTS.map(|name| root().join(name)).to_vec();
    for path in [sources_of(&CRATES), scripts(), documents].concat() {
        let place = name_of(&path);
        if place.starts_with("coterie/tests/tidy/") {
            continue;
        }
        let text = format!("{place}\n{}", read(&path)).to_lowercase();
        for (word, kept) in RETIRED {
            assert!(!text.contains(word) || kept.contains(&place.as_str()), "{place} says {word:?}");
        }
    }
}

#[test]
fn a_name_is_given_to_one_type() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in sources_of(&CRATES) {
        let place = name_of(&path);
        // An invariant bears the name of what it watches; a file of tests is a world of its own.
        if place.contains("/tests/") || place.contains("/invariants/") {
            continue;
        }
        for line in before_tests(&path) {
            let Some(name) = declared_type(&line) else { continue };
            places.entry(name).or_default().insert(place.clone());
        }
    }
    let twice: Vec<_> = places
        .iter()
        .filter(|(name, places)| places.len() > 1 && !SHARED_NAMES.contains(&name.as_str()))
        .collect();
    let show = |(name, places): &(&String, &BTreeSet<String>)| {
        format!("{name}: {}", places.iter().cloned().collect::<Vec<_>>().join(", "))
    };
    let shown: Vec<String> = twice.iter().map(show).collect();
    assert!(twice.is_empty(), "names of several types:\n{}", shown.join("\n"));
}

/// The name of the type that a line declares.
fn declared_type(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ").map_or(line, |(_, rest)| rest),
        None => line.trim_start_matches("pub "),
    };
    let rest = ["struct ", "enum ", "trait "].iter().find_map(|keyword| line.strip_prefix(keyword))?;
    Some(rest.chars().take_while(|c| c.is_alphanumeric()).collect())
}

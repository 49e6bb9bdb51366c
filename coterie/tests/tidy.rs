//! What no compiler checks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn code_of(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn cores_know_no_clock_no_chance_and_no_io() {
    let banned = [
        "tokio",
        "async ",
        ".await",
        "std::net::Tcp",
        "std::fs",
        "std::io",
        "std::thread",
        "SystemTime",
        "std::time::Instant",
        "std::env",
        "HashMap",
        "HashSet",
        "rand::rng(",
        "println!",
        "eprintln!",
        "openraft",
    ];
    for core in ["peer/src/core", "seed/src/core"] {
        for path in sources(&root().join(core)) {
            let code = code_of(&path);
            for word in banned {
                assert!(!code.contains(word), "{} says {word:?}", path.display());
            }
        }
    }
}

#[test]
fn each_foreign_library_stays_in_its_room() {
    let rooms: [(&str, &[&str]); 4] = [
        ("bincode::", &["common/src/codec.rs"]),
        ("openraft", &["seed/src/raft"]),
        ("redb::", &["seed/src/raft"]),
        ("turmoil::", &["common/src/net/tcp.rs", "common/src/clock.rs", "coterie/src/sim/nodes"]),
    ];
    for (word, rooms) in rooms {
        let is_at_home = |path: &PathBuf| rooms.iter().any(|room| path.starts_with(root().join(room)));
        for part in ["common/src", "peer/src", "seed/src", "coterie/src"] {
            for path in sources(&root().join(part)).into_iter().filter(|path| !is_at_home(path)) {
                let code = code_of(&path).replace("openraft=off", "");
                assert!(
                    !code.contains(word),
                    "{} says {word:?}, which belongs into {rooms:?}",
                    path.display()
                );
            }
        }
    }
}

/// A node that is simulated differs from a real one in these places, and in no other.
#[test]
fn few_places_know_that_a_node_is_simulated() {
    let known = [
        "common/src/clock.rs",
        "common/src/net/icmp.rs",
        "common/src/net/tcp.rs",
        "peer/src/shell/mod.rs",
        "peer/src/shell/node.rs",
        "seed/src/raft/runtime.rs",
        "seed/src/shell/mod.rs",
        "seed/src/shell/node.rs",
    ];
    let sources =
        ["common/src", "peer/src", "seed/src"].into_iter().flat_map(|part| sources(&root().join(part)));
    let mut found: Vec<PathBuf> =
        sources.filter(|path| code_of(path).contains("coterie_simulated")).collect();
    found.sort();
    assert_eq!(found, known.map(|place| root().join(place)));
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_skipped() {
    for part in ["common", "peer", "seed", "coterie"] {
        for path in sources(&root().join(part)) {
            let text = std::fs::read_to_string(&path).unwrap();
            for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore")] {
                assert!(!text.contains(word), "{} says {word:?}", path.display());
            }
        }
    }
}

/// Every row of the table of features names tests that exist.
#[test]
fn every_feature_names_a_test_that_exists() {
    let mut tests = BTreeSet::new();
    for part in ["common", "peer", "seed", "coterie"] {
        for path in sources(&root().join(part)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| {
                let line = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("async ");
                line.strip_prefix("fn ")
            });
            tests.extend(names.filter_map(|rest| rest.split('(').next()).map(str::to_owned));
        }
        for scripts in ["tests/scripts"] {
            for entry in std::fs::read_dir(root().join(part).join(scripts)).into_iter().flatten() {
                tests.insert(entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let table = std::fs::read_to_string(root().join("docs/features.md")).unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()) {
        rows += 1;
        let proof = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test in: {row}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name:?}, named in: {row}");
        }
    }
    assert_eq!(rows, 31);
}

//! Where the outside world may be named: clocks, chance, sockets, and libraries that were chosen.

use std::path::PathBuf;

use super::sources::{CORES, code_of, root, sources_of};

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
    for core in CORES {
        for path in sources_of(&[core]) {
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
        ("turmoil::", &["common/src/net/tcp.rs", "common/src/clock.rs", "simulator/nodes/src"]),
    ];
    for (word, rooms) in rooms {
        let is_at_home = |path: &PathBuf| rooms.iter().any(|room| path.starts_with(root().join(room)));
        for part in ["common/src", "peer/src", "seed/src", "coterie/src", "lab/src", "simulator"] {
            for path in sources_of(&[part]).into_iter().filter(|path| !is_at_home(path)) {
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
    let sources = sources_of(&["common/src", "peer/src", "seed/src"]).into_iter();
    let mut found: Vec<PathBuf> =
        sources.filter(|path| code_of(path).contains("coterie_simulated")).collect();
    found.sort();
    assert_eq!(found, known.map(|place| root().join(place)));
}

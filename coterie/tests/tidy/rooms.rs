//! Who may name whom.

use std::collections::BTreeSet;

use super::sources::{CORES, before_tests, code_of, name_of, read, root, sources, sources_of};

/// The rooms of the cores, and which others each may name. What a room needs to know of one that it may not name, it is
/// told by its parent.
const ROOMS: [(&str, &[&str]); 13] = [
    ("peer/src/core/seeds", &["context"]),
    ("peer/src/core/membership", &["context"]),
    ("peer/src/core/overlay", &["context", "membership"]),
    ("peer/src/core/failure", &["context", "membership", "overlay"]),
    ("peer/src/core/gossip", &["context", "membership", "overlay"]),
    ("seed/src/core/registry", &[]),
    ("seed/src/core/leader", &["context", "registry", "ballot", "pace", "request", "spreading"]),
    ("seed/src/core/voter", &["context", "registry", "ballot", "pace"]),
    ("seed/src/core/forwarding", &["context", "request"]),
    ("seed/src/core/sessions", &["context", "registry", "presence", "spreading"]),
    ("seed/src/core/presence", &["context", "registry"]),
    ("simulator/src/model", &[]),
    ("simulator/src/invariants", &["check", "model"]),
];

/// Vocabulary that every room of a core may use: plain values without a state of their own.
const VOCABULARY: [&str; 3] = ["config", "effect", "entry"];

/// The names that a text takes from `crate::core::` or `crate::`.
fn named(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code.split(prefix).skip(1) {
        let list = rest.strip_prefix('{').map(|rest| rest.split('}').next().unwrap_or_default());
        let heads: Vec<&str> = list.map_or_else(|| vec![rest], |list| list.split(',').collect());
        for head in heads {
            let name: String = head.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.insert(name);
        }
    }
    found
}

#[test]
fn each_room_names_only_the_rooms_below_it() {
    let mut trespasses = Vec::new();
    for (room, may_name) in ROOMS {
        let prefix = if room.starts_with("simulator") { "crate::" } else { "crate::core::" };
        let own = room.rsplit('/').next().unwrap();
        for path in sources(&root().join(room)) {
            let code = code_of(&path);
            for name in named(&code, prefix) {
                let is_allowed = name == own
                    || may_name.contains(&name.as_str())
                    || VOCABULARY.contains(&name.as_str())
                    || name.chars().next().is_some_and(char::is_uppercase);
                if !is_allowed {
                    trespasses.push(format!("{} names {name}, which {room} may not", name_of(&path)));
                }
            }
            if code.contains("super::super") {
                trespasses.push(format!("{}: a room is named from its crate on", name_of(&path)));
            }
        }
    }
    assert!(trespasses.is_empty(), "{}", trespasses.join("\n"));
}

#[test]
fn gossip_never_speaks_of_failure() {
    for path in sources_of(&["peer/src/core/gossip"]) {
        for word in ["failure", "suspicion", "suspect"] {
            assert!(!code_of(&path).to_lowercase().contains(word), "{} says {word:?}", name_of(&path));
        }
    }
}

#[test]
fn what_must_hold_is_checked_by_who_knows_no_invariant_and_modelled_by_who_knows_no_plan() {
    let forbidden: [(&str, &[&str]); 4] = [
        ("simulator/src/check", &["invariants", "world", "plan", "run"]),
        ("simulator/src/model", &["invariants", "world", "plan", "check", "run"]),
        ("simulator/src/plan", &["invariants", "world", "check", "run"]),
        ("simulator/src/invariants", &["world", "plan", "run"]),
    ];
    for (room, others) in forbidden {
        for path in sources_of(&[room]) {
            for other in others {
                let says = code_of(&path).contains(&format!("crate::{other}"));
                assert!(!says, "{} names {other}", name_of(&path));
            }
        }
    }
}

#[test]
fn a_parent_is_implemented_where_its_routes_are_and_a_sub_core_in_its_own_room() {
    for (parent, home) in [("Peer", "peer/src/core"), ("Seed", "seed/src/core")] {
        for path in sources_of(&[home]) {
            let is_implemented = read(&path).lines().any(|line| line == format!("impl {parent} {{"));
            let name = name_of(&path);
            let rest = name.strip_prefix(home).unwrap_or_default();
            let is_home = rest == "/mod.rs" || rest == "/routes.rs" || rest.starts_with("/routes/");
            assert!(!is_implemented || is_home, "{name} implements {parent}");
        }
    }
    for (room, sub_core) in SUB_CORES {
        let implements =
            |path: &std::path::PathBuf| read(path).lines().any(|line| line == format!("impl {sub_core} {{"));
        let files: Vec<String> =
            sources_of(&[room]).iter().filter(|path| implements(path)).map(|path| name_of(path)).collect();
        assert!((1..=2).contains(&files.len()), "{sub_core} is implemented in {files:?}");
    }
}

/// Each sub-core's room and the name of what owns its state.
const SUB_CORES: [(&str, &str); 11] = [
    ("peer/src/core/seeds", "SeedSessions"),
    ("peer/src/core/membership", "Membership"),
    ("peer/src/core/overlay", "Overlay"),
    ("peer/src/core/failure", "FailureDetection"),
    ("peer/src/core/gossip", "Gossip"),
    ("seed/src/core/registry", "Registry"),
    ("seed/src/core/leader", "Leader"),
    ("seed/src/core/voter", "Voter"),
    ("seed/src/core/forwarding", "Forwarding"),
    ("seed/src/core/sessions", "Sessions"),
    ("seed/src/core/presence", "Presence"),
];

#[test]
fn a_sub_core_shows_no_field_to_anybody() {
    for (room, sub_core) in SUB_CORES {
        let structs: Vec<_> = sources_of(&[room])
            .iter()
            .flat_map(|path| super::sources::blocks(&before_tests(path), "struct"))
            .filter(|found| found.head == format!("{sub_core} {{"))
            .collect();
        assert_eq!(structs.len(), 1, "{room} has one {sub_core}");
        for line in &structs[0].inside {
            assert!(!line.trim_start().starts_with("pub"), "{sub_core} shows {line:?}");
        }
    }
}

#[test]
fn the_list_of_effects_is_handed_through_no_signature() {
    for path in sources_of(&CORES) {
        let name = name_of(&path);
        let is_home = name.ends_with("core/mod.rs") || name.ends_with("core/context.rs");
        assert!(is_home || !code_of(&path).contains("Vec<Effect>"), "{name} hands effects on");
    }
}

#[test]
fn every_room_of_a_core_opens_with_what_it_owns_what_it_may_read_and_what_it_never_does() {
    for (room, _) in SUB_CORES {
        let text = read(&root().join(room).join("mod.rs"));
        let opening: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        for word in ["*Owns.*", "*May read.*", "*Never.*"] {
            assert!(opening.contains(word), "{room}/mod.rs does not say {word}");
        }
    }
}

/// A crate boundary, not a feature that somebody may switch on: the program cannot contain a planted bug.
#[test]
fn the_operators_program_depends_on_nothing_that_breaks_clusters() {
    let manifest = read(&root().join("coterie/Cargo.toml"));
    for other in ["simulator", "lab"] {
        assert!(!manifest.contains(other), "coterie/Cargo.toml names {other}");
    }
    for crate_below in ["common", "peer", "seed"] {
        let manifest = read(&root().join(crate_below).join("Cargo.toml"));
        for other in ["coterie-simulator", "coterie-lab", "coterie ="] {
            assert!(!manifest.contains(other), "{crate_below}/Cargo.toml names {other}");
        }
    }
}

//! What documents say of the tree.

use std::collections::BTreeSet;
use std::path::Path;

use super::sources::{CRATES, code_of, name_of, read, root, scripts, sources_of};

pub(crate) const DOCUMENTS: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/benchmarks.md",
    "docs/disasters.md",
    "docs/features.md",
    "docs/glossary.md",
    "docs/log.md",
    "docs/reliability.md",
];

/// What stands between backticks in a text, but for its blocks.
fn quoted(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2).collect::<String>();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether a word is meant as a place in the tree: it has a slash, and begins where something of the tree does.
fn is_place(word: &str) -> bool {
    let begins =
        ["common/", "peer/", "seed/", "coterie/", "lab/", "simulator/", "fuzz/", "docs/", "docker/", ".ci/"];
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c));
    is_plain && begins.iter().any(|begin| word.starts_with(begin))
}

fn exists(word: &str) -> bool {
    let word = word.trim_end_matches('/');
    let places = [word.to_owned(), format!("{word}.rs")];
    // `peer/core/failure` is short for what lies in the crate's `src`.
    let in_src = word.split_once('/').map(|(first, rest)| format!("{first}/src/{rest}"));
    let places = places.into_iter().chain(in_src.iter().flat_map(|p| [p.clone(), format!("{p}.rs")]));
    places.into_iter().any(|place| root().join(place).exists())
}

#[test]
fn every_place_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        for word in quoted(&read(&root().join(document))).iter().filter(|word| is_place(word)) {
            if !exists(word) {
                missing.push(format!("{document} names {word}"));
            }
        }
    }
    for path in sources_of(&CRATES) {
        let text = read(&path);
        let opening: String =
            text.lines().filter(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
        for word in quoted(&opening).iter().filter(|word| is_place(word)) {
            if !exists(word) {
                missing.push(format!("{} names {word}", name_of(&path)));
            }
        }
    }
    assert!(missing.is_empty(), "what is not there: {}", missing.join("\n"));
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(&root().join(document));
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            let target = link.split('#').next().unwrap_or_default();
            let from = root().join(document);
            let place = from.parent().unwrap_or(Path::new("")).join(target);
            assert!(place.exists(), "{document} links to {link}, which is not there");
        }
    }
}

/// The names of the packages of the workspace.
fn packages() -> BTreeSet<String> {
    let manifests = ["common", "peer", "seed", "coterie", "lab", "simulator", "simulator/nodes", "fuzz"];
    let name = |part: &str| {
        let text = read(&root().join(part).join("Cargo.toml"));
        let line = text.lines().find_map(|line| line.strip_prefix("name = ").map(str::to_owned));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    manifests.into_iter().map(name).collect()
}

#[test]
fn every_command_of_a_document_names_a_package_that_exists() {
    let packages = packages();
    for document in DOCUMENTS {
        let text = read(&root().join(document));
        for line in text.lines().filter(|line| line.contains("cargo ")) {
            let words: Vec<&str> = line.split([' ', '`']).collect();
            for pair in words.windows(2).filter(|pair| ["-p", "--package"].contains(&pair[0])) {
                let package = pair[1].trim_end_matches(|c: char| !c.is_alphanumeric());
                assert!(packages.contains(package), "{document} names the package {package}: {line}");
            }
        }
    }
}

/// Names of test functions: those that follow a `#[test]`, and those of a macro that makes tests of functions.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for path in sources_of(&CRATES).into_iter().chain(sources_of(&["fuzz/tests"])) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (place, _) in
            lines.iter().enumerate().filter(|(_, line)| line.contains("test]") || line.contains("test("))
        {
            let function = lines[place..].iter().take(6).find_map(|line| {
                let line = line.trim_start_matches("async ");
                line.strip_prefix("fn ").and_then(|rest| rest.split('(').next())
            });
            tests.extend(function.map(str::to_owned));
        }
        // Stories are told twice, in containers and in namespaces, by a macro that lists them.
        if let Some(list) = text.split("\ntell! {").nth(1).and_then(|rest| rest.split('}').next()) {
            tests.extend(list.split_whitespace().map(str::to_owned));
        }
    }
    tests.extend(scripts().iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()));
    tests
}

/// Every row of the table of features names tests that exist.
#[test]
fn every_feature_names_a_test_that_exists() {
    let tests = tests();
    let table = read(&root().join("docs/features.md"));
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

#[test]
fn every_counter_of_a_seed_is_explained() {
    let mut counted = BTreeSet::new();
    for path in sources_of(&["seed/src"]) {
        let code = code_of(&path);
        for rest in code.split(".count(\"").skip(1) {
            counted.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
    let explained: BTreeSet<String> =
        coterie_seed::core::counters::COUNTERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(counted, explained);
}

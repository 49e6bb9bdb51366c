//! Reading the tree as text.

use std::path::{Path, PathBuf};

/// The crates whose code is held against every rule.
pub(crate) const CRATES: [&str; 6] = ["common", "peer", "seed", "coterie", "lab", "simulator"];

/// The two cores.
pub(crate) const CORES: [&str; 2] = ["peer/src/core", "seed/src/core"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A path as it is written in documents.
pub(crate) fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files of Rust below a directory, in the order of their names.
pub(crate) fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All files of Rust of these parts.
pub(crate) fn sources_of(parts: &[&str]) -> Vec<PathBuf> {
    parts.iter().flat_map(|part| sources(&root().join(part))).collect()
}

/// The golden scripts.
pub(crate) fn scripts() -> Vec<PathBuf> {
    let of = |folder| std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    ["peer/tests/scripts", "seed/tests/scripts"].into_iter().flat_map(of).collect()
}

/// Whether a file holds tests and nothing else: one of a crate's `tests`, or the `tests.rs` of a room.
pub(crate) fn is_of_tests(path: &Path) -> bool {
    name_of(path).contains("/tests/") || path.ends_with("tests.rs")
}

/// The lines of a file before its tests; none of a room's `tests.rs`.
pub(crate) fn before_tests(path: &Path) -> Vec<String> {
    if path.ends_with("tests.rs") {
        return Vec::new();
    }
    let text = read(path);
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The same without comments.
pub(crate) fn code_of(path: &Path) -> String {
    let lines = before_tests(path);
    lines.iter().filter(|line| !line.trim_start().starts_with("//")).cloned().collect::<Vec<_>>().join("\n")
}

/// A part of a file that begins with a line and ends where its indentation comes back.
pub(crate) struct Block {
    /// What follows the keyword: the name, and the rest of the line.
    pub(crate) head: String,
    /// The lines between the first and the last.
    pub(crate) inside: Vec<String>,
}

/// The functions, or structs, of a file. The formatter puts every closing brace where its opening line begins.
pub(crate) fn blocks(lines: &[String], keyword: &str) -> Vec<Block> {
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let declared = strip_visibility(line.trim_start());
        let Some(head) = declared.strip_prefix(&format!("{keyword} ")) else { continue };
        let end = format!("{}}}", &line[..indent]);
        let inside = lines[place + 1..].iter().take_while(|line| **line != end).cloned().collect();
        if line.trim_end().ends_with('{')
            || line.trim_end().ends_with('(')
            || line.trim_end().ends_with("where")
        {
            found.push(Block { head: head.to_owned(), inside });
        }
    }
    found
}

/// What a declaration says after `pub(..)`, `const` and `async`.
fn strip_visibility(line: &str) -> &str {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or(line, |(_, rest)| rest),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    line.trim_start_matches("const ").trim_start_matches("async ")
}

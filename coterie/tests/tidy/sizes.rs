//! How large things may grow.

use super::sources::{CRATES, before_tests, blocks, is_of_tests, name_of, read, sources_of};

/// Lines of a file before its tests; past them, look for the second noun.
const FILE_LINES_MAX: usize = 400;

/// Lines of a file of tests.
const TEST_FILE_LINES_MAX: usize = 450;

/// Lines of a function: a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Columns. The formatter breaks code at 110; a comment may go a little over.
const COLUMNS_MAX: usize = 120;

/// Fields of a struct that is no list of options.
const FIELDS_MAX: usize = 15;

/// All that is too large, each in a line.
fn assert_none(too_large: &[String]) {
    assert!(too_large.is_empty(), "{}", too_large.join("\n"));
}

#[test]
fn files_are_no_longer_than_a_noun_needs() {
    let mut too_large = Vec::new();
    for path in sources_of(&CRATES) {
        let name = name_of(&path);
        let (lines, most) = match is_of_tests(&path) {
            true => (read(&path).lines().count(), TEST_FILE_LINES_MAX),
            false => (before_tests(&path).len(), FILE_LINES_MAX),
        };
        if lines > most {
            too_large.push(format!("{name} has {lines} lines, {most} are the most"));
        }
    }
    assert_none(&too_large);
}

#[test]
fn functions_fit_a_screen() {
    let mut too_large = Vec::new();
    for path in sources_of(&CRATES) {
        let lines: Vec<String> = read(&path).lines().map(str::to_owned).collect();
        for function in blocks(&lines, "fn") {
            let lines = function.inside.len() + 2;
            if lines > FUNCTION_LINES_MAX {
                too_large.push(format!("{}: {} has {lines} lines", name_of(&path), function.head));
            }
        }
    }
    assert_none(&too_large);
}

#[test]
fn lines_fit_their_columns() {
    let mut too_large = Vec::new();
    for path in sources_of(&CRATES) {
        for (number, line) in read(&path).lines().enumerate() {
            let columns = line.chars().count();
            // The formatter breaks no text and no attribute.
            let is_unbroken = line.contains('"') && !line.trim_start().starts_with("//");
            if columns > COLUMNS_MAX && !is_unbroken {
                too_large.push(format!("{}:{} has {columns} columns", name_of(&path), number + 1));
            }
        }
    }
    assert_none(&too_large);
}

#[test]
fn structs_hold_what_belongs_together() {
    let are_options =
        |head: &str| ["Config", "Options", "Args", "Swarm"].iter().any(|word| head.contains(word));
    let mut too_large = Vec::new();
    for path in sources_of(&CRATES) {
        for found in blocks(&before_tests(&path), "struct").iter().filter(|found| !are_options(&found.head)) {
            let is_field = |line: &&String| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && !line.starts_with('#')
                    && line.contains(": ")
                    && line.ends_with(',')
            };
            let fields = found.inside.iter().filter(is_field).count();
            if fields > FIELDS_MAX {
                too_large.push(format!("{}: {} has {fields} fields", name_of(&path), found.head));
            }
        }
    }
    assert_none(&too_large);
}

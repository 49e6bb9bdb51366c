//! A script: commands for a core, and under each the whole list of effects that it had.
//!
//! ```text
//! # A sentence that tells the story.
//! > command words
//! effect
//! effect
//! ```
//! Lines that begin with `#` and empty lines are the author's and stay; what stands under a command is the core's,
//! and `UPDATE_GOLDEN=1` writes it anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What stands under a command without effects.
const NOTHING: &str = "(nothing)";

/// Something that takes the commands of one script.
pub(crate) trait Player {
    /// Does what a command says, and tells what came of it, a line each.
    fn play(&mut self, command: &str) -> Vec<String>;
}

/// Plays every script in `scripts`, and panics with a diff of each that does not go as written.
pub(crate) fn play_all<P: Player>(scripts: &str, package: &str, new_player: impl Fn() -> P) -> usize {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let files = files(Path::new(scripts));
    let mut trouble = String::new();
    for file in &files {
        let written = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(written.starts_with("# "), "{}: a script opens with its story", file.display());
        let played = play(&written, &mut new_player());
        if written == played {
            continue;
        }
        if update {
            std::fs::write(file, played).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        } else {
            let _ = write!(trouble, "\n{} goes otherwise:\n{}", file.display(), diff(&written, &played));
        }
    }
    assert!(
        trouble.is_empty(),
        "{trouble}\nIf this is what the design demands: UPDATE_GOLDEN=1 cargo test -p {package} --test golden\n"
    );
    files.len()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let paths = entries.map(|entry| entry.unwrap_or_else(|e| panic!("{e}")).path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    files
}

/// The script as it goes: the author's lines as they are, the core's as they come.
fn play(written: &str, player: &mut impl Player) -> String {
    let mut played = String::new();
    for line in written.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            played.push_str(line);
            played.push('\n');
            let effects = player.play(command);
            let shown = if effects.is_empty() { vec![NOTHING.to_owned()] } else { effects };
            shown.iter().for_each(|effect| played.extend([effect.as_str(), "\n"]));
        } else if line.is_empty() || line.starts_with('#') {
            played.extend([line, "\n"]);
        }
    }
    played
}

/// Line by line, `-` as written and `+` as played, with the command above each difference.
fn diff(written: &str, played: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (written.lines().collect(), played.lines().collect());
    let mut longest = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = match old[i] == new[j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out, mut command) = (0, 0, String::new(), None);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            if old[i].starts_with("> ") {
                command = Some(old[i]);
            }
            (i, j) = (i + 1, j + 1);
            continue;
        }
        if let Some(command) = command.take() {
            let _ = writeln!(out, "  {command}");
        }
        if i < old.len() && (j == new.len() || longest[i + 1][j] >= longest[i][j + 1]) {
            let _ = writeln!(out, "- {}", old[i]);
            i += 1;
        } else {
            let _ = writeln!(out, "+ {}", new[j]);
            j += 1;
        }
    }
    out
}

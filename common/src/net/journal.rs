//! The log lines: to stdout and to files, in order, each through a sink of its own.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::platform::stdout_without_buffer;
use super::sink::{LineSink, open_append};
use crate::address::file_name_part;
use crate::clock::wall;
use crate::{Address, Instant, Line, Role};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Words and `key=value`.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Events {
    /// All.
    All,
    /// All but gossip.
    Membership,
    /// None.
    None,
}

/// How the journal is to be kept.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Patterns of file names, with `{role}`, `{ip}` and `{port}`.
    pub files: Vec<String>,
    /// How lines look.
    pub format: Format,
    /// Which events are written.
    pub events: Events,
    /// Whether they go to stdout too.
    pub stdout: bool,
}

/// Writes lines for one node.
#[derive(Debug)]
pub struct Journal {
    role: Role,
    own: String,
    format: Format,
    events: Events,
    sinks: Vec<Arc<LineSink>>,
}

impl Journal {
    /// Opens the sinks of the node `own`. An error names the file that cannot be written.
    pub fn open(role: Role, own: Address, options: &JournalOptions) -> io::Result<Self> {
        let mut sinks = Vec::new();
        if options.events != Events::None {
            if options.stdout {
                let stdout = stdout_without_buffer()?;
                sinks.push(start("stdout".to_owned(), (stdout, None), (role, own, options.format))?);
            }
            for pattern in &options.files {
                let path = file_name(pattern, role, own);
                let named =
                    |e: io::Error| io::Error::new(e.kind(), format!("log file {}: {e}", path.display()));
                let file = open_append(&path).map_err(named)?;
                sinks.push(start(
                    path.display().to_string(),
                    (file, Some(path)),
                    (role, own, options.format),
                )?);
            }
        }
        Ok(Journal { role, own: own.to_string(), format: options.format, events: options.events, sinks })
    }

    /// Writes a line about now.
    pub fn log(&self, line: &Line) {
        let is_gossip = matches!(line.event(), "GOSSIP" | "GOSSIP_SENT");
        if self.sinks.is_empty() || (self.events == Events::Membership && is_gossip) {
            return;
        }
        let text = match self.format {
            Format::Text => line.to_text(wall(), self.role, &self.own),
            Format::Json => line.to_json(wall(), self.role, &self.own),
        };
        self.sinks.iter().for_each(|sink| sink.take(text.as_bytes()));
    }

    /// Of each sink, whether it takes no more lines, and why.
    pub(super) fn blockages(&self, now: Instant) -> impl Iterator<Item = (String, Option<String>)> + '_ {
        self.sinks.iter().map(move |sink| sink.blockage(now))
    }

    /// Writes what is left, as far as the sinks take it within half a second.
    pub fn close(&self) {
        self.sinks.iter().for_each(|sink| sink.close());
    }
}

/// What a pattern of file names may have in it.
pub(super) const PLACEHOLDERS: [&str; 3] = ["{role}", "{ip}", "{port}"];

/// The file that `pattern` names for a node.
pub fn file_name(pattern: &str, role: Role, own: Address) -> PathBuf {
    let (ip, port) = (file_name_part(&own.ip().to_string()), own.port().to_string());
    let named = PLACEHOLDERS.iter().zip([role.lower(), &ip, &port]);
    PathBuf::from(
        named.fold(pattern.to_owned(), |name, (placeholder, value)| name.replace(placeholder, value)),
    )
}

/// A sink that tells in a line of the log how many were lost.
fn start(
    name: String,
    target: (File, Option<PathBuf>),
    (role, own, format): (Role, Address, Format),
) -> io::Result<Arc<LineSink>> {
    let lost_line = move |lines: u64| {
        let line = Line::new("LOST").with("lines", lines);
        match format {
            Format::Text => line.to_text(wall(), role, &own.to_string()),
            Format::Json => line.to_json(wall(), role, &own.to_string()),
        }
    };
    LineSink::start(name, target, true, lost_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_follow_the_pattern() {
        let name = |pattern: &str, own: &str| {
            file_name(pattern, Role::Seed, own.parse().unwrap()).display().to_string()
        };
        assert_eq!(name("outputfile_{role}_{port}.txt", "127.0.0.1:5011"), "outputfile_seed_5011.txt");
        assert_eq!(name("{role}_{ip}_{port}.log", "[::1]:1"), "seed_--1_1.log");
    }
}

//! What is said beside the log: warnings and errors, on stderr.
//!
//! Written by a thread of their own, as the log is: a stderr that is closed, or a pipe that nobody reads, neither ends
//! a node nor stops it. What a full one cannot take is lost, counted, and told when it can be; a closed one is told no
//! more.

use std::env::{self, VarError};
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::platform::stderr_without_buffer;
use super::process::Failure;
use super::sink::LineSink;
use crate::Instant;

/// Where they go, once the process is prepared.
static STDERR: OnceLock<Arc<LineSink>> = OnceLock::new();

/// Sends diagnostics to stderr, as `RUST_LOG` wishes.
pub(super) fn init() -> Result<(), Failure> {
    let wish = match env::var("RUST_LOG") {
        Ok(wish) => wish,
        Err(VarError::NotPresent) => String::new(),
        Err(error @ VarError::NotUnicode(_)) => {
            return Err(Failure::usage(format_args!("RUST_LOG: {error}")));
        }
    };
    let filter = filter(&wish)?;
    let lost_line = |lost| format!("{lost} lines were lost here\n");
    let sink = LineSink::start("stderr".to_owned(), (stderr_without_buffer()?, None), false, lost_line)?;
    let written = tracing_subscriber::fmt::layer().with_writer(|| Stderr);
    let _ = STDERR.set(sink);
    let _ = tracing_subscriber::registry().with(written).with(filter).try_init();
    Ok(())
}

/// `LEVEL` or `TARGET=LEVEL`, separated by commas; warnings if there is no wish.
fn filter(wish: &str) -> Result<Targets, Failure> {
    let filter = if wish.is_empty() { "warn,openraft=off" } else { wish };
    filter.parse().map_err(|error| Failure::usage(format_args!("RUST_LOG={wish:?}: {error}")))
}

/// Says a line on stderr, for people: what was typed at a console, say, is answered so.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    match STDERR.get() {
        Some(sink) => sink.take(line.as_bytes()),
        // Nobody may be left to read it; then nothing is to be done about that either.
        None => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Whether stderr takes no more lines, and why.
pub(super) fn blockage(now: Instant) -> Option<(String, Option<String>)> {
    STDERR.get().map(|sink| sink.blockage(now))
}

/// The process is about to end: what was said is written, as far as stderr takes it soon.
pub(super) fn close() {
    if let Some(sink) = STDERR.get() {
        sink.close();
    }
}

/// Where tracing writes: a line at a time.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if let Some(sink) = STDERR.get() {
            sink.take(text);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn diagnostics_are_warnings_unless_somebody_wishes_others() {
        let usual = filter("").unwrap();
        assert!(usual.would_enable("coterie_seed", &Level::WARN));
        assert!(!usual.would_enable("coterie_seed", &Level::INFO));
        assert!(!usual.would_enable("openraft::core", &Level::ERROR));
        let wished = filter("info,coterie_peer=debug").unwrap();
        assert!(wished.would_enable("openraft::core", &Level::INFO));
        assert!(wished.would_enable("coterie_peer::shell", &Level::DEBUG));
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let failure = filter("warn,openraft=loud").unwrap_err();
        assert!(matches!(failure, Failure::Usage(_)));
        assert!(failure.to_string().starts_with("RUST_LOG=\"warn,openraft=loud\": "), "{failure}");
    }
}

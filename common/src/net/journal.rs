//! The log lines: to stdout and to files, in order, without ever taking the node's time.
//!
//! Each sink has a thread of its own and a bounded buffer. A line is in the buffer when it was logged and in the
//! sink at most a millisecond later. A sink that takes nothing (a full pipe, a paused terminal, a full disk)
//! loses lines once its buffer is full: they are counted, said on stderr, and later in a line of the log itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::platform::stdout_without_buffer;
use crate::address::file_name_part;
use crate::clock::wall;
use crate::{Address, Line, Role};

/// What one sink may hold back, in bytes.
const BUFFER_BYTES_MAX: usize = 8 << 20;

/// A buffer that has so much is written without waiting for more.
const WRITE_AT_BYTES: usize = 64 << 10;

/// How long a line waits for others to be written with.
const GATHER: Duration = Duration::from_millis(1);

/// How long the last lines may take at the end of the process.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Words and `key=value`.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    sinks: Vec<Arc<JournalSink>>,
}

#[derive(Debug)]
struct JournalSink {
    name: String,
    state: Mutex<SinkState>,
    wake: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
struct SinkState {
    buffer: Vec<u8>,
    lost: u64,
    said_lost: bool,
    closed: bool,
    finished: bool,
}

impl JournalSink {
    /// The state. A thread that panicked while holding it left it whole: it only ever appends and takes.
    fn lock(&self) -> MutexGuard<'_, SinkState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Journal {
    /// Opens the sinks of the node `own`. An error names the file that cannot be written.
    pub fn open(role: Role, own: Address, options: &JournalOptions) -> io::Result<Self> {
        let mut sinks = Vec::new();
        if options.events != Events::None {
            if options.stdout {
                let stdout = stdout_without_buffer()?;
                sinks.push(JournalSink::start("stdout".to_owned(), stdout, (role, own, options.format))?);
            }
            for pattern in &options.files {
                let path = file_name(pattern, role, own);
                let named =
                    |e: io::Error| io::Error::new(e.kind(), format!("log file {}: {e}", path.display()));
                let file = open_append(&path).map_err(named)?;
                sinks.push(JournalSink::start(
                    path.display().to_string(),
                    file,
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

    /// Writes what is left, as far as the sinks take it within half a second.
    pub fn close(&self) {
        self.sinks.iter().for_each(|sink| sink.close());
    }
}

/// The file that `pattern` names for a node.
pub fn file_name(pattern: &str, role: Role, own: Address) -> PathBuf {
    let ip = file_name_part(&own.ip().to_string());
    PathBuf::from(
        pattern
            .replace("{role}", role.lower())
            .replace("{ip}", &ip)
            .replace("{port}", &own.port().to_string()),
    )
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl JournalSink {
    fn start(
        name: String,
        file: File,
        (role, own, format): (Role, Address, Format),
    ) -> io::Result<Arc<JournalSink>> {
        let (wake, done) = (Condvar::new(), Condvar::new());
        let sink = Arc::new(JournalSink { name, state: Mutex::new(SinkState::default()), wake, done });
        let writer = Arc::clone(&sink);
        let lost_line = move |lines: u64| {
            let line = Line::new("LOST").with("lines", lines);
            match format {
                Format::Text => line.to_text(wall(), role, &own.to_string()),
                Format::Json => line.to_json(wall(), role, &own.to_string()),
            }
        };
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(file, lost_line))?;
        Ok(sink)
    }

    fn take(&self, text: &[u8]) {
        let mut state = self.lock();
        if state.finished {
            return;
        }
        if state.buffer.len() + text.len() > BUFFER_BYTES_MAX {
            state.lost += 1;
            if !std::mem::replace(&mut state.said_lost, true) {
                eprintln!("{}: takes no more, log lines are lost", self.name);
            }
            return;
        }
        let first = state.buffer.is_empty();
        state.buffer.extend_from_slice(text);
        if first || state.buffer.len() >= WRITE_AT_BYTES {
            self.wake.notify_one();
        }
    }

    fn run(&self, mut file: File, lost_line: impl Fn(u64) -> String) {
        while let Some((buffer, lost)) = self.next() {
            let mut result = file.write_all(&buffer);
            if lost > 0 {
                result = result.and_then(|()| file.write_all(lost_line(lost).as_bytes()));
            }
            match result {
                Ok(()) => {}
                // A closed pipe is silence from here on; any other trouble loses what was to be written.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => self.wait_for_room(&error, &buffer),
            }
        }
        self.lock().finished = true;
        self.done.notify_all();
    }

    /// What is to be written next, and how many lines were lost before it; `None` at the end.
    fn next(&self) -> Option<(Vec<u8>, u64)> {
        let mut state = self.lock();
        while state.buffer.is_empty() && !state.closed {
            state = self.wake.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if state.buffer.len() < WRITE_AT_BYTES && !state.closed {
            let waited = self.wake.wait_timeout(state, GATHER);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        if state.buffer.is_empty() {
            return None;
        }
        state.said_lost = false;
        Some((std::mem::take(&mut state.buffer), std::mem::take(&mut state.lost)))
    }

    /// The disk is full, say: the lines of this write are lost and counted, and the next are tried again later.
    fn wait_for_room(&self, error: &io::Error, lost: &[u8]) {
        let lines = lost.iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut state = self.lock();
        state.lost += lines;
        if !std::mem::replace(&mut state.said_lost, true) {
            eprintln!("{}: {error}, {lines} log lines are lost", self.name);
        }
        let pause = self.wake.wait_timeout(state, Duration::from_millis(100));
        drop(pause);
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.wake.notify_one();
        let waited = self.done.wait_timeout_while(state, CLOSE_TIME_MAX, |state| !state.finished);
        drop(waited);
    }
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

    /// A sink that takes nothing must neither stop the node nor lose lines in silence.
    #[test]
    fn a_reader_that_stands_still_loses_lines_which_are_counted_later() {
        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let own = "127.0.0.1:1".parse().unwrap();
        let sink = JournalSink::start("a pipe".to_owned(), file, (Role::Peer, own, Format::Text)).unwrap();
        let line = format!("{}\n", "x".repeat(1023));
        let lines = 2 * BUFFER_BYTES_MAX / line.len();
        (0..lines).for_each(|_| sink.take(line.as_bytes()));
        assert!(sink.lock().lost > 0, "the buffer is full and the pipe too");
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            io::Read::read_to_string(&mut reader, &mut text).unwrap();
            text
        });
        sink.take(b"the last\n");
        sink.close();
        drop(sink);
        let text = reading.join().unwrap();
        let kept = text.lines().filter(|line| line.starts_with('x')).count();
        let lost = text.lines().find_map(|line| line.split(" LOST lines=").nth(1)).unwrap();
        assert!(kept + lost.parse::<usize>().unwrap() >= lines, "{kept} kept, {lost} lost of {lines}");
    }
}

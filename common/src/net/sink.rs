//! Lines to a file, a pipe or a terminal, in order, without ever taking the time of whoever writes them.
//!
//! Each sink has a thread of its own and a bounded buffer. A line is in the buffer when it was written and in the sink
//! at most a millisecond later. A sink that takes nothing (a full pipe, a paused terminal, a full disk) loses lines
//! once its buffer is full: they are counted, said, and told later in the sink itself. A closed one takes no more.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Instant;

/// What one sink may hold back, in bytes.
const BUFFER_BYTES_MAX: usize = 8 << 20;

/// A buffer that has so much is written without waiting for more.
const WRITE_AT_BYTES: usize = 64 << 10;

/// How long a line waits for others to be written with.
const GATHER: Duration = Duration::from_millis(1);

/// How often it is tried to tell in a sink how many lines it has lost, when nothing else is to be written.
const TELL_LOST_EVERY: Duration = Duration::from_secs(1);

/// A write that takes longer than this hangs.
const HANGS_AFTER: Duration = Duration::from_secs(1);

/// Why a sink takes no more, where no write has failed.
const STANDS_STILL: &str = "whoever reads it stands still";

/// How long the last lines may take at the end of the process.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);

/// The same for a file. Half of what an engine gives a container to stop: the last line tells that it ended in order.
const CLOSE_FILE_TIME_MAX: Duration = Duration::from_secs(5);

/// How often files were to be opened again.
static REOPENED: AtomicU64 = AtomicU64::new(0);

/// Has every sink that is a file open it again before it writes the next line: somebody has moved it away.
/// Windows has no signal for it.
#[cfg(unix)]
pub(super) fn reopen_files() {
    REOPENED.fetch_add(1, Ordering::Relaxed);
}

/// A sink, and the thread that writes to it.
#[derive(Debug)]
pub(super) struct LineSink {
    name: String,
    /// Where it is, if it is to be opened again when it is moved away.
    path: Option<PathBuf>,
    state: Mutex<SinkState>,
    wake: Condvar,
    done: Condvar,
    /// Whether its troubles are said in the diagnostics. Not those of the sink that these go to.
    is_said: bool,
}

#[derive(Debug, Default)]
struct SinkState {
    buffer: Vec<u8>,
    lost: u64,
    /// Why lines are lost; none once some were taken again.
    blocked: Option<String>,
    is_writing: bool,
    /// Since when the write that is under way was seen to be.
    seen: Option<Instant>,
    closed: bool,
    finished: bool,
}

impl LineSink {
    /// A sink of that name, which writes to `file`, at `path` if it is to be opened again when that is moved away;
    /// `lost_line` says there how many lines were lost, and `is_said` whether the diagnostics do.
    pub(super) fn start(
        name: String,
        (file, path): (File, Option<PathBuf>),
        is_said: bool,
        lost_line: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let (wake, done) = (Condvar::new(), Condvar::new());
        let sink =
            Arc::new(LineSink { name, path, state: Mutex::new(SinkState::default()), wake, done, is_said });
        let writer = Arc::clone(&sink);
        std::thread::Builder::new().name("sink".to_owned()).spawn(move || writer.run(file, lost_line))?;
        Ok(sink)
    }

    /// The state. A thread that panicked while holding it left it whole: it only ever appends and takes.
    fn lock(&self) -> MutexGuard<'_, SinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines, later.
    pub(super) fn take(&self, text: &[u8]) {
        let mut state = self.lock();
        if state.finished {
            return;
        }
        if state.buffer.len() + text.len() > BUFFER_BYTES_MAX {
            state.lost += 1;
            let is_first = state.blocked.replace(STANDS_STILL.to_owned()).is_none();
            drop(state);
            if is_first && self.is_said {
                tracing::warn!("{}: takes no more, log lines are lost", self.name);
            }
            return;
        }
        let first = state.buffer.is_empty();
        state.buffer.extend_from_slice(text);
        if first || state.buffer.len() >= WRITE_AT_BYTES {
            self.wake.notify_one();
        }
    }

    /// Whether it takes no more lines, and why: some were lost, or one write is under way for too long. How many lines
    /// are lost is told in the sink itself: here it would be news each time.
    pub(super) fn blockage(&self, now: Instant) -> (String, Option<String>) {
        let mut state = self.lock();
        if state.is_writing {
            state.seen.get_or_insert(now);
        }
        let hangs = state.seen.is_some_and(|since| now.since(since) >= HANGS_AFTER);
        let why = state.blocked.clone().or(hangs.then(|| STANDS_STILL.to_owned()));
        (format!("{} takes no more lines", self.name), why.filter(|_| !state.finished))
    }

    fn run(&self, mut file: File, lost_line: impl Fn(u64) -> String) {
        let mut reopened = REOPENED.load(Ordering::Relaxed);
        while let Some((buffer, lost)) = self.next() {
            let wished = REOPENED.load(Ordering::Relaxed);
            if let (Some(path), true) = (&self.path, std::mem::replace(&mut reopened, wished) != wished) {
                match open_append(path) {
                    Ok(anew) => file = anew,
                    // The one that was moved away takes the lines as before.
                    Err(error) => tracing::warn!("{}: not opened again: {error}", self.name),
                }
            }
            let mut result = file.write_all(&buffer);
            if lost > 0 {
                result = result.and_then(|()| file.write_all(lost_line(lost).as_bytes()));
            }
            match result {
                Ok(()) => self.took_it(),
                // A closed pipe is silence from here on; any other trouble loses what was to be written.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => self.wait_for_room(&error, &buffer, lost),
            }
        }
        self.lock().finished = true;
        self.done.notify_all();
    }

    /// What is to be written next, and how many lines were lost before it; `None` at the end.
    fn next(&self) -> Option<(Vec<u8>, u64)> {
        let mut state = self.lock();
        (state.is_writing, state.seen) = (false, None);
        while state.buffer.is_empty() && !state.closed {
            if state.lost > 0 {
                // That is told when it can be, though nobody has another line to say.
                let waited = self.wake.wait_timeout(state, TELL_LOST_EVERY);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                break;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.buffer.len() < WRITE_AT_BYTES && !state.closed {
            let waited = self.wake.wait_timeout(state, GATHER);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.buffer.is_empty() && (state.closed || state.lost == 0) {
            return None;
        }
        state.is_writing = true;
        Some((std::mem::take(&mut state.buffer), std::mem::take(&mut state.lost)))
    }

    /// What was to be written is; unless more was lost meanwhile, all is well again.
    fn took_it(&self) {
        let mut state = self.lock();
        if state.lost == 0 {
            state.blocked = None;
        }
    }

    /// The disk is full, say: the lines of this write are lost and counted, and the next are tried again later. So many
    /// were lost before them, and are still to be told.
    fn wait_for_room(&self, error: &io::Error, buffer: &[u8], untold: u64) {
        let lines = buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut state = self.lock();
        state.lost += lines + untold;
        let is_first = state.blocked.replace(error.to_string()).is_none();
        drop(state);
        if is_first && self.is_said {
            tracing::warn!("{}: {error}, {lines} log lines are lost", self.name);
        }
        let pause = self.wake.wait_timeout(self.lock(), Duration::from_millis(100));
        drop(pause);
    }

    /// Writes what is left, as far as the sink takes it soon. A file takes it, though a busy disk may need a while;
    /// what nobody reads does not.
    pub(super) fn close(&self) {
        let limit = if self.path.is_some() { CLOSE_FILE_TIME_MAX } else { CLOSE_TIME_MAX };
        let mut state = self.lock();
        state.closed = true;
        self.wake.notify_one();
        let waited = self.done.wait_timeout_while(state, limit, |state| !state.finished);
        drop(waited);
    }
}

/// A file to which lines are appended; made, where there is none.
pub(super) fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (io::PipeReader, Arc<LineSink>) {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        (
            reader,
            LineSink::start("a pipe".to_owned(), (file, None), false, |lost| format!("LOST lines={lost}\n"))
                .unwrap(),
        )
    }

    /// A sink that takes nothing must neither stop the node nor lose lines in silence.
    #[test]
    fn a_reader_that_stands_still_loses_lines_which_are_counted_later() {
        let (mut reader, sink) = pipe();
        let line = format!("{}\n", "x".repeat(1023));
        let lines = 2 * BUFFER_BYTES_MAX / line.len();
        (0..lines).for_each(|_| sink.take(line.as_bytes()));
        assert!(sink.lock().lost > 0, "the buffer is full and the pipe too");
        let (what, why) = sink.blockage(Instant::START);
        assert_eq!((what.as_str(), why.is_some()), ("a pipe takes no more lines", true), "{why:?}");
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            io::Read::read_to_string(&mut reader, &mut text).unwrap();
            text
        });
        sink.take(b"the last\n");
        sink.close();
        let text = reading.join().unwrap();
        let kept = text.lines().filter(|line| line.starts_with('x')).count();
        let lost = text.lines().find_map(|line| line.split("LOST lines=").nth(1)).unwrap();
        assert_eq!(sink.blockage(Instant::START).1, None, "it took some since");
        assert!(kept + lost.parse::<usize>().unwrap() >= lines, "{kept} kept, {lost} lost of {lines}");
    }

    /// Long before its buffer is full.
    #[test]
    fn a_write_that_hangs_is_told_and_that_it_is_done() {
        let (mut reader, sink) = pipe();
        // Time that passes a thousand times as fast.
        let mut now = Instant::START;
        let mut comes_true = |what: bool| {
            (0..10_000).any(|_| {
                std::thread::park_timeout(Duration::from_millis(1));
                now = now + HANGS_AFTER;
                sink.blockage(now).1.is_some() == what
            })
        };
        sink.take(&vec![b'x'; 256 << 10]);
        assert_eq!(sink.blockage(Instant::START).1, None, "it has only begun");
        assert!(comes_true(true), "a pipe holds less");
        let reading =
            std::thread::spawn(move || io::Read::read_to_end(&mut reader, &mut Vec::new()).unwrap());
        assert!(comes_true(false), "it was read");
        sink.close();
        drop(sink);
        assert_eq!(reading.join().unwrap(), 256 << 10);
    }

    #[test]
    fn a_closed_sink_takes_no_more_and_harms_nobody() {
        let (reader, sink) = pipe();
        drop(reader);
        sink.take(b"into the void\n");
        sink.close();
        assert!(sink.lock().finished, "its thread has ended");
        sink.take(b"and again\n");
        sink.close();
    }
}

//! Following a log file that grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::event::LogEvent;

/// A log file, and how far it was read.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// Follows a file from its present end on; it need not exist yet.
    pub fn from_end(path: &Path) -> Self {
        let offset = std::fs::metadata(path).map_or(0, |file| file.len());
        Tail { path: path.to_owned(), offset, rest: Vec::new() }
    }

    /// Follows a file from its beginning on.
    pub fn from_start(path: &Path) -> Self {
        Tail { path: path.to_owned(), offset: 0, rest: Vec::new() }
    }

    /// The events of the lines that are whole and were not read yet.
    pub fn events(&mut self) -> Vec<LogEvent> {
        // A file that cannot be read now may be readable later: it may not have been made yet.
        let Ok(mut file) = File::open(&self.path) else { return Vec::new() };
        if file.seek(SeekFrom::Start(self.offset)).is_err() {
            return Vec::new();
        }
        self.offset += file.read_to_end(&mut self.rest).unwrap_or(0) as u64;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        String::from_utf8_lossy(&whole).lines().filter_map(LogEvent::parse).collect()
    }
}

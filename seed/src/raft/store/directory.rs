//! What this directory has, and what is remembered of the others'.

use std::io;

use coterie_common::codec::to_bytes;
use coterie_common::message::DirectoryState;
use tokio::sync::oneshot;

use super::writer::Write;
use super::{Store, Written, lock, position, read};
use crate::core::directories::KnownDirectories;

impl Store {
    /// What is on disk, for the other seeds to remember.
    pub fn directory_state(&self, (run, process): (u64, u64)) -> DirectoryState {
        let memory = lock(&self.shared.memory);
        let term = memory.vote.map_or(0, |vote| vote.leader_id.term);
        // A leader may know an entry to be committed before its own disk has it.
        let last = memory.written.max(memory.snapshot);
        let committed = position(memory.committed.min(last).max(memory.snapshot));
        DirectoryState { run, process, term, committed, last: position(last) }
    }

    /// Notes that another seed has found this directory to be a copy. It stays one: who starts on it again would count
    /// one start more than the original, and pass for it.
    pub fn mark_as_copy(&self, doubt: &str) -> io::Result<()> {
        self.write_meta("copy", &to_bytes(&doubt))
    }

    /// Why this directory was found to be a copy, if it was.
    pub fn copy_mark(&self) -> io::Result<Option<String>> {
        self.meta("copy")?.map(|bytes| read(&bytes)).transpose()
    }

    /// What is remembered of the other seeds' directories.
    pub fn known_directories(&self) -> io::Result<KnownDirectories> {
        self.meta("known_directories")?.map_or_else(|| Ok(KnownDirectories::default()), |bytes| read(&bytes))
    }

    /// Remembers it; whether that worked is told later. Nothing of the log waits for it: it protects from a mistake,
    /// and the last second of it may be lost.
    pub fn keep_known_directories(&self, known: &KnownDirectories) -> io::Result<Written> {
        let (done, written) = oneshot::channel();
        self.send(Write::KnownDirectories { known: to_bytes(known), done })?;
        Ok(written)
    }
}

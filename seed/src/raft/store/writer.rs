//! Writing: what has gathered, with one durable commit, and then who waits is told.

use std::io;
use std::sync::{Arc, Mutex};

use coterie_common::codec::to_bytes;
use openraft::storage::IOFlushed;
use redb::{Database, Durability, ReadableTable};
use tokio::sync::oneshot;

use super::{LOG, META, Memory, after, lock, read};
use crate::raft::{LogId, SnapshotMeta, Types};

/// Written entries that are kept decoded, for followers that lag a little.
const KEPT_DECODED: usize = 4_096;

/// Requests that one commit takes at most.
pub(super) const COMMIT_MAX: usize = 1_024;

/// What is to be written, and whom to tell.
pub(super) enum Write {
    Append {
        entries: Vec<(LogId, Vec<u8>)>,
        done: IOFlushed<Types>,
    },
    Vote {
        vote: Vec<u8>,
        done: Done,
    },
    /// Never worth a commit of its own: it goes with the next.
    Committed(Vec<u8>),
    KnownDirectories {
        known: Vec<u8>,
        done: Done,
    },
    /// All after this entry goes.
    Truncate {
        last: Option<LogId>,
        done: Done,
    },
    Purge {
        upto: LogId,
        done: Done,
    },
    Snapshot {
        /// The last entry in it.
        last: Option<LogId>,
        meta: Vec<u8>,
        data: Vec<u8>,
        done: Done,
    },
}

pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// What writes: one batch after the other, and when it is put down, what is left.
pub(super) struct BatchWriter {
    database: Arc<Database>,
    memory: Arc<Mutex<Memory>>,
    failed: Option<String>,
    /// How far the log is committed, which goes with the next commit.
    committed: Option<Vec<u8>>,
}

impl BatchWriter {
    pub(super) fn new(database: Arc<Database>, memory: Arc<Mutex<Memory>>) -> Self {
        BatchWriter { database, memory, failed: None, committed: None }
    }

    /// Writes a batch with one durable commit, and tells who waits.
    pub(super) fn write(&mut self, batch: Vec<Write>) {
        for request in &batch {
            if let Write::Committed(bytes) = request {
                self.committed = Some(bytes.clone());
            }
        }
        if batch.iter().all(|request| matches!(request, Write::Committed(_))) {
            return;
        }
        if self.failed.is_none() {
            lock(&self.memory).commits.0 += 1;
            match commit(&self.database, &batch, self.committed.take().as_deref()) {
                Ok(()) => note_written(&mut lock(&self.memory), &batch),
                Err(error) => self.failed = Some(error.to_string()),
            }
            lock(&self.memory).commits.1 += 1;
        }
        batch.into_iter().for_each(|request| tell(request, self.failed.as_deref()));
    }
}

impl Drop for BatchWriter {
    fn drop(&mut self) {
        if let (Some(bytes), None) = (&self.committed, &self.failed) {
            // Only saves the next start some work; what it could lose is found again from the other seeds.
            let _ = commit(&self.database, &[], Some(bytes));
        }
    }
}

/// The last entry of the snapshot that is kept.
fn kept_snapshot(meta: &redb::Table<'_, &str, &[u8]>) -> Result<Option<LogId>, redb::Error> {
    let about = meta.get("snapshot_meta")?.map(|value| read::<SnapshotMeta>(value.value())).transpose();
    Ok(about.map_err(redb::Error::Io)?.and_then(|about| about.last_log_id))
}

fn commit(database: &Database, batch: &[Write], committed: Option<&[u8]>) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let mut log = write.open_table(LOG)?;
        let mut meta = write.open_table(META)?;
        for request in batch {
            match request {
                Write::Append { entries, .. } => {
                    for (id, bytes) in entries {
                        log.insert(id.index, bytes.as_slice())?;
                    }
                }
                Write::Vote { vote, .. } => {
                    meta.insert("vote", vote.as_slice())?;
                }
                Write::KnownDirectories { known, .. } => {
                    meta.insert("known_directories", known.as_slice())?;
                }
                Write::Truncate { last, .. } => log.retain_in(after(*last).., |_, _| false)?,
                Write::Purge { upto, .. } => {
                    log.retain_in(..=upto.index, |_, _| false)?;
                    meta.insert("purged", to_bytes(upto).as_slice())?;
                }
                // One that was built here may be done after a newer one has come from another seed.
                Write::Snapshot { last, .. } if kept_snapshot(&meta)? > *last => {}
                Write::Snapshot { meta: about, data, .. } => {
                    meta.insert("snapshot_meta", about.as_slice())?;
                    meta.insert("snapshot", data.as_slice())?;
                }
                Write::Committed(_) => {}
            }
        }
        if let Some(bytes) = committed {
            meta.insert("committed", bytes)?;
        }
    }
    write.commit()?;
    Ok(())
}

fn note_written(memory: &mut Memory, batch: &[Write]) {
    for request in batch {
        match request {
            Write::Append { entries, .. } => {
                memory.written = entries.last().map(|(id, _)| *id).or(memory.written);
            }
            Write::Truncate { last, .. } if memory.written_to() > after(*last) => memory.written = *last,
            Write::Purge { upto, .. } if memory.written_to() <= upto.index => memory.written = Some(*upto),
            Write::Snapshot { last, .. } => memory.snapshot = memory.snapshot.max(*last),
            Write::Truncate { .. }
            | Write::Purge { .. }
            | Write::Vote { .. }
            | Write::KnownDirectories { .. }
            | Write::Committed(_) => {}
        }
    }
    let written_to = memory.written_to();
    while memory.tail.len() > KEPT_DECODED
        && memory.tail.first_key_value().is_some_and(|(index, _)| *index < written_to)
    {
        memory.tail.pop_first();
    }
}

fn tell(request: Write, failed: Option<&str>) {
    let result = || failed.map_or(Ok(()), |error| Err(io::Error::other(error.to_owned())));
    match request {
        Write::Append { done, .. } => done.io_completed(result()),
        Write::Vote { done, .. }
        | Write::Truncate { done, .. }
        | Write::Purge { done, .. }
        | Write::KnownDirectories { done, .. }
        | Write::Snapshot { done, .. } => {
            let _ = done.send(result());
        }
        Write::Committed(_) => {}
    }
}

//! Log, vote and snapshots of one seed, in one redb file.
//!
//! openraft's loop must never wait for a disk, so everything that is to be written goes through one queue to one
//! thread. It takes whatever has gathered, writes it with one durable commit, and only then tells who waits:
//! with many entries under way they share the cost of one fsync (group commit). What was appended can be read at
//! once, from memory, for it is sent to the other seeds while it is still being written here.
//!
//! After a failed commit nothing is written any more and everything that follows fails: the seed stops rather
//! than go on with a log that has a hole.

mod directory;
mod format;
mod successor;
mod traits;
mod writer;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coterie_common::codec::{from_own_bytes, to_bytes};
use coterie_common::message::{History, LogPosition, SeedId};
use openraft::EntryPayload;
pub use redb::StorageBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::runtime::Writer;
use super::{LogEntry, LogId, SnapshotMeta, Vote};
use crate::core::entry::Body;
use crate::core::formation::{history_of, note_entry};
use crate::core::registry::Registry;
use writer::{BatchWriter, COMMIT_MAX, Done, Write};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// What is kept beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The seed's id.
    pub id: SeedId,
    /// The number drawn when the directory was made.
    pub directory_id: u64,
}

/// Tells whether something was written, once that is known.
pub type Written = oneshot::Receiver<io::Result<()>>;

/// The store. Clones share it; the file is closed with the last.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// The first to go: what waits is written before the file is closed.
    writer: Writer<Write>,
    database: Arc<Database>,
    memory: Arc<Mutex<Memory>>,
}

/// What is known without asking the disk.
#[derive(Default)]
struct Memory {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The end of the log without a gap; everything that is not on disk yet is in it.
    tail: BTreeMap<u64, LogEntry>,
    /// The last entry on disk; all before it is there, too.
    written: Option<LogId>,
    /// The last entry of the snapshot on disk. One from another seed may be ahead of the log for a moment.
    snapshot: Option<LogId>,
    history: Option<History>,
    /// How many commits to disk have begun since the start, and how many of them are done.
    commits: (u64, u64),
}

impl Memory {
    /// All before this index is on disk.
    fn written_to(&self) -> u64 {
        after(self.written)
    }
}

/// The first index after an entry.
fn after(last: Option<LogId>) -> u64 {
    last.map_or(0, |last| last.index + 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn opening(error: redb::DatabaseError) -> io::Error {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => io::Error::other("in use by another process"),
        other => disk(other),
    }
}

/// Makes the file under another name first: one that a full disk left half made could never be opened again.
fn make_file(directory: &Path, path: &Path) -> io::Result<()> {
    let new = directory.join("log.redb.new");
    match Database::create(&new) {
        Ok(database) => drop(database),
        Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
            return Err(opening(redb::DatabaseError::DatabaseAlreadyOpen));
        }
        Err(_) => {
            // What an earlier attempt left. It was never anybody's log.
            std::fs::remove_file(&new)?;
            drop(Database::create(&new).map_err(opening)?);
        }
    }
    std::fs::rename(&new, path)?;
    std::fs::File::open(directory)?.sync_all()
}

fn disk(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    from_own_bytes(bytes).map_err(|e| invalid(e.to_string()))
}

/// The registry in a snapshot, if it is one that a log could have made.
pub(super) fn read_registry(snapshot: &[u8]) -> io::Result<Registry> {
    let registry: Registry = read(snapshot)?;
    registry.check().map_err(|why| invalid(format!("a snapshot that no log makes: {why}")))?;
    Ok(registry)
}

pub(super) fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Store {
    /// Opens the log in `directory`, which is made if it is not there.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("log.redb");
        if !path.exists() {
            make_file(directory, &path)?;
        }
        Self::start(Database::open(path).map_err(opening)?)
    }

    /// Opens the log on something that behaves like a file, or misbehaves like a disk.
    pub fn open_on(backend: impl StorageBackend) -> io::Result<Self> {
        Self::start(Database::builder().create_with_backend(backend).map_err(disk)?)
    }

    fn start(database: Database) -> io::Result<Self> {
        format::check(&database)?;
        let database = Arc::new(database);
        let memory = Arc::new(Mutex::new(load(&database)?));
        let mut batches = BatchWriter::new(Arc::clone(&database), Arc::clone(&memory));
        let writer = Writer::start(COMMIT_MAX, move |batch| batches.write(batch))?;
        let store = Store { shared: Arc::new(Shared { writer, database, memory }) };
        store.refresh_history()?;
        Ok(store)
    }

    /// The directory takes another seat. Only one whose log is empty may.
    pub fn take_seat(&self, identity: Identity) -> io::Result<()> {
        self.write_identity(&identity)
    }

    /// The identity of the directory; `fresh` is given to one that has none.
    pub fn identity(&self, fresh: Identity) -> io::Result<Identity> {
        if let Some(bytes) = self.meta("identity")? {
            return read(&bytes);
        }
        self.write_identity(&fresh)?;
        Ok(fresh)
    }

    fn write_identity(&self, identity: &Identity) -> io::Result<()> {
        self.write_meta("identity", &to_bytes(identity))
    }

    /// A seed starts on this directory; returns how many have done so. On disk before anybody is told.
    pub fn begin_run(&self) -> io::Result<u64> {
        let before: u64 = self.meta("run")?.map(|bytes| read(&bytes)).transpose()?.unwrap_or(0);
        self.write_meta("run", &to_bytes(&(before + 1)))?;
        Ok(before + 1)
    }

    /// Writes at once, and waits: before the log has begun, or where it is to end.
    fn write_meta(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let write = self.shared.database.begin_write().map_err(disk)?;
        write.open_table(META).map_err(disk)?.insert(key, bytes).map_err(disk)?;
        write.commit().map_err(disk)
    }

    /// What the log tells of its cluster, applied or not.
    pub fn history(&self) -> Option<History> {
        lock(&self.shared.memory).history.clone()
    }

    /// A snapshot has come: what it tells of the cluster's seeds is history too.
    pub(super) fn note_snapshot(&self, registry: &Registry) {
        if let Some(history) = history_of(registry) {
            lock(&self.shared.memory).history = Some(history);
        }
    }

    /// How many commits to disk have begun since the start, and how many of them are done.
    pub fn commits(&self) -> (u64, u64) {
        lock(&self.shared.memory).commits
    }

    /// The index of the last entry, on disk or on its way there.
    pub fn last_index(&self) -> u64 {
        lock(&self.shared.memory).last.map_or(0, |last| last.index)
    }

    /// The registry as the last snapshot has it.
    pub fn snapshot(&self) -> io::Result<Option<Registry>> {
        self.meta("snapshot")?.map(|data| read_registry(&data)).transpose()
    }

    pub(super) fn snapshot_bytes(&self) -> io::Result<Option<(SnapshotMeta, Vec<u8>)>> {
        let (Some(meta), Some(data)) = (self.meta("snapshot_meta")?, self.meta("snapshot")?) else {
            return Ok(None);
        };
        Ok(Some((read(&meta)?, data)))
    }

    pub(super) async fn save_snapshot(&self, meta: &SnapshotMeta, data: Vec<u8>) -> io::Result<()> {
        let (last, meta) = (meta.last_log_id, to_bytes(meta));
        self.ask(|done| Write::Snapshot { last, meta, data, done }).await
    }

    fn meta(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        let read = self.shared.database.begin_read().map_err(disk)?;
        let meta = read.open_table(META).map_err(disk)?;
        Ok(meta.get(key).map_err(disk)?.map(|value| value.value().to_vec()))
    }

    async fn ask(&self, request: impl FnOnce(Done) -> Write) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(request(done))?;
        answer.await.map_err(|_| io::Error::other("the log's writer has ended"))?
    }

    fn send(&self, request: Write) -> io::Result<()> {
        match self.shared.writer.send(request) {
            true => Ok(()),
            false => Err(io::Error::other("the log's writer has ended")),
        }
    }

    /// Reads what the snapshot and the whole log tell of the cluster's seeds.
    fn refresh_history(&self) -> io::Result<()> {
        let (snapshot, entries) = (self.snapshot()?, self.entries(.., usize::MAX)?);
        lock(&self.shared.memory).history = None;
        if let Some(registry) = snapshot {
            self.note_snapshot(&registry);
        }
        let mut memory = lock(&self.shared.memory);
        entries.iter().for_each(|entry| note_history(&mut memory.history, entry));
        Ok(())
    }

    fn entries(&self, range: impl RangeBounds<u64>, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        if start >= end {
            return Ok(Vec::new());
        }
        let (tail_start, tail) = self.tail(start, end);
        let mut entries = Vec::new();
        let mut bytes = 0;
        if start < tail_start {
            let transaction = self.shared.database.begin_read().map_err(disk)?;
            let log = transaction.open_table(LOG).map_err(disk)?;
            for row in log.range(start..end.min(tail_start)).map_err(disk)? {
                let (_, value) = row.map_err(disk)?;
                bytes += value.value().len();
                if bytes > bytes_max && !entries.is_empty() {
                    return Ok(entries);
                }
                entries.push(read(value.value())?);
            }
        }
        for entry in tail {
            bytes += if bytes_max == usize::MAX { 0 } else { size(&entry) };
            if bytes > bytes_max && !entries.is_empty() {
                return Ok(entries);
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Where the part in memory begins, and what it has of the range.
    fn tail(&self, start: u64, end: u64) -> (u64, Vec<LogEntry>) {
        let memory = lock(&self.shared.memory);
        let tail_start = memory.tail.keys().next().copied().unwrap_or(memory.written_to());
        let from = start.max(tail_start);
        let entries = if from < end {
            memory.tail.range(from..end).map(|(_, e)| e.clone()).collect()
        } else {
            Vec::new()
        };
        (tail_start, entries)
    }
}

/// About how long an entry is when written; exact for those whose size matters, which carry evidence.
fn size(entry: &LogEntry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(e) => match &e.body {
            Body::Deaths(_) => to_bytes(e).len(),
            Body::Join { candidate, .. } => {
                256 + candidate.tags.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
            }
            Body::Found { .. }
            | Body::SeedDirectory { .. }
            | Body::SeedAdd { .. }
            | Body::SeedRemove(_)
            | Body::Leave(_) => 256,
        },
        EntryPayload::Blank | EntryPayload::Membership(_) => 256,
    }
}

fn position(id: Option<LogId>) -> LogPosition {
    id.map_or_else(LogPosition::default, |id| LogPosition { term: id.leader_id.term, index: id.index })
}

fn note_history(history: &mut Option<History>, entry: &LogEntry) {
    if let EntryPayload::Normal(normal) = &entry.payload {
        note_entry(history, entry.log_id.index, normal);
    }
}

fn load(database: &Database) -> io::Result<Memory> {
    let transaction = database.begin_read().map_err(disk)?;
    let meta = transaction.open_table(META).map_err(disk)?;
    let get = |key: &str| -> io::Result<Option<Vec<u8>>> {
        Ok(meta.get(key).map_err(disk)?.map(|value| value.value().to_vec()))
    };
    let vote = get("vote")?.map(|bytes| read(&bytes)).transpose()?;
    let committed = get("committed")?.map(|bytes| read(&bytes)).transpose()?;
    let purged: Option<LogId> = get("purged")?.map(|bytes| read(&bytes)).transpose()?;
    let log = transaction.open_table(LOG).map_err(disk)?;
    let last = match log.last().map_err(disk)? {
        Some((_, value)) => Some(read::<LogEntry>(value.value())?.log_id),
        None => purged,
    };
    let about = get("snapshot_meta")?.map(|bytes| read::<SnapshotMeta>(&bytes)).transpose()?;
    let snapshot = about.and_then(|about| about.last_log_id);
    let (tail, written) = (BTreeMap::new(), last);
    Ok(Memory { vote, committed, purged, last, tail, written, snapshot, history: None, commits: (0, 0) })
}

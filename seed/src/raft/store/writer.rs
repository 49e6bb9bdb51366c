//! The thread that writes: what has gathered, with one durable commit, and then who waits is told.

use std::io;
use std::sync::{Mutex, mpsc};

use coterie_common::codec::to_bytes;
use openraft::storage::IOFlushed;
use redb::{Database, Durability};
use tokio::sync::oneshot;

use super::{LOG, META, Memory, lock};
use crate::raft::{LogId, Types};

/// Written entries that are kept decoded, for followers that lag a little.
const KEPT_DECODED: usize = 4_096;

/// Requests that one commit takes at most.
const COMMIT_MAX: usize = 1_024;

/// What is to be written, and whom to tell.
pub(super) enum Request {
    Append {
        entries: Vec<(u64, Vec<u8>)>,
        done: IOFlushed<Types>,
    },
    Vote {
        vote: Vec<u8>,
        done: Done,
    },
    /// Never worth a commit of its own: it goes with the next.
    Committed(Vec<u8>),
    Truncate {
        from: u64,
        done: Done,
    },
    Purge {
        upto: LogId,
        done: Done,
    },
    Snapshot {
        meta: Vec<u8>,
        data: Vec<u8>,
        done: Done,
    },
}

pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// The writer thread: takes what has gathered, commits it, tells who waits.
pub(super) fn write_loop(database: &Database, memory: &Mutex<Memory>, requests: &mpsc::Receiver<Request>) {
    let mut failed: Option<String> = None;
    let mut committed: Option<Vec<u8>> = None;
    while let Ok(first) = requests.recv() {
        let mut batch = vec![first];
        while let (true, Ok(next)) = (batch.len() < COMMIT_MAX, requests.try_recv()) {
            batch.push(next);
        }
        for request in &batch {
            if let Request::Committed(bytes) = request {
                committed = Some(bytes.clone());
            }
        }
        if batch.iter().all(|request| matches!(request, Request::Committed(_))) {
            continue;
        }
        if failed.is_none() {
            match commit(database, &batch, committed.take().as_deref()) {
                Ok(()) => note_written(&mut lock(memory), &batch),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        batch.into_iter().for_each(|request| tell(request, failed.as_deref()));
    }
    if let (Some(bytes), None) = (committed, failed) {
        // Only saves the next start some work; what it could lose is found again from the other seeds.
        let _ = commit(database, &[], Some(&bytes));
    }
}

fn commit(database: &Database, batch: &[Request], committed: Option<&[u8]>) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let mut log = write.open_table(LOG)?;
        let mut meta = write.open_table(META)?;
        for request in batch {
            match request {
                Request::Append { entries, .. } => {
                    for (index, bytes) in entries {
                        log.insert(index, bytes.as_slice())?;
                    }
                }
                Request::Vote { vote, .. } => {
                    meta.insert("vote", vote.as_slice())?;
                }
                Request::Truncate { from, .. } => log.retain_in(*from.., |_, _| false)?,
                Request::Purge { upto, .. } => {
                    log.retain_in(..=upto.index, |_, _| false)?;
                    meta.insert("purged", to_bytes(upto).as_slice())?;
                }
                Request::Snapshot { meta: about, data, .. } => {
                    meta.insert("snapshot_meta", about.as_slice())?;
                    meta.insert("snapshot", data.as_slice())?;
                }
                Request::Committed(_) => {}
            }
        }
        if let Some(bytes) = committed {
            meta.insert("committed", bytes)?;
        }
    }
    write.commit()?;
    Ok(())
}

fn note_written(memory: &mut Memory, batch: &[Request]) {
    for request in batch {
        match request {
            Request::Append { entries, .. } => {
                memory.written_to = entries.last().map_or(memory.written_to, |(index, _)| index + 1);
            }
            Request::Truncate { from, .. } => memory.written_to = memory.written_to.min(*from),
            Request::Purge { upto, .. } => memory.written_to = memory.written_to.max(upto.index + 1),
            Request::Vote { .. } | Request::Committed(_) | Request::Snapshot { .. } => {}
        }
    }
    while memory.tail.len() > KEPT_DECODED
        && memory.tail.first_key_value().is_some_and(|(index, _)| *index < memory.written_to)
    {
        memory.tail.pop_first();
    }
}

fn tell(request: Request, failed: Option<&str>) {
    let result = || failed.map_or(Ok(()), |error| Err(io::Error::other(error.to_owned())));
    match request {
        Request::Append { done, .. } => done.io_completed(result()),
        Request::Vote { done, .. }
        | Request::Truncate { done, .. }
        | Request::Purge { done, .. }
        | Request::Snapshot { done, .. } => {
            let _ = done.send(result());
        }
        Request::Committed(_) => {}
    }
}

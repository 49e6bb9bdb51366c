//! What openraft wants of a log.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;

use coterie_common::codec::to_bytes;
use coterie_common::limits::APPEND_BYTES_MAX;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};

use super::writer::Write;
use super::{Store, after, lock, note_history};
use crate::raft::{LogEntry, LogId, Types, Vote};

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        self.entries(range, usize::MAX)
    }

    /// By bytes, not by count: an append with the evidence of many deaths in it must still fit a frame.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<LogEntry>, io::Error> {
        self.entries(start..end, APPEND_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(lock(&self.shared.memory).vote)
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let memory = lock(&self.shared.memory);
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let bytes = to_bytes(vote);
        self.ask(|done| Write::Vote { vote: bytes, done }).await?;
        lock(&self.shared.memory).vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        lock(&self.shared.memory).committed = committed;
        match committed {
            Some(committed) => self.send(Write::Committed(to_bytes(&committed))),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(lock(&self.shared.memory).committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        {
            let mut memory = lock(&self.shared.memory);
            for entry in entries {
                encoded.push((entry.log_id, to_bytes(&entry)));
                note_history(&mut memory.history, &entry);
                memory.last = Some(entry.log_id);
                memory.tail.insert(entry.log_id.index, entry);
            }
        }
        self.send(Write::Append { entries: encoded, done: callback })
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = after(last_log_id);
        {
            let mut memory = lock(&self.shared.memory);
            memory.tail.split_off(&from);
            if memory.last.is_some_and(|last| last.index >= from) {
                memory.last = last_log_id.max(memory.purged);
            }
        }
        self.ask(|done| Write::Truncate { last: last_log_id, done }).await?;
        self.refresh_history()
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        {
            let mut memory = lock(&self.shared.memory);
            memory.tail = memory.tail.split_off(&(log_id.index + 1));
            memory.purged = memory.purged.max(Some(log_id));
            memory.last = memory.last.max(Some(log_id));
        }
        self.ask(|done| Write::Purge { upto: log_id, done }).await
    }
}

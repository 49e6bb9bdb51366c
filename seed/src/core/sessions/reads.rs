//! Linearizable reads under way: each waits until this seed has applied what was committed when it was asked.
//!
//! The read index of Ongaro's thesis (section 6.4): the leader makes sure that it still leads, and tells how far it had
//! committed; any seed that has applied so much may answer. Left out: reads by a leader's lease, which need clocks that
//! agree.

use std::collections::BTreeMap;

use crate::core::effect::SessionId;

/// The reads that are not answered yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    pending: BTreeMap<u64, Read>,
    /// The number of the last one.
    made: u64,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    session: SessionId,
    /// The index that it waits for, once the log has told.
    index: Option<u64>,
}

impl Reads {
    /// A session asks; returns the number of the read.
    pub(super) fn begin(&mut self, session: SessionId) -> u64 {
        self.made += 1;
        self.pending.insert(self.made, Read { session, index: None });
        self.made
    }

    /// The log told which index a read must wait for. It may be applied already, so the caller looks what is due.
    pub(super) fn wait_for(&mut self, read: u64, index: u64) {
        if let Some(read) = self.pending.get_mut(&read) {
            read.index = Some(index);
        }
    }

    /// Nobody could be sure which: whose read it was. None, if it is over.
    pub(super) fn fail(&mut self, read: u64) -> Option<SessionId> {
        self.pending.remove(&read).map(|read| read.session)
    }

    /// The sessions whose reads may be answered now that so much is applied; these are over. A session may have ended
    /// since it asked; that is for the caller to see.
    pub(super) fn due(&mut self, applied: u64) -> Vec<SessionId> {
        let is_due = |read: &Read| read.index.is_some_and(|index| index <= applied);
        let due: Vec<SessionId> =
            self.pending.values().filter(|read| is_due(read)).map(|read| read.session).collect();
        self.pending.retain(|_, read| !is_due(read));
        due
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self, applied: u64) {
        let is_over = |read: &&Read| read.index.is_some_and(|index| index <= applied);
        let over = self.pending.values().find(is_over);
        assert!(over.is_none(), "a read waits, and entry {applied} is applied: {over:?}");
    }
}

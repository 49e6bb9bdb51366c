//! Committed entries to the core, the core's registry to snapshots.
//!
//! The registry has one owner, the task that runs the core. openraft's state machine is a messenger: it hands over
//! what is committed and waits until it is applied, and asks for a copy when a snapshot is due.

use std::collections::BTreeSet;
use std::io;

use coterie_common::codec::to_bytes;
use coterie_common::message::SeedId;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::{mpsc, oneshot};

use super::runtime::aside;
use super::store::{Store, invalid, read_registry};
use super::{LogEntry, LogId, Membership, Snapshot, SnapshotMeta, Types};
use crate::core::registry::Registry;
use crate::core::{Commit, Payload};

/// Entries that are handed over at once.
const HAND_OVER_MAX: usize = 1_024;

/// What the log asks of the owner of the registry.
#[derive(Debug)]
pub enum StateRequest {
    /// Apply these.
    Apply(Vec<Commit>, oneshot::Sender<()>),
    /// Give a copy.
    Copy(oneshot::Sender<Registry>),
    /// Take this instead.
    Replace(Box<Registry>, oneshot::Sender<()>),
}

/// The state machine as openraft sees it.
pub struct Machine {
    owner: mpsc::Sender<StateRequest>,
    store: Store,
    applied: Option<LogId>,
    membership: Membership,
}

/// One snapshot in the making.
pub struct Builder {
    registry: Option<Registry>,
    meta: SnapshotMeta,
    store: Store,
}

fn gone<E>(_: E) -> io::Error {
    io::Error::other("the seed has ended")
}

impl Machine {
    /// A machine whose registry, owned elsewhere, is that of the last snapshot in `store`.
    pub fn new(owner: mpsc::Sender<StateRequest>, store: Store) -> io::Result<Self> {
        let meta = store.snapshot_bytes()?.map(|(meta, _)| meta);
        let (applied, membership) =
            meta.map_or_else(Default::default, |m| (m.last_log_id, m.last_membership));
        Ok(Machine { owner, store, applied, membership })
    }

    async fn hand_over(
        &mut self,
        commits: &mut Vec<Commit>,
        responders: &mut Vec<Option<ApplyResponder<Types>>>,
    ) -> io::Result<()> {
        let (done, applied) = oneshot::channel();
        self.owner.send(StateRequest::Apply(std::mem::take(commits), done)).await.map_err(gone)?;
        applied.await.map_err(gone)?;
        responders.drain(..).flatten().for_each(|responder| responder.send(()));
        Ok(())
    }

    fn commit(&mut self, entry: LogEntry) -> Commit {
        let is_next = self.applied.is_none_or(|applied| entry.log_id.index > applied.index);
        assert!(is_next, "{} is committed after {:?}", entry.log_id, self.applied);
        self.applied = Some(entry.log_id);
        if let EntryPayload::Membership(membership) = &entry.payload {
            self.membership = Membership::new(Some(entry.log_id), membership.clone());
        }
        commit(entry)
    }
}

/// An entry of the log, as the core takes it.
pub(super) fn commit(entry: LogEntry) -> Commit {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(entry) => Payload::Entry(entry),
        EntryPayload::Membership(membership) => {
            let set = |ids: &BTreeSet<u64>| ids.iter().copied().map(SeedId).collect();
            Payload::Seeds(membership.get_joint_config().iter().map(set).collect())
        }
    };
    Commit { index: entry.log_id.index, payload }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let (mut commits, mut responders) = (Vec::new(), Vec::new());
        while let Some((entry, responder)) = entries.try_next().await? {
            commits.push(self.commit(entry));
            responders.push(responder);
            if commits.len() >= HAND_OVER_MAX {
                self.hand_over(&mut commits, &mut responders).await?;
            }
        }
        if commits.is_empty() { Ok(()) } else { self.hand_over(&mut commits, &mut responders).await }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    /// Nothing is applied while this runs, so the copy and what is said about it belong together.
    async fn get_snapshot_builder(&mut self) -> Builder {
        let (reply, copy) = oneshot::channel();
        let asked = self.owner.send(StateRequest::Copy(reply)).await;
        let registry = if asked.is_ok() { copy.await.ok() } else { None };
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder { registry, meta, store: self.store.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Vec<u8>) -> Result<(), io::Error> {
        let registry = read_registry(&snapshot)?;
        let (last, applied) = (meta.last_log_id.map_or(0, |last| last.index), registry.applied());
        if last != applied {
            return Err(invalid(format!("a snapshot up to entry {last} has one up to {applied} in it")));
        }
        self.store.save_snapshot(meta, snapshot).await?;
        self.store.note_snapshot(&registry);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        let (done, replaced) = oneshot::channel();
        self.owner.send(StateRequest::Replace(Box::new(registry), done)).await.map_err(gone)?;
        replaced.await.map_err(gone)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.store.snapshot_bytes()?.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let registry = self.registry.take().ok_or_else(|| io::Error::other("the seed has ended"))?;
        let snapshot = aside(move || to_bytes(&registry)).await?;
        self.store.save_snapshot(&self.meta, snapshot.clone()).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}

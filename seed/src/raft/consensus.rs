//! What the shell sees of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::message::{LogPosition, SeedId};
use futures_util::StreamExt;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardReason, InitializeError, RaftError};
use openraft::{Config, RaftMetrics, ReadPolicy, SnapshotPolicy};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::machine::{Machine, StateRequest};
use super::network::{Carrier, RaftNetwork, Server, ask_read_index};
use super::runtime::scope;
use super::store::Store;
use super::{LogId, Types};
use crate::core::Entry;
use crate::core::directories::Acknowledged;

/// Just after an election a leader does not take entries yet. So long its own entries are tried again.
const NEW_LEADER_WAIT: Duration = Duration::from_millis(5);

/// How often, before the entry counts as failed.
const NEW_LEADER_TRIES: u32 = 60;

/// How long a linearizable read may take to find its index.
const READ_INDEX_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a new seed may take to catch up before it is given a vote.
const LEARN_TIME_MAX: Duration = Duration::from_secs(4);

/// How long the hand-over of leadership may take at an orderly stop: a failover takes half a second.
const HAND_OVER_TIME_MAX: Duration = Duration::from_millis(500);

/// Entries by which a follower may be behind and still be handed the leadership: as many as it takes in well within
/// [`HAND_OVER_TIME_MAX`], for it stands for election only once it has them. A guess.
const TRANSFER_LAG_MAX: u64 = 64;

/// Timings of the log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// Silence of the leader before another stands for election, drawn between these.
    pub election: (Duration, Duration),
    /// Entries between two snapshots.
    pub snapshot_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            heartbeat: Duration::from_millis(50),
            election: (Duration::from_millis(150), Duration::from_millis(300)),
            snapshot_every: 5_000,
        }
    }
}

/// What the log tells the shell.
#[derive(Debug)]
pub enum Notice {
    /// The leader it knows of, and the term.
    Leader(Option<SeedId>, u64),
    /// This entry was not taken.
    Failed(Entry),
    /// The log has stopped for good: a disk, mostly.
    Fatal(String),
}

type Raft = openraft::Raft<Types, Machine>;

/// The running log.
#[derive(Clone)]
pub struct Consensus {
    me: SeedId,
    raft: Raft,
    server: Server,
    carrier: Arc<dyn Carrier>,
    proposals: mpsc::UnboundedSender<Vec<Entry>>,
}

impl Consensus {
    /// Starts the log of seed `me`. `form` begins a new cluster of these seeds; a log that has begun ignores it.
    pub async fn start(
        (me, options): (SeedId, &Options),
        store: Store,
        owner: mpsc::Sender<StateRequest>,
        carrier: Arc<dyn Carrier>,
        form: Option<Vec<SeedId>>,
        notices: mpsc::Sender<Notice>,
    ) -> io::Result<Self> {
        let machine = Machine::new(owner, store.clone())?;
        let network = RaftNetwork { me, carrier: Arc::clone(&carrier) };
        let raft = Raft::new(me.0, config(options)?, network, store, machine);
        let raft = scope(raft).await.map_err(io::Error::other)?;
        if let Some(seeds) = form {
            let seeds: BTreeMap<u64, ()> = seeds.into_iter().map(|seed| (seed.0, ())).collect();
            match raft.initialize(seeds).await {
                Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        // Bounded by what the core has under way: its ballots.
        let (proposals, proposed) = mpsc::unbounded_channel();
        let server = Server::new(raft.clone());
        tokio::spawn(tell_of_leaders(me, raft.clone(), server.led_in(), notices.clone()));
        tokio::spawn(propose_loop(raft.clone(), proposed, notices));
        Ok(Consensus { me, server, raft, carrier, proposals })
    }

    /// Appends entries, in this order. Those that are not taken come back as notices; those that are, as commits.
    pub fn propose(&self, entries: Vec<Entry>) {
        let _ = self.proposals.send(entries);
    }

    /// Answers what another seed's log asks.
    pub async fn answer(&self, request: Bytes) -> Bytes {
        self.server.answer(request).await
    }

    /// The index that a linearizable read must wait for, asked of `leader`.
    pub async fn read_index(&self, leader: Option<SeedId>) -> Option<u64> {
        match leader {
            Some(leader) if leader != self.me => {
                ask_read_index(self.carrier.as_ref(), leader, READ_INDEX_TIME_MAX).await
            }
            _ => {
                let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
                let linearizer = timeout(READ_INDEX_TIME_MAX, linearizer).await.ok()?.ok()?;
                Some(linearizer.read_log_id().index())
            }
        }
    }

    /// Changes the voters to these, by joint consensus: those that are new catch up first, without a vote. Asked again,
    /// it goes on from wherever the last attempt came to, a joint configuration included.
    pub async fn change_voters(&self, voters: BTreeSet<SeedId>) -> Result<(), String> {
        let known = {
            let metrics = self.raft.metrics();
            let metrics: RaftMetrics<Types> = metrics.borrow_watched().clone();
            metrics.membership_config.membership().clone()
        };
        for new in voters.iter().filter(|id| known.get_node(&id.0).is_none()) {
            let learns = self.raft.add_learner(new.0, (), true);
            match timeout(LEARN_TIME_MAX, learns).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err(format!("seed {new} did not catch up")),
            }
        }
        let ids: BTreeSet<u64> = voters.iter().map(|id| id.0).collect();
        self.raft.change_membership(ids, false).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// What a follower has acknowledged, as far as this seed knows because it leads.
    pub fn acknowledged_by(&self, seed: SeedId) -> Option<Acknowledged> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = (*metrics.replication.as_ref()?.get(&seed.0)?)?;
        let committed = metrics.last_applied.map(|applied| applied.min(matched));
        let position = |id: LogId| LogPosition { term: id.leader_id.term, index: id.index };
        Some(Acknowledged {
            term: metrics.current_term,
            last: position(matched),
            committed: committed.map(position).unwrap_or_default(),
        })
    }

    /// Takes a snapshot now.
    pub async fn snapshot(&self) {
        let _ = self.raft.trigger().snapshot().await;
    }

    /// Hands leadership to the follower that has the most of the log, if this seed leads, and stops the log.
    pub async fn stop(&self) {
        if let Some(transfer_target) = self.transfer_target() {
            let moved = async {
                let mut metrics = self.raft.server_metrics();
                let _ = self.raft.trigger().transfer_leader(transfer_target).await;
                while metrics.borrow_watched().current_leader == Some(self.me.0) {
                    if metrics.changed().await.is_err() {
                        return;
                    }
                }
            };
            let _ = timeout(HAND_OVER_TIME_MAX, moved).await;
        }
        let _ = self.raft.shutdown().await;
    }

    /// A follower that is alive: handing over to a dead one would leave the cluster without a leader for longer
    /// than a plain failover.
    fn transfer_target(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics: RaftMetrics<Types> = metrics.borrow_watched().clone();
        if metrics.current_leader != Some(self.me.0) {
            return None;
        }
        let replication = metrics.replication?;
        let others = replication.into_iter().filter(|(id, _)| *id != self.me.0);
        let (transfer_target, matched) = others.max_by_key(|(_, matched)| matched.map(|id| id.index))?;
        let lag = metrics.last_log_index.unwrap_or(0).saturating_sub(matched.map_or(0, |id| id.index));
        (lag <= TRANSFER_LAG_MAX).then_some(transfer_target)
    }
}

fn config(options: &Options) -> io::Result<Arc<Config>> {
    let millis = |time: Duration| time.as_millis() as u64;
    let config = Config {
        cluster_name: "coterie".to_owned(),
        heartbeat_interval: millis(options.heartbeat),
        election_timeout_min: millis(options.election.0),
        election_timeout_max: millis(options.election.1),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        install_snapshot_timeout: 30_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every),
        max_in_snapshot_log_to_keep: 1_000.min(options.snapshot_every),
        purge_batch_size: 256.min(options.snapshot_every),
        ..Config::default()
    };
    Ok(Arc::new(config.validate().map_err(io::Error::other)?))
}

/// Tells of leaders, and of the end. A leader that this seed knows from its disk alone is none: it counts once it has
/// spoken. This seed itself counts once it has applied an entry of its own term: by then its registry is as new as
/// everything that was ever committed, and what it is asked can be judged by it.
async fn tell_of_leaders(
    me: SeedId,
    raft: Raft,
    mut led_in: watch::Receiver<u64>,
    notices: mpsc::Sender<Notice>,
) {
    let mut metrics = raft.metrics();
    let mut told = None;
    loop {
        let (leader, term, fatal) = {
            let now = metrics.borrow_watched();
            let fatal = now.running_state.as_ref().err().map(ToString::to_string);
            let leader = now.current_leader.map(SeedId);
            // Of another term, it was somebody else: the metrics have not come as far as what was heard.
            let has_spoken = *led_in.borrow_and_update() == now.current_term;
            let is_caught_up = now.last_applied.is_some_and(|id| id.leader_id.term == now.current_term);
            let counts = |leader: &SeedId| if *leader == me { is_caught_up } else { has_spoken };
            (leader.filter(counts), now.current_term, fatal)
        };
        if let Some(fatal) = fatal {
            let _ = notices.send(Notice::Fatal(fatal)).await;
            return;
        }
        if told != Some((leader, term)) {
            told = Some((leader, term));
            if notices.send(Notice::Leader(leader, term)).await.is_err() {
                return;
            }
        }
        let changed = tokio::select! {
            changed = metrics.changed() => changed.is_ok(),
            Ok(()) = led_in.changed() => true,
        };
        if !changed {
            return;
        }
    }
}

/// Appends what comes, in the order in which it comes, without waiting for one batch to be committed before the
/// next is appended.
async fn propose_loop(
    raft: Raft,
    mut proposed: mpsc::UnboundedReceiver<Vec<Entry>>,
    notices: mpsc::Sender<Notice>,
) {
    while let Some(mut entries) = proposed.recv().await {
        while let Ok(more) = proposed.try_recv() {
            entries.extend(more);
        }
        match raft.client_write_many(entries.clone()).await {
            Ok(mut results) => {
                let (raft, notices) = (raft.clone(), notices.clone());
                tokio::spawn(async move {
                    for entry in entries {
                        let result = results.next().await;
                        let failure = match result {
                            Some(Ok(Ok(_))) => continue,
                            Some(Ok(Err(error))) => Some(error),
                            Some(Err(_)) | None => None,
                        };
                        tokio::spawn(try_again(raft.clone(), entry, failure, notices.clone()));
                    }
                });
            }
            Err(_) => {
                for entry in entries {
                    let _ = notices.send(Notice::Failed(entry)).await;
                }
            }
        }
    }
}

/// An entry was not taken. If it was refused only because the leader is new, it is tried again.
async fn try_again(
    raft: Raft,
    entry: Entry,
    failure: Option<ClientWriteError<Types>>,
    notices: mpsc::Sender<Notice>,
) {
    let is_too_new = |error: &ClientWriteError<Types>| {
        let ClientWriteError::ForwardToLeader(to) = error else { return false };
        to.reason == ForwardReason::LeaseExpired
    };
    let mut retry = failure.as_ref().is_some_and(is_too_new);
    let mut tries = 0;
    while retry && tries < NEW_LEADER_TRIES {
        tries += 1;
        sleep(NEW_LEADER_WAIT).await;
        retry = match raft.client_write(entry.clone()).await {
            Ok(_) => return,
            Err(RaftError::APIError(error)) => is_too_new(&error),
            Err(RaftError::Fatal(_)) => false,
        };
    }
    let _ = notices.send(Notice::Failed(entry)).await;
}

//! openraft's messages over the seeds' mesh.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use coterie_common::codec::{from_bytes, to_bytes};
use coterie_common::limits::SNAPSHOT_CHUNK_BYTES;
use coterie_common::message::SeedId;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2, ReadPolicy};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::machine::Machine;
use super::{Snapshot, SnapshotMeta, Types, Vote};

/// How long an append may take: openraft's own limit, one heartbeat, is shorter than a busy disk's fsync.
const APPEND_TIME_MAX: Duration = Duration::from_secs(2);

/// How long one piece of a snapshot may take; the last one includes its installation.
const SNAPSHOT_PIECE_TIME_MAX: Duration = Duration::from_secs(30);

/// How long to leave a seed alone that could not be reached.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(100);

/// Carries requests to other seeds and their replies back.
pub trait Carrier: Send + Sync + 'static {
    /// Sends a request; the reply comes on the receiver, which fails when the seed cannot be reached.
    fn call(&self, to: SeedId, request: Bytes) -> oneshot::Receiver<Bytes>;
}

/// What one seed's log asks of another's.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    Snapshot { vote: Vote, meta: SnapshotMeta, offset: u64, piece: Vec<u8>, last: bool },
    ReadIndex,
}

/// The answers.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
enum Reply {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    MoreOfSnapshot,
    ReadIndex(Option<u64>),
    Failed(String),
}

type Raft = openraft::Raft<Types, Machine>;

/// Answers what other seeds' logs ask of this one's.
#[derive(Clone)]
pub(super) struct Server {
    raft: Raft,
    /// Snapshots that are arriving, by the vote of who sends them.
    arriving: Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>,
    /// The latest term whose leader has spoken to this seed since it started.
    led_in: Arc<watch::Sender<u64>>,
}

impl Server {
    pub(super) fn new(raft: Raft) -> Self {
        Server { raft, arriving: Arc::default(), led_in: Arc::new(watch::Sender::new(0)) }
    }

    /// The latest term whose leader has spoken to this seed since it started, and its changes.
    pub(super) fn led_in(&self) -> watch::Receiver<u64> {
        self.led_in.subscribe()
    }

    /// A leader of `term` has spoken.
    fn note_leader(&self, vote: &Vote) {
        let term = vote.leader_id.term;
        self.led_in.send_if_modified(|latest| {
            let newer = term > *latest;
            *latest = term.max(*latest);
            newer
        });
    }

    pub(super) async fn answer(&self, request: Bytes) -> Bytes {
        let reply = match from_bytes::<Request>(&request) {
            Ok(request) => self.handle(request).await.unwrap_or_else(Reply::Failed),
            Err(error) => Reply::Failed(error.to_string()),
        };
        Bytes::from(to_bytes(&reply))
    }

    async fn handle(&self, request: Request) -> Result<Reply, String> {
        let raft = &self.raft;
        match request {
            Request::Append(request) => {
                self.note_leader(&request.vote);
                raft.append_entries(request).await.map(Reply::Append).map_err(text)
            }
            Request::Vote(request) => raft.vote(request).await.map(Reply::Vote).map_err(text),
            Request::PreVote(request) => raft.pre_vote(request).await.map(Reply::Vote).map_err(text),
            Request::Transfer(request) => {
                raft.handle_transfer_leader(request).await.map(Reply::Transfer).map_err(text)
            }
            Request::Snapshot { vote, meta, offset, piece, last } => {
                self.note_leader(&vote);
                let Some(snapshot) = self.assemble(&vote, offset, &piece, last)? else {
                    return Ok(Reply::MoreOfSnapshot);
                };
                let snapshot = Snapshot { meta, snapshot };
                raft.install_full_snapshot(vote, snapshot).await.map(Reply::Snapshot).map_err(text)
            }
            Request::ReadIndex => {
                let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
                Ok(Reply::ReadIndex(linearizer.ok().map(|l| l.read_log_id().index())))
            }
        }
    }

    /// Adds a piece of a snapshot; the whole of it, once it is whole.
    fn assemble(
        &self,
        vote: &Vote,
        offset: u64,
        piece: &[u8],
        last: bool,
    ) -> Result<Option<Vec<u8>>, String> {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        let key = to_bytes(vote);
        if offset == 0 {
            // A new one from this leader, or a new leader: nobody else's will ever be whole.
            arriving.clear();
        }
        let so_far = arriving.entry(key.clone()).or_default();
        if so_far.len() as u64 != offset {
            return Err(format!("snapshot piece at {offset}, but {} bytes are here", so_far.len()));
        }
        so_far.extend_from_slice(piece);
        Ok(if last { arriving.remove(&key) } else { None })
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Makes clients for openraft.
pub(super) struct RaftNetwork {
    pub(super) me: SeedId,
    pub(super) carrier: Arc<dyn Carrier>,
}

/// openraft's way to one other seed.
pub struct Client {
    me: SeedId,
    to: SeedId,
    carrier: Arc<dyn Carrier>,
}

impl RaftNetworkFactory<Types> for RaftNetwork {
    type Network = Client;

    async fn new_client(&mut self, target: u64, _node: &()) -> Client {
        Client { me: self.me, to: SeedId(target), carrier: Arc::clone(&self.carrier) }
    }
}

/// Asks the leader for the index that a linearizable read must wait for.
pub(super) async fn ask_read_index(carrier: &dyn Carrier, leader: SeedId, patience: Duration) -> Option<u64> {
    let reply = carrier.call(leader, Bytes::from(to_bytes(&Request::ReadIndex)));
    match from_bytes(&timeout(patience, reply).await.ok()?.ok()?) {
        Ok(Reply::ReadIndex(index)) => index,
        Ok(_) | Err(_) => None,
    }
}

impl Client {
    async fn ask(
        &self,
        kind: RPCTypes,
        request: &Request,
        patience: Duration,
    ) -> Result<Reply, RPCError<Types>> {
        let reply = self.carrier.call(self.to, Bytes::from(to_bytes(request)));
        let reply = timeout(patience, reply).await.map_err(|_| {
            RPCError::Timeout(Timeout { action: kind, id: self.me.0, target: self.to.0, timeout: patience })
        })?;
        let reply = reply.map_err(|_| unreachable(format!("seed {} is not connected", self.to)))?;
        match from_bytes(&reply) {
            Ok(Reply::Failed(reason)) => Err(unreachable(reason)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(unreachable(error.to_string())),
        }
    }
}

fn unreachable(reason: String) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string(reason))
}

fn unexpected() -> RPCError<Types> {
    RPCError::Network(NetworkError::from_string("a reply to something else"))
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let patience = option.hard_ttl().max(APPEND_TIME_MAX);
        match self.ask(RPCTypes::AppendEntries, &Request::Append(request), patience).await? {
            Reply::Append(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(RPCTypes::Vote, &Request::Vote(request), option.hard_ttl()).await? {
            Reply::Vote(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(RPCTypes::Vote, &Request::PreVote(request), option.hard_ttl()).await? {
            Reply::Vote(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let Snapshot { meta, snapshot: data } = snapshot;
        let mut cancel = std::pin::pin!(cancel);
        let mut offset = 0;
        loop {
            let end = (offset + SNAPSHOT_CHUNK_BYTES).min(data.len());
            let last = end == data.len();
            let piece = data[offset..end].to_vec();
            let request = Request::Snapshot { vote, meta: meta.clone(), offset: offset as u64, piece, last };
            let reply = tokio::select! {
                closed = &mut cancel => return Err(StreamingError::Closed(closed)),
                reply = self.ask(RPCTypes::InstallSnapshot, &request, SNAPSHOT_PIECE_TIME_MAX) => reply?,
            };
            match reply {
                Reply::Snapshot(reply) => return Ok(reply),
                Reply::MoreOfSnapshot if !last => offset = end,
                _ => return Err(unexpected().into()),
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.ask(RPCTypes::TransferLeader, &Request::Transfer(request), option.hard_ttl() * 2).await? {
            Reply::Transfer(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE)))
    }
}

//! The task that owns a seed's core.

mod handle;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coterie_common::clock::{Clock, entropy, wall};
use coterie_common::codec::{self, VERSION};
use coterie_common::limits::INBOX_FRAMES_MAX;
use coterie_common::message::{Answer, Candidate, MeshMessage, SeedHello, SeedId};
use coterie_common::net::icmp::Pinger;
use coterie_common::net::process::Failure;
use coterie_common::net::{Event, Journal, JournalOptions, Outbox, Prober, listener};
use coterie_common::seed_list::{SeedEntry, split_host_port};
use coterie_common::{
    Address, Backoff, Finding, HostEvidence, Instant, Line, Message, Patience, ProbeOrder, Role, Wire,
    majority,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::mesh::Mesh;
use crate::core::formation::{Decision, decide};
use crate::core::{Config, Effect, Entry, Input, Registry, Seed, SessionId};
use crate::raft::store::Identity;
use crate::raft::{self, Consensus, Notice, StateRequest, Store};

pub use handle::Handle;

/// How long to wait before another seed is dialled again.
const REDIAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often a seed that cannot begin says for whom it waits, and a refused connection why.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// What is handled before the core's deadline is looked at again.
const BATCH_MAX: usize = 256;

/// How a seed probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// Over sockets.
    Sockets,
    /// Everybody is alive: for measuring what everything else costs.
    Assumed,
}

/// What a seed needs to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// This seed, as the list names it.
    pub own: SeedEntry,
    /// Where it is to be reached.
    pub address: Address,
    /// All seeds.
    pub list: Vec<SeedEntry>,
    /// The file that the list is from, for the first line of the log.
    pub config: String,
    /// Where the log is kept.
    pub data: PathBuf,
    /// How the journal is kept.
    pub journal: JournalOptions,
    /// How long silence is borne.
    pub patience: Patience,
    /// Timings of the log.
    pub raft: raft::Options,
    /// How it probes.
    pub probing: Probing,
}

type Look = (Registry, Option<SeedId>, BTreeMap<&'static str, u64>);

#[derive(Debug)]
enum Arrival {
    Accepted(TcpStream),
    Dialled(SeedId, Result<TcpStream, String>),
    Probed(ProbeOrder, Finding, HostEvidence),
    ReadReady(u64, Option<u64>),
    Started(Box<std::io::Result<ConsensusBox>>),
    Register(Candidate, oneshot::Sender<Answer>),
    Look(oneshot::Sender<Look>),
    TakeSnapshot,
    Stop,
    Stopped,
}

/// [`Consensus`], which has nothing to show of itself.
struct ConsensusBox(Consensus);

impl std::fmt::Debug for ConsensusBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Consensus")
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Accepted, and nothing said yet.
    New,
    /// A session, or a question.
    Session(Wire),
    /// Dialled by this seed.
    MeshOut(SeedId),
    /// Dialled by another seed.
    MeshIn(SeedId),
}

#[derive(Debug)]
struct Connection {
    outbox: Outbox,
    kind: Kind,
}

/// Runs a seed until `shutdown`, then stops it in order.
pub async fn run(
    listener: std::net::TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (node, handle) = Node::new(listener, options)?;
    let mut running = tokio::spawn(node.run());
    tokio::select! {
        ended = &mut running => return ended.map_err(Failure::running)?,
        () = shutdown => handle.stop().await,
    }
    running.await.map_err(Failure::running)?
}

/// Starts a seed in this process.
pub fn start(
    listener: std::net::TcpListener,
    options: Options,
) -> Result<(Handle, tokio::task::JoinHandle<Result<(), Failure>>), Failure> {
    let (node, handle) = Node::new(listener, options)?;
    Ok((handle, tokio::spawn(node.run())))
}

/// Both ends of a queue into the node's task.
type Queue<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

struct Node {
    options: Options,
    id: SeedId,
    ids: BTreeMap<SeedId, SeedEntry>,
    identity: Identity,
    clock: Clock,
    core: Seed,
    journal: Arc<Journal>,
    store: Store,
    mesh: Arc<Mesh>,
    prober: Prober,
    consensus: Option<Consensus>,
    starting: bool,
    stopping: bool,
    stopped: bool,
    /// What the other seeds said last, while they are connected.
    hellos: BTreeMap<SeedId, SeedHello>,
    told_history: Option<coterie_common::message::History>,
    redials: BTreeMap<SeedId, Backoff>,
    connections: BTreeMap<u64, Connection>,
    last_connection: u64,
    proposals: Vec<Entry>,
    replies: BTreeMap<u64, oneshot::Sender<Answer>>,
    last_request: u64,
    said: BTreeMap<String, Instant>,
    /// Accepts connections, for as long as this lives.
    _accepting: JoinSet<()>,
    inbox: Queue<(u64, Event)>,
    arrivals: Queue<Arrival>,
    states: Queue<StateRequest>,
    notices: Queue<Notice>,
}

/// The log's own seeds rule; a list that differs is worth a warning.
fn seeds_in_force(
    listed: BTreeMap<SeedId, SeedEntry>,
    logged: Option<BTreeMap<SeedId, String>>,
) -> BTreeMap<SeedId, SeedEntry> {
    let Some(logged) = logged else { return listed };
    let parse = |(id, name): (SeedId, String)| {
        let (host, port) = split_host_port(&name).ok()?;
        Some((id, SeedEntry { host: host.to_owned(), port: port.parse().ok()?, key: None }))
    };
    let logged: BTreeMap<SeedId, SeedEntry> = logged.into_iter().filter_map(parse).collect();
    let names = |seeds: &BTreeMap<SeedId, SeedEntry>| {
        seeds.values().map(ToString::to_string).collect::<BTreeSet<_>>()
    };
    if names(&logged) != names(&listed) {
        tracing::warn!("the seed list differs from the log, which rules: {:?}", names(&logged));
    }
    logged
}

impl Node {
    fn new(listener: std::net::TcpListener, options: Options) -> Result<(Self, Handle), Failure> {
        let data = options.data.display().to_string();
        let problem = |what: &'static str, e: std::io::Error| Failure::running(format!("{what} {data}: {e}"));
        let mut names: Vec<&SeedEntry> = options.list.iter().collect();
        names.sort_by_key(ToString::to_string);
        let ids: BTreeMap<SeedId, SeedEntry> =
            names.into_iter().enumerate().map(|(rank, seed)| (SeedId(rank as u64), seed.clone())).collect();
        let rank = ids.iter().find(|(_, seed)| **seed == options.own).map(|(id, _)| *id);
        let rank = rank.ok_or_else(|| Failure::usage(format!("{} is not in the seed list", options.own)))?;
        let store = Store::open(&options.data).map_err(|e| problem("data directory", e))?;
        let chance = entropy();
        let birth = u64::from_le_bytes(chance[..8].try_into().unwrap_or_default()) | 1;
        let identity =
            store.identity(Identity { id: rank, birth }).map_err(|e| problem("data directory", e))?;
        let ids = seeds_in_force(ids, store.logged_seeds());
        let registry = store.snapshot().map_err(|e| problem("data directory", e))?;
        let clock = Clock::start();
        let config = Config {
            id: identity.id,
            address: options.address,
            seeds: ids.iter().map(|(id, seed)| (*id, seed.to_string())).collect(),
            birth: identity.birth,
            errands_from: u64::from_le_bytes(chance[8..16].try_into().unwrap_or_default()) >> 1,
            patience: options.patience,
            printed: store.last_index(),
            started: wall(),
        };
        let core = Seed::new(config, registry.unwrap_or_default(), entropy());
        let journal = Journal::open(Role::Seed, options.address, &options.journal)?;
        let (pinger, trouble) = Pinger::new();
        if let Some(trouble) = trouble {
            tracing::warn!("{trouble}");
        }
        let arrivals = mpsc::channel(INBOX_FRAMES_MAX);
        let mut accepting = JoinSet::new();
        accepting.spawn(listener::feed(
            TcpListener::from_std(listener)?,
            arrivals.0.clone(),
            Arrival::Accepted,
        ));
        let handle = Handle::new(arrivals.0.clone());
        let node = Node {
            id: identity.id,
            ids,
            identity,
            clock,
            core,
            journal: Arc::new(journal),
            store,
            mesh: Arc::new(Mesh::new(options.address)),
            prober: Prober::new(options.address, Arc::new(pinger)),
            consensus: None,
            starting: false,
            stopping: false,
            stopped: false,
            hellos: BTreeMap::new(),
            told_history: None,
            redials: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_connection: 0,
            proposals: Vec::new(),
            replies: BTreeMap::new(),
            last_request: 0,
            said: BTreeMap::new(),
            _accepting: accepting,
            inbox: mpsc::channel(INBOX_FRAMES_MAX),
            arrivals,
            states: mpsc::channel(16),
            notices: mpsc::channel(64),
            options,
        };
        Ok((node, handle))
    }

    async fn run(mut self) -> Result<(), Failure> {
        self.journal.log(
            &Line::new("LISTENING")
                .with("address", self.options.address)
                .with("config", self.options.config.as_str())
                .with("quorum", majority(self.ids.len()))
                .with("http", "off")
                .show("data", self.options.data.display()),
        );
        for seed in self.ids.keys().copied().filter(|id| *id != self.id).collect::<Vec<_>>() {
            self.redials.insert(seed, Backoff::new(REDIAL.0, REDIAL.1));
            self.dial(seed, Duration::ZERO);
        }
        self.begin_if_decided()?;
        let result = self.serve().await;
        self.journal.log(&Line::new("SHUTTING_DOWN").with("message", "Shutting down."));
        self.journal.close();
        result
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        loop {
            let deadline = self.clock.timer(self.core.next_deadline());
            tokio::select! {
                biased;
                Some(request) = self.states.1.recv() => self.on_state_request(request),
                Some(notice) = self.notices.1.recv() => self.on_notice(notice)?,
                Some((id, event)) = self.inbox.1.recv() => self.on_event(id, event)?,
                Some(arrival) = self.arrivals.1.recv() => self.on_arrival(arrival)?,
                () = tokio::time::sleep_until(deadline) => self.step(Input::Wake),
            }
            self.take_what_waits()?;
            self.propose();
            if self.stopped {
                return Ok(());
            }
        }
    }

    /// Handles what has arrived meanwhile too, so that what it leads to goes out together, and so that no flood of
    /// frames keeps the results of probes, or a new connection, from being looked at.
    fn take_what_waits(&mut self) -> Result<(), Failure> {
        for _ in 0..BATCH_MAX {
            if let Ok(request) = self.states.1.try_recv() {
                self.on_state_request(request);
            } else if let Ok((id, event)) = self.inbox.1.try_recv() {
                self.on_event(id, event)?;
            } else {
                break;
            }
        }
        for _ in 0..BATCH_MAX {
            match self.arrivals.1.try_recv() {
                Ok(arrival) => self.on_arrival(arrival)?,
                Err(_) => break,
            }
        }
        while let Ok(notice) = self.notices.1.try_recv() {
            self.on_notice(notice)?;
        }
        Ok(())
    }

    fn propose(&mut self) {
        if let (Some(consensus), false) = (&self.consensus, self.proposals.is_empty()) {
            consensus.propose(std::mem::take(&mut self.proposals));
        }
    }

    // ---- the core ----

    fn step(&mut self, input: Input) {
        for effect in self.core.step(self.clock.now(), input) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Log(line) => self.journal.log(&line),
            Effect::Send { to, message } => self.say(to.0, &message),
            Effect::Push { to, message } => self.push(to, &message),
            Effect::Close { session, reason } => {
                self.say(session.0, &Message::Close(reason));
                if let Some(connection) = self.connections.remove(&session.0) {
                    connection.outbox.close();
                }
            }
            Effect::ToSeed { to, message } => self.mesh.say(to, message),
            Effect::Propose(entry) => self.proposals.push(entry),
            Effect::Probe(order) => self.probe(order),
            Effect::ReadIndex(read) => self.read_index(read),
            Effect::Reply { request, answer } => {
                if let Some(reply) = self.replies.remove(&request) {
                    let _ = reply.send(answer);
                }
            }
        }
    }

    fn say(&mut self, id: u64, message: &Message) {
        let Some(connection) = self.connections.get(&id) else { return };
        let wire = match connection.kind {
            Kind::Session(wire) => wire,
            Kind::New | Kind::MeshOut(_) | Kind::MeshIn(_) => Wire::Native,
        };
        if connection.outbox.say(message, wire, self.options.address).is_err() {
            self.cut_off(id);
        }
    }

    /// Encodes once for each way of speaking, and asks each session to tell when it is written.
    fn push(&mut self, to: Vec<SessionId>, message: &Message) {
        let mut encoded: BTreeMap<Wire, bytes::Bytes> = BTreeMap::new();
        for SessionId(id) in to {
            let Some(connection) = self.connections.get(&id) else { continue };
            let Kind::Session(wire) = connection.kind else { continue };
            let me = self.options.address;
            let frames = encoded.entry(wire).or_insert_with(|| codec::encode(message, wire, me)).clone();
            if connection.outbox.send(frames).and_then(|()| connection.outbox.mark()).is_err() {
                self.cut_off(id);
            }
        }
    }

    /// A remote that does not read is not waited for.
    fn cut_off(&mut self, id: u64) {
        self.core.count("connections_cut_off");
        if let Some(connection) = self.connections.remove(&id) {
            connection.outbox.cut();
            if let Kind::Session(_) = connection.kind {
                self.step(Input::SessionClosed(SessionId(id)));
            }
        }
    }

    fn probe(&self, order: ProbeOrder) {
        let (prober, arrivals, probing) =
            (self.prober.clone(), self.arrivals.0.clone(), self.options.probing);
        tokio::spawn(async move {
            let (finding, host) = match probing {
                Probing::Sockets => prober.probe(order).await,
                Probing::Assumed => (Finding::Alive, HostEvidence::Unknown),
            };
            let _ = arrivals.send(Arrival::Probed(order, finding, host)).await;
        });
    }

    fn read_index(&self, read: u64) {
        let (consensus, leader, arrivals) =
            (self.consensus.clone(), self.core.leader(), self.arrivals.0.clone());
        tokio::spawn(async move {
            let index = match consensus {
                Some(consensus) => consensus.read_index(leader).await,
                None => None,
            };
            let _ = arrivals.send(Arrival::ReadReady(read, index)).await;
        });
    }

    // ---- the log ----

    fn on_state_request(&mut self, request: StateRequest) {
        match request {
            StateRequest::Apply(commits, done) => {
                self.step(Input::Committed(commits));
                let _ = done.send(());
            }
            StateRequest::Copy(reply) => {
                let _ = reply.send(self.core.registry().clone());
            }
            StateRequest::Replace(registry, done) => {
                self.step(Input::Restored(registry));
                let _ = done.send(());
            }
        }
        self.tell_history();
    }

    fn on_notice(&mut self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Leader(leader, term) => self.step(Input::Leader { leader, term }),
            Notice::Failed(entry) => self.step(Input::ProposalFailed(entry)),
            Notice::Fatal(_) if self.stopping => {}
            Notice::Fatal(error) => {
                let data = self.options.data.display();
                return Err(Failure::running(format!("data directory {data}: the log has stopped: {error}")));
            }
        }
        Ok(())
    }

    /// Begins the log, once it is clear that this seed may.
    fn begin_if_decided(&mut self) -> Result<(), Failure> {
        if self.consensus.is_some() || self.starting {
            return Ok(());
        }
        let seeds: Vec<SeedId> = self.ids.keys().copied().collect();
        let decision = match self.store.history() {
            Some(_) => Decision::GoOn,
            None => decide(self.id, self.identity.birth, &seeds, &self.hellos),
        };
        let form = match decision {
            Decision::GoOn => None,
            Decision::Form => Some(seeds),
            Decision::Lost(cluster) => {
                let own = &self.options.own;
                return Err(Failure::running(format!(
                    "data directory is empty, but cluster {cluster} has a history with this seed: \
                     run coterie seed-replace {own}"
                )));
            }
            Decision::Wait(missing) => {
                self.say_waiting(&missing);
                return Ok(());
            }
        };
        self.starting = true;
        let (me, options, store) = (self.id, self.options.raft.clone(), self.store.clone());
        let (owner, notices, arrivals) =
            (self.states.0.clone(), self.notices.0.clone(), self.arrivals.0.clone());
        let mesh = Arc::clone(&self.mesh);
        tokio::spawn(async move {
            let started = Consensus::start((me, &options), store, owner, mesh, form, notices).await;
            let _ = arrivals.send(Arrival::Started(Box::new(started.map(ConsensusBox)))).await;
        });
        Ok(())
    }

    fn say_waiting(&mut self, missing: &[SeedId]) {
        let names: Vec<String> =
            missing.iter().filter_map(|id| self.ids.get(id)).map(ToString::to_string).collect();
        let text = match names.is_empty() {
            true => "waiting for a leader to record this seed".to_owned(),
            false => format!("waiting for {}", names.join(", ")),
        };
        // The first moments of a cluster are nothing to write about.
        let now = self.clock.now();
        if now.since(Instant::START) > Duration::from_secs(2) {
            self.say_sometimes("waiting", &text);
        }
    }

    fn say_sometimes(&mut self, about: &str, text: &str) {
        let now = self.clock.now();
        let due = self.said.get(about).is_none_or(|at| now.since(*at) >= SAID_EVERY);
        if due {
            self.said.insert(about.to_owned(), now);
            tracing::warn!("{text}");
        }
    }

    /// Tells the other seeds when the log's tale of the cluster has changed.
    fn tell_history(&mut self) {
        let history = self.store.history();
        if history != self.told_history {
            self.told_history.clone_from(&history);
            self.mesh.say_to_all(&MeshMessage::Hello(self.hello()));
            for seed in self.hellos.keys().copied().collect::<Vec<_>>() {
                self.update_gate(seed);
            }
        }
    }

    fn hello(&self) -> SeedHello {
        let mut list: Vec<String> = self.ids.values().map(ToString::to_string).collect();
        list.sort();
        SeedHello {
            version: VERSION,
            id: self.id,
            birth: self.identity.birth,
            address: self.options.own.to_string(),
            list,
            history: self.store.history(),
        }
    }

    /// A seed is sent the log only while nobody has a history, or when its birth is in it.
    fn update_gate(&self, seed: SeedId) {
        let Some(hello) = self.hellos.get(&seed) else { return };
        let takes_log =
            self.store.history().is_none_or(|history| history.births.get(&seed) == Some(&hello.birth));
        self.mesh.set_takes_log(seed, takes_log);
    }
}

//! The task that owns a seed's core.

mod accepting;
mod callers;
mod changes;
mod connections;
mod directories;
mod disk;
mod effects;
mod ending;
mod greetings;
mod handle;
mod log;
mod seats;
mod shortages;
mod traffic;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coterie_common::clock::{Clock, entropy, wall};
use coterie_common::limits::INBOX_FRAMES_MAX;
use coterie_common::message::{Answer, Candidate, SeedId};
use coterie_common::net::icmp::Pinger;
use coterie_common::net::process::{Failure, until_stopped};
use coterie_common::net::tcp::{self, Bound, TcpStream};
use coterie_common::net::{Journal, JournalOptions, Prober, listener};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{Address, Finding, HostEvidence, Instant, Line, Patience, ProbeOrder, Role, majority};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use callers::Callers;
use connections::Connections;
use directories::{Directories, is_a_copy};
use disk::DiskWatch;
use ending::{Reason, Shutdown};
use greetings::Greetings;
use seats::{check_own_seat, seeds_in_force};

use super::mesh::Mesh;
use super::successor;
use crate::core::{Config, Entry, Input, Registry, Seed};
use crate::raft::store::Identity;
use crate::raft::{self, Consensus, Notice, StateRequest, Store};

pub use changes::ChangesFrom;
pub use handle::Handle;

/// How often a seed that cannot begin says for whom it waits, and a refused connection why.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// How many things are said in that time.
const SAID_MAX: usize = 32;

/// What is handled before the core's deadline is looked at again.
const BATCH_MAX: usize = 256;

/// How a seed probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMode {
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
    pub probe_mode: ProbeMode,
    /// Seeds of the list without which a cluster may begin, by these directories alone.
    pub form_without: Vec<SeedEntry>,
    /// The numbers of the directories that begin then.
    pub directories: Vec<u64>,
    /// The cluster that goes on as another one with this seed alone.
    pub force_new_cluster: Option<String>,
    /// From where it takes changes of the seeds.
    pub changes_from: ChangesFrom,
}

type Look = (Registry, Option<SeedId>, BTreeMap<&'static str, u64>);

#[derive(Debug)]
enum Arrival {
    Accepted(TcpStream),
    Dialled(SeedId, Result<TcpStream, String>),
    Probed(ProbeOrder, Finding, HostEvidence),
    ReadReady(u64, Option<u64>),
    VotersUnchanged(String),
    Started(Box<std::io::Result<ConsensusBox>>),
    Register(Candidate, oneshot::Sender<Answer>),
    Look(oneshot::Sender<Look>),
    TakeSnapshot,
    NotWritten(std::io::Error),
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

/// Runs a seed until `shutdown`, then stops it in order.
pub async fn run(
    listener: Bound,
    mut options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (store, mut shutdown) = (open(&options)?, std::pin::pin!(shutdown));
    options.force_new_cluster = tokio::select! {
        forced = successor::force(&store, &options) => forced?,
        () = &mut shutdown => return Ok(()),
    };
    let (handle, running) = start_on(store, listener, options)?;
    until_stopped(running, shutdown, async || handle.stop().await).await
}

/// Starts a seed in this process.
pub fn start(
    listener: Bound,
    options: Options,
) -> Result<(Handle, tokio::task::JoinHandle<Result<(), Failure>>), Failure> {
    start_on(open(&options)?, listener, options)
}

fn open(options: &Options) -> Result<Store, Failure> {
    Store::open(&options.data).map_err(|error| unusable(&options.data, &error))
}

/// Starts a seed whose log is in `store`.
pub fn start_on(
    store: Store,
    listener: Bound,
    options: Options,
) -> Result<(Handle, tokio::task::JoinHandle<Result<(), Failure>>), Failure> {
    let (node, handle) = Node::new(store, listener, options)?;
    Ok((handle, tokio::spawn(node.run())))
}

fn unusable(data: &Path, error: &std::io::Error) -> Failure {
    Failure::running(format!("data directory {}: {error}", data.display()))
}

/// The first three numbers of what was drawn.
fn three_numbers(chance: &[u8; 32]) -> [u64; 3] {
    let [first, second, third, ..] = chance.as_chunks::<8>().0 else {
        unreachable!("32 bytes are four numbers")
    };
    [first, second, third].map(|bytes| u64::from_le_bytes(*bytes))
}

/// Both ends of a queue into the node's task.
type Queue<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

struct Node {
    options: Options,
    /// Its id and the number of its directory, as the store has them.
    identity: Identity,
    clock: Clock,
    core: Seed,
    journal: Arc<Journal>,
    mesh: Arc<Mesh>,
    prober: Prober,
    greetings: Greetings,
    directories: Directories,
    log: NodeLog,
    connections: Connections,
    callers: Callers,
    ending: Shutdown,
    arrivals: Queue<Arrival>,
    /// When each thing was last said that is not said too often.
    said: BTreeMap<String, Instant>,
}

/// The replicated log, and the queues from and to it.
struct NodeLog {
    store: Store,
    disk: DiskWatch,
    /// Once it has begun.
    consensus: Option<Consensus>,
    /// Whether it is about to.
    is_starting: bool,
    /// What the core wants in it, until the step's effects are all performed.
    proposals: Vec<Entry>,
    states: Queue<StateRequest>,
    notices: Queue<Notice>,
}

impl Node {
    fn new(store: Store, listener: Bound, options: Options) -> Result<(Self, Handle), Failure> {
        let mut names: Vec<&SeedEntry> = options.list.iter().collect();
        names.sort_by_key(ToString::to_string);
        let ids: BTreeMap<SeedId, SeedEntry> =
            names.into_iter().enumerate().map(|(rank, seed)| (SeedId(rank as u64), seed.clone())).collect();
        let rank = ids.iter().find(|(_, seed)| **seed == options.own).map(|(id, _)| *id);
        let rank = rank.ok_or_else(|| Failure::usage(format!("{} is not in the seed list", options.own)))?;
        let chance = entropy();
        let [directory_id, requests_from, process] = three_numbers(&chance);
        // Never 0, which stands for no directory.
        let directory_id = directory_id | 1;
        let of_data = |error| unusable(&options.data, &error);
        let identity = store.identity(Identity { id: rank, directory_id }).map_err(of_data)?;
        check_own_seat(&store, identity, &options)?;
        if let Some(doubt) = store.copy_mark().map_err(of_data)? {
            return Err(is_a_copy(&options, &doubt));
        }
        let directories = Directories::begin(&store, process).map_err(of_data)?;
        let ids = seeds_in_force(ids, store.history().as_ref());
        let registry = store.snapshot().map_err(of_data)?;
        let clock = Clock::start();
        let config = Config {
            id: identity.id,
            address: options.address,
            seeds: ids.iter().map(|(id, seed)| (*id, seed.to_string())).collect(),
            directory_id: identity.directory_id,
            cluster: store.history().map(|history| history.cluster),
            requests_from: requests_from >> 1,
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
        accepting.spawn(listener::feed(tcp::adopt(listener)?, arrivals.0.clone(), Arrival::Accepted));
        let handle = Handle::new(arrivals.0.clone());
        let log = NodeLog {
            store,
            disk: DiskWatch::default(),
            consensus: None,
            is_starting: false,
            proposals: Vec::new(),
            states: mpsc::channel(16),
            notices: mpsc::channel(64),
        };
        let node = Node {
            greetings: Greetings::new(ids),
            directories,
            identity,
            clock,
            core,
            journal: Arc::new(journal),
            mesh: Arc::new(Mesh::new(options.address)),
            prober: Prober::new(options.address, Arc::new(pinger)),
            log,
            connections: Connections::new(accepting),
            callers: Callers::default(),
            ending: Shutdown::Not,
            arrivals,
            said: BTreeMap::new(),
            options,
        };
        Ok((node, handle))
    }

    async fn run(mut self) -> Result<(), Failure> {
        self.journal.log(
            &Line::new("LISTENING")
                .with("address", self.options.address)
                .with("config", self.options.config.as_str())
                .with("quorum", majority(self.greetings.listed.len()))
                .with("http", "off")
                .show("data", self.options.data.display()),
        );
        if let Some(line) = successor::line(&self.log.store, &self.options) {
            self.journal.log(&line);
        }
        self.dial_others();
        let result = match self.begin_if_decided() {
            Ok(()) => self.serve().await,
            Err(failure) => Err(failure),
        };
        self.keep_last_news();
        let line = Line::new("SHUTTING_DOWN").with("message", "Shutting down.");
        self.journal.log(&match &result {
            Ok(reason) => match reason.text() {
                Some(text) => line.with("reason", text),
                None => line,
            },
            Err(failure) => line.show("reason", failure),
        });
        self.journal.close();
        if let Some(text) = result?.text() {
            tracing::warn!("{text}");
        }
        Ok(())
    }

    /// Serves until it ends in order; returns why.
    async fn serve(&mut self) -> Result<Reason, Failure> {
        loop {
            let deadline = self.clock.timer(self.core.next_deadline());
            // In this order: what the log has decided before what is asked, for openraft waits until it is applied;
            // and what has come before the deadline, for what came in time is not late because this loop was.
            tokio::select! {
                biased;
                Some(request) = self.log.states.1.recv() => self.on_state_request(request),
                Some(notice) = self.log.notices.1.recv() => self.on_notice(notice)?,
                Some((id, event)) = self.connections.inbox.1.recv() => self.on_event(id, event)?,
                Some(arrival) = self.arrivals.1.recv() => self.on_arrival(arrival)?,
                () = tokio::time::sleep_until(deadline) => self.step(Input::Wake),
            }
            self.take_what_waits()?;
            self.propose();
            self.tell_directory();
            self.look_at_disk();
            match self.ending {
                Shutdown::Stopped(reason) => return Ok(reason),
                Shutdown::Not | Shutdown::Stopping(_) => {}
            }
        }
    }

    /// Handles what has arrived meanwhile too, so that what it leads to goes out together, and so that no flood of
    /// frames keeps the results of probes, or a new connection, from being looked at.
    fn take_what_waits(&mut self) -> Result<(), Failure> {
        for _ in 0..BATCH_MAX {
            if let Ok(request) = self.log.states.1.try_recv() {
                self.on_state_request(request);
            } else if let Ok((id, event)) = self.connections.inbox.1.try_recv() {
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
        while let Ok(notice) = self.log.notices.1.try_recv() {
            self.on_notice(notice)?;
        }
        Ok(())
    }

    // ---- the core ----

    fn step(&mut self, input: Input) {
        let now = self.clock.now();
        #[cfg(not(coterie_simulated))]
        let effects = self.core.step(now, input);
        #[cfg(coterie_simulated)]
        let effects = super::tap::step(&mut self.core, self.options.address, now, input);
        for effect in effects {
            self.perform(effect);
        }
    }
}

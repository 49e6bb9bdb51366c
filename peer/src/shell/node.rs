//! The task that owns a peer's core.

mod effects;
mod handle;
mod traffic;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::clock::{Clock, entropy, wall};
use coterie_common::limits::INBOX_FRAMES_MAX;
use coterie_common::message::LinkMessage;
use coterie_common::net::guests::Guests;
use coterie_common::net::icmp::Pinger;
use coterie_common::net::process::{Failure, until_stopped};
use coterie_common::net::shortages::shortages;
use coterie_common::net::tcp::{self, Bound, TcpStream};
use coterie_common::net::{ConnectionEvent, Journal, JournalOptions, Outbox, Prober, listener};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{Address, Finding, HostEvidence, Line, MemberId, Role, Wire, majority};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::console;
use crate::core::{Config, ConnectionId, Input, Peer, SeedSlot};

pub use handle::{Handle, Look, PeerEvent};

/// How long a dial of a peer or a seed may take.
const DIAL_TIME_MAX: Duration = Duration::from_secs(2);

/// How long the last frames may take at the end.
const FAREWELL_TIME_MAX: Duration = Duration::from_millis(300);

/// What is handled before the core's deadline is looked at again.
const BATCH_MAX: usize = 256;

/// Messages that a slow subscriber may be behind before it misses some.
const SUBSCRIBER_LAG_MAX: usize = 1_024;

/// What a peer needs to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is to be reached.
    pub address: Address,
    /// The seeds.
    pub seeds: Vec<SeedEntry>,
    /// The file that the list is from, for the first line of the log.
    pub config: String,
    /// How the journal is kept.
    pub journal: JournalOptions,
    /// Whether lines are read from stdin.
    pub console: bool,
    /// Everything that the core is told; its seeds and its start are filled in here.
    pub core: Config,
}

#[derive(Debug)]
enum Arrival {
    Accepted(TcpStream),
    SessionDialled(SeedSlot, u64, Result<TcpStream, String>),
    Dialled(Address, Wire, io::Result<TcpStream>),
    Probed(MemberId, Finding, HostEvidence),
    Answered(Address, LinkMessage),
    Broadcast(Bytes),
    Look(oneshot::Sender<Look>),
    Stop,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Connection(ConnectionId),
    /// A session, and the number of its dialling: what an older one still says does not count.
    Session(SeedSlot, u64),
}

#[derive(Debug)]
struct OpenConnection {
    outbox: Outbox,
    wire: Wire,
    /// Whether anything came on it, or is awaited.
    has_spoken: bool,
}

/// A session: being dialled, or open.
#[derive(Debug)]
struct SeedConnection {
    dialling: u64,
    outbox: Option<Outbox>,
}

/// Runs a peer until `shutdown`, then leaves in order.
pub async fn run(
    listener: Bound,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (handle, running) = start(listener, options)?;
    until_stopped(running, shutdown, async || handle.stop().await).await
}

/// Starts a peer in this process.
pub fn start(
    listener: Bound,
    options: Options,
) -> Result<(Handle, tokio::task::JoinHandle<Result<(), Failure>>), Failure> {
    let (node, handle) = Node::new(listener, options)?;
    Ok((handle, tokio::spawn(node.run())))
}

/// Both ends of a queue into the node's task.
type Queue<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

struct Node {
    options: Options,
    clock: Clock,
    core: Peer,
    journal: Journal,
    prober: Prober,
    probes: BTreeMap<MemberId, AbortHandle>,
    connections: BTreeMap<ConnectionId, OpenConnection>,
    /// Those of the connections that are too many.
    guests: Guests<ConnectionId>,
    sessions: BTreeMap<SeedSlot, SeedConnection>,
    last_number: u64,
    /// Accepts connections, for as long as this lives.
    _accepting: JoinSet<()>,
    inbox: Queue<(Key, ConnectionEvent)>,
    arrivals: Queue<Arrival>,
    happenings: broadcast::Sender<PeerEvent>,
    ended: Option<Result<(), String>>,
}

impl Node {
    fn new(listener: Bound, mut options: Options) -> Result<(Self, Handle), Failure> {
        let journal = Journal::open(Role::Peer, options.address, &options.journal)?;
        let (pinger, trouble) = Pinger::new();
        if let Some(trouble) = trouble {
            tracing::warn!("{trouble}");
        }
        options.core.seeds = options.seeds.iter().map(ToString::to_string).collect();
        let clock = Clock::start();
        options.core.started = wall();
        let arrivals = mpsc::channel(INBOX_FRAMES_MAX);
        let mut accepting = JoinSet::new();
        accepting.spawn(listener::feed(tcp::adopt(listener)?, arrivals.0.clone(), Arrival::Accepted));
        let happenings = broadcast::channel(SUBSCRIBER_LAG_MAX).0;
        let handle = Handle::new(arrivals.0.clone(), happenings.clone());
        let node = Node {
            clock,
            core: Peer::new(options.address, options.core.clone(), entropy()),
            journal,
            prober: Prober::new(options.address, Arc::new(pinger)),
            probes: BTreeMap::new(),
            connections: BTreeMap::new(),
            guests: Guests::default(),
            sessions: BTreeMap::new(),
            last_number: 0,
            _accepting: accepting,
            inbox: mpsc::channel(INBOX_FRAMES_MAX),
            arrivals,
            happenings,
            ended: None,
            options,
        };
        Ok((node, handle))
    }

    async fn run(mut self) -> Result<(), Failure> {
        self.journal.log(
            &Line::new("LISTENING")
                .with("address", self.options.address)
                .with("config", self.options.config.as_str())
                .with("quorum", majority(self.options.seeds.len()))
                .with("http", "off"),
        );
        let mut lines = self.options.console.then(console::start);
        self.step(Input::Start);
        while self.ended.is_none() {
            let deadline = self.clock.timer(self.core.next_deadline());
            // In this order: what has come before the deadline, for what came in time is not late because this loop
            // was; and frames before new connections, for a frame may be the proof that somebody lives.
            tokio::select! {
                biased;
                Some((key, event)) = self.inbox.1.recv() => self.on_event(key, event),
                Some(arrival) = self.arrivals.1.recv() => self.on_arrival(arrival),
                Some(line) = next_line(&mut lines) => self.step(Input::Console(line)),
                () = tokio::time::sleep_until(deadline) => self.on_deadline(),
            }
            self.take_what_waits();
        }
        self.say_farewell().await;
        self.journal.log(&Line::new("SHUTTING_DOWN").with("message", "Shutting down."));
        self.journal.close();
        self.ended.unwrap_or(Ok(())).map_err(Failure::running)
    }

    /// Nothing has come, so there is time to look at what the process lacks. One that frames keep busy lacks little.
    fn on_deadline(&mut self) {
        for (what, why) in shortages(self.clock.now(), &self.journal) {
            self.core.trouble(&what, why);
        }
        self.step(Input::Wake);
    }

    /// Handles what has arrived meanwhile too, so that what it leads to goes out together, and so that no flood of
    /// frames keeps the results of probes, or a new connection, from being looked at.
    fn take_what_waits(&mut self) {
        for _ in 0..BATCH_MAX {
            match self.inbox.1.try_recv() {
                Ok((key, event)) if self.ended.is_none() => self.on_event(key, event),
                Ok(_) | Err(_) => break,
            }
        }
        for _ in 0..BATCH_MAX {
            match self.arrivals.1.try_recv() {
                Ok(arrival) if self.ended.is_none() => self.on_arrival(arrival),
                Ok(_) | Err(_) => break,
            }
        }
    }

    /// Lets the last frames be written before the process ends.
    async fn say_farewell(&mut self) {
        let connections = std::mem::take(&mut self.connections);
        connections.values().for_each(|connection| connection.outbox.close());
        drop(connections);
        drop(std::mem::take(&mut self.sessions));
        let (closed, inbox) = mpsc::channel(1);
        drop(closed);
        let mut inbox = std::mem::replace(&mut self.inbox.1, inbox);
        self.inbox.0 = mpsc::channel(1).0;
        // Each connection's tasks hold a sender: when all have ended, so has the inbox.
        let all_ended = async { while inbox.recv().await.is_some() {} };
        let _ = timeout(FAREWELL_TIME_MAX, all_ended).await;
    }

    // ---- the core ----

    fn step(&mut self, input: Input) {
        let epoch = self.core.view().epoch;
        let now = self.clock.now();
        #[cfg(not(coterie_simulated))]
        let effects = self.core.step(now, input);
        #[cfg(coterie_simulated)]
        let effects = super::tap::step(&mut self.core, self.options.address, now, input);
        for effect in effects {
            self.perform(effect);
        }
        let view = self.core.view();
        if view.epoch != epoch {
            let _ = self.happenings.send(PeerEvent::View { epoch: view.epoch, members: view.len() });
        }
    }
}

async fn next_line(lines: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match lines {
        Some(receiver) => {
            let line = receiver.recv().await;
            if line.is_none() {
                *lines = None;
                return std::future::pending().await;
            }
            line
        }
        None => std::future::pending().await,
    }
}

//! The task that owns a peer's core.

mod handle;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::clock::{Clock, entropy, wall};
use coterie_common::codec;
use coterie_common::limits::{CONNECTIONS_MAX, INBOX_FRAMES_MAX};
use coterie_common::message::LinkMessage;
use coterie_common::net::icmp::Pinger;
use coterie_common::net::process::Failure;
use coterie_common::net::{
    Event, Journal, JournalOptions, Outbox, Prober, connection, listener, probe, resolve,
};
use coterie_common::seed_list::SeedEntry;
use coterie_common::{
    Address, Finding, HostEvidence, Line, MemberId, Message, ProbeOrder, Role, Wire, majority,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::console;
use crate::core::{Config, ConnectionId, DialFailure, Effect, Input, Peer, SeedSlot};

pub use handle::{Handle, Happening, Look};

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
struct Connection {
    outbox: Outbox,
    wire: Wire,
}

/// A session: being dialled, or open.
#[derive(Debug)]
struct Session {
    dialling: u64,
    outbox: Option<Outbox>,
}

/// Runs a peer until `shutdown`, then leaves in order.
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

/// Starts a peer in this process.
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
    clock: Clock,
    core: Peer,
    journal: Journal,
    prober: Prober,
    probes: BTreeMap<MemberId, AbortHandle>,
    connections: BTreeMap<ConnectionId, Connection>,
    sessions: BTreeMap<SeedSlot, Session>,
    last_number: u64,
    /// Accepts connections, for as long as this lives.
    _accepting: JoinSet<()>,
    inbox: Queue<(Key, Event)>,
    arrivals: Queue<Arrival>,
    happenings: broadcast::Sender<Happening>,
    ended: Option<Result<(), String>>,
}

impl Node {
    fn new(listener: std::net::TcpListener, mut options: Options) -> Result<(Self, Handle), Failure> {
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
        accepting.spawn(listener::feed(
            TcpListener::from_std(listener)?,
            arrivals.0.clone(),
            Arrival::Accepted,
        ));
        let happenings = broadcast::channel(SUBSCRIBER_LAG_MAX).0;
        let handle = Handle::new(arrivals.0.clone(), happenings.clone());
        let node = Node {
            clock,
            core: Peer::new(options.address, options.core.clone(), entropy()),
            journal,
            prober: Prober::new(options.address, Arc::new(pinger)),
            probes: BTreeMap::new(),
            connections: BTreeMap::new(),
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
            tokio::select! {
                biased;
                Some((key, event)) = self.inbox.1.recv() => self.on_event(key, event),
                Some(arrival) = self.arrivals.1.recv() => self.on_arrival(arrival),
                Some(line) = next_line(&mut lines) => self.step(Input::Console(line)),
                () = tokio::time::sleep_until(deadline) => self.step(Input::Wake),
            }
            self.take_what_waits();
        }
        self.say_farewell().await;
        self.journal.log(&Line::new("SHUTTING_DOWN").with("message", "Shutting down."));
        self.journal.close();
        self.ended.unwrap_or(Ok(())).map_err(Failure::running)
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
        for effect in self.core.step(self.clock.now(), input) {
            self.perform(effect);
        }
        if self.core.view().epoch != epoch && self.happenings.receiver_count() > 0 {
            let _ = self.happenings.send(Happening::View(Arc::new(self.core.view().clone())));
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Log(line) => self.journal.log(&line),
            Effect::Send { to, message } => self.say(&[to], &message),
            Effect::SendMany { to, message } => self.say(&to, &message),
            Effect::Close(connection) => {
                if let Some(connection) = self.connections.remove(&connection) {
                    connection.outbox.close();
                }
            }
            Effect::Dial { address, wire } => self.dial(address, wire),
            Effect::OpenSession(seed) => self.open_session(seed),
            Effect::Tell { seed, message } => self.tell(seed, &message),
            Effect::CloseSession(seed) => {
                if let Some(outbox) = self.sessions.remove(&seed).and_then(|session| session.outbox) {
                    outbox.close();
                }
            }
            Effect::Probe { target, order } => self.probe(target, order),
            Effect::CancelProbe(target) => {
                if let Some(probe) = self.probes.remove(&target) {
                    probe.abort();
                }
            }
            Effect::Ask { witness, wire, message, patience } => self.ask(witness, wire, message, patience),
            Effect::Print(text) => eprintln!("{text}"),
            Effect::Warn(text) => tracing::warn!("{text}"),
            Effect::Deliver { origin, content } => {
                let _ = self.happenings.send(Happening::Message { origin, content });
            }
            Effect::Exit(result) => self.ended = Some(result),
        }
    }

    /// Encodes once for each way of speaking.
    fn say(&mut self, to: &[ConnectionId], message: &Message) {
        let mut encoded: BTreeMap<Wire, Bytes> = BTreeMap::new();
        let mut cut_off = Vec::new();
        for id in to {
            let Some(connection) = self.connections.get(id) else { continue };
            let wire = connection.wire;
            let me = self.options.address;
            let frames = encoded.entry(wire).or_insert_with(|| codec::encode(message, wire, me)).clone();
            if connection.outbox.send(frames).is_err() {
                cut_off.push(*id);
            }
        }
        for id in cut_off {
            // A neighbour that does not read is not waited for.
            if let Some(connection) = self.connections.remove(&id) {
                connection.outbox.cut();
            }
            self.step(Input::Ended { connection: id });
        }
    }

    fn tell(&mut self, seed: SeedSlot, message: &Message) {
        let Some(outbox) = self.sessions.get(&seed).and_then(|session| session.outbox.as_ref()) else {
            return;
        };
        if outbox.say(message, Wire::Native, self.options.address).is_err() {
            outbox.cut();
            self.sessions.remove(&seed);
            self.step(Input::SessionDown { seed });
        }
    }

    // ---- what takes time, and reports ----

    fn dial(&self, address: Address, wire: Wire) {
        let arrivals = self.arrivals.0.clone();
        tokio::spawn(async move {
            let dialled = connection::dial(address, DIAL_TIME_MAX).await;
            let _ = arrivals.send(Arrival::Dialled(address, wire, dialled)).await;
        });
    }

    fn open_session(&mut self, seed: SeedSlot) {
        self.last_number += 1;
        let (number, arrivals) = (self.last_number, self.arrivals.0.clone());
        let SeedEntry { host, port, .. } = self.options.seeds[seed.0].clone();
        self.sessions.insert(seed, Session { dialling: number, outbox: None });
        tokio::spawn(async move {
            let dialled = async {
                let address = resolve::resolve(&host, port).await?;
                connection::dial(address, DIAL_TIME_MAX).await.map_err(|e| e.to_string())
            };
            let _ = arrivals.send(Arrival::SessionDialled(seed, number, dialled.await)).await;
        });
    }

    fn probe(&mut self, target: MemberId, order: ProbeOrder) {
        let (prober, arrivals) = (self.prober.clone(), self.arrivals.0.clone());
        let task = tokio::spawn(async move {
            let (finding, host) = prober.probe(order).await;
            let _ = arrivals.send(Arrival::Probed(target, finding, host)).await;
        });
        self.probes.insert(target, task.abort_handle());
    }

    fn ask(&self, witness: Address, wire: Wire, message: LinkMessage, patience: Duration) {
        let (arrivals, me) = (self.arrivals.0.clone(), self.options.address);
        tokio::spawn(async move {
            let question = async {
                let mut stream = connection::dial(witness, patience).await.ok()?;
                stream.write_all(&codec::encode(&Message::Link(message), wire, me)).await.ok()?;
                let is_answer = |message| match message {
                    Message::Link(answer @ LinkMessage::SuspectResponse { .. }) => Some(answer),
                    _ => None,
                };
                probe::read_message(&mut stream, is_answer).await.ok()?
            };
            if let Ok(Some(answer)) = timeout(patience, question).await {
                let _ = arrivals.send(Arrival::Answered(witness, answer)).await;
            }
        });
    }

    // ---- what arrives ----

    fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Accepted(stream) => self.on_accepted(stream),
            Arrival::SessionDialled(seed, number, stream) => self.on_session_dialled(seed, number, stream),
            Arrival::Dialled(address, wire, Ok(stream)) => {
                let connection = self.keep(stream, wire);
                self.step(Input::Dialled { address, connection });
            }
            Arrival::Dialled(address, _, Err(error)) => {
                let failure = match error.kind() {
                    io::ErrorKind::ConnectionRefused => DialFailure::Refused,
                    _ => DialFailure::Other,
                };
                self.step(Input::DialFailed { address, failure });
            }
            Arrival::Probed(target, finding, host) => {
                self.probes.remove(&target);
                self.step(Input::Probed { target, finding, host });
            }
            Arrival::Answered(witness, message) => self.step(Input::Answered { witness, message }),
            Arrival::Broadcast(content) => self.step(Input::Broadcast(content)),
            Arrival::Look(reply) => {
                let _ = reply.send(Look {
                    view: self.core.view().clone(),
                    incarnation: self.core.incarnation(),
                    neighbours: self.core.neighbours().collect(),
                    counters: self.core.counters().clone(),
                });
            }
            Arrival::Stop => self.step(Input::Stop),
        }
    }

    fn on_session_dialled(&mut self, seed: SeedSlot, number: u64, stream: Result<TcpStream, String>) {
        let Some(session) = self.sessions.get_mut(&seed).filter(|s| s.dialling == number) else { return };
        match stream {
            Ok(stream) => {
                let outbox = connection::spawn(Key::Session(seed, number), stream, self.inbox.0.clone());
                session.outbox = Some(outbox);
                self.step(Input::SessionUp { seed });
            }
            Err(error) => {
                tracing::debug!("seed {}: {error}", self.options.seeds[seed.0]);
                self.sessions.remove(&seed);
                self.step(Input::SessionDown { seed });
            }
        }
    }

    fn on_accepted(&mut self, stream: TcpStream) {
        if self.connections.len() >= CONNECTIONS_MAX {
            return self.core.note("connections_over_limit");
        }
        // How the other end speaks is told by its first frame.
        self.keep(stream, Wire::Native);
    }

    fn keep(&mut self, stream: TcpStream, wire: Wire) -> ConnectionId {
        self.last_number += 1;
        let id = ConnectionId(self.last_number);
        let outbox = connection::spawn(Key::Connection(id), stream, self.inbox.0.clone());
        self.connections.insert(id, Connection { outbox, wire });
        id
    }

    fn on_event(&mut self, key: Key, event: Event) {
        match key {
            Key::Connection(id) => self.on_connection_event(id, event),
            Key::Session(seed, number) => {
                if self.sessions.get(&seed).is_some_and(|session| session.dialling == number) {
                    self.on_session_event(seed, event);
                }
            }
        }
    }

    fn on_connection_event(&mut self, id: ConnectionId, event: Event) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match event {
            Event::Message { wire, message } => {
                connection.wire = wire;
                self.step(Input::Frame { connection: id, wire, message });
            }
            Event::Drained => {}
            Event::Ended(error) => {
                self.connections.remove(&id);
                if let Some(error) = error {
                    self.core.note("connections_broken_off");
                    tracing::info!("a connection was closed: {error}");
                }
                self.step(Input::Ended { connection: id });
            }
        }
    }

    fn on_session_event(&mut self, seed: SeedSlot, event: Event) {
        match event {
            Event::Message { message, .. } => self.step(Input::Session { seed, message }),
            Event::Drained => {}
            Event::Ended(_) => {
                self.sessions.remove(&seed);
                self.step(Input::SessionDown { seed });
            }
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

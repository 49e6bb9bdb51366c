//! The loop of simulated time, and what effects do in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use coterie_common::limits::PROBE_CONNECTIONS_MAX;
use coterie_common::message::{LinkMessage, RumorId, SeedId};
use coterie_common::{
    Address, Finding, HostEvidence, Instant, Life, Line, MemberId, Message, Patience, ProbeOrder, Tags,
    Timestamp, Wire, majority,
};
use coterie_peer::core::{
    Config as PeerConfig, ConnectionId, DialFailure, Effect as PeerEffect, Input as PeerInput, Peer, SeedSlot,
};
use coterie_seed::core::{
    Config as SeedConfig, Effect as SeedEffect, Entry, Input as SeedInput, Registry, Seed, SessionId,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::faults::{self, Fault};
use super::model_log::ModelLog;
use super::network::Network;
use super::truth::Truth;

const SEEDS: usize = 3;

/// How long faults go on.
const FAULTS_UNTIL_MS: u64 = 25_000;

/// How long the cluster may take to converge afterwards: the longest back-off, and then some.
const CONVERGES_WITHIN: Duration = Duration::from_secs(150);

/// Wakes in a row without any time passing that make a spin.
const SPIN: u32 = 100;

/// A process: a peer or a seed, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Peer(usize),
    Seed(usize),
}

/// One end of a connection: a process, and which of its starts.
type End = (Node, u64);

#[derive(Clone, Copy, Debug)]
enum Use {
    Link,
    Session(SeedSlot),
    Question(Address),
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    ends: [End; 2],
    purpose: Use,
}

#[derive(Clone, Debug)]
enum Packet {
    Message(Message),
    End,
}

#[derive(Debug)]
enum Happening {
    Wake(Node),
    Peer(usize, u64, PeerInput),
    Seed(usize, u64, SeedInput),
    Packet { connection: u64, to: Node, packet: Packet },
    Dial { from: usize, start: u64, address: Address },
    OpenSession { from: usize, start: u64, slot: SeedSlot },
    ProbeArrives { from: Node, start: u64, target: Option<MemberId>, order: ProbeOrder, until: Instant },
    ProbeEnds { from: Node, start: u64, target: Option<MemberId>, order: ProbeOrder, finding: Finding },
    Replicated { term: u64 },
    Deliver(usize, u64),
    Elect,
    Resume(usize),
    Fault(Fault),
}

struct Process<C> {
    core: Option<C>,
    start: u64,
    address: Address,
    wake: Instant,
    spins: u32,
    paused: bool,
    held: Vec<PeerInput>,
}

/// Everything there is.
pub(crate) struct World {
    now: Instant,
    rng: ChaCha8Rng,
    queue: BTreeMap<(Instant, u64), Happening>,
    queued: u64,
    peers: Vec<Process<Peer>>,
    seeds: Vec<Process<Seed>>,
    delivered_to: Vec<usize>,
    network: Network,
    connections: BTreeMap<u64, Connection>,
    last_connection: u64,
    sessions: BTreeMap<(usize, SeedSlot), u64>,
    stalled: Vec<(u64, Node, Packet)>,
    log: ModelLog,
    proposed: Vec<Entry>,
    truth: Truth,
    left: BTreeSet<usize>,
    check_every: u64,
    said: u64,
    steps: u64,
    is_told: bool,
}

impl World {
    /// Runs the world of that number to its end; what comes back is the same for the same number.
    pub(crate) fn run(seed: u64, peers: Option<usize>) -> (u64, u64, u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = peers.unwrap_or_else(|| rng.random_range(5..=30));
        let mut world = World::new(rng, count);
        let faults = faults::draw(&mut world.rng, count, SEEDS, FAULTS_UNTIL_MS);
        for (at, fault) in faults {
            world.schedule(Instant::START + Duration::from_millis(at), Happening::Fault(fault));
        }
        world.run_until(Instant::START + Duration::from_millis(FAULTS_UNTIL_MS));
        world.heal_everything();
        world.converge();
        world.say_last_words();
        (world.steps, world.queued, world.truth.registry().epoch().0)
    }

    fn new(rng: ChaCha8Rng, count: usize) -> Self {
        let address = |block: u8, index: usize| {
            Address::new([10, block, (index / 200) as u8, (index % 200 + 1) as u8].into(), 7_000)
        };
        let mut world = World {
            now: Instant::START,
            rng,
            queue: BTreeMap::new(),
            queued: 0,
            peers: (0..count).map(|i| Process::new(address(1, i))).collect(),
            seeds: (0..SEEDS).map(|i| Process::new(address(0, i))).collect(),
            delivered_to: vec![0; SEEDS],
            network: Network::new(),
            connections: BTreeMap::new(),
            last_connection: 0,
            sessions: BTreeMap::new(),
            stalled: Vec::new(),
            log: ModelLog::new(SEEDS),
            proposed: Vec::new(),
            truth: Truth::default(),
            left: BTreeSet::new(),
            check_every: (count as u64 / 30).max(1),
            said: 0,
            steps: 0,
            is_told: std::env::var_os("COTERIE_SIM_TELL").is_some(),
        };
        let first = world.log.entries[0].clone();
        world.truth.committed(world.now, &first);
        (0..SEEDS).for_each(|index| world.start_seed(index));
        world.schedule(Instant::START + Duration::from_millis(300), Happening::Elect);
        for index in 0..count {
            let at = Instant::START + Duration::from_micros(world.rng.random_range(0..1_000_000));
            world.schedule(at, Happening::Fault(Fault::StartPeer(index)));
        }
        world
    }

    // ---- time ----

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), happening);
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.schedule(self.now + delay, happening);
    }

    fn delay(&mut self) -> Duration {
        self.network.delay(&mut self.rng)
    }

    fn run_until(&mut self, end: Instant) {
        while let Some((at, number)) =
            self.queue.first_key_value().map(|(key, _)| *key).filter(|(at, _)| *at <= end)
        {
            self.now = at;
            if let Some(happening) = self.queue.remove(&(at, number)) {
                self.happen(happening);
            }
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(node) => self.wake(node),
            Happening::Peer(index, start, input) => self.step_peer(index, start, input),
            Happening::Seed(index, start, input) => self.step_seed(index, start, input),
            Happening::Packet { connection, to, packet } => self.arrive(connection, to, packet),
            Happening::Dial { from, start, address } => self.dial(from, start, address),
            Happening::OpenSession { from, start, slot } => self.open_session(from, start, slot),
            Happening::ProbeArrives { from, start, target, order, until } => {
                let finding = self.probe(from, order);
                let at = if finding == Finding::Silent { until } else { self.now };
                self.schedule(at, Happening::ProbeEnds { from, start, target, order, finding });
            }
            Happening::ProbeEnds { from, start, target, order, finding } => {
                self.probe_ended((from, start), target, order, finding);
            }
            Happening::Replicated { term } => self.replicated(term),
            Happening::Deliver(index, start) => self.deliver(index, start),
            Happening::Elect => self.elect(),
            Happening::Resume(index) => self.resume(index),
            Happening::Fault(fault) => self.fault(fault),
        }
    }

    fn wake(&mut self, node: Node) {
        let now = self.now;
        match node {
            Node::Peer(index) if self.peers[index].wakes(now) => {
                let start = self.peers[index].start;
                self.step_peer(index, start, PeerInput::Wake);
            }
            Node::Seed(index) if self.seeds[index].wakes(now) => {
                let start = self.seeds[index].start;
                self.step_seed(index, start, SeedInput::Wake);
            }
            Node::Peer(_) | Node::Seed(_) => {}
        }
    }

    fn set_wake(&mut self, node: Node, deadline: Instant) {
        let at = match node {
            Node::Peer(index) => self.peers[index].wish(self.now, deadline),
            Node::Seed(index) => self.seeds[index].wish(self.now, deadline),
        };
        if let Some(at) = at {
            self.schedule(at, Happening::Wake(node));
        }
    }

    // ---- peers ----

    fn start_peer(&mut self, index: usize) {
        let process = &mut self.peers[index];
        if process.core.is_some() {
            return;
        }
        self.left.remove(&index);
        let config = PeerConfig {
            seeds: (0..SEEDS).map(|i| format!("seed {i}")).collect(),
            tags: Tags::new(),
            started: Timestamp::default(),
            ..PeerConfig::default()
        };
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        process.start += 1;
        (process.paused, process.held) = (false, Vec::new());
        process.wake = Instant::from_nanos(u64::MAX);
        process.core = Some(Peer::new(process.address, config, seed));
        let start = process.start;
        self.step_peer(index, start, PeerInput::Start);
    }

    fn step_peer(&mut self, index: usize, start: u64, input: PeerInput) {
        let process = &mut self.peers[index];
        if process.start != start {
            return;
        }
        if process.paused {
            return process.held.push(input);
        }
        let Some(core) = &mut process.core else { return };
        self.steps += 1;
        let (epoch, life) = (core.view().epoch, core.life());
        let effects = core.step(self.now, input);
        let (view, deadline, own) = (core.view().epoch, core.next_deadline(), core.life());
        if view != epoch && view.0 % self.check_every == index as u64 % self.check_every {
            self.truth.saw(process.address, own, core.view());
        }
        if own != life {
            self.update_well(index);
        }
        for effect in effects {
            self.perform_peer(index, effect);
        }
        if self.peers[index].core.is_some() {
            self.set_wake(Node::Peer(index), deadline);
        }
        self.update_well(index);
    }

    fn perform_peer(&mut self, index: usize, effect: PeerEffect) {
        let start = self.peers[index].start;
        let me: End = (Node::Peer(index), start);
        match effect {
            PeerEffect::Send { to, message } => self.send(to.0, me.0, Packet::Message(message)),
            PeerEffect::SendMany { to, message } => {
                to.into_iter().for_each(|id| self.send(id.0, me.0, Packet::Message(message.clone())));
            }
            PeerEffect::Close(id) => self.send(id.0, me.0, Packet::End),
            PeerEffect::Dial { address, .. } => {
                let delay = self.delay();
                self.after(delay, Happening::Dial { from: index, start, address });
            }
            PeerEffect::OpenSession(slot) => {
                let delay = self.delay();
                self.after(delay, Happening::OpenSession { from: index, start, slot });
            }
            PeerEffect::Tell { seed, message } => {
                if let Some(id) = self.sessions.get(&(index, seed)).copied() {
                    self.send(id, me.0, Packet::Message(message));
                }
            }
            PeerEffect::CloseSession(seed) => {
                if let Some(id) = self.sessions.remove(&(index, seed)) {
                    self.send(id, me.0, Packet::End);
                }
            }
            PeerEffect::Probe { target, order } => self.start_probe(me, Some(target), order),
            PeerEffect::Ask { witness, message, .. } => self.ask(index, witness, message),
            PeerEffect::Deliver { origin, content } => {
                let life = self.peers[index].core.as_ref().map_or(Life::NONE, Peer::life);
                let id = RumorId::of_content(&[origin.to_string().as_bytes(), &content].concat());
                self.truth.delivered(self.peers[index].address, life, id);
            }
            PeerEffect::Exit(result) => {
                assert_eq!(result, Ok(()), "peer {index} gave up");
                self.left.insert(index);
                self.end_process(Node::Peer(index));
            }
            PeerEffect::Log(line) => self.tell(me.0, &line),
            PeerEffect::CancelProbe(_) | PeerEffect::Print(_) | PeerEffect::Warn(_) => {}
        }
    }

    // ---- seeds ----

    fn start_seed(&mut self, index: usize) {
        if self.seeds[index].core.is_some() {
            return;
        }
        let process = &mut self.seeds[index];
        let config = SeedConfig {
            id: SeedId(index as u64),
            address: process.address,
            seeds: (0..SEEDS as u64).map(|i| (SeedId(i), format!("seed {i}"))).collect(),
            birth: index as u64 + 1,
            errands_from: 0,
            patience: Patience::default(),
            printed: self.log.entries.len() as u64,
            started: Timestamp::default(),
        };
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        process.start += 1;
        process.wake = Instant::from_nanos(u64::MAX);
        process.core = Some(Seed::new(config, Registry::default(), seed));
        let start = process.start;
        self.delivered_to[index] = 0;
        self.step_seed(index, start, SeedInput::Wake);
        for other in
            (0..SEEDS).filter(|&other| other != index && self.seeds[other].core.is_some()).collect::<Vec<_>>()
        {
            let (birth, other_start) = (other as u64 + 1, self.seeds[other].start);
            self.after(
                Duration::from_millis(2),
                Happening::Seed(index, start, SeedInput::SeedUp { seed: SeedId(other as u64), birth }),
            );
            let own = SeedInput::SeedUp { seed: SeedId(index as u64), birth: index as u64 + 1 };
            self.after(Duration::from_millis(2), Happening::Seed(other, other_start, own));
        }
        self.after(Duration::from_millis(5), Happening::Deliver(index, start));
        self.after(Duration::from_millis(400), Happening::Elect);
    }

    fn step_seed(&mut self, index: usize, start: u64, input: SeedInput) {
        let process = &mut self.seeds[index];
        let Some(core) = process.core.as_mut().filter(|_| process.start == start) else { return };
        self.steps += 1;
        let effects = core.step(self.now, input);
        let deadline = core.next_deadline();
        self.truth.applied(SeedId(index as u64), core.registry());
        for effect in effects {
            self.perform_seed(index, effect);
        }
        self.set_wake(Node::Seed(index), deadline);
    }

    fn perform_seed(&mut self, index: usize, effect: SeedEffect) {
        let (me, start) = (Node::Seed(index), self.seeds[index].start);
        match effect {
            SeedEffect::Send { to, message } => self.send(to.0, me, Packet::Message(message)),
            SeedEffect::Push { to, message } => {
                for SessionId(id) in to {
                    self.send(id, me, Packet::Message(message.clone()));
                    let drained = SeedInput::SessionDrained(SessionId(id));
                    self.after(Duration::from_micros(20), Happening::Seed(index, start, drained));
                }
            }
            SeedEffect::Close { session, reason } => {
                self.send(session.0, me, Packet::Message(Message::Close(reason)));
                self.send(session.0, me, Packet::End);
            }
            SeedEffect::ToSeed { to, message } => {
                let other = to.0 as usize;
                if self.seeds[other].core.is_some() {
                    // The mesh is one ordered stream from each seed to each other one.
                    let stream = u64::MAX - (index * SEEDS + other) as u64;
                    let address = self.seeds[other].address;
                    let at = self.network.arrival(self.now, stream, address, &mut self.rng);
                    let input = SeedInput::Mesh { from: SeedId(index as u64), message };
                    let other_start = self.seeds[other].start;
                    self.schedule(at, Happening::Seed(other, other_start, input));
                }
            }
            SeedEffect::Propose(entry) => self.propose(index, entry),
            SeedEffect::Probe(order) => self.start_probe((me, start), None, order),
            SeedEffect::ReadIndex(read) => {
                let index_read = Some(self.log.entries.len() as u64 - 1);
                let ready = SeedInput::ReadReady { read, index: index_read };
                self.after(Duration::from_millis(1), Happening::Seed(index, start, ready));
            }
            SeedEffect::Log(line) => self.tell(me, &line),
            SeedEffect::Reply { .. } => {}
        }
    }

    /// Prints a line of a run that somebody wants to read.
    fn tell(&self, node: Node, line: &Line) {
        if self.is_told {
            let ms = self.now.as_nanos() as f64 / 1e6;
            println!("{ms:>12.3} {} {}", self.address(node), line.body());
        }
    }

    // ---- the log ----

    fn leads(&self, index: usize) -> bool {
        self.log.leader == Some(SeedId(index as u64)) && self.seeds[index].core.is_some()
    }

    fn has_majority(&self) -> bool {
        self.seeds.iter().filter(|seed| seed.core.is_some()).count() >= majority(SEEDS)
    }

    fn propose(&mut self, index: usize, entry: Entry) {
        if !self.leads(index) {
            let start = self.seeds[index].start;
            let failed = SeedInput::ProposalFailed(entry);
            return self.after(Duration::from_millis(1), Happening::Seed(index, start, failed));
        }
        self.proposed.push(entry);
        let delay = self.delay() * 2;
        let term = self.log.term;
        self.after(delay, Happening::Replicated { term });
    }

    fn replicated(&mut self, term: u64) {
        if term == self.log.term && self.log.leader.is_some() && self.has_majority() {
            self.commit_proposed(usize::MAX);
        }
    }

    fn commit_proposed(&mut self, most: usize) {
        let count = most.min(self.proposed.len());
        for entry in self.proposed.drain(..count).collect::<Vec<_>>() {
            self.log.commit(entry);
            self.note_committed();
        }
        self.announce_commits();
    }

    fn note_committed(&mut self) {
        if let Some(commit) = self.log.entries.last() {
            self.truth.committed(self.now, commit);
        }
    }

    fn announce_commits(&mut self) {
        for index in 0..SEEDS {
            let delay = self.delay();
            let start = self.seeds[index].start;
            self.after(delay, Happening::Deliver(index, start));
        }
    }

    fn deliver(&mut self, index: usize, start: u64) {
        let news = self.log.since(self.delivered_to[index]).to_vec();
        if self.seeds[index].core.is_none() || self.seeds[index].start != start || news.is_empty() {
            return;
        }
        self.delivered_to[index] += news.len();
        self.step_seed(index, start, SeedInput::Committed(news));
        let (leader, term) = (self.log.leader, self.log.term);
        if leader.is_some() {
            self.step_seed(index, start, SeedInput::Leader { leader, term });
        }
    }

    /// The leader is lost. What it had proposed may be in the log of the next, as far as it came.
    fn depose(&mut self) {
        if self.log.leader.take().is_none() {
            return;
        }
        let survives = self.rng.random_range(0..=self.proposed.len());
        self.commit_proposed(survives);
        self.proposed.clear();
        let delay = Duration::from_millis(self.rng.random_range(300..600));
        self.after(delay, Happening::Elect);
    }

    fn elect(&mut self) {
        let alive: Vec<usize> = (0..SEEDS).filter(|&index| self.seeds[index].core.is_some()).collect();
        if self.log.leader.is_some_and(|leader| alive.contains(&(leader.0 as usize))) || !self.has_majority()
        {
            return;
        }
        let winner = alive[self.rng.random_range(0..alive.len())];
        self.log.elect(SeedId(winner as u64));
        self.note_committed();
        self.announce_commits();
    }

    // ---- connections ----

    fn address(&self, node: Node) -> Address {
        match node {
            Node::Peer(index) => self.peers[index].address,
            Node::Seed(index) => self.seeds[index].address,
        }
    }

    fn peer_at(&self, address: Address) -> Option<usize> {
        self.peers.iter().position(|peer| peer.address == address)
    }

    fn connect(&mut self, ends: [End; 2], purpose: Use) -> u64 {
        self.last_connection += 1;
        self.connections.insert(self.last_connection, Connection { ends, purpose });
        self.last_connection
    }

    fn send(&mut self, id: u64, from: Node, packet: Packet) {
        let Some(connection) = self.connections.get(&id) else { return };
        let [a, b] = connection.ends;
        let to = if a.0 == from { b.0 } else { a.0 };
        let passes = self.network.passes(self.address(from), self.address(to));
        let waits = self.stalled.iter().any(|(other, node, _)| *other == id && *node == from);
        if !passes || waits {
            return self.stalled.push((id, from, packet));
        }
        let address = self.address(to);
        let at = self.network.arrival(self.now, id, address, &mut self.rng);
        self.schedule(at, Happening::Packet { connection: id, to, packet });
    }

    fn arrive(&mut self, id: u64, to: Node, packet: Packet) {
        let Some(connection) = self.connections.get(&id).copied() else { return };
        let Some((_, start)) = connection.ends.into_iter().find(|(node, _)| *node == to) else { return };
        if matches!(packet, Packet::End) {
            self.connections.remove(&id);
            let ends = connection.ends.map(|(node, _)| self.address(node));
            self.network.forget(id, ends);
            self.stalled.retain(|(other, ..)| *other != id);
        }
        match (to, connection.purpose, packet) {
            (Node::Peer(index), Use::Session(slot), packet) => {
                if self.sessions.get(&(index, slot)) != Some(&id) {
                    return;
                }
                let input = match packet {
                    Packet::Message(message) => PeerInput::Session { seed: slot, message },
                    Packet::End => {
                        self.sessions.remove(&(index, slot));
                        PeerInput::SessionDown { seed: slot }
                    }
                };
                self.step_peer(index, start, input);
            }
            (Node::Peer(index), Use::Question(witness), Packet::Message(Message::Link(message)))
                if connection.ends[0].0 == to =>
            {
                self.step_peer(index, start, PeerInput::Answered { witness, message });
            }
            (Node::Peer(index), _, Packet::Message(message)) => {
                let input = PeerInput::Frame { connection: ConnectionId(id), wire: Wire::Native, message };
                self.step_peer(index, start, input);
            }
            (Node::Peer(index), _, Packet::End) => {
                self.step_peer(index, start, PeerInput::Ended { connection: ConnectionId(id) });
            }
            (Node::Seed(index), _, Packet::Message(message)) => {
                let input = SeedInput::Session { session: SessionId(id), wire: Wire::Native, message };
                self.step_seed(index, start, input);
            }
            (Node::Seed(index), _, Packet::End) => {
                self.step_seed(index, start, SeedInput::SessionClosed(SessionId(id)));
            }
        }
    }

    fn dial(&mut self, from: usize, start: u64, address: Address) {
        let Some(target) = self.peer_at(address) else { return };
        if !self.network.connects(self.peers[from].address, address) {
            let failed = PeerInput::DialFailed { address, failure: DialFailure::Other };
            return self.after(Duration::from_secs(2), Happening::Peer(from, start, failed));
        }
        let input = if self.peers[target].core.is_some() {
            let ends = [(Node::Peer(from), start), (Node::Peer(target), self.peers[target].start)];
            let connection = ConnectionId(self.connect(ends, Use::Link));
            PeerInput::Dialled { address, connection }
        } else {
            PeerInput::DialFailed { address, failure: DialFailure::Refused }
        };
        let delay = self.delay();
        self.after(delay, Happening::Peer(from, start, input));
    }

    fn open_session(&mut self, from: usize, start: u64, slot: SeedSlot) {
        let seed = &self.seeds[slot.0];
        if self.peers[from].core.is_none() || self.peers[from].start != start {
            return;
        }
        if !self.network.connects(self.peers[from].address, seed.address) {
            return self.after(
                Duration::from_secs(2),
                Happening::Peer(from, start, PeerInput::SessionDown { seed: slot }),
            );
        }
        let input = if seed.core.is_some() {
            let ends = [(Node::Peer(from), start), (Node::Seed(slot.0), seed.start)];
            let id = self.connect(ends, Use::Session(slot));
            self.sessions.insert((from, slot), id);
            PeerInput::SessionUp { seed: slot }
        } else {
            PeerInput::SessionDown { seed: slot }
        };
        let delay = self.delay();
        self.after(delay, Happening::Peer(from, start, input));
    }

    fn ask(&mut self, from: usize, witness: Address, message: LinkMessage) {
        let Some(target) = self.peer_at(witness).filter(|&t| self.peers[t].core.is_some()) else { return };
        let ends =
            [(Node::Peer(from), self.peers[from].start), (Node::Peer(target), self.peers[target].start)];
        let id = self.connect(ends, Use::Question(witness));
        self.send(id, Node::Peer(from), Packet::Message(Message::Link(message)));
    }

    // ---- probes ----

    fn start_probe(&mut self, (from, start): End, target: Option<MemberId>, order: ProbeOrder) {
        let until = self.now + order.patience;
        let lost = 1.0 - (1.0 - self.network.loss).powi(2);
        let mut at = self.now + self.network.delay(&mut self.rng).min(Duration::from_millis(5)) * 2;
        for _ in 1..PROBE_CONNECTIONS_MAX {
            if !self.rng.random_bool(lost) {
                break;
            }
            at = at + order.spacing;
        }
        let happening = match at < until {
            true => Happening::ProbeArrives { from, start, target, order, until },
            false => Happening::ProbeEnds { from, start, target, order, finding: Finding::Silent },
        };
        self.schedule(at.min(until), happening);
    }

    fn probe(&self, from: Node, order: ProbeOrder) -> Finding {
        if !self.network.connects(self.address(from), order.address) {
            return Finding::Silent;
        }
        let Some(process) = self.peer_at(order.address).map(|index| &self.peers[index]) else {
            return Finding::Refused;
        };
        match &process.core {
            None => Finding::Refused,
            Some(_) if process.paused => Finding::Silent,
            Some(core) if core.life() == order.life => Finding::Alive,
            Some(core) => Finding::OtherLife(core.life()),
        }
    }

    fn probe_ended(
        &mut self,
        (from, start): End,
        target: Option<MemberId>,
        order: ProbeOrder,
        finding: Finding,
    ) {
        let host = HostEvidence::Unknown;
        match (from, target) {
            (Node::Peer(index), Some(target)) => {
                self.step_peer(index, start, PeerInput::Probed { target, finding, host });
            }
            (Node::Seed(index), None) => {
                let target = (order.address, order.life);
                self.truth.probed(SeedId(index as u64), target, finding);
                self.step_seed(index, start, SeedInput::Probed { target, finding, host });
            }
            (Node::Peer(_), None) | (Node::Seed(_), Some(_)) => {
                unreachable!("peers probe members, seeds lives")
            }
        }
    }

    // ---- faults ----

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::KillPeer(index) => self.end_process(Node::Peer(index)),
            Fault::StartPeer(index) => self.start_peer(index),
            Fault::PausePeer(index, time) => {
                self.peers[index].paused = true;
                self.after(time, Happening::Resume(index));
            }
            Fault::LeavePeer(index) => {
                let start = self.peers[index].start;
                self.step_peer(index, start, PeerInput::Stop);
            }
            Fault::CutPeers(a, b) => self.network.cut(self.peers[a].address, self.peers[b].address),
            Fault::CutSeed(peer, seed) => {
                self.network.cut(self.peers[peer].address, self.seeds[seed].address);
            }
            Fault::KillSeed(index) => self.end_process(Node::Seed(index)),
            Fault::StartSeed(index) => self.start_seed(index),
            Fault::Depose => self.depose(),
            Fault::Lose(percent) => self.network.loss = f64::from(percent) / 100.0,
            Fault::Heal => self.heal(),
            Fault::Say(index) => self.say(index),
        }
        if self.is_told {
            println!("{:>12.3} {fault:?}", self.now.as_nanos() as f64 / 1e6);
        }
        (0..self.peers.len()).for_each(|index| self.update_well(index));
    }

    fn end_process(&mut self, node: Node) {
        let alive = match node {
            Node::Peer(index) => self.peers[index].core.take().is_some(),
            Node::Seed(index) => self.seeds[index].core.take().is_some(),
        };
        if !alive {
            return;
        }
        let own: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| c.ends.iter().any(|(n, _)| *n == node))
            .map(|(id, _)| *id)
            .collect();
        own.into_iter().for_each(|id| self.send(id, node, Packet::End));
        match node {
            Node::Peer(index) => self.sessions.retain(|(peer, _), _| *peer != index),
            Node::Seed(index) => self.seed_ended(index),
        }
    }

    fn seed_ended(&mut self, index: usize) {
        let id = SeedId(index as u64);
        for other in 0..SEEDS {
            let start = self.seeds[other].start;
            self.after(Duration::from_millis(1), Happening::Seed(other, start, SeedInput::SeedDown(id)));
            self.after(Duration::from_millis(1), Happening::Seed(other, start, SeedInput::SeedSilent(id)));
        }
        if self.log.leader == Some(id) {
            self.depose();
        }
    }

    fn resume(&mut self, index: usize) {
        let process = &mut self.peers[index];
        process.paused = false;
        let (start, held) = (process.start, std::mem::take(&mut process.held));
        held.into_iter().for_each(|input| self.step_peer(index, start, input));
        self.step_peer(index, start, PeerInput::Wake);
    }

    fn heal(&mut self) {
        self.network.heal();
        for (id, from, packet) in std::mem::take(&mut self.stalled) {
            self.send(id, from, packet);
        }
    }

    fn say(&mut self, index: usize) {
        self.said += 1;
        let start = self.peers[index].start;
        let words = Bytes::from(format!("message {}", self.said));
        self.step_peer(index, start, PeerInput::Broadcast(words));
    }

    fn update_well(&mut self, index: usize) {
        let process = &self.peers[index];
        let reachable = self.seeds.iter().all(|seed| self.network.connects(seed.address, process.address));
        let life = process.core.as_ref().map(Peer::life).filter(|_| !process.paused && reachable);
        self.truth.well(self.now, process.address, life);
    }

    // ---- the end ----

    fn heal_everything(&mut self) {
        self.heal();
        (0..SEEDS).for_each(|index| self.start_seed(index));
        (0..self.peers.len())
            .filter(|&i| self.peers[i].paused)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|i| self.resume(i));
        (0..self.peers.len()).for_each(|index| self.update_well(index));
        self.elect();
    }

    fn converge(&mut self) {
        let end = self.now + CONVERGES_WITHIN;
        while self.now < end {
            self.run_until(self.now + Duration::from_millis(500));
            if self.difference().is_none() {
                return;
            }
        }
        panic!("not converged after {CONVERGES_WITHIN:?}: {}", self.difference().unwrap_or_default());
    }

    /// What is not yet as it should be.
    fn difference(&self) -> Option<String> {
        let registry = self.truth.registry();
        for (index, process) in self.peers.iter().enumerate() {
            let member = registry.at(process.address);
            match (&process.core, member) {
                (None, Some(member)) => return Some(format!("{} is dead and a member", member.id)),
                (Some(_), None) => return Some(format!("peer {index} lives and is no member")),
                (Some(core), Some(member)) if core.life() != member.life => {
                    return Some(format!("{} is a member by a former life", member.id));
                }
                (Some(core), Some(_)) if core.view() != &registry.view() => {
                    let (own, all) = (core.view().epoch, registry.epoch());
                    return Some(format!("peer {index} has the view of {own}, the log that of {all}"));
                }
                _ => {}
            }
        }
        self.overlay_pieces()
    }

    fn overlay_pieces(&self) -> Option<String> {
        let links: BTreeMap<Address, Vec<Address>> = self
            .peers
            .iter()
            .filter_map(|p| p.core.as_ref().map(|c| (p.address, c.neighbours().map(|n| n.address).collect())))
            .collect();
        let pieces = coterie_seed::core::components::components(&links);
        (pieces.len() > 1).then(|| format!("the overlay is in {} pieces", pieces.len()))
    }

    /// After all is well again, what anybody says reaches everybody.
    fn say_last_words(&mut self) {
        let alive: Vec<usize> =
            (0..self.peers.len()).filter(|&index| self.peers[index].core.is_some()).collect();
        let Some(&speaker) = alive.first() else { return };
        self.say(speaker);
        let words = format!("message {}", self.said);
        let origin = self.peers[speaker].address;
        self.run_until(self.now + Duration::from_secs(5));
        let id = RumorId::of_content(&[origin.to_string().as_bytes(), words.as_bytes()].concat());
        for &index in alive.iter().skip(1) {
            let heard = self.truth.was_delivered(self.peers[index].address, id);
            assert!(heard, "peer {index} did not hear the last words of peer {speaker}");
        }
    }
}

impl<C> Process<C> {
    fn new(address: Address) -> Self {
        let wake = Instant::from_nanos(u64::MAX);
        Process { core: None, start: 0, address, wake, spins: 0, paused: false, held: Vec::new() }
    }

    /// It wishes to be woken at `deadline`; when that is news, it is to be scheduled.
    fn wish(&mut self, now: Instant, deadline: Instant) -> Option<Instant> {
        self.spins = if deadline <= now { self.spins + 1 } else { 0 };
        assert!(self.spins < SPIN, "{} names a deadline that is over, again and again", self.address);
        let at = deadline.max(now);
        (std::mem::replace(&mut self.wake, at) != at).then_some(at)
    }

    fn wakes(&mut self, now: Instant) -> bool {
        let due = self.core.is_some() && !self.paused && self.wake == now;
        if due {
            self.wake = Instant::from_nanos(u64::MAX);
        }
        due
    }
}

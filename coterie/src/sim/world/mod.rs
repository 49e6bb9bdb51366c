//! The loop of simulated time, and what effects do in it.

mod beginnings;
mod elections;
mod ending;
mod faults;
mod logs;
mod measuring;
mod peers;
mod probing;
mod queue;
mod seats;
mod seeds;
mod tampering;
mod wires;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use coterie_common::message::SeedId;
use coterie_common::{Address, Instant, Line};
use coterie_peer::core::{Input as PeerInput, Peer, SeedSlot};
use coterie_seed::core::{Input as SeedInput, Seed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use queue::{Happening, Queue, Start};

use super::connection::Connections;
use super::fault::SPARE_SEEDS;
use super::host::Host;
use super::marks::Marks;
use super::network::Network;
use super::plan::Plan;
use super::process::Process;
use super::replica::Replica;
use super::run::{Report, Violation};
use super::tell::tell;
use super::watch::{Observed, State, Watch};

/// The whole state is looked at after so many happenings, or as many as there are peers: a look at all of them costs as
/// much as that.
const LOOK_EVERY: u64 = 100;

/// A seed's host: its process and its disk.
struct SeedHost {
    process: Process<Seed, SeedInput>,
    id: SeedId,
    /// The number of the directory that is on its disk.
    birth: u64,
    replica: Replica,
    /// Whether its log has begun: it votes, and is sent entries.
    takes_part: bool,
    /// Whether it is a seed at all: added, or there from the beginning.
    is_listed: bool,
    /// Whether it found that its directory is not the one that its cluster knows, or that it was removed: it never
    /// starts again by itself.
    is_lost: bool,
    told_leader: Option<(Option<SeedId>, u64)>,
}

/// Everything there is.
pub(super) struct World<'a> {
    plan: &'a Plan,
    now: Instant,
    rng: ChaCha8Rng,
    queue: Queue,
    events: u64,
    steps: u64,
    peers: Vec<Process<Peer, PeerInput>>,
    seeds: Vec<SeedHost>,
    network: Network,
    connections: Connections,
    sessions: BTreeMap<(usize, SeedSlot), u64>,
    mesh: BTreeMap<(usize, usize), u64>,
    /// How many entries the truth has.
    committed: usize,
    leaderless_since: Option<Instant>,
    births: u64,
    /// When a seed was last removed.
    removed_at: Option<Instant>,
    said: u64,
    last_words: Vec<(Address, Bytes)>,
    watch: Watch,
    marks: Marks,
    digest: DefaultHasher,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, only: Option<&str>) -> Self {
        let swarm = &plan.swarm;
        // The plan has a stream of its own: a plan of which something is left out draws the same otherwise.
        let rng = ChaCha8Rng::seed_from_u64(plan.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1);
        let mut world = World {
            plan,
            now: Instant::START,
            rng,
            queue: Queue::default(),
            events: 0,
            steps: 0,
            peers: (0..swarm.peers).map(|i| Process::new(Host::Peer(i).address())).collect(),
            seeds: (0..swarm.seeds + SPARE_SEEDS).map(SeedHost::new).collect(),
            network: Network::new(swarm.latency),
            connections: Connections::default(),
            sessions: BTreeMap::new(),
            mesh: BTreeMap::new(),
            committed: 0,
            leaderless_since: None,
            births: (swarm.seeds + SPARE_SEEDS) as u64,
            removed_at: None,
            said: 0,
            last_words: Vec::new(),
            watch: Watch::new(only),
            marks: Marks::default(),
            digest: DefaultHasher::new(),
        };
        world.schedule(Instant::START, Happening::LogTick);
        world
    }

    /// Lets it happen: chaos, healing, convergence.
    pub(super) fn run(mut self) -> Result<Report, Violation> {
        if self.plan.is_told {
            tell(format_args!("{} of {}", self.plan.faults.len(), self.plan.swarm));
        }
        self.start_everybody();
        for (at, fault) in &self.plan.faults {
            self.schedule(Instant::START + Duration::from_millis(*at), Happening::Fault(fault.clone()));
        }
        self.run_until(Instant::START + self.plan.swarm.chaos)?;
        self.heal_everything();
        self.converge()?;
        Ok(self.report())
    }

    // ---- time ----

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.queue.push(at.max(self.now), happening);
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.schedule(self.now + delay, happening);
    }

    fn run_until(&mut self, end: Instant) -> Result<(), Violation> {
        while let Some((at, happening)) = self.queue.pop_until(end) {
            self.now = at;
            self.events += 1;
            self.happen(happening);
            if self.events.is_multiple_of(LOOK_EVERY.max(self.peers.len() as u64)) {
                self.look();
            }
            if let Some(violation) = self.watch.violation.take() {
                return Err(violation);
            }
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(host) => self.wake(host),
            Happening::Peer(index, start, input) => self.step_peer(index, start, input),
            Happening::Seed(index, start, input) => self.step_seed(index, start, *input),
            Happening::Packet { connection, side, packet } => self.arrive(connection, side, packet),
            Happening::GiveUp { connection, side, since } => self.give_up(connection, side, since),
            Happening::Dial { from, start, address } => self.dial(from, start, address),
            Happening::OpenSession { from, start, slot, address } => {
                self.open_session((from, start), slot, address);
            }
            Happening::OpenMesh { from, start, to } => self.open_mesh(from, start, to),
            Happening::ProbeArrives { from, target, order, until } => {
                self.probe_arrives(from, target, order, until);
            }
            Happening::ProbeEnds { from, target, order, finding } => {
                self.probe_ended(from, target, order, finding);
            }
            Happening::Written { seed, start, term, len } => self.written(seed, start, term, len),
            Happening::Append { from, to, to_start, term, place, entries, committed } => {
                self.append_arrives((from, term), (to, to_start), (place, entries), committed);
            }
            Happening::Ack { from, to, to_start, term, written } => {
                self.ack_arrives(from, (to, to_start), term, written);
            }
            Happening::NotTaken { seed, start, entry } => {
                self.step_seed(seed, start, SeedInput::ProposalFailed(*entry));
            }
            Happening::LogTick => self.log_tick(),
            Happening::Resume(host) => self.resume(host),
            Happening::Fault(fault) => self.fault(&fault),
        }
    }

    fn wake(&mut self, host: Host) {
        let now = self.now;
        match host {
            Host::Peer(index) if self.peers[index].wakes(now) => {
                let start = self.peers[index].start;
                self.step_peer(index, start, PeerInput::Wake);
            }
            Host::Seed(index) if self.seeds[index].process.wakes(now) => {
                let start = self.seeds[index].process.start;
                self.step_seed(index, start, SeedInput::Wake);
            }
            Host::Peer(_) | Host::Seed(_) => {}
        }
    }

    // ---- what is seen of it ----

    fn observe(&mut self, observed: &Observed<'_>) {
        self.watch.observe(self.now, observed);
    }

    /// A node has written a line.
    fn note_line(&mut self, host: Host, line: &Line) {
        self.now.as_nanos().hash(&mut self.digest);
        line.body().hash(&mut self.digest);
        self.marks.note(line);
        self.observe(&Observed::Said { by: host, line });
        if self.plan.is_told {
            tell(format_args!("{:>12.3} {host} {}", self.now.as_nanos() as f64 / 1e6, line.body()));
        }
    }

    fn look(&mut self) {
        let World { watch, peers, seeds, last_words, plan, now, .. } = self;
        watch.look(*now, |truth, show| show(&state(truth, peers, seeds, last_words, plan)));
    }

    fn unsettled(&self) -> Option<(&'static str, String)> {
        self.watch.unsettled(&state(&self.watch.truth, &self.peers, &self.seeds, &self.last_words, self.plan))
    }

    fn report(mut self) -> Report {
        for process in &self.peers {
            if let Some(core) = &process.core {
                self.marks.add_counters(core.counters());
            }
        }
        for seed in &self.seeds {
            if let Some(core) = &seed.process.core {
                self.marks.add_counters(core.counters());
            }
        }
        Report {
            simulated: self.now.since(Instant::START),
            events: self.events,
            steps: self.steps,
            epoch: self.watch.truth.registry.epoch().0,
            digest: self.digest.finish(),
            marks: self.marks,
        }
    }

    fn process_runs(&self, host: Host) -> bool {
        match host {
            Host::Peer(index) => self.peers[index].core.is_some(),
            Host::Seed(index) => self.seeds[index].process.core.is_some(),
        }
    }

    fn start_of(&self, host: Host) -> u64 {
        match host {
            Host::Peer(index) => self.peers[index].start,
            Host::Seed(index) => self.seeds[index].process.start,
        }
    }

    fn is_dark(&self, host: Host) -> bool {
        match host {
            Host::Peer(index) => self.peers[index].is_dark,
            Host::Seed(index) => self.seeds[index].process.is_dark,
        }
    }
}

fn state<'a>(
    truth: &'a super::watch::Truth,
    peers: &'a [Process<Peer, PeerInput>],
    seeds: &'a [SeedHost],
    last_words: &'a [(Address, Bytes)],
    plan: &Plan,
) -> State<'a> {
    let taking_part = seeds.iter().filter(|seed| seed.takes_part);
    State {
        truth,
        peers: peers.iter().map(|process| (process.address, process.core.as_ref())).collect(),
        seeds: taking_part.filter_map(|seed| Some((seed.id, seed.process.core.as_ref()?))).collect(),
        last_words,
        max_neighbours: plan.swarm.max_neighbours,
    }
}

impl SeedHost {
    fn new(index: usize) -> Self {
        SeedHost {
            process: Process::new(Host::Seed(index).address()),
            id: SeedId(index as u64),
            birth: index as u64 + 1,
            replica: Replica::default(),
            takes_part: false,
            is_listed: false,
            is_lost: false,
            told_leader: None,
        }
    }
}

//! The loop of simulated time, and what effects do in it.

mod beginnings;
mod directories;
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
mod triggers;
mod turns;
mod wires;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use coterie_common::message::{DirectoryState, SeedId};
use coterie_common::{Address, Instant, Line};
use coterie_peer::core::{Input as PeerInput, Peer, SeedSlot};
use coterie_seed::core::directories::KnownDirectories;
use coterie_seed::core::{Input as SeedInput, Seed};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use directories::DirectoryCopy;
use ending::RunPhase;
use queue::{Happening, Queue};
use triggers::Load;

use crate::check::checker::Checker;
use crate::check::marks::Marks;
use crate::check::observed::Observed;
use crate::check::processes::Processes;
use crate::check::report::{RunReport, Violation};
use crate::model::host::Host;
use crate::model::network::Network;
use crate::model::process::Process;
use crate::model::replicated_log::ReplicatedLog;
use crate::model::tcp::TcpConnections;
use crate::plan::Plan;
use crate::plan::fault::SPARE_SEEDS;
use crate::plan::planted_bug::PlantedBug;
use crate::sink::Sink;

/// The whole state is looked at after so many happenings, or as many as there are peers: a look at all of them costs as
/// much as that.
const LOOK_EVERY: u64 = 100;

/// A seed's host: its process and its disk.
#[derive(Debug)]
struct SeedHost {
    process: Process<Seed, SeedInput>,
    id: SeedId,
    /// The number of the directory that is on its disk.
    directory_id: u64,
    replica: ReplicatedLog,
    /// Whether its log has begun: it votes, and is sent entries.
    takes_part: bool,
    /// Whether it is a seed at all: added, or there from the beginning.
    is_listed: bool,
    /// Whether it found that its directory is not the one that its cluster knows, or that it was removed: it never
    /// starts again by itself.
    is_lost: bool,
    told_leader: Option<(Option<SeedId>, u64)>,
    /// What it remembers of the other seeds' directories. On its disk.
    known: KnownDirectories,
    /// How often a seed was started on this directory. On its disk.
    run: u64,
    /// What it told the others last of its directory, and when.
    told_directory: Option<(Instant, DirectoryState)>,
    /// A copy of its directory, which an operator keeps.
    copy: Option<DirectoryCopy>,
    /// Its own directory, while one of another cluster is in its place.
    put_away: Option<DirectoryCopy>,
    /// Whether it runs on a copy, and will end when it meets somebody who knows. The operator does not count on it.
    is_restored: bool,
}

/// Everything there is.
pub struct World {
    plan: Plan,
    now: Instant,
    rng: ChaCha8Rng,
    queue: Queue,
    peers: Vec<Process<Peer, PeerInput>>,
    seeds: Vec<SeedHost>,
    traffic: Traffic,
    load: Load,
    log: TrueLog,
    operator: Operator,
    words: Words,
    checker: Checker,
    tally: RunTally,
    phase: RunPhase,
    sink: Sink,
}

/// What stands between the hosts.
#[derive(Debug)]
struct Traffic {
    network: Network,
    connections: TcpConnections,
    /// The connection of each session, by the peer and the seed's place in its list.
    sessions: BTreeMap<(usize, SeedSlot), u64>,
    /// The connection from one seed to another.
    mesh: BTreeMap<(usize, usize), u64>,
}

/// The log as a reader sees it who is never late.
#[derive(Debug, Default)]
struct TrueLog {
    /// How many entries were ever committed.
    committed: usize,
    leaderless_since: Option<Instant>,
}

/// Whoever starts seeds with new directories, and changes who the seeds are.
#[derive(Debug)]
struct Operator {
    /// The number of the last directory that was made.
    directory_ids: u64,
    /// When a seed was last removed.
    removed_at: Option<Instant>,
    /// The seed that was once started on another cluster's directory.
    mistaken_at: Option<usize>,
}

/// What peers were made to say.
#[derive(Debug, Default)]
struct Words {
    said: u64,
    /// What everybody must have heard in the end.
    last: Vec<(Address, Bytes)>,
}

/// What a run comes to.
#[derive(Debug, Default)]
struct RunTally {
    events: u64,
    steps: u64,
    marks: Marks,
    digest: DefaultHasher,
}

impl World {
    /// A world in which nothing has happened yet: everybody is about to be started, and the plan's faults are to come.
    pub fn new(plan: Plan, checker: Checker, sink: Sink) -> Self {
        let swarm = &plan.swarm;
        // The plan has a stream of its own: a plan of which something is left out draws the same otherwise.
        let rng = ChaCha8Rng::seed_from_u64(plan.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1);
        let mut world = World {
            now: Instant::START,
            rng,
            queue: Queue::default(),
            peers: (0..swarm.peers).map(|i| Process::new(Host::Peer(i).address())).collect(),
            seeds: (0..swarm.seeds + SPARE_SEEDS).map(SeedHost::new).collect(),
            traffic: Traffic {
                network: Network::new(swarm.latency),
                connections: TcpConnections::default(),
                sessions: BTreeMap::new(),
                mesh: BTreeMap::new(),
            },
            load: Load::new(swarm.prices.as_ref()),
            log: TrueLog::default(),
            operator: Operator {
                directory_ids: (swarm.seeds + SPARE_SEEDS) as u64,
                removed_at: None,
                mistaken_at: None,
            },
            words: Words::default(),
            checker,
            tally: RunTally::default(),
            phase: RunPhase::Chaos,
            sink,
            plan,
        };
        world.sink.tell(format_args!("{} of {}", world.plan.faults.len(), world.plan.swarm));
        world.schedule(Instant::START, Happening::LogTick);
        world.start_everybody();
        for (at, fault) in world.plan.faults.clone() {
            world.schedule(Instant::START + Duration::from_millis(at), Happening::Fault(fault));
        }
        world
    }

    /// Lets it happen, to the end: chaos, healing, convergence.
    pub fn run(mut self) -> Result<RunReport, Violation> {
        while !self.is_over() {
            self.run_slice()?;
        }
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
        let _turned = self.turn_knobs();
        while let Some((at, happening)) = self.queue.pop_until(end) {
            self.now = at;
            self.tally.events += 1;
            self.happen(happening);
            if self.tally.events.is_multiple_of(LOOK_EVERY.max(self.peers.len() as u64)) {
                self.look();
            }
            if let Some(violation) = self.checker.take_violation() {
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
            Happening::ProbeAnswered { from, target, order, until } => {
                self.end_probe(from, target, order, until);
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
            Happening::Turn(machine) => self.take_turn(machine),
            Happening::StepEnds(host, start) => self.end_step(host, start),
            Happening::TriggerEnds(trigger) => self.end_trigger(&trigger),
            Happening::TriggerSpent { at_last } => self.spend_trigger(at_last),
            Happening::CalmDue => self.demand_calm(),
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
        self.checker.observe(self.now, observed);
    }

    /// A node has written a line.
    fn warned(&mut self, host: Host, text: &str) {
        if self.plan.planted_bug != Some(PlantedBug::NobodyComplains) {
            self.observe(&Observed::Warned { by: host, text });
        }
    }

    fn note_line(&mut self, host: Host, line: &Line) {
        self.now.as_nanos().hash(&mut self.tally.digest);
        line.body().hash(&mut self.tally.digest);
        self.tally.marks.note(line);
        self.observe(&Observed::Said { by: host, line });
        self.sink.tell(format_args!("{:>12.3} {host} {}", self.now.as_nanos() as f64 / 1e6, line.body()));
    }

    fn look(&mut self) {
        let processes = processes(&self.peers, &self.seeds, &self.words.last, &self.plan);
        self.checker.look(self.now, &processes);
    }

    fn unsettled(&self) -> Option<(&'static str, String)> {
        self.checker.unsettled(&processes(&self.peers, &self.seeds, &self.words.last, &self.plan))
    }

    /// What it has come to so far.
    pub fn report(mut self) -> RunReport {
        for process in &self.peers {
            if let Some(core) = &process.core {
                self.tally.marks.add_counters(core.counters());
            }
        }
        for seed in &self.seeds {
            if let Some(core) = &seed.process.core {
                self.tally.marks.add_counters(core.counters());
            }
        }
        RunReport {
            simulated: self.now.since(Instant::START),
            events: self.tally.events,
            steps: self.tally.steps,
            epoch: self.checker.truth().registry().epoch().0,
            digest: self.tally.digest.finish(),
            marks: self.tally.marks,
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

fn processes<'a>(
    peers: &'a [Process<Peer, PeerInput>],
    seeds: &'a [SeedHost],
    last_words: &'a [(Address, Bytes)],
    plan: &Plan,
) -> Processes<'a> {
    let taking_part = seeds.iter().filter(|seed| seed.takes_part && !seed.is_mistaken());
    Processes {
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
            directory_id: index as u64 + 1,
            replica: ReplicatedLog::default(),
            takes_part: false,
            is_listed: false,
            is_lost: false,
            told_leader: None,
            known: KnownDirectories::default(),
            run: 0,
            told_directory: None,
            copy: None,
            put_away: None,
            is_restored: false,
        }
    }
}

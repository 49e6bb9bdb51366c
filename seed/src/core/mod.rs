//! The seed as a value: what happened goes in with the time, what is to be done comes out.
//!
//! ```text
//! Input --> Seed::step(now) --> [Effect]        Seed::next_deadline() --> the shell sleeps until then
//! ```
//!
//! [`Registry`] is the replicated state; everything else here serves the way of a request into the log and of its
//! result to the sessions. The steps stand by what they are about: `serving`, `observing` and `pushing` (sessions),
//! `asking` (what is passed on to the leader), `admitting` and `burying` (the leader's ballots), `voting` (every
//! seed's votes), `seats` (who the seeds are), `applying` (what the log has decided), `tending` (what falls due:
//! silence, absence, the overlay's components).
//!
//! No clock, no entropy, no sockets, no `async`: time comes with the input, chance from a seeded generator, and
//! deadlines live inside.

mod admitting;
mod applying;
mod asking;
pub mod ballot;
mod burying;
pub mod components;
pub mod config;
mod effect;
pub mod entry;
pub mod errands;
pub mod formation;
pub mod history;
mod observing;
pub mod probes;
mod pushing;
pub mod rate;
pub mod registry;
pub mod seats;
mod serving;
pub mod sessions;
pub mod soft;
mod tending;
mod voting;

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::message::{BallotId, Errand, MeshMessage, SeedId, SoftState};
use coterie_common::{Instant, Line, Timestamp, majority};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use config::Config;
pub use effect::{Commit, Effect, Input, Payload, SessionId};
pub use entry::Entry;
pub use registry::Registry;

use admitting::{Admissions, Owner};
use burying::Burials;
use errands::Errands;
use history::History;
use probes::Probes;
use seats::Seats;
use sessions::Sessions;
use soft::Soft;
use tending::Tending;

/// Pieces of soft state that may come before the news of an election: a few from each seed.
const EARLY_SOFT_MAX: usize = 64;

/// The core of a seed. A value like any other: who looks on may keep a copy of it.
#[derive(Clone, Debug)]
pub struct Seed {
    config: Config,
    rng: ChaCha8Rng,
    registry: Registry,
    history: History,
    leader: Option<SeedId>,
    /// Whether there was a leader at any time since this seed started.
    was_led: bool,
    term: u64,
    /// Ballots opened in this term, if this seed leads.
    ballots_opened: u64,
    /// The connected seeds, with the numbers of their data directories.
    others: BTreeMap<SeedId, u64>,
    sessions: Sessions,
    errands: Errands,
    probes: Probes,
    admissions: Admissions,
    burials: Burials,
    soft: Soft,
    seats: Seats,
    tending: Tending,
    /// Proposals that wait until this registry has reached the leader's.
    ahead: Vec<(SeedId, MeshMessage)>,
    /// Errands that came before this seed knew that it leads.
    early: Vec<(Instant, Owner, Errand)>,
    /// Soft state of a term that this seed has not heard of yet.
    early_soft: Vec<(SeedId, SoftState)>,
    reads: BTreeMap<u64, observing::Read>,
    reads_made: u64,
    counters: BTreeMap<&'static str, u64>,
}

impl Seed {
    /// A seed whose log made `registry`, and that draws everything that is left to chance from `seed`.
    pub fn new(config: Config, registry: Registry, seed: [u8; 32]) -> Self {
        Seed {
            rng: ChaCha8Rng::from_seed(seed),
            history: History::new(registry.epoch()),
            registry,
            leader: None,
            was_led: false,
            term: 0,
            ballots_opened: 0,
            others: BTreeMap::new(),
            sessions: Sessions::default(),
            errands: Errands::starting_after(config.errands_from),
            probes: Probes::default(),
            admissions: Admissions::default(),
            burials: Burials::default(),
            soft: Soft::default(),
            seats: Seats::default(),
            tending: Tending::default(),
            ahead: Vec::new(),
            early: Vec::new(),
            early_soft: Vec::new(),
            reads: BTreeMap::new(),
            reads_made: 0,
            counters: BTreeMap::new(),
            config,
        }
    }

    /// Takes one input at `now` and returns what is to be done, in order.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Wake => {}
            Input::Session { session, wire, message } => {
                self.on_session(now, session, wire, message, &mut out);
            }
            Input::SessionDrained(session) => self.on_drained(session, &mut out),
            Input::SessionClosed(session) => self.sessions.close(session),
            Input::SeedUp { seed, birth } => self.on_seed_up(now, seed, birth, &mut out),
            Input::SeedDown(seed) => self.on_seed_down(seed, &mut out),
            Input::SeedSilent(seed) => self.soft.seed_down(seed),
            Input::Mesh { from, message } => self.on_mesh(now, from, message, &mut out),
            Input::Leader { leader, term } => self.on_leader(now, leader, term, &mut out),
            Input::Committed(commits) => self.on_committed(now, commits, &mut out),
            Input::Restored(registry) => self.on_restored(now, *registry, &mut out),
            Input::ProposalFailed(entry) => self.on_proposal_failed(now, entry, &mut out),
            Input::VotersUnchanged => self.on_voters_unchanged(now),
            Input::SeatTaken { id, seeds } => (self.config.id, self.config.seeds) = (id, seeds),
            Input::Probed { target, finding, host } => self.on_probed(now, target, finding, host, &mut out),
            Input::ReadReady { read, index } => self.on_read_ready(read, index, &mut out),
            Input::Register { request, candidate } => self.register_local(now, request, candidate, &mut out),
            Input::Stop => self.close_sessions(&mut out),
        }
        self.settle_admissions(now, &mut out);
        self.settle_burials(now, &mut out);
        self.tend(now, &mut out);
        out
    }

    /// When [`step`](Self::step) wants to be called at the latest.
    pub fn next_deadline(&self) -> Instant {
        let parts = [self.admissions.deadline(), self.burials_deadline(), self.errands.deadline()];
        parts.into_iter().flatten().chain([self.tending.next()]).min().unwrap_or(Instant::START)
    }

    /// Its id: its rank in the list, or the seat that it took.
    pub fn id(&self) -> SeedId {
        self.config.id
    }

    /// The number of its data directory.
    pub fn birth(&self) -> u64 {
        self.config.birth
    }

    /// The replicated state.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The leader it knows of.
    pub fn leader(&self) -> Option<SeedId> {
        self.leader
    }

    /// Whether requests are answered: the cluster is founded and has a leader.
    pub fn is_ready(&self) -> bool {
        self.registry.cluster().is_some() && self.leader.is_some()
    }

    /// Whether it can have anything decided, for health checks: it is connected with the leader and with a majority.
    fn takes_part(&self) -> bool {
        let connected = |seed: &SeedId| *seed == self.config.id || self.others.contains_key(seed);
        let enough =
            |set: &BTreeSet<SeedId>| set.iter().filter(|seed| connected(seed)).count() >= majority(set.len());
        self.is_ready()
            && self.leader.is_some_and(|l| connected(&l))
            && self.registry.seed_sets().iter().all(enough)
    }

    /// What it has counted, by name.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    fn leads(&self) -> bool {
        self.leader == Some(self.config.id)
    }

    fn name(&self, seed: SeedId) -> String {
        let recorded = self.registry.seeds().get(&seed).map(|r| r.address.clone());
        recorded.or_else(|| self.config.seeds.get(&seed).cloned()).unwrap_or_else(|| format!("seed {seed}"))
    }

    fn next_ballot(&mut self) -> BallotId {
        self.ballots_opened += 1;
        BallotId { term: self.term, number: self.ballots_opened }
    }

    fn wall(&self, now: Instant) -> Timestamp {
        self.config.started.after(now.since(Instant::START))
    }

    /// Counts something that happened below the core.
    pub fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_insert(0) += 1;
    }

    fn on_mesh(&mut self, now: Instant, from: SeedId, message: MeshMessage, out: &mut Vec<Effect>) {
        match message {
            MeshMessage::Errand { number, errand } => self.on_errand(now, (from, number), errand, out),
            MeshMessage::Done { number, answer } => self.on_done(number, answer, out),
            MeshMessage::RegisterProposal(_) | MeshMessage::DeathProposal(_) => {
                self.on_proposal(now, from, message, out);
            }
            MeshMessage::Vote(reply) => self.on_vote(now, reply, out),
            MeshMessage::Soft(state) if state.term > self.term => {
                if self.early_soft.len() < EARLY_SOFT_MAX {
                    self.early_soft.push((from, state));
                }
            }
            MeshMessage::Soft(state) => self.take_soft_state(from, state),
            MeshMessage::Relay { to, message } => self.on_relay(to, *message, out),
            MeshMessage::Hello(_) | MeshMessage::Raft { .. } | MeshMessage::RaftReply { .. } => {
                self.count("mesh_frames_out_of_place");
            }
        }
    }

    /// Another seed tells what it knows. What is told late of a life that has ended is of no use to anybody.
    fn take_soft_state(&mut self, from: SeedId, mut state: SoftState) {
        state.links.retain(|(member, _)| self.may_tell_of_links(*member));
        self.soft.take(from, state);
    }

    /// The seeds that have a vote, each once.
    fn voters(&self) -> Vec<SeedId> {
        let mut voters: Vec<SeedId> = self.registry.seed_sets().iter().flatten().copied().collect();
        voters.sort_unstable();
        voters.dedup();
        voters
    }
}

fn log(out: &mut Vec<Effect>, line: Line) {
    out.push(Effect::Log(line));
}

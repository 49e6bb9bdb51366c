//! The seed as a value: what happened goes in with the time, what is to be done comes out.
//!
//! ```text
//! Input --> Seed::step(now) --> [Effect]        Seed::next_deadline() --> the shell sleeps until then
//! ```
//!
//! A seed has seven rooms, each of which alone owns one part of the state:
//!
//! ```text
//! registry     the replicated state: what the log amounts to       names nothing else
//! leadership   who leads, who is connected, which seed this is
//! leader       what a leader has under way; thrown away at each election
//! voter        every seed's part: checks, probes, votes
//! forwarding   requests that wait for the leader, or for their entry
//! presence     who holds whom, links: true for a moment, never logged
//! sessions     peers and observers, and what each was told        may ask presence
//! ```
//!
//! All of them may read the registry; only routes change it, by what the log has decided. Down by call, up by return
//! value: `routes` alone says what follows from what. What all of them need is one value, `context`.
//!
//! A reader who knows Raft finds the leader and the voter by name. What is Raft's own (elections, replication) is not
//! here but in `seed/raft`: here is what the log is *about*.
//!
//! No clock, no entropy, no sockets, no `async`: time comes with the input, chance from a seeded generator, and
//! deadlines live inside.
//!
//! A replicated state machine (Schneider, *Implementing fault-tolerant services*, 1990) with something around it:
//! whoever is admitted or found dead is voted on before it is proposed, and the votes go into the entry.
//!
//! Weighed and left out: a queue of events between the rooms. It would hide who hears what and in which order, and that
//! order is what tests compare.

pub mod ballot;
pub mod config;
mod context;
pub mod counters;
pub mod directories;
mod effect;
pub mod entry;
pub mod formation;
mod forwarding;
pub mod hello;
mod leader;
mod leadership;
mod pace;
mod presence;
mod progress;
pub mod registry;
mod request;
mod routes;
mod sessions;
mod spreading;
mod voter;

use std::collections::BTreeMap;

use coterie_common::message::{LogPosition, SeedId};
use coterie_common::{Address, Instant, Tally};

pub use config::Config;
pub use effect::{Commit, Effect, Input, Payload, SessionId};
pub use entry::Entry;
pub use presence::components;
pub use registry::Registry;

use context::Context;
use forwarding::Forwarding;
use leader::Leader;
use leadership::Leadership;
use presence::Presence;
use sessions::Sessions;
use voter::Voter;

/// The core of a seed. A value like any other: who looks on may keep a copy of it.
#[derive(Clone, Debug)]
pub struct Seed {
    /// What every room is lent for a call, and none of them keeps.
    cx: Context,
    /// Changed by `apply` alone, entry by entry; or replaced whole, by a snapshot.
    registry: Registry,
    leadership: Leadership,
    /// Every seed has one. At a seed that does not lead it has nothing under way, and `verify` holds it to that for
    /// ballots and departures.
    leader: Leader,
    voter: Voter,
    forwarding: Forwarding,
    sessions: Sessions,
    presence: Presence,
    /// The last entry that is on disk, for its status.
    log_end: LogPosition,
    /// What was decided without this seed and is learned by now, until all of it is.
    missed: Tally,
    /// When what is not urgent is looked at next.
    upkeep_next: Instant,
    /// When something is due next, as reckoned at the end of the last step.
    deadline: Instant,
}

impl Seed {
    /// A seed whose log made `registry`, and that draws everything that is left to chance from `seed`.
    ///
    /// The registry is that of the last snapshot on disk, or empty. What the log has after it comes as committed
    /// entries, the same way as what is new.
    pub fn new(config: Config, registry: Registry, seed: [u8; 32]) -> Self {
        let cx = Context::new(config, seed);
        Seed {
            leadership: Leadership::new(&cx.config, &registry),
            leader: Leader::default(),
            voter: Voter::default(),
            forwarding: Forwarding::starting_after(cx.config.requests_from),
            sessions: Sessions::new(registry.epoch()),
            presence: Presence::default(),
            log_end: LogPosition::default(),
            missed: Tally::default(),
            upkeep_next: Instant::START,
            deadline: Instant::START,
            registry,
            cx,
        }
    }

    /// Takes one input at `now` and returns what is to be done, in order.
    ///
    /// # Panics
    /// If time goes back, or if what must hold of this seed does not: no input of a remote can bring that about.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        // What fell due by what the last step did was due then, not late.
        let wished = self.deadline.max(self.cx.now);
        self.cx.begin(now);
        if let Some(late) = self.voter.woke(&mut self.cx, wished) {
            self.sessions.stood_still(now, late);
            self.leadership.stood_still(now, late);
        }
        // The input first; then what has come due: ballots, then upkeep. The deadline last, when nothing changes any
        // more.
        self.take(input);
        self.settle_registrations();
        self.settle_deaths();
        self.upkeep();
        self.sessions.push_what_waited(&mut self.cx, &self.registry, &self.presence);
        let asked = self.leader.deadline().min(self.forwarding.deadline());
        self.deadline = asked.min(self.sessions.push_deadline()).min(self.upkeep_next);
        self.cx.take_effects(self.leadership.leads())
    }

    /// When [`step`](Self::step) wants to be called at the latest. Any input may come sooner, and nothing breaks if the
    /// call comes later: what was due is then done late.
    pub fn next_deadline(&self) -> Instant {
        self.deadline
    }

    /// Checks what must hold between steps, of each part. The simulator calls this after every step of every node.
    ///
    /// # Panics
    /// If it does not.
    pub fn verify(&self) {
        self.registry.verify();
        self.leadership.verify();
        self.leader.verify(&self.registry, self.leadership.leads());
        self.voter.verify(&self.registry);
        self.forwarding.verify(self.registry.applied());
        self.presence.verify();
        self.sessions.verify(&self.registry, self.leadership.cluster());
        let (logged, known) = (self.registry.cluster(), self.leadership.cluster());
        assert!(logged.is_none() || logged == known, "the log is of {logged:?}, and this seed of {known:?}");
    }

    // ---- questions ----

    /// Its id: its rank in the list, or the one that a cluster kept for it.
    pub fn id(&self) -> SeedId {
        self.leadership.me()
    }

    /// The number of its data directory.
    pub fn directory_id(&self) -> u64 {
        self.cx.config.directory_id
    }

    /// The replicated state.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The leader it knows of. None while there is none, or none has been heard of; it may have lost the lead since.
    pub fn leader(&self) -> Option<SeedId> {
        self.leadership.leader()
    }

    /// What it has counted, by name. They begin at nothing with each start.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.cx.counters
    }

    /// The connected seeds that have said nothing for so long that their connections are worth nothing.
    pub fn silent_seeds(&self) -> impl Iterator<Item = SeedId> + '_ {
        self.leadership.silent(self.cx.now)
    }

    /// How many ballots about deaths are open here, if it leads: those that wait to be held again, too.
    pub fn open_deaths(&self) -> usize {
        self.leader.open_deaths()
    }

    /// Whether it can have something decided, as far as it knows, and does its part in that: who cannot probe has no
    /// vote to cast.
    pub fn takes_part(&self) -> bool {
        self.leadership.takes_part(self.cx.now, &self.registry) && !self.voter.cannot_probe(self.cx.now)
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        self.cx.config.address
    }

    /// The time of its last step.
    pub fn now(&self) -> Instant {
        self.cx.now
    }

    /// This is the last entry on disk now. Nothing is decided by it.
    pub fn note_log_end(&mut self, last: LogPosition) {
        self.log_end = last;
    }

    /// This is wrong below the core, and `why`; or it is not. It stands in one list with what the core finds itself.
    pub fn trouble(&mut self, what: &str, why: Option<String>) {
        self.cx.trouble(what, why);
    }

    /// Counts something that happened below the core. The shell's counts and the core's stand in one list, which the
    /// seed's status shows.
    pub fn count(&mut self, name: &'static str) {
        self.cx.count(name);
    }
}

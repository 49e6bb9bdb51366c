//! The peer as a value: what happened goes in with the time, what is to be done comes out.
//!
//! ```text
//! Input --> Peer::step(now) --> [Effect]        Peer::next_deadline() --> the shell sleeps until then
//! ```
//!
//! A peer has five rooms, each a folder that alone owns one part of the state:
//!
//! ```text
//! seeds        sessions with seeds, and the registration
//! membership   how far it has come, its life, the view
//! overlay      connections, links, dials                       may ask membership
//! failure      detectors, suspicions, juries, probes           may ask membership and overlay
//! gossip       what was said and heard                         may ask membership and overlay
//! ```
//!
//! A room reads only those named beside it, and *returns* what concerns others. `routes` alone says what follows from
//! what. What all of them need is one value, `context`.
//!
//! No clock, no entropy, no sockets, no `async`: time comes with the input, chance from a seeded generator, and
//! deadlines live inside. One run is determined by its inputs.

pub mod config;
mod console;
mod context;
mod demo;
mod effect;
mod failure;
mod gossip;
mod membership;
mod overlay;
mod routes;
mod seeds;

use std::collections::BTreeMap;

use coterie_common::{Address, Incarnation, Instant, Life, MemberId, View};

pub use config::{Config, OverlayKind};
pub use effect::{ConnectionId, DialFailure, Effect, Input, SeedSlot};

use context::Context;
use demo::Demo;
use failure::FailureDetection;
use gossip::Gossip;
use membership::Membership;
use overlay::Overlay;
use seeds::SeedSessions;

/// The core of a peer. A value like any other: who looks on may keep a copy of it.
#[derive(Clone, Debug)]
pub struct Peer {
    cx: Context,
    seeds: SeedSessions,
    membership: Membership,
    /// Read by the two below it, and changed by routes alone.
    overlay: Overlay,
    failure: FailureDetection,
    gossip: Gossip,
    /// What this peer says by itself; no room, for nobody asks it anything.
    demo: Demo,
    /// When something is due next, as reckoned at the end of the last step.
    deadline: Instant,
}

impl Peer {
    /// A peer that listens at `me` and draws everything that is left to chance from `seed`. Nothing happens until the
    /// first step: it neither dials nor registers here.
    pub fn new(me: Address, config: Config, seed: [u8; 32]) -> Self {
        let mut cx = Context::new(me, config, seed);
        let seeds = SeedSessions::new(&cx.config, &mut cx.rng);
        // After the order of the seeds: what is drawn in another order is another run of the same seed.
        let secret = cx.draw_secret();
        Peer {
            seeds,
            membership: Membership::new(me, secret),
            overlay: Overlay::default(),
            failure: FailureDetection::default(),
            gossip: Gossip::default(),
            demo: Demo::new(cx.config.messages),
            deadline: Instant::NEVER,
            cx,
        }
    }

    /// Takes one input at `now` and returns what is to be done, in order.
    ///
    /// # Panics
    /// If time goes back, or if what must hold of this peer does not: no input of a remote can bring that about.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        // What fell due by what the last step did was due then, not late.
        let wished = self.deadline.max(self.cx.now);
        self.cx.begin(now);
        // Before the input is taken and before any link is looked at: if this peer stood still, what went unanswered
        // meanwhile is forgiven first.
        if let Some(time) = self.failure.woke(&mut self.cx, wished) {
            self.seeds.stood_still(now, time);
        }
        self.take(input);
        // In every step, whatever came in: an input may make something due at once.
        self.settle();
        // Last, when all that this step changed has changed.
        self.deadline = self.reckon_deadline();
        self.cx.take_effects()
    }

    /// When [`step`](Self::step) wants to be called at the latest. It is [`Instant::NEVER`] where only an input can
    /// bring something about.
    pub fn next_deadline(&self) -> Instant {
        self.deadline
    }

    /// The earliest of what any room waits for. Each is told what decides whether it waits at all: a deadline
    /// that no step would meet makes the shell spin.
    fn reckon_deadline(&self) -> Instant {
        let (now, is_member) = (self.cx.now, self.membership.is_member());
        // Reports that fall due while no seed can be told wait for a session, not for time.
        let may_report = self.seeds.may_report(now);
        let own = match self.membership.is_stopped() {
            // Nothing is registered, left or opened any more, so nothing of that is waited for.
            true => Instant::NEVER,
            false => {
                // Who leaves follows nobody any more, so nothing of that falls due.
                let own = self.membership.cluster().filter(|_| !self.membership.is_leaving());
                let has_to_register = self.membership.is_joining();
                self.membership.deadline(&self.cx).min(self.seeds.deadline(now, own, has_to_register))
            }
        };
        let said = if is_member { self.demo.deadline() } else { Instant::NEVER };
        let told = if is_member { self.cx.troubles.deadline() } else { Instant::NEVER };
        let rooms = self.overlay.deadline(is_member).min(self.failure.deadline(now, may_report));
        own.min(rooms).min(said).min(told)
    }

    /// Checks what must hold between steps, of each room and across them.
    ///
    /// # Panics
    /// If it does not.
    pub fn verify(&self) {
        self.seeds.verify();
        self.membership.verify();
        self.overlay.verify();
        self.failure.verify(&self.membership, &self.overlay);
        self.gossip.verify();
    }

    /// This is wrong below the core, and `why`; or it is not. It is told with what the core finds itself.
    pub fn trouble(&mut self, what: &str, why: Option<String>) {
        self.cx.trouble(what, why);
    }

    // ---- questions ----

    /// The view of this peer. As the seeds told it last. It may be behind the log, and is empty before the first
    /// registration.
    pub fn view(&self) -> &View {
        self.membership.view()
    }

    /// The incarnation of this peer, while it is a member. It stays while the peer leaves, until it has stopped.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.membership.incarnation()
    }

    /// The life that this peer goes by now. Another one after each removal.
    pub fn life(&self) -> Life {
        self.membership.life()
    }

    /// The peers it is linked with.
    pub fn neighbours(&self) -> impl ExactSizeIterator<Item = MemberId> + '_ {
        self.overlay.links().map(|link| link.id)
    }

    /// Whether that connection is a link's.
    pub fn has_link_on(&self, connection: ConnectionId) -> bool {
        self.overlay.link_on(connection).is_some()
    }

    /// How many links it wants. Drawn when it was admitted; 0 before. It may have more, for others dial it too.
    pub fn links_wanted(&self) -> usize {
        self.overlay.wanted()
    }

    /// Whom it suspects.
    pub fn suspicions(&self) -> impl ExactSizeIterator<Item = MemberId> + '_ {
        self.failure.suspicions()
    }

    /// What it has counted, by name. A name that is not there was counted never.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.cx.counters
    }

    /// Whether a seed knows of it, and one can have something decided.
    pub fn is_served(&self) -> bool {
        self.seeds.is_served(self.cx.now)
    }

    /// The time of its last step.
    pub fn now(&self) -> Instant {
        self.cx.now
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        self.cx.me
    }

    /// Counts something that happened below the core. The shell does, for connections that it refuses or that break
    /// off, so that an operator finds all counts in one place.
    pub fn note(&mut self, name: &'static str) {
        self.cx.count(name);
    }
}

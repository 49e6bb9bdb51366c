//! The peer as a value: what happened goes in with the time, what is to be done comes out.
//!
//! ```text
//! Input --> Peer::step(now) --> [Effect]        Peer::next_deadline() --> the shell sleeps until then
//! ```
//!
//! [`Peer`] joins the parts, each of which stands alone in a file: [`enrolment`] (seeds), [`overlay`] (whom to be
//! linked with), [`rumors`] (gossip), [`detector`] (does one link still speak), [`suspicion`] (the jury),
//! [`leniency`] and [`self_doubt`] (when not to accuse). The steps themselves are beside them, by the
//! conversation they belong to: `membership` and `following` (the seeds), `greeting`, `links` and `upkeep`
//! (neighbours), `accusation` and `witness` (suspects), `talk` (gossip).
//!
//! No clock, no entropy, no sockets, no `async`: time comes with the input, chance from a seeded generator, and
//! deadlines live inside. One run is determined by its inputs.

mod accusation;
pub mod config;
pub mod detector;
mod effect;
pub mod enrolment;
mod following;
mod greeting;
pub mod leniency;
mod links;
mod membership;
mod neighbour;
pub mod overlay;
pub mod round_trips;
pub mod rumors;
pub mod self_doubt;
mod standing;
pub mod suspicion;
mod talk;
mod upkeep;
mod witness;

use std::collections::BTreeMap;

use coterie_common::{Address, Incarnation, Instant, Life, Line, MemberId, Timestamp, View};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use config::{Config, OverlayKind};
pub use effect::{ConnectionId, DialFailure, Effect, Input, SeedSlot};

use enrolment::Enrolment;
use leniency::Leniency;
use neighbour::{Connection, Neighbour};
use overlay::Overlay;
use rumors::Rumors;
use self_doubt::SelfDoubt;
use standing::Standing;
use suspicion::Suspicion;
use talk::Talk;
use witness::Probing;

/// The core of a peer. A value like any other: who looks on may keep a copy of it.
#[derive(Clone, Debug)]
pub struct Peer {
    me: Address,
    config: Config,
    rng: ChaCha8Rng,
    life: Life,
    standing: Standing,
    view: View,
    degrees: BTreeMap<Address, u32>,
    enrolment: Enrolment,
    /// The entry of the log since which the seeds are those that this peer knows; 0 while they are those of its list.
    seeds_since: u64,
    overlay: Overlay,
    neighbours: BTreeMap<Address, Neighbour>,
    connections: BTreeMap<ConnectionId, Connection>,
    links_made: u64,
    links_told: LinksTold,
    suspicions: BTreeMap<MemberId, Suspicion>,
    probes: BTreeMap<MemberId, Probing>,
    /// Lives whose connection to us broke, and when: a probe of them must open another soon.
    broke: BTreeMap<MemberId, Instant>,
    leniency: Leniency,
    doubt: SelfDoubt,
    rumors: Rumors,
    talk: Talk,
    counters: BTreeMap<&'static str, u64>,
    /// The time of the last step, and the deadline that it named.
    now: Instant,
    named_deadline: Instant,
}

/// The links as the seeds were last told.
#[derive(Clone, Debug, Default)]
struct LinksTold {
    number: u64,
    links: Vec<Address>,
    at: Option<Instant>,
}

impl Peer {
    /// A peer that listens at `me` and draws everything that is left to chance from `seed`.
    pub fn new(me: Address, config: Config, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let enrolment = Enrolment::new(config.seeds.len(), config.ping_interval, config.patience, &mut rng);
        let life = draw_life(&mut rng);
        Peer {
            me,
            rng,
            life,
            standing: Standing::default(),
            view: View::default(),
            degrees: BTreeMap::new(),
            enrolment,
            seeds_since: 0,
            overlay: Overlay::default(),
            neighbours: BTreeMap::new(),
            connections: BTreeMap::new(),
            links_made: 0,
            links_told: LinksTold::default(),
            suspicions: BTreeMap::new(),
            probes: BTreeMap::new(),
            broke: BTreeMap::new(),
            leniency: Leniency::default(),
            doubt: SelfDoubt::default(),
            rumors: Rumors::default(),
            talk: Talk::new(config.messages),
            counters: BTreeMap::new(),
            now: Instant::START,
            named_deadline: Instant::from_nanos(u64::MAX),
            config,
        }
    }

    /// Takes one input at `now` and returns what is to be done, in order.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.doubt.woke(now, self.named_deadline) {
            self.count("loops_late");
            self.neighbours.values_mut().for_each(|n| n.detector.forgive(now));
        }
        match input {
            Input::Start | Input::Wake => {}
            Input::Dialled { address, connection } => self.on_dialled(now, address, connection, &mut out),
            Input::DialFailed { address, failure } => self.on_dial_failed(now, address, failure, &mut out),
            Input::Frame { connection, wire, message } => {
                self.on_frame(now, connection, wire, message, &mut out);
            }
            Input::Ended { connection } => self.on_ended(now, connection, &mut out),
            Input::SessionUp { seed } => self.enrolment.up(now, seed),
            Input::SessionDown { seed } => self.enrolment.down(now, seed, &mut self.rng),
            Input::Session { seed, message } => self.on_session(now, seed, message, &mut out),
            Input::Probed { target, finding, host } => self.on_probed(now, target, finding, host, &mut out),
            Input::Answered { witness, message } => {
                self.on_link_message(now, None, Some(witness), message, &mut out);
            }
            Input::Console(line) => self.on_console(now, &line, &mut out),
            Input::Broadcast(content) => self.say(now, content, None, &mut out),
            Input::Stop => self.leave(now, &mut out),
        }
        self.settle(now, &mut out);
        self.now = now;
        // What fell due by what was just done is due now, not late.
        self.named_deadline = self.next_deadline().max(now);
        out
    }

    /// Does everything that has fallen due.
    fn settle(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.settle_membership(now, out);
        if self.standing.is_over() {
            return;
        }
        // A suspicion that is dropped may leave a link to be replaced; a link that is silent starts a suspicion.
        self.settle_suspicions(now, out);
        self.settle_links(now, out);
        self.settle_suspicions(now, out);
        self.settle_talk(now, out);
    }

    /// When [`step`](Self::step) wants to be called at the latest.
    pub fn next_deadline(&self) -> Instant {
        let parts = [
            self.membership_deadline(),
            self.links_deadline(),
            self.suspicions_deadline(),
            self.talk_deadline(),
        ];
        parts.into_iter().min().unwrap_or(Instant::from_nanos(u64::MAX))
    }

    /// The view of this peer.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The incarnation of this peer, while it is a member.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.standing.incarnation()
    }

    /// The life that this peer goes by now.
    pub fn life(&self) -> Life {
        self.life
    }

    /// The peers it is linked with.
    pub fn neighbours(&self) -> impl ExactSizeIterator<Item = MemberId> + '_ {
        self.neighbours.values().map(|n| n.id)
    }

    /// Whom it suspects.
    pub fn suspicions(&self) -> impl ExactSizeIterator<Item = MemberId> + '_ {
        self.suspicions.keys().copied()
    }

    /// What it has counted, by name.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        self.me
    }

    /// Counts something that happened below the core.
    pub fn note(&mut self, name: &'static str) {
        self.count(name);
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_insert(0) += 1;
    }

    fn wall(&self, now: Instant) -> Timestamp {
        self.config.started.after(now.since(Instant::START))
    }
}

/// A random number that is not [`Life::NONE`].
fn draw_life(rng: &mut ChaCha8Rng) -> Life {
    Life(rng.random_range(1..=u64::MAX))
}

fn log(out: &mut Vec<Effect>, line: Line) {
    out.push(Effect::Log(line));
}

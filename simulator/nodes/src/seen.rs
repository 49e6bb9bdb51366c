//! What the nodes' cores are told and want, as the invariants see it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash};
use std::rc::Rc;

use bytes::Bytes;
use coterie_common::message::{BallotId, MeshMessage, Registration, SeedId, SessionMessage};
use coterie_common::{Address, Instant, Line, MemberId, Message, ProbeOrder};
use coterie_peer::core as peer;
use coterie_seed::core as seed;
use coterie_seed::core::entry::Body;

use coterie_simulator::check::checker::Checker;
use coterie_simulator::check::marks::Marks;
use coterie_simulator::check::observed::{Observed, is_of_ballots, is_of_doubts};
use coterie_simulator::check::processes::Processes;
use coterie_simulator::check::truth::Truth;
use coterie_simulator::invariants;
use coterie_simulator::model::host::Host;
use coterie_simulator::sink::Sink;

/// The whole state is looked at after so many steps.
const LOOK_EVERY: u64 = 100;

/// All that was seen.
pub(super) struct Seen {
    pub(super) now: Instant,
    pub(super) checker: Checker,
    pub(super) marks: Marks,
    pub(super) digest: DefaultHasher,
    pub(super) steps: u64,
    /// What each peer must have heard.
    pub(super) last_words: Vec<(Address, Bytes)>,
    /// Whether a node is there that was not, or goes by another name: who reaches whom has to be found anew.
    pub(super) is_truth_stale: bool,
    sink: Sink,
    max_neighbours: usize,
    /// How many entries the log has.
    committed: u64,
    seeds: BTreeMap<Address, SeenSeed>,
    peers: BTreeMap<Address, SeenPeer>,
}

#[derive(Default)]
struct SeenSeed {
    start: u64,
    core: Option<seed::Seed>,
    takes_part: bool,
    /// Who asked to be registered, or is, on a session.
    sessions: BTreeMap<seed::SessionId, Address>,
    ballots: BTreeSet<BallotId>,
}

#[derive(Default)]
struct SeenPeer {
    start: u64,
    core: Option<peer::Peer>,
}

/// Seen by all taps and by who makes things happen.
pub(super) type Shared = Rc<RefCell<Seen>>;

impl Seen {
    pub(super) fn new(max_neighbours: usize, sink: Sink) -> Self {
        Seen {
            now: Instant::START,
            checker: Checker::new(invariants::all()),
            marks: Marks::default(),
            digest: DefaultHasher::new(),
            steps: 0,
            last_words: Vec::new(),
            is_truth_stale: false,
            sink,
            max_neighbours,
            committed: 0,
            seeds: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }

    // ---- starts and ends ----

    pub(super) fn started(&mut self, host: Host) {
        match host {
            Host::Seed(_) => {
                let known = self.seeds.entry(host.address()).or_default();
                *known = SeenSeed { start: known.start + 1, ..SeenSeed::default() };
            }
            Host::Peer(_) => {
                let known = self.peers.entry(host.address()).or_default();
                *known = SeenPeer { start: known.start + 1, core: None };
            }
        }
        self.observe(&Observed::Started { host });
    }

    pub(super) fn ended(&mut self, host: Host) {
        self.is_truth_stale = true;
        let (marks, address) = (&mut self.marks, host.address());
        if let Some(core) = self.seeds.get_mut(&address).and_then(|seed| seed.core.take()) {
            marks.add_counters(core.counters());
        }
        if let Some(core) = self.peers.get_mut(&address).and_then(|peer| peer.core.take()) {
            marks.add_counters(core.counters());
        }
    }

    // ---- what is ----

    /// The life that runs at a peer's address.
    pub(super) fn peer(&self, address: Address) -> Option<&peer::Peer> {
        self.peers.get(&address)?.core.as_ref()
    }

    /// The seat at a seed's address: its id, and whether somebody has taken it.
    pub(super) fn seat_at(&self, name: &str) -> Option<(SeedId, bool)> {
        let seats = self.checker.truth().registry().seeds();
        let seat = seats.iter().find(|(_, seat)| seat.address == name);
        seat.map(|(id, seat)| (*id, seat.directory_id.is_some()))
    }

    /// Whether the seed that runs there takes part in the log, with that id.
    pub(super) fn takes_part(&self, address: Address, id: SeedId) -> bool {
        let seed = self.seeds.get(&address).filter(|seed| seed.takes_part);
        seed.and_then(|seed| seed.core.as_ref()).is_some_and(|core| core.id() == id)
    }

    /// The ids of the seeds that run, as they know themselves.
    pub(super) fn seeds(&self) -> impl Iterator<Item = (Address, SeedId)> + '_ {
        self.seeds.iter().filter_map(|(address, seed)| Some((*address, seed.core.as_ref()?.id())))
    }

    pub(super) fn unsettled(&self) -> Option<(&'static str, String)> {
        let Seen { checker, seeds, peers, last_words, max_neighbours, .. } = self;
        checker.unsettled(&processes(checker.truth(), (seeds, peers), last_words, *max_neighbours))
    }

    pub(super) fn hash(&mut self, what: &str) {
        (self.now.as_nanos(), what).hash(&mut self.digest);
        self.sink.tell(format_args!("{:>12.3} {what}", self.now.as_nanos() as f64 / 1e6));
    }

    // ---- steps ----

    pub(super) fn observe(&mut self, observed: &Observed<'_>) {
        self.checker.observe(self.now, observed);
    }

    fn stepped(&mut self) {
        self.steps += 1;
        if !self.steps.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let Seen { checker, seeds, peers, last_words, max_neighbours, now, .. } = self;
        let processes = processes(checker.truth(), (seeds, peers), last_words, *max_neighbours);
        checker.look(*now, &processes);
    }

    /// A seed's log begins, or goes on.
    fn begins(&mut self, me: Address, core: &seed::Seed) {
        if !std::mem::replace(&mut self.seeds.entry(me).or_default().takes_part, true) {
            self.observe(&Observed::TakesPart { seed: core.id(), directory_id: core.directory_id() });
        }
    }

    fn note_entry(&mut self, payload: &seed::Payload) {
        let seed::Payload::Entry(entry) = payload else { return };
        if matches!(&entry.body, Body::Join { replaces, .. } if replaces.0 > 0) {
            self.marks.hit("replacements");
        }
    }

    fn said(&mut self, by: Host, line: &Line) {
        self.hash(&format!("{by} {}", line.body()));
        self.marks.note(line);
        self.observe(&Observed::Said { by, line });
    }

    fn pass_time(&mut self) {
        if let Some(elapsed) = turmoil::sim_elapsed() {
            self.now = Instant::START + elapsed;
        }
    }
}

fn processes<'a>(
    truth: &Truth,
    (seeds, peers): (&'a BTreeMap<Address, SeenSeed>, &'a BTreeMap<Address, SeenPeer>),
    last_words: &'a [(Address, Bytes)],
    max_neighbours: usize,
) -> Processes<'a> {
    let listed = |seed: &&seed::Seed| truth.registry().seeds().contains_key(&seed.id());
    let running = seeds.values().filter(|seed| seed.takes_part).filter_map(|seed| seed.core.as_ref());
    Processes {
        peers: peers.iter().map(|(address, peer)| (*address, peer.core.as_ref())).collect(),
        seeds: running.filter(listed).map(|core| (core.id(), core)).collect(),
        last_words,
        max_neighbours,
    }
}

/// The tap of all seeds.
pub(super) struct SeedTap(pub(super) Shared);

impl coterie_seed::shell::tap::Tap for SeedTap {
    fn told(&mut self, me: Address, input: &seed::Input, core: &seed::Seed) {
        let seen = &mut *self.0.borrow_mut();
        seen.pass_time();
        match input {
            seed::Input::Committed(commits) => {
                for commit in commits {
                    // Whoever is the first to be told of an entry tells everybody that it is committed.
                    if commit.index == seen.committed {
                        seen.committed += 1;
                        seen.note_entry(&commit.payload);
                        seen.checker.commit(seen.now, commit);
                    }
                    let (index, payload) = (commit.index, &commit.payload);
                    seen.observe(&Observed::HandedOver { seed: core.id(), index, payload });
                }
            }
            seed::Input::IdAssigned { .. } => seen.marks.hit("seats_taken"),
            seed::Input::Restored(_) => seen.marks.hit("snapshots_installed"),
            seed::Input::Probed { target, finding, .. } => {
                seen.observe(&Observed::Probed { seed: core.id(), target: *target, finding: *finding });
            }
            seed::Input::Session { session, message: Message::Session(message), .. } => {
                let who = match message {
                    SessionMessage::Register(candidate) => Some(candidate.address),
                    SessionMessage::Open { member, .. } => Some(member.address),
                    _ => None,
                };
                let sessions = &mut seen.seeds.entry(me).or_default().sessions;
                who.map(|who| sessions.insert(*session, who));
            }
            _ => {}
        }
    }

    fn wanted(&mut self, me: Address, effects: &[seed::Effect], core: &seed::Seed) {
        let seen = &mut *self.0.borrow_mut();
        let Some(host) = Host::at(me) else { return };
        let known = seen.seeds.entry(me).or_default();
        let applied = known.core.as_ref().map_or(0, |core| core.registry().applied());
        let start = known.start;
        let before = known.core.replace(core.clone());
        seen.is_truth_stale |= before.is_none_or(|before| before.id() != core.id());
        if core.registry().cluster().is_some() {
            seen.begins(me, core);
        }
        if core.registry().applied() != applied {
            seen.observe(&Observed::Applied { seed: core.id(), start, registry: core.registry() });
        }
        for effect in effects {
            seen.seed_wants((host, me), effect);
        }
        seen.stepped();
    }
}

impl Seen {
    /// So many frames are sent.
    fn doubts(&mut self, are_of_doubts: bool, frames: usize) {
        if are_of_doubts {
            (0..frames).for_each(|_| self.observe(&Observed::Doubting));
        }
    }

    /// A node probes. How many connections that takes in the end is not seen here: all of them count.
    fn probes(&mut self, by: Host, order: &ProbeOrder) {
        self.observe(&Observed::Probing { by, connections: order.opens_at().len() });
    }

    fn seed_wants(&mut self, (host, me): (Host, Address), effect: &seed::Effect) {
        match effect {
            seed::Effect::Send { to, message } => {
                self.doubts(is_of_doubts(message), 1);
                let address = self.seeds.get(&me).and_then(|seed| seed.sessions.get(to)).copied();
                match (message, address) {
                    (
                        Message::Session(SessionMessage::Registered(Registration::Admitted {
                            incarnation,
                            ..
                        })),
                        Some(address),
                    ) => {
                        let member = MemberId { address, incarnation: *incarnation };
                        self.observe(&Observed::Answered { member });
                    }
                    (Message::Session(SessionMessage::Dial(target)), Some(peer)) => {
                        self.observe(&Observed::Mends { peer, target: *target });
                    }
                    _ => {}
                }
            }
            seed::Effect::ToSeed { message, .. } => {
                self.doubts(is_of_ballots(message), 1);
                if let MeshMessage::DeathProposal(proposal) = message
                    && self.seeds.entry(me).or_default().ballots.insert(proposal.ballot)
                {
                    self.observe(&Observed::Ballot { dead: proposal.dead });
                }
            }
            seed::Effect::Propose(entry) => self.observe(&Observed::Proposed { entry }),
            seed::Effect::Probe(order) => self.probes(host, order),
            seed::Effect::Log(line) => self.said(host, line),
            seed::Effect::Warn(text) => self.observe(&Observed::Warned { by: host, text }),
            seed::Effect::Push { .. }
            | seed::Effect::Close { .. }
            | seed::Effect::Seeds { .. }
            | seed::Effect::ChangeVoters(_)
            | seed::Effect::ReadIndex(_)
            | seed::Effect::Reply { .. } => {}
        }
    }
}

/// The tap of all peers.
pub(super) struct PeerTap(pub(super) Shared);

impl coterie_peer::shell::tap::Tap for PeerTap {
    fn told(&mut self, _: Address, _: &peer::Input, _: &peer::Peer) {
        self.0.borrow_mut().pass_time();
    }

    fn wanted(&mut self, me: Address, effects: &[peer::Effect], core: &peer::Peer) {
        let seen = &mut *self.0.borrow_mut();
        let Some(host) = Host::at(me) else { return };
        let known = seen.peers.entry(me).or_default();
        let start = known.start;
        let before = known.core.replace(core.clone());
        let member = before.as_ref().and_then(peer::Peer::incarnation);
        let from = before.as_ref().map(|core| core.view().epoch).unwrap_or_default();
        seen.is_truth_stale |= before.is_none_or(|before| before.life() != core.life());
        if core.view().epoch != from {
            seen.observe(&Observed::Viewed { peer: me, start, from, view: core.view(), told_by: None });
        }
        for effect in effects {
            seen.peer_wants((host, me), effect, core, member);
        }
        seen.stepped();
    }
}

impl Seen {
    fn peer_wants(
        &mut self,
        (host, me): (Host, Address),
        effect: &peer::Effect,
        core: &peer::Peer,
        member: Option<coterie_common::Incarnation>,
    ) {
        match effect {
            peer::Effect::Send { message, .. } => self.doubts(is_of_doubts(message), 1),
            // Nothing else is asked.
            peer::Effect::Ask { .. } => self.doubts(true, 1),
            peer::Effect::SendMany { to, message } => self.doubts(is_of_doubts(message), to.len()),
            peer::Effect::Tell { message, .. } => {
                self.doubts(is_of_doubts(message), 1);
                if let Message::Session(SessionMessage::Register(_)) = message {
                    self.observe(&Observed::Registering { peer: me });
                }
            }
            peer::Effect::Probe { order, .. } => self.probes(host, order),
            peer::Effect::Deliver { origin, content } => {
                self.observe(&Observed::Delivered { peer: me, life: core.life(), origin: *origin, content });
            }
            peer::Effect::Exit(_) => {
                if let Some(incarnation) = member {
                    let member = MemberId { address: me, incarnation };
                    self.observe(&Observed::LeftInOrder { member });
                }
            }
            peer::Effect::Log(line) => self.said(host, line),
            peer::Effect::Warn(text) => self.observe(&Observed::Warned { by: host, text }),
            peer::Effect::Close(_)
            | peer::Effect::Dial { .. }
            | peer::Effect::OpenSession { .. }
            | peer::Effect::CloseSession(_)
            | peer::Effect::CancelProbe(_)
            | peer::Effect::Print(_) => {}
        }
    }
}

//! Peers: their starts, their steps, and what they want done.

use std::time::Duration;

use coterie_common::message::{ClusterId, LinkMessage, SessionMessage};
use coterie_common::{Address, Incarnation, Instant, MemberId, Message, Tags, Timestamp};
use coterie_peer::core::{Config, Effect, Input, Peer, SeedSlot};
use rand::{Rng, RngExt};

use super::turns::work_of_peer;
use super::{Happening, SeedHost, Traffic, World};
use crate::check::observed::Observed;
use crate::model::host::Host;
use crate::model::machine::Work;
use crate::model::tcp::{Packet, TcpEnd, Use};
use crate::plan::planted_bug::PlantedBug;

impl World {
    pub(super) fn start_peer(&mut self, index: usize) {
        if self.peers[index].core.is_some() {
            return;
        }
        let config = Config {
            seeds: (0..self.plan.swarm.seeds).map(|seed| Host::Seed(seed).address().to_string()).collect(),
            overlay: self.plan.swarm.overlay,
            max_neighbours: self.plan.swarm.max_neighbours,
            tags: Tags::new(),
            started: Timestamp::default().after(self.now.since(Instant::START)),
            ..Config::default()
        };
        let (chance, drift) = (self.entropy(), self.drift());
        let wrong_unit = self.plan.planted_bug == Some(PlantedBug::WrongUnitOfTime) && index == 0;
        let drift = if wrong_unit { 999_000_000 } else { drift };
        let host = Host::Peer(index);
        let core = Peer::new(host.address(), config, chance);
        let was_dark = self.peers[index].is_dark;
        self.peers[index].begin(self.now, core, drift);
        if was_dark {
            self.reset_former(host);
        }
        self.observe(&Observed::Started { host });
        let start = self.peers[index].start;
        self.step_peer(index, start, Input::Start);
    }

    /// A generator's seed for a new process.
    pub(super) fn entropy(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }

    /// How far the clock of a new process is off.
    pub(super) fn drift(&mut self) -> i64 {
        let most = self.plan.swarm.drift_ppm;
        self.rng.random_range(-most..=most)
    }

    pub(super) fn step_peer(&mut self, index: usize, start: u64, input: Input) {
        let process = &mut self.peers[index];
        if process.start != start {
            return;
        }
        if process.is_paused {
            return process.held.push(input);
        }
        if self.load.machines.is_some() {
            process.wait(input);
            return self.queue_turn(Host::Peer(index));
        }
        self.take_peer_step(index, input);
    }

    /// Takes a step; returns what it made the peer do.
    pub(super) fn take_peer_step(&mut self, index: usize, input: Input) -> Work {
        let process = &mut self.peers[index];
        let start = process.start;
        let told_on = if let Input::Session { seed, .. } = &input { Some(*seed) } else { None };
        let local = process.local(self.now);
        let Some(core) = &mut process.core else { return Work::default() };
        self.tally.steps += 1;
        let (from, life, member) = (core.view().epoch, core.life(), core.incarnation());
        let effects = core.step(local, input);
        core.verify();
        let (view, new_life, deadline) = (core.view(), core.life(), core.next_deadline());
        if view.epoch != from {
            let told_by = told_on.and_then(|slot| cluster_told_on(&self.traffic, &self.seeds, (index, slot)));
            let observed = Observed::Viewed { peer: process.address, start, from, view, told_by };
            self.checker.observe(self.now, &observed);
        }
        let work = work_of_peer(&effects);
        for effect in effects {
            if matches!(effect, Effect::Exit(_)) {
                self.left(index, member);
            }
            self.perform_peer(index, effect);
        }
        if new_life != life {
            self.update_reached(index);
        }
        let process = &mut self.peers[index];
        if process.core.is_some()
            && let Some(at) = process.wish(self.now, deadline)
        {
            self.schedule(at, Happening::Wake(Host::Peer(index)));
        }
        work
    }

    fn perform_peer(&mut self, index: usize, effect: Effect) {
        let host = Host::Peer(index);
        let start = self.peers[index].start;
        match effect {
            Effect::Send { to, message } => self.send_message(to.0, host, message),
            Effect::SendMany { to, message } => {
                to.into_iter().for_each(|id| self.send_message(id.0, host, message.clone()));
            }
            Effect::Close(id) => self.send(id.0, host, Packet::End),
            Effect::Dial { address, .. } => {
                let delay = self.handshake(host, address);
                self.after(delay, Happening::Dial { from: index, start, address });
            }
            Effect::OpenSession { seed: slot, address } => {
                let Some(address) = address.parse().ok() else { return };
                let delay = self.handshake(host, address);
                self.after(delay, Happening::OpenSession { from: index, start, slot, address });
            }
            Effect::Tell { seed, message } => {
                if let Message::Session(SessionMessage::Register(_)) = message {
                    self.observe(&Observed::Registering { peer: host.address() });
                }
                if let Some(id) = self.traffic.sessions.get(&(index, seed)).copied() {
                    self.send_message(id, host, message);
                }
            }
            Effect::CloseSession(seed) => {
                if let Some(id) = self.traffic.sessions.remove(&(index, seed)) {
                    self.send(id, host, Packet::End);
                }
            }
            Effect::Probe { target, order } => {
                self.start_probe((host, start), Some(target), order);
            }
            Effect::Ask { juror, message, .. } => self.ask(index, juror, message),
            Effect::Deliver { origin, content } => {
                let Some(life) = self.peers[index].core.as_ref().map(Peer::life) else { return };
                let peer = host.address();
                self.observe(&Observed::Delivered { peer, life, origin, content: &content });
            }
            Effect::Exit(result) => {
                assert_eq!(result, Ok(()), "{host} gave up");
                self.end_process(host);
            }
            Effect::Log(line) => self.note_line(host, &line),
            Effect::Warn(text) => self.warned(host, &text),
            Effect::CancelProbe(_) | Effect::Print(_) => {}
        }
    }

    /// A peer, if it was a member, has ended as it was asked to.
    pub(super) fn left(&mut self, index: usize, member: Option<Incarnation>) {
        if let Some(incarnation) = member {
            let member = MemberId { address: self.peers[index].address, incarnation };
            self.observe(&Observed::LeftInOrder { member });
        }
    }

    /// One question to a juror, on a connection of its own.
    fn ask(&mut self, from: usize, juror: Address, message: LinkMessage) {
        let Some(Host::Peer(target)) = Host::at(juror) else { return };
        let reachable = self.traffic.network.connects(self.peers[from].address, juror);
        if !reachable || self.peers.get(target).is_none_or(|process| process.core.is_none()) {
            return;
        }
        let ends = [self.end(Host::Peer(from)), self.end(Host::Peer(target))];
        let id = self.traffic.connections.open(ends, Use::Question(juror));
        self.send_message(id, Host::Peer(from), Message::Link(message));
    }

    pub(super) fn end(&self, host: Host) -> TcpEnd {
        TcpEnd { host, start: self.start_of(host) }
    }

    pub(super) fn handshake(&mut self, from: Host, to: Address) -> Duration {
        self.traffic.network.handshake(from.address(), to, &mut self.rng)
    }
}

/// The cluster of the seed at the other end of a peer's session, if that process is still there.
fn cluster_told_on(traffic: &Traffic, seeds: &[SeedHost], session: (usize, SeedSlot)) -> Option<ClusterId> {
    let end = traffic.connections.get(*traffic.sessions.get(&session)?)?.ends[1];
    let Host::Seed(index) = end.host else { return None };
    let seed = seeds.get(index).filter(|seed| seed.process.start == end.start)?;
    seed.process.core.as_ref()?.registry().cluster()
}

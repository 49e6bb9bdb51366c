//! Connections: opened, written to, read from, lost.

use std::time::Duration;

use coterie_common::message::{MeshMessage, SeedId};
use coterie_common::{Address, Instant, Message, Wire};
use coterie_peer::core::{ConnectionId, DialFailure, Input as PeerInput, SeedSlot};
use coterie_seed::core::{Input as SeedInput, SessionId};

use super::seeds::REDIAL;
use super::{Happening, World};
use crate::check::observed::{Observed, is_of_doubts};
use crate::model::host::Host;
use crate::model::tcp::{Packet, TcpEnd, UNACKNOWLEDGED_MAX, Use};

/// How long a shell waits for a connection to be opened.
const DIAL_TIME_MAX: Duration = Duration::from_secs(2);

impl World {
    // ---- writing ----

    pub(super) fn send_message(&mut self, id: u64, from: Host, message: Message) {
        if is_of_doubts(&message) {
            self.observe(&Observed::Doubting);
        }
        let Some(message) = self.tampered(id, from, message) else { return };
        self.send(id, from, Packet::Message(Box::new(message)));
    }

    pub(super) fn send(&mut self, id: u64, from: Host, packet: Packet) {
        let Some(connection) = self.traffic.connections.get_mut(id) else { return };
        let side = connection.side(from);
        if !connection.is_open(side) {
            return;
        }
        let ends_here = matches!(packet, Packet::End);
        let to = connection.ends[1 - side].host;
        let waits = connection.is_stalled(side);
        self.put_on_the_wire(id, side, (from, to), packet, waits);
        if ends_here {
            self.traffic.connections.close(id, side);
        }
    }

    /// A packet goes out, or is held back by a cut; and a packet of which nobody hears is given up some time.
    fn put_on_the_wire(
        &mut self,
        id: u64,
        side: usize,
        (from, to): (Host, Host),
        packet: Packet,
        waits: bool,
    ) {
        let (here, there) = (from.address(), to.address());
        let passes = self.traffic.network.passes(here, there) && !self.is_dark(to);
        let delay = self.traffic.network.delay(here, there, &mut self.rng);
        let now = self.now;
        let Some(connection) = self.traffic.connections.get_mut(id) else { return };
        if !passes || waits {
            return connection.stall(side, packet);
        }
        let at = connection.queue(1 - side, now + delay);
        self.schedule(at, Happening::Packet { connection: id, side: 1 - side, packet });
    }

    /// Cuts are healed: what they held back goes on.
    pub(super) fn release_stalled(&mut self) {
        for (id, side, packet) in self.traffic.connections.unstall() {
            let Some(connection) = self.traffic.connections.get(id) else { continue };
            let (from, to) = (connection.ends[side].host, connection.ends[1 - side].host);
            let waits = connection.is_stalled(side);
            self.put_on_the_wire(id, side, (from, to), packet, waits);
        }
    }

    /// An end has heard nothing of the other for as long as its kernel allows: neither an acknowledgement nor, where it
    /// sends nothing itself, an answer to keepalive. What it wanted to send is gone; the other end is told nothing.
    pub(super) fn give_up(&mut self, id: u64, side: usize, since: Instant) {
        let Some(connection) = self.traffic.connections.get(id) else { return };
        let (here, there) = (connection.ends[side], connection.ends[1 - side]);
        let reaches = self.traffic.network.connects(here.host.address(), there.host.address());
        // A host that is on again is another one: it would have answered that it knows of no such connection.
        let is_heard = reaches && !self.is_dark(there.host) && there.start == self.start_of(there.host);
        if is_heard || self.traffic.network.healed_at() > since || !connection.is_open(side) {
            return;
        }
        let end = (here.host, here.start, connection.purpose);
        let is_there = here.start == self.start_of(here.host) && self.process_runs(here.host);
        let dialler = connection.ends[0].host;
        self.traffic.connections.abandon(id, side);
        if is_there {
            self.ended_at(id, side, end, dialler);
        }
    }

    /// Whoever is cut off now gives up some time, unless that is healed before.
    pub(super) fn arm_keepalive(&mut self) {
        let since = self.now;
        for (id, [a, b]) in self.traffic.connections.ends() {
            let reach = self.traffic.network.connects(a.address(), b.address());
            if !reach || self.is_dark(a) || self.is_dark(b) {
                for side in 0..2 {
                    self.after(UNACKNOWLEDGED_MAX, Happening::GiveUp { connection: id, side, since });
                }
            }
        }
    }

    /// The host is on again, and knows nothing of what was open before: whoever still writes to it is told so. That is
    /// modelled as a reset that each other end hears soon.
    pub(super) fn reset_former(&mut self, host: Host) {
        let start = self.start_of(host);
        for id in self.traffic.connections.of(host) {
            let Some(connection) = self.traffic.connections.get_mut(id) else { continue };
            let side = connection.side(host);
            if connection.ends[side].start == start {
                continue;
            }
            let (other, delay) = (connection.ends[1 - side].host, Duration::from_millis(1));
            let lag = self.traffic.network.delay(host.address(), other.address(), &mut self.rng);
            self.after(
                delay + lag,
                Happening::Packet { connection: id, side: 1 - side, packet: Packet::End },
            );
        }
    }

    // ---- reading ----

    pub(super) fn arrive(&mut self, id: u64, side: usize, packet: Packet) {
        let Some(connection) = self.traffic.connections.get(id) else { return };
        let TcpEnd { host, start } = connection.ends[side];
        let purpose = connection.purpose;
        if self.is_dark(host) {
            return;
        }
        if !connection.is_open(side) || start != self.start_of(host) || !self.process_runs(host) {
            // Nobody reads it: the other end is told, after all that was sent to it before.
            if matches!(packet, Packet::Message(_)) && connection.is_open(1 - side) {
                let other = connection.ends[1 - side].host;
                let delay = self.traffic.network.delay(host.address(), other.address(), &mut self.rng);
                let at = self.now + delay;
                let Some(connection) = self.traffic.connections.get_mut(id) else { return };
                let at = connection.queue(1 - side, at);
                self.schedule(at, Happening::Packet { connection: id, side: 1 - side, packet: Packet::End });
            }
            return;
        }
        match packet {
            Packet::End => {
                let dialler = connection.ends[0].host;
                self.traffic.connections.close(id, side);
                self.ended_at(id, side, (host, start, purpose), dialler);
            }
            Packet::Message(message) => self.message_at(id, side, (host, start, purpose), *message),
        }
    }

    /// One end has found that the connection is over.
    fn ended_at(&mut self, id: u64, side: usize, (host, start, purpose): (Host, u64, Use), dialler: Host) {
        match (host, purpose) {
            (Host::Peer(index), Use::Session(slot)) => {
                if self.traffic.sessions.get(&(index, slot)) == Some(&id) {
                    self.traffic.sessions.remove(&(index, slot));
                    self.step_peer(
                        index,
                        start,
                        PeerInput::SessionDown { seed: slot, why: "is down".to_owned() },
                    );
                }
            }
            (Host::Peer(index), _) => {
                self.step_peer(index, start, PeerInput::Ended { connection: ConnectionId(id) });
            }
            (Host::Seed(index), Use::Mesh(slot, other)) if side == 0 => {
                if self.traffic.mesh.get(&(index, slot)) == Some(&id) {
                    self.traffic.mesh.remove(&(index, slot));
                    self.step_seed(index, start, SeedInput::SeedDown(other));
                    self.after(REDIAL, Happening::OpenMesh { from: index, start, to: slot });
                }
            }
            (Host::Seed(index), Use::Mesh(..)) => {
                if let Host::Seed(dialler) = dialler {
                    let silent = self.seeds[dialler].id;
                    self.step_seed(index, start, SeedInput::SeedSilent(silent));
                }
            }
            (Host::Seed(index), _) => {
                self.step_seed(index, start, SeedInput::SessionClosed(SessionId(id)));
            }
        }
    }

    /// The seed that has dialled.
    fn mesh_host(&self, id: u64) -> Option<usize> {
        match self.traffic.connections.get(id)?.ends[0].host {
            Host::Seed(index) => Some(index),
            Host::Peer(_) => None,
        }
    }

    fn mesh_dialler(&self, id: u64) -> Option<SeedId> {
        self.mesh_host(id).map(|index| self.seeds[index].id)
    }

    fn message_at(
        &mut self,
        id: u64,
        side: usize,
        (host, start, purpose): (Host, u64, Use),
        message: Message,
    ) {
        match (host, purpose, message) {
            (Host::Peer(index), Use::Session(seed), message) => {
                if self.traffic.sessions.get(&(index, seed)) == Some(&id) {
                    self.step_peer(index, start, PeerInput::Session { seed, message });
                }
            }
            (Host::Peer(index), Use::Question(juror), Message::Link(message)) if side == 0 => {
                self.step_peer(index, start, PeerInput::Answered { juror, message });
            }
            (Host::Peer(index), _, message) => {
                let connection = ConnectionId(id);
                self.step_peer(index, start, PeerInput::Frame { connection, wire: Wire::Native, message });
            }
            (Host::Seed(index), Use::Mesh(..), Message::Mesh(message)) => {
                if let (MeshMessage::Directory(state), Some(of)) = (&message, self.mesh_host(id)) {
                    self.hear_directory(index, of, *state);
                }
                if let Some(from) = self.mesh_dialler(id) {
                    self.step_seed(index, start, SeedInput::Mesh { from, message });
                }
            }
            (Host::Seed(index), _, message) => {
                let session = SessionId(id);
                self.step_seed(index, start, SeedInput::Session { session, wire: Wire::Native, message });
            }
        }
    }

    // ---- opening ----

    pub(super) fn dial(&mut self, from: usize, start: u64, address: Address) {
        let host = Host::Peer(from);
        let target = Host::at(address);
        let silent =
            !self.traffic.network.connects(host.address(), address) || target.is_none_or(|t| self.is_dark(t));
        if silent {
            let failed = PeerInput::DialFailed { address, failure: DialFailure::Other };
            return self.after(DIAL_TIME_MAX, Happening::Peer(from, start, failed));
        }
        let input = match target {
            Some(target) if self.process_runs(target) && self.start_of(host) == start => {
                let ends = [self.end(host), self.end(target)];
                let connection = ConnectionId(self.traffic.connections.open(ends, Use::Link));
                PeerInput::Dialled { address, connection }
            }
            _ => PeerInput::DialFailed { address, failure: DialFailure::Refused },
        };
        self.step_peer(from, start, input);
    }

    pub(super) fn open_session(&mut self, (from, start): (usize, u64), slot: SeedSlot, address: Address) {
        let host = Host::Peer(from);
        let Some(seed) = Host::at(address) else { return };
        if self.start_of(host) != start || !self.process_runs(host) {
            return;
        }
        if !self.traffic.network.connects(host.address(), seed.address()) || self.is_dark(seed) {
            let down = PeerInput::SessionDown { seed: slot, why: "is down".to_owned() };
            return self.after(DIAL_TIME_MAX, Happening::Peer(from, start, down));
        }
        let input = if self.process_runs(seed) {
            let ends = [self.end(host), self.end(seed)];
            let id = self.traffic.connections.open(ends, Use::Session(slot));
            self.traffic.sessions.insert((from, slot), id);
            PeerInput::SessionUp { seed: slot }
        } else {
            PeerInput::SessionDown { seed: slot, why: "is down".to_owned() }
        };
        self.step_peer(from, start, input);
    }

    /// A seed has dialled another; until that succeeds, it dials again.
    pub(super) fn open_mesh(&mut self, from: usize, start: u64, to: usize) {
        let (host, target) = (Host::Seed(from), Host::Seed(to));
        if self.start_of(host) != start || !self.process_runs(host) {
            return;
        }
        let reachable =
            self.traffic.network.connects(host.address(), target.address()) && self.process_runs(target);
        if !reachable || self.seeds[to].process.is_paused {
            return self.after(REDIAL, Happening::OpenMesh { from, start, to });
        }
        let Some(other) = self.introduce(from, to) else {
            return self.after(REDIAL, Happening::OpenMesh { from, start, to });
        };
        if self.a_copy_ends(from, to) {
            return self.after(REDIAL, Happening::OpenMesh { from, start, to });
        }
        let ends = [self.end(host), self.end(target)];
        let id = self.traffic.connections.open(ends, Use::Mesh(to, other));
        self.traffic.mesh.insert((from, to), id);
        let directory_id = self.seeds[to].directory_id;
        let address = target.address().to_string();
        self.step_seed(from, start, SeedInput::SeedUp { seed: other, directory_id, address });
    }
}

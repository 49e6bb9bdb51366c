//! What arrives at a peer: connections, frames, and the ends of what was started.

use std::io;

use coterie_common::message::CloseReason;
use coterie_common::net::guests::{Fullness, host_at};
use coterie_common::net::tcp::TcpStream;
use coterie_common::net::{ConnectionEvent, connection};
use coterie_common::{Message, Wire};

use super::{Arrival, Key, Look, Node, OpenConnection};
use crate::core::{ConnectionId, DialFailure, Input, SeedSlot};

impl Node {
    pub(super) fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Accepted(stream) => self.on_accepted(stream),
            Arrival::SessionDialled(seed, number, stream) => self.on_session_dialled(seed, number, stream),
            Arrival::Dialled(address, wire, Ok(stream)) => {
                let connection = self.keep(stream, wire, true);
                self.step(Input::Dialled { address, connection });
            }
            Arrival::Dialled(address, _, Err(error)) => {
                let failure = match error.kind() {
                    io::ErrorKind::ConnectionRefused => DialFailure::Refused,
                    _ => DialFailure::Other,
                };
                self.step(Input::DialFailed { address, failure });
            }
            Arrival::Probed(target, finding, host) => {
                self.probes.remove(&target);
                self.step(Input::Probed { target, finding, host });
            }
            Arrival::Answered(juror, message) => self.step(Input::Answered { juror, message }),
            Arrival::Broadcast(content) => self.step(Input::Broadcast(content)),
            Arrival::Look(reply) => {
                let _ = reply.send(Look {
                    view: self.core.view().clone(),
                    incarnation: self.core.incarnation(),
                    neighbours: self.core.neighbours().collect(),
                    counters: self.core.counters().clone(),
                });
            }
            Arrival::Stop => self.step(Input::Stop),
        }
    }

    pub(super) fn on_session_dialled(
        &mut self,
        seed: SeedSlot,
        number: u64,
        stream: Result<TcpStream, String>,
    ) {
        let Some(session) = self.sessions.get_mut(&seed).filter(|s| s.dialling == number) else { return };
        match stream {
            Ok(stream) => {
                let outbox = connection::spawn(Key::Session(seed, number), stream, self.inbox.0.clone());
                session.outbox = Some(outbox);
                self.step(Input::SessionUp { seed });
            }
            Err(error) => {
                self.sessions.remove(&seed);
                self.step(Input::SessionDown { seed, why: error });
            }
        }
    }

    pub(super) fn on_accepted(&mut self, stream: TcpStream) {
        let Ok(remote) = stream.peer_addr() else { return };
        let host = host_at(remote.ip());
        let is_from_host = |connection: &OpenConnection| connection.outbox.remote_host() == Some(host);
        let of_host = || self.connections.values().filter(|connection| is_from_host(connection)).count();
        let fullness = Fullness::of(self.connections.len(), of_host);
        match fullness {
            Fullness::Free => {}
            Fullness::OfHost => self.core.note("connections_with_a_host_over_limit"),
            Fullness::OfAll | Fullness::Beyond => self.core.note("connections_over_limit"),
        }
        // Who has nothing to say makes room for who may have: a neighbour and a prober speak at once.
        let mut silent = self.connections.iter().filter(|(_, connection)| !connection.has_spoken);
        let silent = match fullness {
            Fullness::Free => None,
            Fullness::OfHost => silent.find(|(_, connection)| is_from_host(connection)),
            Fullness::OfAll => silent.next(),
            Fullness::Beyond => return,
        };
        let silent = silent.map(|(id, _)| *id);
        // How the other end speaks is told by its first frame.
        let id = self.keep(stream, Wire::Native, false);
        let leaves = match fullness {
            Fullness::Free => {
                self.guests.all_stay();
                None
            }
            // A neighbour stays: there are only so many.
            _ => silent.or_else(|| self.guests.take_in(id).filter(|guest| !self.core.has_link_on(*guest))),
        };
        if let Some(leaves) = leaves {
            self.turn_away(leaves);
        }
    }

    /// There are too many connections, and this one has to go. One that has gone by itself is passed over.
    fn turn_away(&mut self, id: ConnectionId) {
        self.say(&[id], &Message::Close(CloseReason::Full));
        if let Some(connection) = self.connections.remove(&id) {
            connection.outbox.close();
            self.step(Input::Ended { connection: id });
        }
    }

    /// `is_wanted`: this peer opened it itself, and waits for what comes.
    pub(super) fn keep(&mut self, stream: TcpStream, wire: Wire, is_wanted: bool) -> ConnectionId {
        self.last_number += 1;
        let id = ConnectionId(self.last_number);
        let outbox = connection::spawn(Key::Connection(id), stream, self.inbox.0.clone());
        self.connections.insert(id, OpenConnection { outbox, wire, has_spoken: is_wanted });
        id
    }

    pub(super) fn on_event(&mut self, key: Key, event: ConnectionEvent) {
        match key {
            Key::Connection(id) => self.on_connection_event(id, event),
            Key::Session(seed, number) => {
                if self.sessions.get(&seed).is_some_and(|session| session.dialling == number) {
                    self.on_session_event(seed, event);
                }
            }
        }
    }

    pub(super) fn on_connection_event(&mut self, id: ConnectionId, event: ConnectionEvent) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match event {
            ConnectionEvent::Message { wire, message } => {
                connection.wire = wire;
                connection.has_spoken = true;
                self.step(Input::Frame { connection: id, wire, message });
            }
            ConnectionEvent::Drained => {}
            ConnectionEvent::Ended(error) => {
                let remote = connection.outbox.remote();
                self.connections.remove(&id);
                if let Some(error) = error {
                    self.core.note("connections_broken_off");
                    tracing::info!("the connection with {remote} was closed: {error}");
                }
                self.step(Input::Ended { connection: id });
            }
        }
    }

    pub(super) fn on_session_event(&mut self, seed: SeedSlot, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Message { message, .. } => self.step(Input::Session { seed, message }),
            ConnectionEvent::Drained => {}
            ConnectionEvent::Ended(error) => {
                self.sessions.remove(&seed);
                let why = error.unwrap_or_else(|| "closed the connection".to_owned());
                self.step(Input::SessionDown { seed, why });
            }
        }
    }
}

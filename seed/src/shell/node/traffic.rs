//! What arrives at a seed: connections, sessions, the mesh.

use std::time::Duration;

use coterie_common::message::{CloseReason, MeshMessage, SeedHello, SeedId};
use coterie_common::net::ConnectionEvent;
use coterie_common::net::process::Failure;
use coterie_common::net::task::report;
use coterie_common::{Message, Wire};

use super::connections::{ConnectionKind, Speaker};
use super::directories::is_a_copy;
use super::ending::Reason;
use super::{Arrival, Node, unusable};
use crate::core::hello::welcome;
use crate::core::{Input, SessionId};
use crate::shell::mesh;

/// What is wrong with a seed that is not reached.
pub(super) fn not_connected(seed: &str) -> String {
    format!("seed {seed} is not connected")
}

impl Node {
    pub(super) fn dial(&self, seed: SeedId, pause: Duration) {
        let (Some(entry), arrivals) = (self.greetings.entry(seed).cloned(), self.arrivals.0.clone()) else {
            return;
        };
        // The seat that this one is about to take.
        if entry.to_string() == self.options.own.to_string() {
            return;
        }
        let at_once =
            self.greetings.redials.get(&seed).map(|redial| redial.at_once.clone()).unwrap_or_default();
        let work = async move { Arrival::Dialled(seed, mesh::dial(entry, pause, &at_once).await) };
        report(arrivals, work, move |why| Arrival::Dialled(seed, Err(why)));
    }

    fn redial(&mut self, seed: SeedId) {
        let pause = self.greetings.redials.get_mut(&seed).map(|redial| redial.backoff.pause());
        if let (Some(pause), false) = (pause, self.ending.has_begun()) {
            self.dial(seed, pause);
        }
    }

    pub(super) fn on_arrival(&mut self, arrival: Arrival) -> Result<(), Failure> {
        match arrival {
            Arrival::Accepted(stream) => self.on_accepted(stream),
            Arrival::Dialled(seed, Ok(stream)) => {
                let id = self.connections.keep(stream, ConnectionKind::MeshOut(seed));
                let hello = Message::Mesh(MeshMessage::Hello(self.hello()));
                self.say(id, &hello);
            }
            Arrival::Dialled(seed, Err(why)) => {
                self.not_connected(seed, Some(why));
                self.redial(seed);
                self.begin_if_decided()?;
            }
            Arrival::Probed(order, finding, host) => {
                self.step(Input::Probed { target: order.target(), finding, host });
            }
            Arrival::VotersUnchanged(problem) => {
                self.say_sometimes("voters", &format!("the voters are not changed yet: {problem}"));
                self.step(Input::VotersUnchanged);
            }
            Arrival::ReadReady(read, index) => self.step(Input::ReadReady { read, index }),
            Arrival::Started(started) => {
                self.log.consensus = Some(started.map_err(Failure::running)?.0);
                self.log.is_starting = false;
            }
            Arrival::Register(candidate, reply) => {
                let request = self.callers.add(reply);
                self.step(Input::Register { request, candidate });
            }
            Arrival::Look(reply) => {
                let _ = reply.send((
                    self.core.registry().clone(),
                    self.core.leader(),
                    self.core.counters().clone(),
                ));
            }
            Arrival::TakeSnapshot => {
                if let Some(consensus) = self.log.consensus.clone() {
                    tokio::spawn(async move { consensus.snapshot().await });
                }
            }
            // The log would find it out with the next entry, which may be long in coming.
            Arrival::NotWritten(error) => return Err(unusable(&self.options.data, &error)),
            Arrival::Stop => self.stop(Reason::Asked),
            Arrival::Stopped => self.ending.complete(),
        }
        Ok(())
    }

    /// Closes the sessions, hands leadership over, and ends when that is done. The mesh is served meanwhile.
    pub(super) fn stop(&mut self, reason: Reason) {
        self.ending.begin(reason);
        self.step(Input::Stop);
        let (consensus, arrivals) = (self.log.consensus.clone(), self.arrivals.0.clone());
        let work = async move {
            if let Some(consensus) = consensus {
                consensus.stop().await;
            }
            Arrival::Stopped
        };
        report(arrivals, work, |_| Arrival::Stopped);
    }

    pub(super) fn on_event(&mut self, id: u64, event: ConnectionEvent) -> Result<(), Failure> {
        match event {
            ConnectionEvent::Message { wire, message } => self.on_message(id, wire, message),
            ConnectionEvent::Drained => {
                self.step(Input::SessionDrained(SessionId(id)));
                Ok(())
            }
            ConnectionEvent::Ended(error) => {
                if let Some(error) = error {
                    self.core.count("connections_broken_off");
                    let remote = self.connections.get(id).map(|connection| connection.outbox.remote());
                    let remote = remote.unwrap_or_default();
                    // Once for each host, and not for each of its ports.
                    let host = remote.rsplit_once(':').map_or(remote.as_str(), |(host, _)| host);
                    let text = format!("the connection with {remote} was closed: {error}");
                    self.say_sometimes(&format!("broken off {host}"), &text);
                    if let Some(ConnectionKind::MeshOut(seed)) = self.connections.get(id).map(|c| c.kind) {
                        self.not_connected(seed, Some(error));
                    }
                }
                self.on_ended(id);
                Ok(())
            }
        }
    }

    fn on_message(&mut self, id: u64, wire: Wire, message: Message) -> Result<(), Failure> {
        let Some(kind) = self.connections.get(id).map(|c| c.kind) else { return Ok(()) };
        match (kind, message) {
            (ConnectionKind::New, Message::Mesh(MeshMessage::Hello(hello))) => self.on_dialled_by(id, hello),
            (ConnectionKind::MeshOut(seed), Message::Mesh(message)) => self.on_mesh_reply(id, seed, message),
            (
                ConnectionKind::MeshOut(_) | ConnectionKind::MeshIn(_),
                Message::Close(reason @ (CloseReason::Removed(seed) | CloseReason::Replaced(seed))),
            ) => {
                if seed == self.identity.id && self.log.store.history().is_some() {
                    self.end_as(Reason::told(&reason));
                }
                Ok(())
            }
            (
                ConnectionKind::MeshOut(_) | ConnectionKind::MeshIn(_),
                Message::Close(CloseReason::DirectoryCopy(doubt)),
            ) => {
                // Whether that can be written or not, it ends.
                let _ = self.log.store.mark_as_copy(&doubt);
                Err(is_a_copy(&self.options, &doubt))
            }
            (ConnectionKind::MeshOut(seed), Message::Close(reason)) => {
                self.not_connected(seed, Some(format!("closed the connection: {reason}")));
                Ok(())
            }
            (ConnectionKind::MeshIn(seed), Message::Mesh(message)) => self.on_mesh(id, seed, message),
            (ConnectionKind::MeshIn(_) | ConnectionKind::MeshOut(_), Message::Ping { nonce }) => {
                self.answer_ping(id, nonce);
                Ok(())
            }
            (ConnectionKind::MeshIn(_) | ConnectionKind::MeshOut(_), Message::Pong { .. }) => {
                self.note_answer(id);
                Ok(())
            }
            (ConnectionKind::MeshIn(_), _) | (ConnectionKind::MeshOut(_), _) => Ok(()),
            (ConnectionKind::New | ConnectionKind::Session(_), message) if !self.ending.has_begun() => {
                self.connections.set_kind(id, ConnectionKind::Session(wire));
                if !self.refuses_change(id, &message) {
                    self.step(Input::Session { session: SessionId(id), wire, message });
                }
                Ok(())
            }
            (ConnectionKind::New | ConnectionKind::Session(_), _) => Ok(()),
        }
    }

    fn on_ended(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(id) {
            self.is_over(id, connection.kind);
        }
    }

    /// A connection is none any more: what it was for is over, or begins again with another one.
    fn is_over(&mut self, id: u64, kind: ConnectionKind) {
        match kind {
            ConnectionKind::New => {}
            ConnectionKind::Session(_) => self.step(Input::SessionClosed(SessionId(id))),
            ConnectionKind::MeshIn(seed) => {
                if self.connections.that_are(|kind| kind == ConnectionKind::MeshIn(seed)).is_empty() {
                    self.step(Input::SeedSilent(seed));
                }
            }
            ConnectionKind::MeshOut(seed) => {
                self.mesh.disconnect(seed);
                self.greetings.hellos.remove(&seed);
                self.step(Input::SeedDown(seed));
                self.redial(seed);
            }
        }
    }

    // ---- the mesh ----

    /// Another seed has dialled this one and says who it is.
    fn on_dialled_by(&mut self, id: u64, hello: SeedHello) -> Result<(), Failure> {
        let Some(hello) = self.welcome(id, hello) else { return Ok(()) };
        self.connections.set_kind(id, ConnectionKind::MeshIn(hello.id));
        self.greetings.dial_at_once(hello.id);
        let own = Message::Mesh(MeshMessage::Hello(self.hello()));
        self.say(id, &own);
        self.hear_hello(hello)?;
        self.meet_leaving();
        Ok(())
    }

    /// The hello of a seed that was not dialled by its id. Two clusters give the same ids, and a list may name seeds of
    /// both: who was dialled by an id and has answered is the one that it means.
    fn hear_hello(&mut self, hello: SeedHello) -> Result<(), Failure> {
        let is_dialled = |kind| kind == ConnectionKind::MeshOut(hello.id);
        let held = self.greetings.hellos.get(&hello.id).and_then(SeedHello::cluster);
        let are_two = held.zip(hello.cluster()).is_some_and(|(held, other)| held != other);
        if are_two && !self.connections.that_are(is_dialled).is_empty() {
            return Ok(());
        }
        self.note_hello(hello)
    }

    /// The hello of a seed that can be of one cluster with this one. Of any other the connection is closed with the
    /// reason: at whichever end, and whenever one of them has changed.
    fn welcome(&mut self, id: u64, hello: SeedHello) -> Option<SeedHello> {
        let (own, address) = (self.hello(), hello.address.clone());
        let checked = welcome(&own, self.core.registry(), hello).and_then(|hello| {
            self.check_directory(&hello)?;
            Ok(hello)
        });
        match checked {
            Ok(hello) => {
                self.connections.set_speaker(id, Speaker::of(&hello));
                self.remember(hello.directory_id, hello.directory);
                if let Some(history) = &hello.history {
                    let (cluster, index) = (history.cluster, hello.directory.committed.index);
                    self.step(Input::DecidedBefore { cluster, index });
                }
                Some(hello)
            }
            Err(reason) => {
                let why = match &reason {
                    CloseReason::Refused(why) => why.clone(),
                    other => other.to_string(),
                };
                self.say_sometimes(&address, &format!("seed {address} refused: {why}"));
                self.refuse(id, reason);
                None
            }
        }
    }

    /// Closes a connection with a reason, and forgets it: nothing that has come on it is looked at any more.
    pub(super) fn refuse(&mut self, id: u64, reason: CloseReason) {
        self.say(id, &Message::Close(reason));
        if let Some(connection) = self.connections.remove(id) {
            connection.outbox.close();
            self.is_over(id, connection.kind);
        }
    }

    fn note_hello(&mut self, hello: SeedHello) -> Result<(), Failure> {
        let seed = hello.id;
        self.greetings.note(hello);
        self.update_gate(seed);
        self.begin_if_decided()
    }

    /// A seed that this one has dialled answers.
    fn on_mesh_reply(&mut self, id: u64, seed: SeedId, message: MeshMessage) -> Result<(), Failure> {
        match message {
            MeshMessage::Hello(hello) => match self.welcome(id, hello) {
                Some(hello) if hello.id == seed => self.on_greeted(id, seed, hello)?,
                Some(hello) => self.on_met_another(id, seed, hello)?,
                None => {}
            },
            MeshMessage::RaftReply { number, reply } => self.mesh.replied(seed, number, reply),
            other => self.step(Input::Mesh { from: seed, message: other }),
        }
        Ok(())
    }

    /// Another seed is not connected, and `why`; or it is. One that is none any more is nobody's trouble.
    pub(super) fn not_connected(&mut self, seed: SeedId, why: Option<String>) {
        if let Some(entry) = self.greetings.entry(seed) {
            let is_one = self.greetings.redials.contains_key(&seed);
            self.core.trouble(&not_connected(&entry.to_string()), why.filter(|_| is_one));
        }
    }

    /// The seed that was dialled says who it is.
    fn on_greeted(&mut self, id: u64, seed: SeedId, hello: SeedHello) -> Result<(), Failure> {
        let (directory_id, address) = (hello.directory_id, hello.address.clone());
        if let Some(connection) = self.connections.get(id) {
            self.mesh.connect(seed, connection.outbox.clone());
        }
        if let Some(redial) = self.greetings.redials.get_mut(&seed) {
            redial.backoff.reset();
        }
        self.not_connected(seed, None);
        self.note_hello(hello)?;
        // What it said may have led to this connection being closed.
        if self.connections.get(id).is_some() {
            self.step(Input::SeedUp { seed, directory_id, address });
        }
        Ok(())
    }

    /// Somebody else answers. By its list alone a new seed does not know the ids of a cluster that has changed since:
    /// then what it is told counts, but not the connection, on which it would take one seed for another.
    fn on_met_another(&mut self, id: u64, seed: SeedId, hello: SeedHello) -> Result<(), Failure> {
        if self.log.store.history().is_none() && hello.history.is_some() {
            self.hear_hello(hello)?;
        } else {
            self.say_sometimes("id", &format!("dialled seed {seed}, met seed {}", hello.id));
        }
        if let Some(connection) = self.connections.get(id) {
            connection.outbox.close();
        }
        Ok(())
    }

    /// Whether a seed has lost its directory, by the history of this one: it leads nobody who has one.
    fn is_emptied(&self, seed: SeedId) -> bool {
        self.log.store.history().is_some_and(|history| self.greetings.is_emptied(seed, &history))
    }

    /// A seed that has dialled this one asks or tells.
    fn on_mesh(&mut self, id: u64, seed: SeedId, message: MeshMessage) -> Result<(), Failure> {
        match message {
            MeshMessage::Hello(hello) => match self.welcome(id, hello) {
                Some(hello) => self.hear_hello(hello),
                None => Ok(()),
            },
            MeshMessage::Raft { .. } if self.is_emptied(seed) => {
                self.core.count("log_of_empty_seeds_refused");
                Ok(())
            }
            MeshMessage::Raft { number, request } => {
                let outbox = self.connections.get(id).map(|c| c.outbox.clone());
                if let (Some(consensus), Some(outbox)) = (self.log.consensus.clone(), outbox) {
                    let me = self.options.address;
                    tokio::spawn(async move {
                        let reply = consensus.answer(request).await;
                        let message = Message::Mesh(MeshMessage::RaftReply { number, reply });
                        if outbox.say(&message, Wire::Native, me).is_err() {
                            outbox.cut();
                        }
                    });
                }
                Ok(())
            }
            other => {
                if let MeshMessage::Directory(state) = &other {
                    self.note_directory(seed, *state);
                }
                self.step(Input::Mesh { from: seed, message: other });
                Ok(())
            }
        }
    }
}

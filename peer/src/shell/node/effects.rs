//! What the core wants done: started here, never waited for.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use coterie_common::message::LinkMessage;
use coterie_common::net::task::report;
use coterie_common::net::{connection, diagnostics, probe};
use coterie_common::seed_list::{parse_port, split_host_port};
use coterie_common::{Address, Finding, HostEvidence, MemberId, Message, ProbeOrder, Wire, codec};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{Arrival, DIAL_TIME_MAX, Node, PeerEvent, SeedConnection};
use crate::core::{ConnectionId, Effect, Input, SeedSlot};

impl Node {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Log(line) => self.journal.log(&line),
            Effect::Send { to, message } => self.say(&[to], &message),
            Effect::SendMany { to, message } => self.say(&to, &message),
            Effect::Close(connection) => {
                if let Some(connection) = self.connections.remove(&connection) {
                    connection.outbox.close();
                }
            }
            Effect::Dial { address, wire } => self.dial(address, wire),
            Effect::OpenSession { seed, address } => self.open_session(seed, &address),
            Effect::Tell { seed, message } => self.tell(seed, &message),
            Effect::CloseSession(seed) => {
                if let Some(outbox) = self.sessions.remove(&seed).and_then(|session| session.outbox) {
                    outbox.close();
                }
            }
            Effect::Probe { target, order } => self.probe(target, order),
            Effect::CancelProbe(target) => {
                if let Some(probe) = self.probes.remove(&target) {
                    probe.abort();
                }
            }
            Effect::Ask { juror, wire, message, patience } => self.ask(juror, wire, message, patience),
            Effect::Print(text) => diagnostics::say(&text),
            Effect::Warn(text) => tracing::warn!("{text}"),
            Effect::Deliver { origin, content } => {
                let _ = self.happenings.send(PeerEvent::Message { origin, content });
            }
            Effect::Exit(result) => self.ended = Some(result),
        }
    }

    /// Encodes once for each way of speaking.
    pub(super) fn say(&mut self, to: &[ConnectionId], message: &Message) {
        let mut encoded: BTreeMap<Wire, Bytes> = BTreeMap::new();
        let mut cut_off = Vec::new();
        for id in to {
            let Some(connection) = self.connections.get(id) else { continue };
            let wire = connection.wire;
            let me = self.options.address;
            let frames = encoded.entry(wire).or_insert_with(|| codec::encode(message, wire, me)).clone();
            if connection.outbox.send(frames).is_err() {
                cut_off.push(*id);
            }
        }
        for id in cut_off {
            // A neighbour that does not read is not waited for.
            if let Some(connection) = self.connections.remove(&id) {
                connection.outbox.cut();
            }
            self.step(Input::Ended { connection: id });
        }
    }

    pub(super) fn tell(&mut self, seed: SeedSlot, message: &Message) {
        let Some(outbox) = self.sessions.get(&seed).and_then(|session| session.outbox.as_ref()) else {
            return;
        };
        if outbox.say(message, Wire::Native, self.options.address).is_err() {
            outbox.cut();
            self.sessions.remove(&seed);
            self.step(Input::SessionDown { seed, why: "does not read".to_owned() });
        }
    }

    // ---- what takes time, and reports ----

    pub(super) fn dial(&self, address: Address, wire: Wire) {
        let arrivals = self.arrivals.0.clone();
        let work =
            async move { Arrival::Dialled(address, wire, connection::dial(address, DIAL_TIME_MAX).await) };
        report(arrivals, work, move |why| Arrival::Dialled(address, wire, Err(io::Error::other(why))));
    }

    pub(super) fn open_session(&mut self, seed: SeedSlot, address: &str) {
        self.last_number += 1;
        let (number, arrivals) = (self.last_number, self.arrivals.0.clone());
        let address = address.to_owned();
        self.sessions.insert(seed, SeedConnection { dialling: number, outbox: None });
        let dialled = async move {
            let (host, port) = split_host_port(&address)?;
            connection::dial_host(host, parse_port(port)?, DIAL_TIME_MAX).await
        };
        let work = async move { Arrival::SessionDialled(seed, number, dialled.await) };
        report(arrivals, work, move |why| Arrival::SessionDialled(seed, number, Err(why)));
    }

    pub(super) fn probe(&mut self, target: MemberId, order: ProbeOrder) {
        let (prober, arrivals) = (self.prober.clone(), self.arrivals.0.clone());
        let work = async move {
            let (finding, host) = prober.probe(order).await;
            Arrival::Probed(target, finding, host)
        };
        let otherwise = move |_| Arrival::Probed(target, Finding::CannotProbe, HostEvidence::Unknown);
        self.probes.insert(target, report(arrivals, work, otherwise));
    }

    pub(super) fn ask(&self, juror: Address, wire: Wire, message: LinkMessage, patience: Duration) {
        let (arrivals, me) = (self.arrivals.0.clone(), self.options.address);
        tokio::spawn(async move {
            let question = async {
                let mut stream = connection::dial(juror, patience).await.ok()?;
                stream.write_all(&codec::encode(&Message::Link(message), wire, me)).await.ok()?;
                let is_answer = |message| match message {
                    Message::Link(
                        answer @ (LinkMessage::SuspectResponse { .. } | LinkMessage::SuspectUndecided { .. }),
                    ) => Some(answer),
                    _ => None,
                };
                probe::read_message(&mut stream, is_answer).await.ok()?
            };
            if let Ok(Some(answer)) = timeout(patience, question).await {
                let _ = arrivals.send(Arrival::Answered(juror, answer)).await;
            }
        });
    }
}

//! What the core wants done: started here, never waited for.

use std::collections::BTreeMap;

use coterie_common::net::task::report;
use coterie_common::{Finding, HostEvidence, Message, ProbeOrder, Wire, codec};

use super::connections::ConnectionKind;
use super::{Arrival, Node, ProbeMode};
use crate::core::{Effect, Input, SessionId};

impl Node {
    pub(super) fn propose(&mut self) {
        if let (Some(consensus), false) = (&self.log.consensus, self.log.proposals.is_empty()) {
            consensus.propose(std::mem::take(&mut self.log.proposals));
        }
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Log(line) => self.journal.log(&line),
            Effect::Warn(text) => tracing::warn!("{text}"),
            Effect::Send { to, message } => self.say(to.0, &message),
            Effect::Push { to, message } => self.push(to, &message),
            Effect::Close { session, reason } => {
                self.say(session.0, &Message::Close(reason));
                if let Some(connection) = self.connections.remove(session.0) {
                    connection.outbox.close();
                }
            }
            Effect::ToSeed { to, message } => self.mesh.say(to, message),
            Effect::Propose(entry) => self.log.proposals.push(entry),
            Effect::Seeds { seeds, gone } => self.follow_seeds(&seeds, &gone),
            Effect::ChangeVoters(voters) => self.change_voters(voters),
            Effect::Probe(order) => self.probe(order),
            Effect::ReadIndex(read) => self.read_index(read),
            Effect::Reply { request, answer } => self.callers.answer(request, answer),
        }
    }

    pub(super) fn say(&mut self, id: u64, message: &Message) {
        let Some(connection) = self.connections.get(id) else { return };
        let wire = match connection.kind {
            ConnectionKind::Session(wire) => wire,
            ConnectionKind::New | ConnectionKind::MeshOut(_) | ConnectionKind::MeshIn(_) => Wire::Native,
        };
        if connection.outbox.say(message, wire, self.options.address).is_err() {
            self.cut_off(id);
        }
    }

    /// Encodes once for each way of speaking, and asks each session to tell when it is written.
    pub(super) fn push(&mut self, to: Vec<SessionId>, message: &Message) {
        let mut encoded: BTreeMap<Wire, bytes::Bytes> = BTreeMap::new();
        for SessionId(id) in to {
            let Some(connection) = self.connections.get(id) else { continue };
            let ConnectionKind::Session(wire) = connection.kind else { continue };
            let me = self.options.address;
            let frames = encoded.entry(wire).or_insert_with(|| codec::encode(message, wire, me)).clone();
            if connection.outbox.send(frames).and_then(|()| connection.outbox.mark()).is_err() {
                self.cut_off(id);
            }
        }
    }

    /// A remote that does not read is not waited for.
    pub(super) fn cut_off(&mut self, id: u64) {
        self.core.count("connections_cut_off");
        if let Some(connection) = self.connections.remove(id) {
            connection.outbox.cut();
            if let ConnectionKind::Session(_) = connection.kind {
                self.step(Input::SessionClosed(SessionId(id)));
            }
        }
    }

    pub(super) fn probe(&self, order: ProbeOrder) {
        let (prober, arrivals, probing) =
            (self.prober.clone(), self.arrivals.0.clone(), self.options.probe_mode);
        let otherwise = move |_| Arrival::Probed(order, Finding::CannotProbe, HostEvidence::Unknown);
        let work = async move {
            let (finding, host) = match probing {
                ProbeMode::Sockets => prober.probe(order).await,
                ProbeMode::Assumed => (Finding::Alive, HostEvidence::Unknown),
            };
            Arrival::Probed(order, finding, host)
        };
        report(arrivals, work, otherwise);
    }

    pub(super) fn read_index(&self, read: u64) {
        let (consensus, leader, arrivals) =
            (self.log.consensus.clone(), self.core.leader(), self.arrivals.0.clone());
        let work = async move {
            let index = match consensus {
                Some(consensus) => consensus.read_index(leader).await,
                None => None,
            };
            Arrival::ReadReady(read, index)
        };
        report(arrivals, work, move |_| Arrival::ReadReady(read, None));
    }
}

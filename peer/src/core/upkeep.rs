//! Links, as time goes by: keeping as many as wanted, pinging the quiet ones, telling the seeds.

use std::collections::BTreeSet;

use coterie_common::limits::SOFT_STATE_EVERY;
use coterie_common::message::{Cause, CloseReason, LinkMessage, Links, SessionMessage};
use coterie_common::{Address, Incarnation, Instant, MemberId, Message, Wire};

use super::Peer;
use super::detector::Tick;
use super::effect::{ConnectionId, Effect};
use super::neighbour::{Connection, Greeter};

const FAR: Instant = Instant::from_nanos(u64::MAX);

impl Peer {
    pub(super) fn settle_links(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.settle_waiting(now, out);
        self.settle_detectors(now, out);
        for address in self.overlay.expire(now) {
            let greets = |c: &Connection| matches!(c, Connection::Greeting(id, _) if id.address == address);
            let unanswered = self.connections.iter().find(|(_, c)| greets(c)).map(|(id, _)| *id);
            if let Some(connection) = unanswered {
                self.close(connection, CloseReason::Silent, out);
            }
        }
        if self.standing.is_member() {
            if self.standing.is_announced() {
                self.dial_missing(now, out);
            }
            self.tell_links(now, out);
        }
    }

    /// HELLOs that came before the view told of their senders.
    fn settle_waiting(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let waiting: Vec<(ConnectionId, Greeter, Instant)> = self
            .connections
            .iter()
            .filter_map(|(c, state)| match state {
                Connection::Waiting(waiting) => Some((*c, waiting.hello, waiting.until)),
                Connection::Greeting(..) | Connection::Link(_) | Connection::Question => None,
            })
            .collect();
        for (connection, hello, until) in waiting {
            match self.judge_hello(hello) {
                Ok(id) if self.id().is_some() => {
                    self.accept_waiting(now, connection, Greeter { id, ..hello }, out);
                }
                Ok(_) | Err(None) if now < until => {}
                Ok(_) | Err(None) => self.close(connection, CloseReason::Unknown, out),
                Err(Some(reason)) => self.close(connection, reason, out),
            }
        }
    }

    /// The view tells of the greeter now: it is let in, and what it said meanwhile is heard.
    fn accept_waiting(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        greeter: Greeter,
        out: &mut Vec<Effect>,
    ) {
        let waited = self.connections.remove(&connection);
        self.accept(now, connection, greeter, out);
        if let Some(Connection::Waiting(waiting)) = waited {
            for rumor in waiting.held {
                self.on_link_message(now, Some(connection), None, LinkMessage::Gossip(rumor), out);
            }
        }
    }

    fn settle_detectors(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let silent = self.neighbours.values().filter(|n| n.detector.is_missing(now)).count();
        if self.doubt.saw_silence(now, silent, self.neighbours.len()) {
            self.count("links_silent_together");
        }
        let stretch = self.doubt.stretch(now);
        let mut suspects = Vec::new();
        // A JSON neighbour that is checking a suspect for us answers nothing meanwhile.
        let busy: BTreeSet<Address> =
            self.suspicions.values().flat_map(super::suspicion::Suspicion::owing).collect();
        for neighbour in self.neighbours.values_mut() {
            if neighbour.wire == Wire::Json && busy.contains(&neighbour.id.address) {
                neighbour.detector.forgive(now);
            }
            match neighbour.detector.tick(now, stretch) {
                Tick::Wait => {}
                Tick::Ping => {
                    out.push(Effect::Send { to: neighbour.connection, message: Message::Ping { nonce: 1 } });
                }
                Tick::Suspect => suspects.push(neighbour.id),
            }
        }
        for id in suspects {
            self.suspect(now, id, Cause::PingsMissed, out);
            if !self.suspicions.contains_key(&id)
                && let Some(neighbour) = self.neighbours.get_mut(&id.address)
            {
                // It is to be left alone for now: the link is pinged anew, so that it is looked at again.
                neighbour.detector.heard(now);
            }
        }
    }

    /// Tells the seeds who the neighbours are, when it changed and not too often.
    fn tell_links(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let due = self.links_told.at.is_none_or(|at| now >= at + SOFT_STATE_EVERY);
        if !due || self.links_told.links.iter().eq(self.neighbours.keys()) {
            return;
        }
        let links = self.number_links(self.neighbours.keys().copied().collect());
        for seed in self.enrolment.introduced().collect::<Vec<_>>() {
            self.tell(now, seed, Message::Session(SessionMessage::Neighbours(links.clone())), out);
        }
        (self.links_told.links, self.links_told.at) = (links.to, Some(now));
    }

    /// The next tale of this incarnation's links.
    pub(super) fn number_links(&mut self, to: Vec<Address>) -> Links {
        self.links_told.number += 1;
        Links { number: self.links_told.number, to }
    }

    pub(super) fn links_deadline(&self) -> Instant {
        let stretch = self.doubt.stretch(self.now);
        let detectors = self.neighbours.values().map(|n| n.detector.deadline(stretch));
        let waiting = self.connections.values().filter_map(|c| match c {
            Connection::Waiting(waiting) => Some(waiting.until),
            Connection::Greeting(..) | Connection::Link(_) | Connection::Question => None,
        });
        let told = self.links_told.at.filter(|_| {
            self.standing.is_member() && !self.links_told.links.iter().eq(self.neighbours.keys())
        });
        let told = told.map(|at| at + SOFT_STATE_EVERY);
        let lenient = self.leniency.deadline(self.now);
        detectors
            .chain(waiting)
            .chain(self.overlay.deadline())
            .chain(told)
            .chain(lenient)
            .min()
            .unwrap_or(FAR)
    }

    /// A member of that address whose incarnation is as named; 0 names whoever is there now.
    pub(super) fn member_named(&self, id: MemberId) -> Option<MemberId> {
        match id.incarnation {
            Incarnation::NONE => self.view.at(id.address).map(|m| m.id),
            _ => self.view.get(id).map(|m| m.id),
        }
    }
}

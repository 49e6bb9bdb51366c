//! From neighbours and strangers: connections, frames, links.
//!
//! A connection belongs to a link only after a HELLO that the view bears out, and a vote counts only if it was asked
//! for.

use coterie_common::message::{Cause, CloseReason, LinkMessage, SessionMessage};
use coterie_common::{Address, Epoch, MemberId, Message, Wire};

use crate::core::Peer;
use crate::core::effect::{ConnectionId, DialFailure};
use crate::core::failure::Question;
use crate::core::overlay::{Hello, Linked};

/// By which way something about a suspect came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Channel {
    /// On a connection that somebody opened to be linked, or to ask.
    Connection(ConnectionId),
    /// On one that this peer opened to ask this juror one question.
    Asked(Address),
}

/// Who answers is told by the connection. The responder that the message names could be anybody.
fn asked_juror<N>(channel: Channel, link: Option<(Address, N, ConnectionId)>) -> Option<Address> {
    match channel {
        Channel::Asked(juror) => Some(juror),
        Channel::Connection(_) => link.map(|(address, ..)| address),
    }
}

impl Peer {
    /// A frame of a connection, be it of a link, of a stranger, or of one that is still agreeing on a link.
    pub(super) fn on_frame(&mut self, connection: ConnectionId, wire: Wire, message: Message) {
        // Any frame is a sign of life.
        if let Some(link) = self.overlay.link_on(connection) {
            // A PONG says more than any other frame: which life it is that speaks.
            let pong = match &message {
                Message::Pong { nonce, life, .. } => Some((*nonce, *life)),
                Message::Ping { .. }
                | Message::Close(_)
                | Message::Link(_)
                | Message::Session(_)
                | Message::Mesh(_) => None,
            };
            self.failure.heard(&mut self.cx, &self.membership, link, pong);
        }
        match message {
            Message::Ping { nonce } => {
                // Strangers are answered too, for so a seed or a juror probes this peer.
                self.overlay.note_question(connection);
                self.cx.send(connection, self.membership.pong(nonce, self.seeds.is_served(self.cx.now)));
            }
            // All that it says was heard above.
            Message::Pong { .. } => {}
            Message::Close(reason) => self.on_close(connection, &reason),
            Message::Link(LinkMessage::Hello { address, life, incarnation, mending, cluster }) => {
                let id = MemberId { address, incarnation };
                let hello = Hello { id, life, wire, is_repair: mending, cluster };
                let linked = self.overlay.hello(&mut self.cx, &self.membership, connection, hello);
                self.on_linked(linked);
            }
            Message::Link(message) => self.on_link_message(Channel::Connection(connection), message),
            Message::Session(_) | Message::Mesh(_) => {
                self.cx.count("frames_out_of_place");
                let reason = CloseReason::Protocol("this is a peer, not a seed".to_owned());
                // It was closed on purpose, so that neighbour is not suspected.
                if let Some(id) = self.overlay.turn_away(&mut self.cx, connection, &reason) {
                    self.failure.link_gone(id);
                }
            }
        }
    }

    /// A link came up, or has another connection: it is watched, and told what was said lately.
    pub(super) fn on_linked(&mut self, linked: Option<Linked>) {
        let Some(linked) = linked else {
            // The connection made no link: it waits, or was turned away with a reason.
            return;
        };
        // First, so that there is a detector before anything can be heard on the link.
        self.failure.linked(&mut self.cx, &linked);
        if linked.wire == Wire::Native {
            // A JSON program has no word for it.
            self.gossip.tell_recent(&mut self.cx, linked.connection);
        }
    }

    /// A dial came to nothing. Only a refusal speaks against the member: whoever cannot be reached may be cut off
    /// from this peer alone, and is dialled again later.
    pub(super) fn on_dial_failed(&mut self, address: Address, failure: DialFailure) {
        self.overlay.dial_failed(self.cx.now, address);
        let member = self.membership.view().at(address).map(|m| m.id);
        if let (DialFailure::Refused, Some(id)) = (failure, member) {
            self.suspect(id, Cause::ConnectRefused);
        }
    }

    /// The other end closed a connection and says why. That is no sign of death, so nobody is suspected by it.
    fn on_close(&mut self, connection: ConnectionId, reason: &CloseReason) {
        if let Some(id) = self.overlay.connection_closed(&mut self.cx, connection, reason) {
            self.failure.link_gone(id);
        }
        if let (CloseReason::Ended(epoch), Some(me)) = (reason, self.membership.id()) {
            self.check_own_end(*epoch, me);
        }
    }

    /// Somebody says this life is over. Only the seeds are believed; they are asked for what we missed.
    fn check_own_end(&mut self, epoch: Epoch, me: MemberId) {
        let known = self.membership.view().epoch;
        if epoch <= known || epoch.0 <= me.incarnation.0 {
            // An end that the view has taken in already, or that was of the incarnation before this one.
            return;
        }
        let seed = self.seeds.introduced().next();
        if let Some(seed) = seed {
            let ask = SessionMessage::ChangesSince(known);
            self.seeds.tell(&mut self.cx, seed, Message::Session(ask));
        }
    }

    /// Everything between peers that is not about the connection itself.
    pub(super) fn on_link_message(&mut self, channel: Channel, message: LinkMessage) {
        let connection = match channel {
            Channel::Connection(connection) => Some(connection),
            Channel::Asked(_) => None,
        };
        let link = connection.and_then(|c| self.overlay.link_on(c));
        // Copied out, so that the overlay may be changed below.
        let link = link.map(|link| (link.id.address, link.number, link.connection));
        match (message, link) {
            // Neither yes nor no: the incarnation is one of another log.
            (LinkMessage::SuspectRequest { cluster, .. }, _) if self.membership.is_of_another(cluster) => {
                self.cx.count("requests_of_other_clusters");
            }
            (LinkMessage::SuspectRequest { suspect, cause, requester, .. }, _) => {
                // There is nowhere to answer on a connection that this peer opened to ask: it is passed over.
                if let Some(connection) = connection {
                    self.overlay.note_question(connection);
                    let question = Question { connection, requester, suspect };
                    self.failure.asked(&mut self.cx, &self.membership, &self.overlay, question, cause);
                }
            }
            (LinkMessage::SuspectResponse { suspect, alive, .. }, link) => {
                if let Some(juror) = asked_juror(channel, link) {
                    self.failure.voted(&mut self.cx, &self.membership, juror, suspect, alive);
                }
            }
            (LinkMessage::SuspectUndecided { suspect, .. }, link) => {
                if let Some(juror) = asked_juror(channel, link) {
                    self.failure.cannot_tell(&mut self.cx, &self.membership, juror, suspect);
                }
            }
            (LinkMessage::Gossip(rumor), Some((from, number, _))) => {
                self.gossip.heard(&mut self.cx, &self.overlay, rumor, (from, number));
            }
            (LinkMessage::Recent(ids), Some((.., to))) => self.gossip.recent(&mut self.cx, ids, to),
            (LinkMessage::Want(ids), Some((_, number, to))) => {
                self.gossip.want(&mut self.cx, ids, (to, number));
            }
            (LinkMessage::Gossip(rumor), None) => match connection {
                Some(connection) => self.overlay.hold_rumor(&mut self.cx, connection, rumor),
                None => self.cx.count("frames_out_of_place"),
            },
            (LinkMessage::Recent(_) | LinkMessage::Want(_), None) | (LinkMessage::Hello { .. }, _) => {
                self.cx.count("frames_out_of_place");
            }
        }
    }

    /// What waits for time on links and connections, in this order: who is to be let in, who was silent, what was
    /// dialled in vain. Only then is it known how many links are missing.
    pub(super) fn settle_links(&mut self) {
        for connection in self.overlay.held_hellos() {
            let released = self.overlay.settle_hello(&mut self.cx, &self.membership, connection);
            if let Some(released) = released {
                self.on_linked(released.linked);
                // Of one that was turned away they belong to no link any more, and are counted as out of place.
                for rumor in released.rumors {
                    self.on_link_message(Channel::Connection(connection), LinkMessage::Gossip(rumor));
                }
            }
        }
        for (id, cause) in self.failure.silent_links(&mut self.cx, &self.overlay) {
            self.suspect(id, cause);
            // There may be too many suspicions, or it is in its cool-down. A detector that has said so does nothing
            // more until a frame comes: it is made to look again.
            if !self.failure.is_suspected(id) {
                self.failure.look_again(self.cx.now, id);
            }
        }
        self.overlay.expire_dials(&mut self.cx);
        if !self.membership.is_member() {
            return;
        }
        // Before that, the first neighbours are chosen all at once.
        if self.membership.is_announced() {
            let now = self.cx.now;
            let leave_alone = |id| self.failure.leaves_alone(now, id);
            self.overlay.dial_missing(&mut self.cx, &self.membership, leave_alone);
        }
        if let Some(links) = self.overlay.tale_due(self.cx.now) {
            // Whoever is introduced later is told all links then, so none can miss this.
            self.seeds.tell_all(&mut self.cx, &SessionMessage::Neighbours(links));
        }
    }
}

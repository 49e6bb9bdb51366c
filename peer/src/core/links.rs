//! Links: what comes on them, and how they end.

use coterie_common::limits::{HELD_BYTES_MAX, HELD_MAX};
use coterie_common::message::{Cause, CloseReason, LinkMessage, Rumor, SessionMessage};
use coterie_common::{Address, Epoch, Instant, Line, MemberId, Message, Wire};

use super::effect::{ConnectionId, Effect};
use super::neighbour::{Connection, Greeter, Neighbour};
use super::witness::Asker;
use super::{Peer, log, overlay};

impl Peer {
    pub(super) fn on_frame(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        wire: Wire,
        message: Message,
        out: &mut Vec<Effect>,
    ) {
        self.note_life(now, connection, &message, out);
        match message {
            Message::Ping { nonce } => self.on_ping(connection, nonce, out),
            Message::Pong { .. } => {}
            Message::Close(reason) => self.on_close(now, connection, &reason, out),
            Message::Link(LinkMessage::Hello { address, life, incarnation, mending }) => {
                let id = MemberId { address, incarnation };
                self.on_hello(now, connection, Greeter { id, life, wire, mending }, out);
            }
            Message::Link(message) => self.on_link_message(now, Some(connection), None, message, out),
            Message::Session(_) | Message::Mesh(_) => {
                self.count("frames_out_of_place");
                let reason = CloseReason::Protocol("this is a peer, not a seed".to_owned());
                let owner = self.connections.get(&connection).cloned();
                self.close(connection, reason.clone(), out);
                if let Some(Connection::Link(address)) = owner {
                    self.connection_closed(now, address, connection, &reason, out);
                }
            }
        }
    }

    /// Any frame is a sign of life.
    fn note_life(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        message: &Message,
        out: &mut Vec<Effect>,
    ) {
        let Some(Connection::Link(address)) = self.connections.get(&connection) else { return };
        let Some(neighbour) = self.neighbours.get_mut(address) else { return };
        let id = neighbour.id;
        neighbour.detector.greeting_answered(now);
        if let Message::Pong { life, .. } = message {
            neighbour.detector.pong(now);
            let same = life.is_none_or(|l| l == neighbour.life);
            if let Some(repeated) = neighbour.detector.heard(now) {
                self.doubt.saw_answer(repeated);
            }
            if same && self.probes.contains_key(&id) {
                self.probe_answered_on_link(now, id, out);
            }
        } else {
            neighbour.detector.heard(now);
        }
        self.leniency.forget(id);
    }

    fn on_ping(&mut self, connection: ConnectionId, nonce: u64, out: &mut Vec<Effect>) {
        self.connections.entry(connection).or_insert(Connection::Question);
        out.push(Effect::Send { to: connection, message: self.pong(nonce) });
    }

    fn on_close(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        reason: &CloseReason,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::Close(connection));
        match self.connections.remove(&connection) {
            Some(Connection::Greeting(id, _)) => self.overlay.refused(now, id.address),
            Some(Connection::Link(address)) => self.connection_closed(now, address, connection, reason, out),
            Some(Connection::Waiting(_) | Connection::Question) | None => {}
        }
        if let (CloseReason::Ended(epoch), Some(me)) = (reason, self.id()) {
            self.check_own_end(now, *epoch, me, out);
        }
    }

    /// Somebody says this life is over. Only the seeds are believed; they are asked for what we missed.
    fn check_own_end(&mut self, now: Instant, epoch: Epoch, me: MemberId, out: &mut Vec<Effect>) {
        if epoch <= self.view.epoch || epoch.0 <= me.incarnation.0 {
            return;
        }
        let seed = self.enrolment.introduced().next();
        if let Some(seed) = seed {
            let ask = SessionMessage::ChangesSince(self.view.epoch);
            self.tell(now, seed, Message::Session(ask), out);
        }
    }

    /// Everything on a link that is not about the link itself. `asked` is who it must come from when it came on
    /// a connection that this peer opened for one question.
    pub(super) fn on_link_message(
        &mut self,
        now: Instant,
        connection: Option<ConnectionId>,
        asked: Option<Address>,
        message: LinkMessage,
        out: &mut Vec<Effect>,
    ) {
        let neighbour = connection.and_then(|c| self.neighbour_on(c)).map(|n| (n.id.address, n.number));
        match (message, neighbour) {
            (LinkMessage::SuspectRequest { suspect, cause, requester }, _) => {
                if let Some(connection) = connection {
                    let asker = Asker { connection, requester, suspect };
                    self.on_suspect_request(now, asker, cause, out);
                }
            }
            (LinkMessage::SuspectResponse { suspect, alive, .. }, neighbour) => {
                if let Some(witness) = asked.or(neighbour.map(|(address, _)| address)) {
                    self.on_suspect_response(witness, suspect, alive, out);
                }
            }
            (LinkMessage::Gossip(rumor), Some((from, number))) => {
                self.on_gossip(now, rumor, from, number, out);
            }
            (LinkMessage::Recent(ids), Some((from, _))) => self.on_recent(ids, from, out),
            (LinkMessage::Want(ids), Some((from, number))) => self.on_want(ids, from, number, out),
            (LinkMessage::Gossip(rumor), None) => self.hold(connection, rumor),
            (LinkMessage::Recent(_) | LinkMessage::Want(_), None) | (LinkMessage::Hello { .. }, _) => {
                self.count("frames_out_of_place");
            }
        }
    }

    /// A greeter that is not known yet may talk on: what it says is heard when it has become a neighbour.
    fn hold(&mut self, connection: Option<ConnectionId>, rumor: Rumor) {
        let waits = |c: &ConnectionId| matches!(self.connections.get(c), Some(Connection::Waiting(_)));
        let Some(connection) = connection.filter(waits) else { return self.count("frames_out_of_place") };
        let held = self.connections.values().map(Connection::held_bytes).sum::<usize>();
        let room = rumor.fits() && held + rumor.bytes() <= HELD_BYTES_MAX;
        match self.connections.get_mut(&connection) {
            Some(Connection::Waiting(waiting)) if room && waiting.held.len() < HELD_MAX => {
                waiting.held.push(rumor);
            }
            _ => self.count("gossip_held_over_limit"),
        }
    }

    fn neighbour_on(&self, connection: ConnectionId) -> Option<&Neighbour> {
        match self.connections.get(&connection) {
            Some(Connection::Link(address)) => self.neighbours.get(address),
            Some(_) | None => None,
        }
    }

    // ---- ends ----

    pub(super) fn on_ended(&mut self, now: Instant, connection: ConnectionId, out: &mut Vec<Effect>) {
        match self.connections.remove(&connection) {
            Some(Connection::Greeting(id, _)) => self.overlay.refused(now, id.address),
            Some(Connection::Link(address)) => self.link_broke(now, address, connection, out),
            Some(Connection::Waiting(_) | Connection::Question) | None => {}
        }
    }

    /// A connection of a link ended without a word: that is how the dead leave.
    fn link_broke(
        &mut self,
        now: Instant,
        address: Address,
        connection: ConnectionId,
        out: &mut Vec<Effect>,
    ) {
        let Some(neighbour) = self.neighbours.get_mut(&address) else { return };
        if neighbour.has_other_than(connection) {
            return;
        }
        let id = neighbour.id;
        self.neighbours.remove(&address);
        log(out, Line::new("LINK_DOWN").with("peer", address).with("cause", "connection_lost"));
        self.broke.insert(id, now);
        self.suspect(now, id, Cause::ConnectionLost, out);
    }

    /// The neighbour closed a connection on purpose.
    fn connection_closed(
        &mut self,
        now: Instant,
        address: Address,
        connection: ConnectionId,
        reason: &CloseReason,
        out: &mut Vec<Effect>,
    ) {
        let Some(neighbour) = self.neighbours.get_mut(&address) else { return };
        if !neighbour.has_other_than(connection) {
            self.neighbours.remove(&address);
            // It may be leaving: to dial it again at once would be to suspect it.
            self.overlay.refused(now, address);
            log(out, Line::new("LINK_DOWN").with("peer", address).show("cause", reason));
        }
    }

    pub(super) fn close(&mut self, connection: ConnectionId, reason: CloseReason, out: &mut Vec<Effect>) {
        self.connections.remove(&connection);
        out.push(Effect::Send { to: connection, message: Message::Close(reason) });
        out.push(Effect::Close(connection));
    }

    fn unlink(&mut self, address: Address, reason: &CloseReason, out: &mut Vec<Effect>) {
        let Some(neighbour) = self.neighbours.remove(&address) else { return };
        for connection in neighbour.connections() {
            self.close(connection, reason.clone(), out);
        }
        log(out, Line::new("LINK_DOWN").with("peer", address).show("cause", reason));
    }

    /// A life is over: so is the link with it.
    pub(super) fn unlink_ended(&mut self, now: Instant, id: MemberId, epoch: Epoch, out: &mut Vec<Effect>) {
        if self.neighbours.get(&id.address).is_some_and(|n| n.id == id) {
            self.unlink(id.address, &CloseReason::Ended(epoch), out);
        }
        if self.view.at(id.address).is_none() {
            self.overlay.refused(now, id.address);
        }
    }

    /// This peer is going, or is somebody else from now on.
    pub(super) fn drop_all_links(&mut self, reason: &CloseReason, out: &mut Vec<Effect>) {
        for address in self.neighbours.keys().copied().collect::<Vec<_>>() {
            self.unlink(address, reason, out);
        }
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(connection, reason.clone(), out);
        }
        self.overlay = overlay::Overlay::default();
    }
}

//! Making links: whom to dial, whom to let in, and which of two connections of one pair to keep.

use coterie_common::limits::{HELLO_WAITS, LINKS_MAX};
use coterie_common::message::{Cause, CloseReason, LinkMessage};
use coterie_common::{Address, Instant, Life, Line, MemberId, Message, Wire};

use super::detector::Detector;
use super::effect::{ConnectionId, DialFailure, Effect};
use super::neighbour::{Connection, Greeter, Neighbour, Waiting};
use super::rumors::LinkNumber;
use super::{Peer, log, overlay};

impl Peer {
    /// The first choice of neighbours in a life.
    pub(super) fn choose_neighbours(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let chosen = self.dial_missing(now, out);
        log(out, Line::new("NEIGHBOURS").with("wanted", self.overlay.wanted).list("chosen", chosen));
    }

    /// Dials as many as are missing, and returns whom.
    pub(super) fn dial_missing(&mut self, now: Instant, out: &mut Vec<Effect>) -> Vec<Address> {
        let mut chosen = Vec::new();
        let missing = self.overlay.wanted.saturating_sub(self.neighbours.len() + self.overlay.dialling());
        if missing == 0 {
            return chosen;
        }
        let mut candidates: Vec<(Address, u32)> = self
            .view
            .members()
            .filter(|m| self.may_dial(now, m.id))
            .map(|m| (m.id.address, self.degree(m.id.address)))
            .collect();
        for _ in 0..missing {
            let Some(address) = overlay::choose(self.config.overlay, &candidates, &mut self.rng) else {
                break;
            };
            candidates.retain(|(a, _)| *a != address);
            self.dial(now, address, false, out);
            chosen.push(address);
        }
        chosen
    }

    fn may_dial(&self, now: Instant, id: MemberId) -> bool {
        id.address != self.me
            && !self.neighbours.contains_key(&id.address)
            && self.overlay.may_dial(id.address)
            && !self.leniency.covers(now, id)
            && !self.suspicions.contains_key(&id)
    }

    pub(super) fn dial(&mut self, now: Instant, address: Address, mending: bool, out: &mut Vec<Effect>) {
        let wire = self.view.at(address).map_or(Wire::Native, |m| m.wire);
        self.overlay.dial(now, address, mending);
        out.push(Effect::Dial { address, wire });
    }

    /// The seeds found that the overlay has come apart, and whom to dial to mend it.
    pub(super) fn mend(&mut self, now: Instant, address: Address, out: &mut Vec<Effect>) {
        let known = self.view.at(address).is_some() && address != self.me;
        let busy = self.neighbours.contains_key(&address) || self.overlay.is_dialling(address);
        if known && self.standing.is_member() && !busy {
            self.dial(now, address, true, out);
        }
    }

    pub(super) fn on_dialled(
        &mut self,
        now: Instant,
        address: Address,
        to: ConnectionId,
        out: &mut Vec<Effect>,
    ) {
        let mending = self.overlay.is_mending(address);
        let member = self.view.at(address).cloned();
        let (Some(member), Some(me), true) = (member, self.id(), self.overlay.is_dialling(address)) else {
            self.overlay.dialled(address);
            out.push(Effect::Close(to));
            return;
        };
        let hello =
            LinkMessage::Hello { address: self.me, life: self.life, incarnation: me.incarnation, mending };
        out.push(Effect::Send { to, message: Message::Link(hello) });
        match member.wire {
            Wire::Native => {
                self.connections.insert(to, Connection::Greeting(member.id, now));
            }
            Wire::Json => self.link_up(now, (member.id, member.life, Wire::Json), to, true, out),
        }
    }

    pub(super) fn on_dial_failed(
        &mut self,
        now: Instant,
        address: Address,
        failure: DialFailure,
        out: &mut Vec<Effect>,
    ) {
        self.overlay.refused(now, address);
        let member = self.view.at(address).map(|m| m.id);
        if let (DialFailure::Refused, Some(id)) = (failure, member) {
            self.suspect(now, id, Cause::ConnectRefused, out);
        }
    }

    pub(super) fn on_hello(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        greeter: Greeter,
        out: &mut Vec<Effect>,
    ) {
        if let Some(Connection::Greeting(id, greeted)) = self.connections.get(&connection).cloned() {
            let mending = self.overlay.is_mending(id.address);
            self.overlay.dialled(id.address);
            if self.view.get(id).is_none() {
                self.close(connection, CloseReason::Ended(self.view.epoch), out);
            } else if id == greeter.id && !mending && !self.has_room_for(id.address) {
                // Others have dialled this peer while it was dialling.
                self.count("dials_superfluous");
                self.close(connection, CloseReason::Full, out);
            } else if id == greeter.id {
                self.link_up(now, (id, greeter.life, Wire::Native), connection, true, out);
                let kept = self.neighbours.get_mut(&id.address).filter(|n| n.connection == connection);
                if let Some(neighbour) = kept {
                    // HELLO and its answer are a round trip too: the first that this link teaches.
                    neighbour.detector.greeted(greeted);
                    neighbour.detector.greeting_answered(now);
                }
            } else {
                // One of the two views is behind. To dial again at once would meet the same.
                self.count("dials_met_another_life");
                self.overlay.refused(now, id.address);
                let reason = match greeter.id.incarnation.0 > self.view.epoch.0 {
                    true => CloseReason::Unknown,
                    false => CloseReason::Ended(self.view.epoch),
                };
                self.close(connection, reason, out);
            }
            return;
        }
        if self.connections.contains_key(&connection) {
            // A link has one HELLO from each end: another could only take somebody else's name.
            self.count("hellos_out_of_place");
            return;
        }
        match self.judge_hello(greeter) {
            Ok(id) => self.accept(now, connection, Greeter { id, ..greeter }, out),
            Err(None) => {
                self.wait_for_view(now, connection, greeter);
            }
            Err(Some(reason)) => self.close(connection, reason, out),
        }
    }

    fn wait_for_view(&mut self, now: Instant, connection: ConnectionId, hello: Greeter) {
        self.count("hellos_waited");
        let waiting = Waiting { hello, until: now + HELLO_WAITS, held: Vec::new() };
        self.connections.insert(connection, Connection::Waiting(waiting));
    }

    /// Whether somebody who says HELLO may be linked with: as whom, or why not; `Err(None)` is "not yet".
    pub(super) fn judge_hello(&self, greeter: Greeter) -> Result<MemberId, Option<CloseReason>> {
        let present = self.view.at(greeter.id.address);
        match greeter.wire {
            _ if greeter.id.address == self.me => {
                Err(Some(CloseReason::Protocol("that is my address".to_owned())))
            }
            Wire::Json => match present {
                Some(member) if member.wire == Wire::Json => Ok(member.id),
                Some(_) => Err(Some(CloseReason::Protocol("that member does not speak JSON".to_owned()))),
                None => Err(None),
            },
            Wire::Native if present.is_some_and(|m| m.id == greeter.id) => Ok(greeter.id),
            Wire::Native if greeter.id.incarnation.0 > self.view.epoch.0 => Err(None),
            Wire::Native => Err(Some(CloseReason::Ended(self.view.epoch))),
        }
    }

    pub(super) fn accept(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        greeter: Greeter,
        out: &mut Vec<Effect>,
    ) {
        let Some(me) = self.id() else {
            return self.wait_for_view(now, connection, greeter);
        };
        let already = self.neighbours.contains_key(&greeter.id.address);
        let is_welcome = match greeter.wire {
            Wire::Native if !greeter.mending => self.has_room_for(greeter.id.address),
            Wire::Native | Wire::Json => already || self.neighbours.len() < LINKS_MAX,
        };
        if !is_welcome {
            self.count("links_refused_full");
            return self.close(connection, CloseReason::Full, out);
        }
        if greeter.wire == Wire::Native {
            let hello = LinkMessage::Hello {
                address: self.me,
                life: self.life,
                incarnation: me.incarnation,
                mending: false,
            };
            out.push(Effect::Send { to: connection, message: Message::Link(hello) });
        }
        self.link_up(now, (greeter.id, greeter.life, greeter.wire), connection, false, out);
        let neighbour = self.neighbours.get_mut(&greeter.id.address);
        let is_kept = |n: &&mut Neighbour| greeter.wire == Wire::Native && n.connection == connection;
        if let Some(neighbour) = neighbour.filter(is_kept) {
            // The other end answers our HELLO with what it heard lately.
            neighbour.detector.greeted(now);
        }
    }

    /// Whether a link with `address` is one that there is already, or is not one too many.
    fn has_room_for(&self, address: Address) -> bool {
        self.neighbours.contains_key(&address) || self.neighbours.len() < self.config.max_neighbours
    }

    fn link_up(
        &mut self,
        now: Instant,
        (id, life, wire): (MemberId, Life, Wire),
        connection: ConnectionId,
        dialled_by_us: bool,
        out: &mut Vec<Effect>,
    ) {
        self.overlay.dialled(id.address);
        if let Some(old) = self.neighbours.get_mut(&id.address) {
            match wire {
                Wire::Json => {
                    old.add(connection);
                    self.connections.insert(connection, Connection::Link(id.address));
                    return;
                }
                Wire::Native => {
                    // Both ends must keep the same one of two: that dialled by the lower address; of two dialled
                    // from one side the newer, for the older can only be one that broke unnoticed.
                    let keep_new =
                        dialled_by_us == old.dialled_by_us || dialled_by_us == (self.me < id.address);
                    if !keep_new {
                        self.count("links_duplicate");
                        return self.close(connection, CloseReason::Duplicate, out);
                    }
                    let previous = std::mem::replace(&mut old.connection, connection);
                    // What was said on the other one may not have been heard: this is a new link.
                    self.links_made += 1;
                    old.number = LinkNumber(self.links_made);
                    old.dialled_by_us = dialled_by_us;
                    self.connections.insert(connection, Connection::Link(id.address));
                    self.count("links_duplicate");
                    self.close(previous, CloseReason::Duplicate, out);
                    return self.tell_recent(connection, out);
                }
            }
        }
        self.links_made += 1;
        let is_json = wire == Wire::Json;
        let pings_first = is_json || self.me < id.address;
        let config = &self.config;
        let detector = Detector::new(now, config.ping_interval, config.ping_misses, pings_first, is_json);
        let number = LinkNumber(self.links_made);
        self.neighbours.insert(
            id.address,
            Neighbour { id, life, wire, number, connection, older: Vec::new(), dialled_by_us, detector },
        );
        self.connections.insert(connection, Connection::Link(id.address));
        log(out, Line::new("LINK_UP").with("peer", id.address));
        self.met_again(id, out);
        if wire == Wire::Native {
            self.tell_recent(connection, out);
        }
    }

    fn tell_recent(&self, connection: ConnectionId, out: &mut Vec<Effect>) {
        let recent = LinkMessage::Recent(self.rumors.recent());
        out.push(Effect::Send { to: connection, message: Message::Link(recent) });
    }
}

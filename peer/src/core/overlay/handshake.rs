//! The handshake: two ends that dialled each other, or one that dialled the other, agree on one link.
//!
//! ```text
//! dialling end                         accepting end
//!    HELLO(me, life, incarnation) -->  judges it by its view: welcome, full, of an ended life, or not known yet
//!                                 <--  HELLO(me, ..)          its own, and the link is up at that end
//!    the link is up at this end
//! ```
//!
//! A JSON program says HELLO and awaits none. Where both have dialled, both ends keep the same connection of the two.
//!
//! A HELLO is judged by the view and nothing else. A view may be behind: who is newer than it is held for a while,
//! and who is older has ended.

use coterie_common::limits::{HELD_BYTES_MAX, HELD_MAX, HELLO_WAITS, LINKS_MAX};
use coterie_common::message::{CloseReason, LinkMessage, Rumor};
use coterie_common::{Address, Instant, Line, MemberId, Message, Wire};

use super::link::{HeldHello, Hello, Link, LinkNumber, Purpose};
use super::{Linked, Overlay};
use crate::core::context::Context;
use crate::core::effect::{ConnectionId, Effect};
use crate::core::membership::Membership;

/// What becomes of somebody who says HELLO.
#[derive(Debug, PartialEq)]
enum Judgement {
    /// It may be linked with, as this member.
    Welcome(MemberId),
    /// The view does not tell of it yet. It may come with the next changes: the HELLO waits.
    NotYet,
    /// Not at all. To wait would change nothing.
    Refused(CloseReason),
}

/// What became of a HELLO that was held.
#[derive(Debug)]
pub(crate) struct Released {
    /// The link that it made, if it made one.
    pub(crate) linked: Option<Linked>,
    /// What was said meanwhile, to be heard now. In the order in which it was said.
    pub(crate) rumors: Vec<Rumor>,
}

impl Overlay {
    /// A dial has led to a connection: says HELLO on it. With a JSON program, which answers none, the link is up.
    #[must_use]
    pub(crate) fn dialled(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        address: Address,
        to: ConnectionId,
    ) -> Option<Linked> {
        let is_repair = self.dials.is_repair(address);
        let member = members.view().at(address).cloned();
        let (Some(member), Some(me), true) = (member, members.id(), self.dials.is_under_way(address)) else {
            // Meanwhile that member has ended, or this peer, or the dial took too long.
            self.dials.end(address);
            cx.want(Effect::Close(to));
            return None;
        };
        cx.send(to, hello(members, me, is_repair));
        match member.wire {
            Wire::Native => {
                self.open_for(to, Purpose::Greeting(member.id, cx.now));
                None
            }
            Wire::Json => {
                let (id, life) = (member.id, member.life);
                let hello = Hello { id, life, wire: Wire::Json, is_repair, cluster: None };
                self.link_up(cx, hello, to, true)
            }
        }
    }

    /// HELLO came on a connection: the answer to our own, or somebody who dialled us.
    #[must_use]
    pub(crate) fn hello(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        connection: ConnectionId,
        hello: Hello,
    ) -> Option<Linked> {
        match self.connections.get(&connection) {
            Some(Purpose::Greeting(id, greeted)) => {
                let (id, greeted) = (*id, *greeted);
                self.hello_answered(cx, members, connection, (id, greeted), hello)
            }
            Some(Purpose::Held(_) | Purpose::Link(_) | Purpose::Question) => {
                // A link has one HELLO from each end: another could only take somebody else's name.
                cx.count("hellos_out_of_place");
                None
            }
            None => match judge(members, hello, cx.me) {
                Judgement::Welcome(id) => self.accept(cx, members, connection, Hello { id, ..hello }),
                Judgement::NotYet => {
                    self.hold_hello(cx, connection, hello);
                    None
                }
                Judgement::Refused(reason) => {
                    self.close(cx, connection, reason);
                    None
                }
            },
        }
    }

    /// The other end answered our HELLO, which went out to `id` at that time.
    fn hello_answered(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        connection: ConnectionId,
        (id, greeted): (MemberId, Instant),
        hello: Hello,
    ) -> Option<Linked> {
        let is_repair = self.dials.is_repair(id.address);
        self.dials.end(id.address);
        let epoch = members.view().epoch;
        if members.view().get(id).is_none() {
            // That life has ended while its answer was on its way.
            self.close(cx, connection, CloseReason::Ended(epoch));
        } else if members.is_of_another(hello.cluster) {
            // Its seeds have begun anew, and it follows them sooner than this peer.
            self.dials.refused(cx.now, id.address);
            self.close(cx, connection, other_cluster(members));
        } else if id != hello.id {
            // One of the two views is behind. To dial again at once would meet the same.
            cx.count("dials_met_another_life");
            self.dials.refused(cx.now, id.address);
            let is_newer = hello.id.incarnation.0 > epoch.0;
            self.close(
                cx,
                connection,
                if is_newer { CloseReason::Unknown } else { CloseReason::Ended(epoch) },
            );
        } else if !is_repair && !self.has_room_for(cx, id.address) {
            // Others have dialled this peer while it was dialling.
            cx.count("dials_superfluous");
            self.close(cx, connection, CloseReason::Full);
        } else {
            // A repair goes over the cap: one that refuses it would keep the overlay in pieces.
            let linked = self.link_up(cx, hello, connection, true)?;
            // HELLO and its answer are a round trip too: the first that this link teaches.
            return Some(Linked { greeted: Some(greeted), is_answered: true, ..linked });
        }
        None
    }

    /// Lets in who said HELLO, if there is room.
    fn accept(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        connection: ConnectionId,
        hello: Hello,
    ) -> Option<Linked> {
        let Some(me) = members.id() else {
            // No member yet: there is no name in which to answer.
            self.hold_hello(cx, connection, hello);
            return None;
        };
        let is_linked = self.links.contains_key(&hello.id.address);
        // JSON programs dial as they like, and a repair is not to fail: for both the larger limit counts. One more
        // connection of a link is no further link.
        let is_welcome = match hello.wire {
            Wire::Native if !hello.is_repair => self.has_room_for(cx, hello.id.address),
            Wire::Native | Wire::Json => is_linked || !self.is_full(),
        };
        if !is_welcome {
            cx.count("links_refused_full");
            self.close(cx, connection, CloseReason::Full);
            return None;
        }
        let is_native = hello.wire == Wire::Native;
        if is_native {
            // Before anything else is said on the link: HELLO is its first frame.
            cx.send(connection, self::hello(members, me, false));
        }
        let linked = self.link_up(cx, hello, connection, false)?;
        // The other end answers our HELLO with what it heard lately.
        Some(Linked { greeted: is_native.then_some(cx.now), ..linked })
    }

    /// Whether there are as many links as a peer can hold, for whatever reason each was made.
    fn is_full(&self) -> bool {
        self.links.len() >= LINKS_MAX
    }

    /// Whether a link with `address` is one that there is already, or is not one too many. It bounds what others may
    /// bring a peer to.
    fn has_room_for(&self, cx: &Context, address: Address) -> bool {
        self.links.contains_key(&address) || self.links.len() < cx.config.max_neighbours
    }

    /// The connection is that of a link from now on, unless both ends keep another one. None if nothing is to be said
    /// on it: it is one more of a JSON program, or was closed as a duplicate.
    fn link_up(
        &mut self,
        cx: &mut Context,
        hello: Hello,
        connection: ConnectionId,
        dialled_by_us: bool,
    ) -> Option<Linked> {
        let Hello { id, life, wire, .. } = hello;
        self.dials.end(id.address);
        let linked = Linked { id, wire, connection, is_new: false, greeted: None, is_answered: false };
        let Some(old) = self.links.get_mut(&id.address) else {
            // Whoever dialled, and for whatever reason: while a dial is under way others may have dialled this peer.
            if self.is_full() {
                cx.count("links_refused_full");
                self.close(cx, connection, CloseReason::Full);
                return None;
            }
            self.links_made += 1;
            let number = LinkNumber(self.links_made);
            let link = Link { id, life, wire, number, connection, older: Vec::new(), dialled_by_us };
            self.links.insert(id.address, link);
            self.connections.insert(connection, Purpose::Link(id.address));
            cx.log(Line::new("LINK_UP").with("peer", id.address));
            return Some(Linked { is_new: true, ..linked });
        };
        // Such a program does not know which one to close, so all are kept.
        if wire == Wire::Json {
            old.add(connection);
            self.connections.insert(connection, Purpose::Link(id.address));
            return None;
        }
        assert_eq!(old.id, id, "a link is there with another life of {}", id.address);
        // Both ends must keep the same one of two: that dialled by the lower address; of two dialled from one side the
        // newer, for the older can only be one that broke unnoticed.
        let keep_new = dialled_by_us == old.dialled_by_us || dialled_by_us == (cx.me < id.address);
        cx.count("links_duplicate");
        if !keep_new {
            // The other end keeps the same one, by the same rule.
            self.close(cx, connection, CloseReason::Duplicate);
            return None;
        }
        let previous = std::mem::replace(&mut old.connection, connection);
        // What was said on the other one may not have been heard: this is a new link.
        self.links_made += 1;
        old.number = LinkNumber(self.links_made);
        old.dialled_by_us = dialled_by_us;
        self.connections.insert(connection, Purpose::Link(id.address));
        self.close(cx, previous, CloseReason::Duplicate);
        Some(linked)
    }

    // ---- HELLOs that wait for the view ----

    /// It is not answered meanwhile. The time bounds how many wait, together with the limit of connections.
    fn hold_hello(&mut self, cx: &mut Context, connection: ConnectionId, hello: Hello) {
        cx.count("hellos_waited");
        let held = HeldHello { hello, until: cx.now + HELLO_WAITS.get(), rumors: Vec::new() };
        self.connections.insert(connection, Purpose::Held(held));
    }

    /// A greeter that is not known yet may talk on: what it says is heard when it has become a neighbour.
    pub(crate) fn hold_rumor(&mut self, cx: &mut Context, connection: ConnectionId, rumor: Rumor) {
        let held_bytes = self.connections.values().map(Purpose::held_bytes).sum::<usize>();
        let fits = rumor.fits() && held_bytes + rumor.bytes() <= HELD_BYTES_MAX.get();
        match self.connections.get_mut(&connection) {
            Some(Purpose::Held(held)) if fits && held.rumors.len() < HELD_MAX.get() => {
                held.rumors.push(rumor);
            }
            Some(Purpose::Held(_)) => cx.count("gossip_held_over_limit"),
            Some(Purpose::Greeting(..) | Purpose::Link(_) | Purpose::Question) | None => {
                cx.count("frames_out_of_place");
            }
        }
    }

    /// The connections on which a HELLO waits. All of them, in the order of their numbers: a changed view may concern
    /// any.
    pub(crate) fn held_hellos(&self) -> Vec<ConnectionId> {
        let is_held = |(_, purpose): &(&ConnectionId, &Purpose)| matches!(purpose, Purpose::Held(_));
        self.connections.iter().filter(is_held).map(|(connection, _)| *connection).collect()
    }

    /// Looks again at a HELLO that waits: lets it in, or gives it up, or lets it wait on.
    #[must_use]
    pub(crate) fn settle_hello(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        connection: ConnectionId,
    ) -> Option<Released> {
        let Some(Purpose::Held(held)) = self.connections.get(&connection) else {
            // Letting another one in has ended this one: both were of one neighbour.
            return None;
        };
        let (hello, until) = (held.hello, held.until);
        match judge(members, hello, cx.me) {
            Judgement::Welcome(id) if members.id().is_some() => {
                let held = self.connections.remove(&connection);
                let linked = self.accept(cx, members, connection, Hello { id, ..hello });
                let Some(Purpose::Held(HeldHello { rumors, .. })) = held else { return None };
                Some(Released { linked, rumors })
            }
            // It waits on: for the view, or until this peer is a member itself and has a name in which to answer.
            Judgement::Welcome(_) | Judgement::NotYet if cx.now < until => None,
            Judgement::Welcome(_) | Judgement::NotYet => {
                self.close(cx, connection, CloseReason::Unknown);
                None
            }
            Judgement::Refused(reason) => {
                self.close(cx, connection, reason);
                None
            }
        }
    }

    /// When the first HELLO that waits is given up.
    pub(super) fn held_until(&self) -> Instant {
        let until = |purpose: &Purpose| match purpose {
            Purpose::Held(held) => Some(held.until),
            Purpose::Greeting(..) | Purpose::Link(_) | Purpose::Question => None,
        };
        self.connections.values().filter_map(until).min().unwrap_or(Instant::NEVER)
    }
}

/// Whether somebody who says HELLO may be linked with, by this peer's view. An incarnation is the index of an entry,
/// and an epoch too: one above the view's epoch cannot be known yet, one below it that is not there has ended.
fn judge(members: &Membership, hello: Hello, me: Address) -> Judgement {
    let (view, present) = (members.view(), members.view().at(hello.id.address));
    let protocol = |what: &str| Judgement::Refused(CloseReason::Protocol(what.to_owned()));
    match hello.wire {
        _ if members.is_of_another(hello.cluster) => Judgement::Refused(other_cluster(members)),
        _ if hello.id.address == me => protocol("that is my address"),
        Wire::Json => match present {
            Some(member) if member.wire == Wire::Json => Judgement::Welcome(member.id),
            Some(_) => protocol("that member does not speak JSON"),
            None => Judgement::NotYet,
        },
        Wire::Native if present.is_some_and(|m| m.id == hello.id) => Judgement::Welcome(hello.id),
        Wire::Native if hello.id.incarnation.0 > view.epoch.0 => Judgement::NotYet,
        Wire::Native => Judgement::Refused(CloseReason::Ended(view.epoch)),
    }
}

/// Our own HELLO. `mending`: the seeds have told this peer to dial.
fn hello(members: &Membership, me: MemberId, mending: bool) -> Message {
    let MemberId { address, incarnation } = me;
    let (life, cluster) = (members.life(), members.cluster());
    Message::Link(LinkMessage::Hello { address, life, incarnation, mending, cluster })
}

/// Why somebody of another cluster is turned away.
fn other_cluster(members: &Membership) -> CloseReason {
    members.cluster().map_or(CloseReason::Unknown, CloseReason::OtherCluster)
}

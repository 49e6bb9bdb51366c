//! Connections and the links that they make: how many, with whom, and what the seeds were told of them.
//!
//! *Owns.* What each connection is for, the links, the dials under way, how many links this life wants, and the links
//! as the seeds were last told.
//!
//! *May read.* The context, and membership: only members are linked with.
//!
//! *Never.* Judges anybody. That a connection ended is returned; what that means is for others to say. Whom to leave
//! alone it is told by whoever asks it to dial.

mod dials;
mod handshake;
mod link;
mod topology;

use std::collections::BTreeMap;

use coterie_common::limits::{LINKS_MAX, SOFT_STATE_EVERY};
use coterie_common::message::{CloseReason, Links};
use coterie_common::{Address, Epoch, Instant, Line, MemberId, Wire};

pub(crate) use link::{Hello, Link, LinkNumber};

use dials::Dials;
use link::Purpose;

use crate::core::context::Context;
use crate::core::effect::{ConnectionId, Effect};
use crate::core::membership::Membership;

/// The links of this peer, and what is to become one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    /// How many links this life wants. 0 before it is admitted.
    wanted: usize,
    /// One with an address at most, whichever life is there.
    links: BTreeMap<Address, Link>,
    /// Invariant: those for links are the connections of all links, each once.
    connections: BTreeMap<ConnectionId, Purpose>,
    dials: Dials,
    /// How many links were ever made: the number of the last one.
    links_made: u64,
    told: LinksTold,
}

/// The links as the seeds were last told.
#[derive(Clone, Debug, Default)]
struct LinksTold {
    /// The number of that tale: what is told late, by way of another seed, does not undo what is newer.
    number: u64,
    links: Vec<Address>,
    /// None: nothing was told yet, so the first links are told at once.
    at: Option<Instant>,
}

/// A connection has become that of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linked {
    /// With whom.
    pub(crate) id: MemberId,
    /// How it speaks.
    pub(crate) wire: Wire,
    pub(crate) connection: ConnectionId,
    /// Whether there was no link with it before.
    pub(crate) is_new: bool,
    /// When our HELLO went out on it, if the other end's next frame, or its HELLO, answers that.
    pub(crate) greeted: Option<Instant>,
    /// Whether it has just been answered.
    pub(crate) is_answered: bool,
}

impl Overlay {
    // ---- what is so ----

    /// How many links are wanted.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// The links, in the order of their addresses.
    pub(crate) fn links(&self) -> impl ExactSizeIterator<Item = &Link> + '_ {
        self.links.values()
    }

    /// Notes where this peer stands alone.
    pub(crate) fn note_troubles(&self, cx: &mut Context, members: &Membership) {
        let all = members.view().len();
        let is_alone = self.links.is_empty() && all > 1;
        cx.trouble("no link with any other peer", is_alone.then(|| format!("the view has {all} members")));
    }

    /// The link with whoever is at `address`.
    pub(crate) fn link_with(&self, address: Address) -> Option<&Link> {
        self.links.get(&address)
    }

    /// The link that a connection belongs to, if it is a link's. None for strangers, and for those who are still
    /// agreeing on a link.
    pub(crate) fn link_on(&self, connection: ConnectionId) -> Option<&Link> {
        match self.connections.get(&connection)? {
            Purpose::Link(address) => {
                let link = self.links.get(address);
                assert!(link.is_some(), "{connection:?} is for a link with {address}, which is not there");
                link
            }
            Purpose::Greeting(..) | Purpose::Held(_) | Purpose::Question => None,
        }
    }

    // ---- dialling ----

    /// A new life begins: draws how many links it wants.
    pub(crate) fn draw_wanted(&mut self, cx: &mut Context) {
        self.wanted = topology::wanted(cx.config.overlay, cx.config.max_neighbours, &mut cx.rng);
    }

    /// Dials the first neighbours of a life, and says whom.
    pub(crate) fn choose(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        leave_alone: impl Fn(MemberId) -> bool,
    ) {
        let chosen = self.dial_missing(cx, members, leave_alone);
        cx.log(Line::new("NEIGHBOURS").with("wanted", self.wanted).list("chosen", chosen));
    }

    /// Dials as many as are missing, but none that is to be left alone; returns whom.
    pub(crate) fn dial_missing(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        leave_alone: impl Fn(MemberId) -> bool,
    ) -> Vec<Address> {
        let mut chosen = Vec::new();
        let missing = self.wanted.saturating_sub(self.links.len() + self.dials.len());
        // In most steps nothing is: the members are gone through only where it matters.
        if missing == 0 {
            return chosen;
        }
        let may_dial = |id: MemberId| {
            id.address != cx.me
                && !self.links.contains_key(&id.address)
                && self.dials.may_begin(id.address)
                && !leave_alone(id)
        };
        let candidates = members.view().members().map(|m| m.id).filter(|id| may_dial(*id));
        let mut candidates: Vec<(Address, u32)> =
            candidates.map(|id| (id.address, members.degree(id.address))).collect();
        for _ in 0..missing {
            let Some(address) = topology::choose(cx.config.overlay, &candidates, &mut cx.rng) else { break };
            candidates.retain(|(other, _)| *other != address);
            self.dial(cx, members, address, false);
            chosen.push(address);
        }
        chosen
    }

    /// The seeds found that the overlay has come apart, and whom to dial to join it again. Whom it does not know, or
    /// is linked with already, it leaves: the order is repeated while the overlay is apart.
    pub(crate) fn repair(&mut self, cx: &mut Context, members: &Membership, address: Address) {
        let is_known = members.view().at(address).is_some() && address != cx.me;
        let is_busy = self.links.contains_key(&address) || self.dials.is_under_way(address);
        if is_known && members.is_member() && !is_busy {
            self.dial(cx, members, address, true);
        }
    }

    fn dial(&mut self, cx: &mut Context, members: &Membership, address: Address, is_repair: bool) {
        assert!(address != cx.me, "a peer dials itself, at {address}");
        assert!(!self.links.contains_key(&address), "{address} is dialled and linked with already");
        self.dials.begin(cx.now, address, is_repair);
        cx.want(Effect::Dial { address, wire: members.wire_of(address) });
    }

    /// A dial has led to no connection. It is not dialled again at once: another member may take its place.
    pub(crate) fn dial_failed(&mut self, now: Instant, address: Address) {
        self.dials.refused(now, address);
    }

    /// Somebody new is at `address`: what the last one there did counts no longer.
    pub(crate) fn forgive(&mut self, address: Address) {
        self.dials.forgive(address);
    }

    /// Gives up the dials that took too long, and the connections on which a HELLO of ours was not answered.
    pub(crate) fn expire_dials(&mut self, cx: &mut Context) {
        for address in self.dials.expire(cx.now) {
            let greets =
                |purpose: &Purpose| matches!(purpose, Purpose::Greeting(id, _) if id.address == address);
            let unanswered = self.connections.iter().find(|(_, purpose)| greets(purpose));
            if let Some(connection) = unanswered.map(|(connection, _)| *connection) {
                self.close(cx, connection, CloseReason::Silent);
            }
        }
    }

    // ---- connections ----

    /// A question came on a connection: if nothing else is known of it, that is what it is for.
    pub(crate) fn note_question(&mut self, connection: ConnectionId) {
        self.connections.entry(connection).or_insert(Purpose::Question);
    }

    /// A connection that this peer dialled is there; the shell numbers each once.
    fn open_for(&mut self, connection: ConnectionId, purpose: Purpose) {
        let before = self.connections.insert(connection, purpose);
        assert!(before.is_none(), "the shell gave {connection:?} twice; it was for {before:?}");
    }

    /// A connection ended without a word, which is how the dead leave. Says LINK_DOWN and returns whose last
    /// connection it was.
    #[must_use]
    pub(crate) fn connection_ended(&mut self, cx: &mut Context, ended: ConnectionId) -> Option<MemberId> {
        match self.connections.remove(&ended)? {
            Purpose::Greeting(id, _) => {
                self.dials.refused(cx.now, id.address);
                None
            }
            Purpose::Link(address) => {
                let id = self.lose_connection(address, ended)?;
                cx.log(Line::new("LINK_DOWN").with("peer", address).with("cause", "connection_lost"));
                Some(id)
            }
            Purpose::Held(_) | Purpose::Question => None,
        }
    }

    /// The other end closed a connection on purpose. Returns whose last connection it was. Nobody is to be suspected
    /// by that.
    #[must_use]
    pub(crate) fn connection_closed(
        &mut self,
        cx: &mut Context,
        closed: ConnectionId,
        reason: &CloseReason,
    ) -> Option<MemberId> {
        cx.want(Effect::Close(closed));
        match self.connections.remove(&closed)? {
            Purpose::Greeting(id, _) => {
                self.dials.refused(cx.now, id.address);
                None
            }
            Purpose::Link(address) => self.link_closed(cx, address, closed, reason),
            Purpose::Held(_) | Purpose::Question => None,
        }
    }

    /// What came on a connection has no place between peers: it is closed. Returns whose last connection it was.
    #[must_use]
    pub(crate) fn turn_away(
        &mut self,
        cx: &mut Context,
        connection: ConnectionId,
        reason: &CloseReason,
    ) -> Option<MemberId> {
        let purpose = self.connections.get(&connection).cloned();
        self.close(cx, connection, reason.clone());
        match purpose {
            Some(Purpose::Link(address)) => self.link_closed(cx, address, connection, reason),
            Some(Purpose::Greeting(..) | Purpose::Held(_) | Purpose::Question) | None => None,
        }
    }

    /// A connection of a link was closed by one of the two ends. Where it was the last one, the neighbour may be
    /// leaving: to dial it again at once would be to suspect it.
    fn link_closed(
        &mut self,
        cx: &mut Context,
        address: Address,
        closed: ConnectionId,
        reason: &CloseReason,
    ) -> Option<MemberId> {
        let id = self.lose_connection(address, closed)?;
        self.dials.refused(cx.now, address);
        cx.log(Line::new("LINK_DOWN").with("peer", address).show("cause", reason));
        Some(id)
    }

    /// A link has lost a connection; if it was the last one, the link goes, and whose it was is returned.
    fn lose_connection(&mut self, address: Address, lost: ConnectionId) -> Option<MemberId> {
        let link = self.links.get_mut(&address);
        let Some(link) = link else { panic!("{lost:?} was for a link with {address}, which is not there") };
        if link.has_other_than(lost) {
            return None;
        }
        self.links.remove(&address).map(|link| link.id)
    }

    /// The purpose is forgotten at once, for no end of that connection will be reported.
    fn close(&mut self, cx: &mut Context, connection: ConnectionId, reason: CloseReason) {
        self.connections.remove(&connection);
        cx.close(connection, reason);
    }

    // ---- links that end by our own doing ----

    /// This end gives a link up, and tells the other one why on all its connections.
    fn unlink(&mut self, cx: &mut Context, address: Address, reason: &CloseReason) {
        let link = self.links.remove(&address);
        let Some(link) = link else { panic!("there is no link with {address} to be given up: {reason}") };
        for connection in link.connections() {
            self.close(cx, connection, reason.clone());
        }
        cx.log(Line::new("LINK_DOWN").with("peer", address).show("cause", reason));
    }

    /// A life is over: so is the link with it, and nobody is dialled where nobody is any more.
    pub(crate) fn life_ended(&mut self, cx: &mut Context, members: &Membership, id: MemberId, epoch: Epoch) {
        if self.links.get(&id.address).is_some_and(|link| link.id == id) {
            self.unlink(cx, id.address, &CloseReason::Ended(epoch));
        }
        if members.view().at(id.address).is_none() {
            self.dials.refused(cx.now, id.address);
        }
    }

    /// This peer is going, or is somebody else from now on: nothing stays but the count of links, for a number names a
    /// link for ever.
    pub(crate) fn drop_everything(&mut self, cx: &mut Context, reason: &CloseReason) {
        for address in self.links.keys().copied().collect::<Vec<_>>() {
            self.unlink(cx, address, reason);
        }
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(cx, connection, reason.clone());
        }
        *self = Overlay { links_made: self.links_made, ..Overlay::default() };
    }

    // ---- what the seeds are told ----

    /// The links, to be told to a seed: under a number of their own. Not counted as told: it goes to one seed, and
    /// the others may know less.
    pub(crate) fn tale(&mut self) -> Links {
        self.told.number += 1;
        Links { number: self.told.number, to: self.links.keys().copied().collect() }
    }

    /// Whether the links are others than all seeds were told.
    fn has_news(&self) -> bool {
        !self.told.links.iter().eq(self.links.keys())
    }

    /// The links, if they are others than all seeds were told, and that was not just now; they count as told.
    #[must_use]
    pub(crate) fn tale_due(&mut self, now: Instant) -> Option<Links> {
        let is_time = self.told.at.is_none_or(|at| now >= at + SOFT_STATE_EVERY.get());
        if !is_time || !self.has_news() {
            return None;
        }
        let links = self.tale();
        (self.told.links, self.told.at) = (links.to.clone(), Some(now));
        Some(links)
    }

    // ---- time ----

    /// When something is due, for a member or somebody who is none.
    pub(crate) fn deadline(&self, is_member: bool) -> Instant {
        let told = self.told.at.filter(|_| is_member && self.has_news());
        let told = told.map_or(Instant::NEVER, |at| at + SOFT_STATE_EVERY.get());
        self.held_until().min(self.dials.deadline()).min(told)
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self) {
        let mut of_links: Vec<(ConnectionId, Address)> = self
            .links
            .iter()
            .flat_map(|(address, link)| link.connections().map(|connection| (connection, *address)))
            .collect();
        of_links.sort_unstable();
        let for_links: Vec<(ConnectionId, Address)> = self
            .connections
            .iter()
            .filter_map(|(connection, purpose)| match purpose {
                Purpose::Link(address) => Some((*connection, *address)),
                Purpose::Greeting(..) | Purpose::Held(_) | Purpose::Question => None,
            })
            .collect();
        assert_eq!(of_links, for_links, "connections of links, and connections that are for links");
        let links = self.links.len();
        assert!(links <= LINKS_MAX, "{links} links, {LINKS_MAX} are the most");
        for (address, link) in &self.links {
            assert_eq!(link.id.address, *address, "the link of {address} is with another");
            let older = link.older.len();
            assert!(
                link.wire == Wire::Json || older == 0,
                "{address} is native and has {older} more connections"
            );
        }
        self.dials.verify();
    }
}

//! What is true for a moment and never logged: who holds whose session, and the links of the overlay.
//!
//! Each seed tells the leader what changed, whole after an election (SOFT_STATE, after Clark, *The design philosophy of
//! the DARPA internet protocols*, 1988: state that is lost and made again without harm). The leader reads three things
//! from it: who is absent, where the overlay has come apart, and how well connected each member is.
//!
//! *Owns.* The links that members told of, what of it the leader was told, who is absent, the pieces of the overlay,
//! and which lives ended lately.
//!
//! *May read.* The context and the registry.
//!
//! *Never.* Is a reason by itself to remove anybody: an absence opens a ballot, and every seed probes.

mod absence;
pub mod components;
mod repair;
mod topology;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::{ABSENCE_TIME, FRAME_BYTES_MAX, SOFT_STATE_EVERY};
use coterie_common::message::{Links, Means, SeedId, SoftState};
use coterie_common::{Address, Instant, MemberId};
use rand::RngExt;

pub(crate) use repair::DialOrder;

use absence::Absences;
use repair::Repair;
use topology::Topology;

use crate::core::context::Context;
use crate::core::registry::Registry;

/// A juror that ended so lately may still have voted.
const ENDED_LATELY: Knob<Duration> = Knob::new("ENDED_LATELY", Duration::from_secs(2));

/// A piece of soft state, in bytes: half of a frame.
const PIECE_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// What a member, or the number of its links, takes of it at most.
const MEMBER_BYTES: usize = 32;

/// Soft state that may come before the news of an election: some pieces from each seed, a megabyte each at most.
const EARLY_MAX: Knob<usize> = Knob::new("EARLY_MAX", 256);

/// Links of members whose admission this registry has not seen are kept for so many of them.
const EARLY_LINKS_MAX: Knob<usize> = Knob::new("EARLY_LINKS_MAX", 1_024);

/// What this seed knows for the moment, and what it told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence {
    topology: Topology,
    absences: Absences,
    repair: Repair,
    /// Whose sessions the leader was told that this seed holds. The next differences are taken from this.
    told_held: BTreeSet<MemberId>,
    /// Whether the next is told whole, since what the leader has of it is not known.
    whole_is_due: bool,
    /// What the leader was told that this seed can do about doubts.
    told_means: Option<Means>,
    /// At the leader: what each seed told of that.
    means: BTreeMap<SeedId, Means>,
    tell_next: Instant,
    /// Soft state of a term that this seed has not heard of yet.
    early: Vec<(SeedId, SoftState)>,
    /// Members that ended lately, and when. Reports that name them as jurors are still good.
    ended: BTreeMap<MemberId, Instant>,
}

impl Presence {
    // ---- members ----

    /// A member is new.
    pub(crate) fn admit(&mut self, member: MemberId) {
        self.topology.admit(member);
    }

    /// A member is gone.
    pub(crate) fn forget(&mut self, member: MemberId) {
        self.topology.forget(member);
        self.absences.forget(member);
    }

    /// A life has ended: its votes in juries still count for a moment.
    pub(crate) fn life_ended(&mut self, now: Instant, member: MemberId) {
        self.ended.insert(member, now);
    }

    /// Whether a life has ended lately.
    pub(crate) fn ended_lately(&self, member: MemberId) -> bool {
        self.ended.contains_key(&member)
    }

    /// Forgets the lives that ended too long ago.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.ended.retain(|_, at| now.since(*at) <= ENDED_LATELY.get());
    }

    // ---- links ----

    /// A member told this seed of its links, if it may and there is room for them. If not, that is counted, not
    /// answered: a peer tells its links again when they change.
    #[must_use]
    pub(crate) fn told_of_links(&mut self, registry: &Registry, member: MemberId, links: Links) -> bool {
        let has_room = self.topology.len() < registry.members().len() + EARLY_LINKS_MAX.get();
        let is_welcome =
            registry.may_tell_of_links(member) && (has_room || registry.member(member).is_some());
        if is_welcome {
            self.topology.told(member, links);
        }
        is_welcome
    }

    /// How many links a member has, as far as is known here.
    pub(crate) fn degree(&self, member: Address) -> u32 {
        self.topology.degree(member)
    }

    // ---- telling the leader ----

    /// The leader is another one, or is connected anew: what was on the way may be lost, and what is told are
    /// differences. So everything is told again; and if it is this seed, it knows of nobody yet.
    pub(crate) fn begin_anew(&mut self) {
        self.whole_is_due = true;
        self.absences.clear();
        self.means.clear();
    }

    /// There was an election.
    pub(crate) fn new_leader(&mut self, now: Instant) {
        self.absences.be_graceful(now);
        self.repair.begin_anew();
        self.tell_next = now;
    }

    /// Whether it is time to tell the leader what is new; the next time is later.
    #[must_use]
    pub(crate) fn is_time_to_tell(&mut self, now: Instant) -> bool {
        let is_time = now >= self.tell_next;
        if is_time {
            self.tell_next = now + SOFT_STATE_EVERY.get();
        }
        is_time
    }

    /// What to tell the leader, in pieces, if anything has changed since it was told last. Whole it is told also if
    /// there is nothing: the leader is to know that.
    #[must_use]
    pub(crate) fn news(&mut self, held: BTreeSet<MemberId>, own_means: Means, term: u64) -> Vec<SoftState> {
        let whole = std::mem::take(&mut self.whole_is_due);
        let (new, lost): (Vec<_>, Vec<_>) = match whole {
            true => (held.iter().copied().collect(), Vec::new()),
            false => (
                held.difference(&self.told_held).copied().collect(),
                self.told_held.difference(&held).copied().collect(),
            ),
        };
        let links = self.topology.news(whole, &held);
        self.told_held = held;
        let known = self.told_means.replace(own_means).filter(|_| !whole);
        let means = Some(own_means).filter(|own| known != Some(*own));
        let anything = whole || !new.is_empty() || !lost.is_empty() || !links.is_empty() || means.is_some();
        match anything {
            true => in_pieces(SoftState { whole, held: new, lost, links, term, means }),
            false => Vec::new(),
        }
    }

    // ---- at the leader ----

    /// A seed told what it knows. What is told late of a life that has ended is of no use to anybody.
    pub(crate) fn take(&mut self, registry: &Registry, from: SeedId, state: SoftState) {
        self.absorb(from, state, |member| registry.may_tell_of_links(member));
    }

    /// What this seed knows itself, where it leads. It was judged when it was told.
    pub(crate) fn take_own(&mut self, me: SeedId, state: SoftState) {
        self.absorb(me, state, |_| true);
    }

    fn absorb(&mut self, from: SeedId, state: SoftState, is_welcome: impl Fn(MemberId) -> bool) {
        let SoftState { whole, held, lost, links, term: _, means } = state;
        self.absences.take(from, whole, held, lost);
        if let Some(means) = means {
            self.means.insert(from, means);
        }
        for (member, links) in links.into_iter().filter(|(member, _)| is_welcome(*member)) {
            self.topology.put(member, links);
        }
    }

    /// A seed told something of a term of which this one has not heard yet.
    pub(crate) fn keep_early(&mut self, from: SeedId, state: SoftState) {
        if self.early.len() < EARLY_MAX.get() {
            self.early.push((from, state));
        }
    }

    /// What was told too early of that term is taken; of earlier ones, forgotten.
    pub(crate) fn take_early(&mut self, registry: &Registry, term: u64) {
        for (from, state) in std::mem::take(&mut self.early) {
            match state.term.cmp(&term) {
                Ordering::Less => {}
                Ordering::Equal => self.take(registry, from, state),
                Ordering::Greater => self.early.push((from, state)),
            }
        }
    }

    /// A seed is gone, and the sessions it held with it. What it told of links stays: links do not depend on seeds.
    pub(crate) fn seed_down(&mut self, seed: SeedId) {
        self.absences.seed_down(seed);
        self.means.remove(&seed);
    }

    /// What these seeds can do about doubts, as far as they told.
    pub(crate) fn means_of(&self, seeds: &[SeedId]) -> Vec<Means> {
        seeds.iter().filter_map(|seed| self.means.get(seed).copied()).collect()
    }

    /// The members that have been absent for too long. The caller opens ballots about them; they are named again until
    /// one is lost or they are back.
    #[must_use]
    pub(crate) fn absent(&mut self, cx: &Context, registry: &Registry) -> Vec<MemberId> {
        let time = cx.config.patience.scale(ABSENCE_TIME.get());
        self.absences.over(cx.now, registry.members().map(|member| member.id), time)
    }

    /// The ballot about an absent member was lost. The next waits, longer each time.
    pub(crate) fn absence_rejected(&mut self, cx: &mut Context, member: MemberId) {
        self.absences.rejected(cx.now, member, cx.rng.random());
    }

    /// Who is to dial whom, to join an overlay that fell apart.
    #[must_use]
    pub(crate) fn dial_orders(&mut self, cx: &mut Context, registry: &Registry) -> Vec<DialOrder> {
        self.repair.orders(cx.now, registry, &self.topology, &mut cx.rng)
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self) {
        self.topology.verify();
        self.absences.verify();
        let early = self.early.len();
        assert!(
            early <= EARLY_MAX.get(),
            "{early} pieces of soft state came early, {EARLY_MAX} are the most"
        );
    }
}

/// What does not fit one message becomes several: the first replaces what was told before, if that is to be, and the
/// others add to it. They are said together, long before anybody is missed that a later one names.
fn in_pieces(state: SoftState) -> Vec<SoftState> {
    let SoftState { whole, held, lost, links, term, means } = state;
    let piece = SoftState { whole: false, held: Vec::new(), lost, links: Vec::new(), term, means: None };
    let (mut pieces, mut bytes) = (vec![SoftState { whole, means, ..piece }], 0);
    let mut room_for = |pieces: &mut Vec<SoftState>, more: usize| {
        bytes += more;
        if bytes > PIECE_BYTES_MAX {
            bytes = more;
            pieces.push(SoftState { term, ..SoftState::default() });
        }
    };
    for member in held {
        room_for(&mut pieces, MEMBER_BYTES);
        pieces.last_mut().unwrap_or_else(|| unreachable!("there is a first piece")).held.push(member);
    }
    for (member, to) in links {
        room_for(&mut pieces, MEMBER_BYTES + MEMBER_BYTES * to.to.len());
        pieces.last_mut().unwrap_or_else(|| unreachable!("there is a first piece")).links.push((member, to));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::Incarnation;
    use coterie_common::codec::to_bytes;

    fn id(port: u16) -> MemberId {
        MemberId { address: Address::new([127, 0, 0, 1].into(), port), incarnation: Incarnation(1) }
    }

    fn links(number: u64, to: &[u16]) -> Links {
        Links { number, to: to.iter().map(|port| id(*port).address).collect() }
    }

    #[test]
    fn only_changes_are_told_and_everything_to_a_new_leader() {
        let mut presence = Presence::default();
        presence.topology.told(id(1), links(1, &[2]));
        let (well, ill) = (Means { probes: 64, is_cut_off: false }, Means { probes: 8, is_cut_off: true });
        let told = |presence: &mut Presence, held: &[u16], means| {
            let mut pieces = presence.news(held.iter().map(|port| id(*port)).collect(), means, 1);
            assert!(pieces.len() <= 1, "{pieces:?}");
            pieces.pop()
        };
        let news = told(&mut presence, &[1, 2], well).unwrap();
        assert_eq!((news.held.len(), news.links.len(), news.whole), (2, 1, false));
        assert_eq!(told(&mut presence, &[1, 2], well), None);
        assert_eq!(told(&mut presence, &[1, 2], ill).unwrap().means, Some(ill));
        let news = told(&mut presence, &[1], ill).unwrap();
        assert_eq!((news.held, news.lost, news.means), (vec![], vec![id(2)], None));
        presence.begin_anew();
        let news = told(&mut presence, &[1], ill).unwrap();
        assert_eq!(news.means, Some(ill));
        assert_eq!((news.whole, news.held, news.links.len()), (true, vec![id(1)], 1));
    }

    /// What was too long for a frame was not sent at all, and all of its members were missed.
    #[test]
    fn what_ten_thousand_sessions_tell_is_told_in_pieces_that_fit_a_frame() {
        const MEMBERS: u16 = 10_000;
        let mut presence = Presence::default();
        for port in 0..MEMBERS {
            let to: Vec<u16> = (1..=20).map(|step| (port + step) % MEMBERS).collect();
            presence.topology.told(id(port), links(u64::MAX, &to));
        }
        presence.begin_anew();
        let means = Means { probes: 64, is_cut_off: false };
        let pieces = presence.news((0..MEMBERS).map(id).collect(), means, 3);
        assert!(pieces.len() > 1, "one piece");
        assert!(pieces.iter().all(|piece| to_bytes(piece).len() <= FRAME_BYTES_MAX && piece.term == 3));
        let firsts: Vec<(bool, bool)> =
            pieces.iter().map(|piece| (piece.whole, piece.means.is_some())).collect();
        assert!(firsts[0] == (true, true) && firsts[1..].iter().all(|other| *other == (false, false)));
        let mut leader = Presence::default();
        pieces.into_iter().for_each(|piece| leader.take_own(SeedId(1), piece));
        let all: Vec<MemberId> = (0..MEMBERS).map(id).collect();
        let over = |leader: &mut Presence, seconds| {
            let now = Instant::START + Duration::from_secs(seconds);
            leader.absences.over(now, all.iter().copied(), Duration::ZERO)
        };
        assert_eq!(over(&mut leader, 100), []);
        assert!((0..MEMBERS).all(|port| leader.degree(id(port).address) == 20));
    }

    /// Found by simulation: a seed that had been cut off told the leader what had been true before, the leader
    /// believed it over what it had heard since, and an overlay in two pieces looked whole to it for ever.
    #[test]
    fn what_a_seed_tells_late_does_not_undo_what_is_newer() {
        let mut presence = Presence::default();
        presence.topology.told(id(1), links(2, &[2]));
        let late = SoftState { links: vec![(id(1), links(1, &[3]))], ..SoftState::default() };
        presence.take_own(SeedId(1), late);
        assert_eq!([2, 3].map(|port| presence.degree(id(port).address)), [1, 0]);
        let next_life = MemberId { incarnation: Incarnation(9), ..id(1) };
        presence.topology.told(next_life, links(1, &[3]));
        assert_eq!([2, 3].map(|port| presence.degree(id(port).address)), [0, 1]);
        presence.forget(id(1));
        assert_eq!(presence.degree(id(3).address), 1, "what ends with a life are its own links");
    }

    #[test]
    fn a_program_that_tells_of_no_links_has_those_that_others_tell_of() {
        let mut presence = Presence::default();
        presence.topology.told(id(1), links(1, &[9]));
        presence.topology.told(id(2), links(1, &[9, 1]));
        assert_eq!([1, 2, 9].map(|port| presence.degree(id(port).address)), [1, 2, 2]);
        presence.forget(id(2));
        assert_eq!([1, 2, 9].map(|port| presence.degree(id(port).address)), [1, 0, 1]);
    }
}

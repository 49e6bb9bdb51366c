//! Being a member: how far this peer has come, which life it goes by, and the view that the seeds gave it.
//!
//! Everything here comes from the log, by way of seeds. A peer has no opinion of its own about who is a member: its
//! suspicions live elsewhere (`peer/core/failure`), and change no view.
//!
//! *Owns.* The life that this peer goes by, its phase, its view, the degrees that came with a whole view, and the pause
//! before a return.
//!
//! *May read.* The context.
//!
//! *Never.* Talks to a seed or a neighbour; it says JOINED, VIEW, DEAD_CONFIRMED, LEFT and DECLARED_DEAD to the log.

mod news;
mod phase;

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::message::{Candidate, ClusterId, Roster};
use coterie_common::{
    Address, Change, Ended, Epoch, Event, Incarnation, Instant, Life, Line, MemberId, Message, Secret, Tally,
    View, Wire,
};
use rand::RngExt;

pub(crate) use news::{News, begun_by, ended_by};
pub(crate) use phase::LeaveDue;

use phase::{Phase, Removals};

use crate::core::context::Context;

/// How often a peer that cannot join says so.
const WAITING_SAID_EVERY: Knob<Duration> = Knob::new("WAITING_SAID_EVERY", Duration::from_secs(10));

/// This peer's membership, and the cluster as it was told of it.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    me: Address,
    /// The number by which probes tell this run of the process from another; a new one after each removal.
    life: Life,
    /// Of which the life is the hash. Shown to a seed alone, by whoever leaves.
    secret: Secret,
    /// It alone holds the incarnation, so there is none without a membership.
    phase: Phase,
    /// The cluster that admitted it; none before. It stays when this peer is removed, for it comes back to the same.
    cluster: Option<ClusterId>,
    /// What the seeds told last. It stays when this peer is removed, to tell afterwards what it missed.
    view: View,
    /// How many links members had when the view came whole. Only for choosing neighbours: it may be old.
    degrees: BTreeMap<Address, u32>,
    /// Outlives the lives that it counts.
    removals: Removals,
    /// When it last said that it waits for its seeds.
    said_waiting: Instant,
    /// Whether it ever was a member: `--join-timeout` is about the first time.
    ever_joined: bool,
}

impl Membership {
    /// No member yet, at `me`.
    pub(crate) fn new(me: Address, secret: Secret) -> Self {
        Membership {
            me,
            life: secret.life(me),
            secret,
            phase: Phase::Joining,
            cluster: None,
            view: View::default(),
            degrees: BTreeMap::new(),
            removals: Removals::none(),
            said_waiting: Instant::START,
            ever_joined: false,
        }
    }

    /// What always holds between steps: a member finds itself in its view.
    pub(crate) fn verify(&self) {
        assert_eq!(self.life, self.secret.life(self.me), "the life is not that of its secret");
        let Some(incarnation) = self.incarnation() else { return }; // no member: nothing to find
        let own = MemberId { address: self.me, incarnation };
        assert!(self.view.get(own).is_some(), "{own} is a member and not in its own view");
        assert!(self.cluster.is_some(), "{own} is a member of no cluster");
    }

    // ---- what is so ----

    /// The view. Empty before the first registration.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The cluster that this peer belongs to, also while it is no member of it any more.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// Whether somebody is a member of another cluster than this peer. A JSON program does not say; it is taken for one
    /// of this.
    pub(crate) fn is_of_another(&self, cluster: Option<ClusterId>) -> bool {
        self.cluster.zip(cluster).is_some_and(|(own, theirs)| own != theirs)
    }

    /// The life that this peer goes by now.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// The incarnation, while this peer is a member, which it still is while it leaves.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.phase.incarnation()
    }

    /// This member, while it is one.
    pub(crate) fn id(&self) -> Option<MemberId> {
        self.incarnation().map(|incarnation| MemberId { address: self.me, incarnation })
    }

    /// Whether it is a member that does not leave. Who leaves begins nothing new: it dials, suspects and says nothing
    /// by itself any more.
    pub(crate) fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Member { .. })
    }

    /// Whether JOINED was said, and neighbours were chosen.
    pub(crate) fn is_announced(&self) -> bool {
        matches!(self.phase, Phase::Member { announced: true, .. })
    }

    /// Whether it asks to be registered, for the first time or again.
    pub(crate) fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining)
    }

    /// Whether it waits for its departure to be in the log.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// Whether it is over; no input leads out of that.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    /// The moment since which it is a member, while JOINED is still to be said.
    pub(crate) fn to_be_announced(&self) -> Option<Instant> {
        match self.phase {
            Phase::Member { since, announced: false, .. } => Some(since),
            Phase::Member { .. } | Phase::Joining | Phase::Leaving { .. } | Phase::Stopped => None,
        }
    }

    /// A member of that address whose incarnation is as named; 0 names whoever is there now. JSON programs know no
    /// incarnations. None: nobody of that name is a member, as far as this peer was told.
    pub(crate) fn member_named(&self, id: MemberId) -> Option<MemberId> {
        match id.incarnation {
            Incarnation::NONE => self.view.at(id.address).map(|m| m.id),
            _ => self.view.get(id).map(|m| m.id),
        }
    }

    /// How a member speaks; a stranger is taken for one of ours. The first frame would tell; this is for who has to
    /// speak first.
    pub(crate) fn wire_of(&self, address: Address) -> Wire {
        self.view.at(address).map_or(Wire::Native, |m| m.wire)
    }

    /// The degree of a member as far as it is known here. 0 for who joined since the view came whole.
    pub(crate) fn degree(&self, address: Address) -> u32 {
        self.degrees.get(&address).copied().unwrap_or(0)
    }

    /// What shows that this peer is that life.
    pub(crate) fn secret(&self) -> Secret {
        self.secret
    }

    /// The answer to a ping: by its life a prober knows whom it has reached. Who joins or leaves answers too, and is
    /// not `ready`; nor is a member whose seeds can have nothing decided.
    pub(crate) fn pong(&self, nonce: u64, seeds_decide: bool) -> Message {
        Message::Pong {
            nonce,
            address: self.me,
            life: Some(self.life),
            incarnation: self.incarnation(),
            ready: self.is_member() && seeds_decide,
        }
    }

    // ---- joining ----

    /// Whether the time is over within which it was to become a member for the first time. The limit, if so; without
    /// a limit, and after the first time, never.
    pub(crate) fn gives_up_joining(&self, cx: &Context) -> Option<Duration> {
        let limit = cx.config.join_timeout.filter(|_| !self.ever_joined)?;
        (cx.now >= Instant::START + limit).then_some(limit)
    }

    /// Whether it is time to say again that it waits for its seeds; counts as said.
    #[must_use]
    pub(crate) fn says_waiting(&mut self, now: Instant) -> bool {
        let is_due = now >= self.said_waiting + WAITING_SAID_EVERY.get();
        if is_due {
            self.said_waiting = now;
        }
        is_due
    }

    /// What a seed is told by whoever wants to be a member.
    pub(crate) fn candidate(&self, cx: &Context) -> Candidate {
        Candidate { address: self.me, life: self.life, wire: Wire::Native, tags: cx.config.tags.clone() }
    }

    /// The log knows that this life has ended: it can only join as another.
    pub(crate) fn take_another_life(&mut self, cx: &mut Context) {
        self.secret = cx.draw_secret();
        self.life = self.secret.life(self.me);
    }

    /// The log has admitted this peer. Its view follows in the same step: between steps, a member stands in its view.
    pub(crate) fn admitted(&mut self, now: Instant, cluster: ClusterId, incarnation: Incarnation) {
        let is_its_own = self.cluster.is_none_or(|own| own == cluster);
        assert!(is_its_own, "{incarnation} is admitted by cluster {cluster}, and is of {:?}", self.cluster);
        self.phase.become_member(now, incarnation);
        self.cluster = Some(cluster);
        self.ever_joined = true;
    }

    /// Says JOINED: sessions with so many seeds know this member.
    pub(crate) fn announce(&mut self, cx: &mut Context, seeds: usize) {
        let line = Line::new("JOINED").with("incarnation", self.phase.announce());
        let line = line.with("epoch", self.view.epoch).with("members", self.view.len());
        cx.log(line.with("seeds", seeds));
    }

    // ---- the view ----

    /// Takes the changes that are news; the view is the new one when it returns.
    #[must_use]
    pub(crate) fn take_changes(&mut self, epoch: Epoch, changes: Vec<Change>) -> News {
        let before = self.view.epoch;
        let known = News::known(&self.view, &changes);
        let news = self.view.apply(epoch, changes);
        assert!(self.view.epoch >= before, "the view went back from {before} to {}", self.view.epoch);
        News::new(news, known)
    }

    /// Takes a whole view that the seed of that name sent, if it is not older; how it differs, if it is newer.
    #[must_use]
    pub(crate) fn take_whole(
        &mut self,
        cx: &mut Context,
        from: &str,
        roster: Roster,
        ended: &[Ended],
    ) -> Option<News> {
        if roster.epoch < self.view.epoch {
            // A seed that lags behind. To take its view would bring the dead back.
            return None;
        }
        let line = Line::new("PEER_LIST").with("epoch", roster.epoch).with("members", roster.members.len());
        cx.log(line.with("from", from));
        // The degrees are newer even where the view is not: they are no part of it.
        self.degrees = roster.members.iter().map(|(m, degree)| (m.id.address, *degree)).collect();
        if roster.epoch == self.view.epoch && !self.view.is_empty() {
            // The same view again.
            return None;
        }
        let next = View::new(roster.epoch, roster.members.into_iter().map(|(m, _)| m));
        let news = self.view.difference(&next, ended);
        let known = News::known(&self.view, &news);
        self.view = next;
        Some(News::new(news, known))
    }

    /// A change of the news ends a life: says so, if that life was known here, and forgets its links. To be called
    /// when the view is the new one: where somebody follows at that address, the degree stays.
    pub(crate) fn life_ended(&mut self, cx: &mut Context, id: MemberId, change: &Change, news: &News) {
        let said = match &change.event {
            // A life that was replaced has no line of its own: VIEW counts it.
            Event::Joined(_) | Event::Replaced { .. } => None,
            Event::Died(_) => Some(("DEAD_CONFIRMED", "dead")),
            Event::Left(_) => Some(("LEFT", "peer")),
        };
        if let (Some((event, key)), true) = (said, news.was_known(id)) {
            let line = Line::new(event).with(key, id.address).with("incarnation", id.incarnation);
            cx.log(line.with("epoch", change.epoch));
        }
        if self.view.at(id.address).is_none() {
            self.degrees.remove(&id.address);
        }
    }

    /// Says VIEW. After the lines of the lives that ended, with which it is to agree.
    pub(crate) fn say_view(&self, cx: &mut Context, news: &News) {
        let tally = Tally::of(news.changes());
        cx.log(
            Line::new("VIEW")
                .with("epoch", self.view.epoch)
                .with("members", self.view.len())
                .with("joined", tally.joined)
                .with("left", tally.left)
                .with("died", tally.died)
                .with("replaced", tally.replaced),
        );
    }

    // ---- being removed, leaving ----

    /// Says DECLARED_DEAD: the log has removed this member, which lives.
    pub(crate) fn say_declared_dead(&self, cx: &mut Context, incarnation: Incarnation, epoch: Epoch) {
        cx.log(Line::new("DECLARED_DEAD").with("incarnation", incarnation).with("epoch", epoch));
    }

    /// Begins anew as another life, after it was removed together with so many; returns how long it is to stay away.
    #[must_use]
    pub(crate) fn begin_anew(&mut self, cx: &mut Context, together: usize) -> Duration {
        self.take_another_life(cx);
        self.said_waiting = cx.now;
        let membership = self.phase.become_removed(cx.now);
        self.removals.another(membership, together, cx.rng.random())
    }

    /// The seeds are of another cluster now: says so, and forgets all that it was told by the former one. It goes by
    /// another life from now on. To be called when it is no member any more.
    pub(crate) fn follow(&mut self, cx: &mut Context, cluster: ClusterId) {
        assert!(self.is_joining(), "it follows cluster {cluster} in the phase {:?}", self.phase);
        self.go_on_in(cx, cluster);
        (self.view, self.degrees) = (View::default(), BTreeMap::new());
        self.take_another_life(cx);
    }

    /// The cluster goes on as that one: says so. Nothing else changes, for the numbers of its log go on, too.
    pub(crate) fn go_on_in(&mut self, cx: &mut Context, cluster: ClusterId) {
        let former = self.cluster.replace(cluster);
        let Some(former) = former else { panic!("it was of no cluster, and follows {cluster}") };
        assert_ne!(former, cluster, "it is of that cluster already");
        cx.log(Line::new("CLUSTER_CHANGED").show("from", former).show("to", cluster));
    }

    /// The operator wants this peer to stop; returns whether there is nothing to wait for.
    #[must_use]
    pub(crate) fn leave(&mut self, now: Instant) -> bool {
        self.phase.leave(now)
    }

    /// What is to be done about leaving.
    #[must_use]
    pub(crate) fn leave_due(&mut self, now: Instant) -> LeaveDue {
        self.phase.leave_due(now)
    }

    /// The end. Reached from every phase: in order, refused for good, or after too long a time of joining.
    pub(crate) fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }

    /// When something is due. Who joins has nothing due here but words and the end of its patience; the registration
    /// has a time of its own.
    pub(crate) fn deadline(&self, cx: &Context) -> Instant {
        if !self.is_joining() {
            return self.phase.deadline();
        }
        // Kept alike to the question whether it gives up: a deadline that nothing meets would make the shell spin.
        let limit = cx.config.join_timeout.filter(|_| !self.ever_joined);
        let given_up = limit.map_or(Instant::NEVER, |limit| Instant::START + limit);
        given_up.min(self.said_waiting + WAITING_SAID_EVERY.get())
    }
}

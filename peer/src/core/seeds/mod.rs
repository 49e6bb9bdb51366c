//! Sessions with seeds, and the registration over one of them.
//!
//! A peer keeps sessions with floor(n/2)+1 seeds, drawn at random; another takes the place of one that is down. So
//! every two peers share a seed, and any seed that is up knows of every peer by way of the others. One of the
//! sessions carries the registration. Which seeds have sessions says nothing about who is a member: that stands in
//! the log.
//!
//! A session with every seed is not needed for that, and each seed would have to hold all members.
//!
//! *Owns.* The seeds that it knows with a session for each, what they say of their clusters, and the registration under
//! way.
//!
//! *May read.* The context.
//!
//! *Never.* Says who is a member, or what a seed's message means: routes do that.

mod clusters;
mod reasons;
mod registration;
mod session;
mod slots;

use std::time::Duration;

use coterie_common::limits::{JOIN_SETTLES, SESSION_SILENCE_MAX};
use coterie_common::message::{CloseReason, ClusterId, SessionMessage};
use coterie_common::{Instant, Message, majority};
use rand::{Rng, RngExt};

use clusters::Clusters;
pub(crate) use clusters::Followed;
use reasons::Reasons;
use registration::RegistrationAttempt;
use session::SessionState;
use slots::{Overdue, SeedSlots};

use crate::core::config::Config;
use crate::core::context::Context;
use crate::core::effect::{Effect, SeedSlot};

/// The seeds as this peer sees them.
#[derive(Clone, Debug)]
pub(crate) struct SeedSessions {
    slots: SeedSlots,
    clusters: Clusters,
    reasons: Reasons,
    /// Invariant: under way only at a seed whose session is open.
    registration: RegistrationAttempt,
}

impl SeedSessions {
    /// No session yet with any of the seeds of the list.
    pub(crate) fn new(config: &Config, rng: &mut impl Rng) -> Self {
        let silence = config.patience.scale(SESSION_SILENCE_MAX.get());
        SeedSessions {
            slots: SeedSlots::new(config, silence, rng),
            clusters: Clusters::new(silence),
            reasons: Reasons::default(),
            registration: RegistrationAttempt::new(),
        }
    }

    // ---- who they are ----

    /// The name of a seed.
    pub(crate) fn name_of(&self, seed: SeedSlot) -> &str {
        &self.slots.names[seed.0]
    }

    /// How many sessions are wanted: a majority of those that are seeds now. All of them while those that are there are
    /// of several clusters, for the others decide which this peer belongs to.
    pub(crate) fn quorum(&self) -> usize {
        let in_use = self.slots.in_use().count();
        if self.clusters.are_several(self.greeted()) { in_use } else { majority(in_use) }
    }

    /// A seed told who the seeds are since that entry. Of two lists the later one counts, whichever seed told it.
    pub(crate) fn follow_list(&mut self, cx: &mut Context, since: u64, seeds: &[String]) {
        // Otherwise another seed has told it already, or a newer one; or no cluster has such a list.
        if let Some(left) = self.slots.follow(cx, since, seeds) {
            left.into_iter().for_each(|seed| self.part_with(cx, seed));
        }
    }

    /// Closes a session that is of no use any more, and says so.
    fn part_with(&mut self, cx: &mut Context, seed: SeedSlot) {
        self.tell(cx, seed, Message::Close(CloseReason::ShuttingDown));
        self.close(cx, seed, "is none of the seeds any more");
    }

    // ---- sessions ----

    /// A session was opened. A new session counts as heard, so that a seed has the whole time to say its first word.
    pub(crate) fn opened(&mut self, cx: &Context, seed: SeedSlot) {
        self.slots.get_mut(seed).opened(cx.now);
    }

    /// This peer stood still for so long: what the seeds said meanwhile waits in its sockets.
    pub(crate) fn stood_still(&mut self, now: Instant, time: Duration) {
        self.slots.stood_still(now, time);
    }

    /// A session could not be opened, or broke; the registration that it carried is over.
    pub(crate) fn lost(&mut self, cx: &mut Context, seed: SeedSlot, why: String) {
        self.reasons.note(seed, why);
        self.slots.get_mut(seed).lost(cx.now, cx.rng.random());
        self.registration.end_at(seed);
        if self.greeted().next().is_none() {
            self.clusters.nobody_is_there();
        }
    }

    /// A frame came from a seed.
    pub(crate) fn heard(&mut self, cx: &Context, seed: SeedSlot) {
        self.slots.get_mut(seed).heard(cx.now);
        self.reasons.heard(seed);
    }

    /// A seed tells how long a silence it bears.
    pub(crate) fn bears(&mut self, seed: SeedSlot, limit: Duration) {
        self.slots.bears(seed, limit);
    }

    /// Why there is no session with the seeds, as far as it is known.
    pub(crate) fn reasons(&self) -> String {
        self.reasons.reasons(&self.slots, self.registration.at())
    }

    /// Notes what keeps a member from its seeds, if anything does.
    pub(crate) fn note_troubles(&self, cx: &mut Context) {
        let why = || self.reasons.unserved(&self.slots);
        cx.trouble("no seed can have anything decided", (!self.is_served(cx.now)).then(why));
    }

    /// Whether a seed knows this member, and one of its cluster was heard lately that can have something decided.
    pub(crate) fn is_served(&self, now: Instant) -> bool {
        self.introduced().next().is_some() && self.clusters.can_decide(now)
    }

    /// Closes a session that the seed has closed, or that is of no use.
    pub(crate) fn close(&mut self, cx: &mut Context, seed: SeedSlot, why: &str) {
        cx.want(Effect::CloseSession(seed));
        self.lost(cx, seed, why.to_owned());
    }

    /// Says something to a seed.
    pub(crate) fn tell(&mut self, cx: &mut Context, seed: SeedSlot, message: Message) {
        cx.want(Effect::Tell { seed, message });
    }

    /// Says the same to every seed that knows which member this is. There may be none, and nobody waits for it.
    pub(crate) fn tell_all(&mut self, cx: &mut Context, message: &SessionMessage) {
        for seed in self.introduced().collect::<Vec<_>>() {
            self.tell(cx, seed, Message::Session(message.clone()));
        }
    }

    /// Says something to one seed that knows this member, to another one at each `turn`. There must be one.
    pub(crate) fn tell_in_turn(&mut self, cx: &mut Context, turn: usize, message: SessionMessage) {
        let seeds: Vec<SeedSlot> = self.introduced().collect();
        assert!(!seeds.is_empty(), "no seed knows this member, so {message:?} can be told to none");
        self.tell(cx, seeds[turn % seeds.len()], Message::Session(message));
    }

    /// The seeds with open sessions, in the order of this peer's preference, also those that do not know this member.
    pub(crate) fn open(&self) -> impl Iterator<Item = SeedSlot> + '_ {
        self.slots.that_are(|state| matches!(state, SessionState::Up { .. }))
    }

    /// The seeds that know which member this is.
    pub(crate) fn introduced(&self) -> impl Iterator<Item = SeedSlot> + '_ {
        self.slots.that_are(|state| matches!(state, SessionState::Up { introduced: true, .. }))
    }

    /// Whether a report would be heard. Who is cut off suspects everybody, and is to find out about itself first.
    pub(crate) fn may_report(&self, now: Instant) -> bool {
        self.slots.is_any_heard(now)
    }

    /// The seeds with open sessions that do not. A list, for whoever asks introduces itself meanwhile.
    pub(crate) fn strangers(&self) -> Vec<SeedSlot> {
        self.slots.that_are(|state| matches!(state, SessionState::Up { introduced: false, .. })).collect()
    }

    /// A seed was told which member this is.
    pub(crate) fn introduce(&mut self, seed: SeedSlot) {
        if let SessionState::Up { introduced, .. } = &mut self.slots.get_mut(seed).state {
            *introduced = true;
        }
    }

    /// This peer is somebody else now, or nobody: no seed knows which, and whoever asked to be registered is no more.
    pub(crate) fn forget_introductions(&mut self) {
        for slot in self.slots.iter_mut() {
            if let SessionState::Up { introduced, .. } = &mut slot.state {
                *introduced = false;
            }
        }
        self.registration.end();
    }

    /// Whether the peer has as many sessions as it wants, or has waited long enough since it was admitted.
    pub(crate) fn is_settled(&self, now: Instant, admitted: Instant) -> bool {
        self.introduced().count() >= self.quorum() || now >= admitted + JOIN_SETTLES.get()
    }

    /// Ends all sessions in order. The slots are left as they are, for nothing is looked at after the end.
    pub(crate) fn say_goodbye(&self, cx: &mut Context) {
        for seed in self.open() {
            cx.want(Effect::Tell { seed, message: Message::Close(CloseReason::ShuttingDown) });
            cx.want(Effect::CloseSession(seed));
        }
    }

    // ---- clusters ----

    /// Tells every seed that was not told it of which cluster this peer is; none, of who is no member yet.
    pub(crate) fn greet(&mut self, cx: &mut Context, own: Option<ClusterId>) {
        for seed in self.open().collect::<Vec<_>>() {
            if let SessionState::Up { claimed, .. } = &mut self.slots.get_mut(seed).state
                && *claimed != Some(own)
            {
                *claimed = Some(own);
                self.tell(cx, seed, Message::Session(SessionMessage::Cluster(own)));
            }
        }
    }

    /// A seed has said of which cluster it is; returns whether that is not this peer's `own`.
    #[must_use]
    pub(crate) fn greeted_by(
        &mut self,
        cx: &mut Context,
        own: Option<ClusterId>,
        seed: SeedSlot,
        (cluster, goes_on): (ClusterId, bool),
    ) -> bool {
        if let SessionState::Up { greeted, .. } = &mut self.slots.get_mut(seed).state {
            *greeted = true;
        }
        self.clusters.name(cx.now, seed, cluster, own.filter(|own| goes_on && *own != cluster));
        let Some(own) = own.filter(|own| *own != cluster) else { return false };
        if self.clusters.report(seed, cluster) {
            cx.warn(clusters::report(self.name_of(seed), own, (cluster, goes_on)));
        }
        true
    }

    /// A seed spoke on its session: whether that was one of this peer's own cluster is kept.
    pub(crate) fn note_own(&mut self, cx: &Context, own: ClusterId, seed: SeedSlot) {
        let is_greeted = matches!(self.slots.get(seed).state, SessionState::Up { greeted: true, .. });
        if is_greeted && self.clusters.of(seed) == Some(own) {
            self.clusters.own_heard(cx.now);
        }
    }

    /// Of which cluster a seed said that it is.
    pub(crate) fn cluster_of(&self, seed: SeedSlot) -> Option<ClusterId> {
        self.clusters.of(seed)
    }

    /// The seeds that are there and have said of which cluster they are.
    fn greeted(&self) -> impl Iterator<Item = SeedSlot> + '_ {
        self.slots.that_are(|state| matches!(state, SessionState::Up { greeted: true, .. }))
    }

    /// The seed to register with: of this peer's own cluster, or, for who is of none, of that which most are of.
    fn to_register_with(&self, now: Instant, own: Option<ClusterId>) -> Option<SeedSlot> {
        let to_join = || self.clusters.to_join(now, self.greeted(), self.slots.in_use().count());
        let cluster = own.or_else(to_join)?;
        self.greeted().find(|seed| self.clusters.of(*seed) == Some(cluster))
    }

    /// The cluster that this peer follows from now on: a majority of the seeds is of it, or it goes on for its `own`,
    /// of which nobody was heard for a while.
    #[must_use]
    pub(crate) fn to_follow(&self, now: Instant, own: ClusterId) -> Option<Followed> {
        self.other_cluster(now, own).filter(|other| other.is_due(now))
    }

    /// By those in force, or by this peer's own list: a cluster that is begun anew need not have any of the seeds that
    /// were in force in the former.
    fn other_cluster(&self, now: Instant, own: ClusterId) -> Option<Followed> {
        let in_force: Vec<SeedSlot> = self.slots.in_use().collect();
        let by = |seeds: &[SeedSlot]| self.clusters.to_follow(now, own, seeds);
        by(&in_force).or_else(|| by(&self.slots.listed()))
    }

    /// This peer follows the seeds to another cluster: what was said in the former one's name is over. Sessions are
    /// opened anew, so that nothing comes on them any more that was said before.
    pub(crate) fn begin_anew(&mut self, cx: &mut Context) {
        self.registration.end();
        for seed in self.open().collect::<Vec<_>>() {
            self.part_with(cx, seed);
        }
        self.slots.begin_anew();
        self.clusters.own_heard(cx.now);
    }

    // ---- the registration ----

    /// Which seed to send a registration to now, if one is due. The next falls due when its time is over. None as
    /// well while no session is open: the one that opens first brings it about.
    #[must_use]
    pub(crate) fn registration_due(&mut self, cx: &Context, own: Option<ClusterId>) -> Option<SeedSlot> {
        // It did not answer in all that time: a seed that hangs is not to be asked twice in a row.
        if let Some(seed) = self.registration.expired(cx.now) {
            self.prefer_others(seed);
        }
        if !self.registration.may_begin(cx.now) {
            return None;
        }
        let seed = self.to_register_with(cx.now, own)?;
        self.registration.begin(cx.now, seed);
        Some(seed)
    }

    /// That seed could not have anything decided: another is asked first from now on.
    pub(crate) fn prefer_others(&mut self, seed: SeedSlot) {
        self.slots.prefer_others(seed);
    }

    /// The registration was answered; returns whether one was under way there, and not given up meanwhile.
    #[must_use]
    pub(crate) fn registration_answered(&mut self, seed: SeedSlot) -> bool {
        self.registration.end_at(seed)
    }

    /// The next registration is to wait: the last one was refused.
    pub(crate) fn ask_later(&mut self, cx: &mut Context) {
        self.registration.refused(cx.now, cx.rng.random());
    }

    /// The next registration is to wait until then: this peer was declared dead.
    pub(crate) fn ask_after(&mut self, at: Instant) {
        self.registration.wait_until(at);
    }

    /// The registration succeeded, at a seed that knows this member from now on.
    pub(crate) fn admitted(&mut self, seed: SeedSlot) {
        self.registration.granted();
        self.introduce(seed);
    }

    // ---- time ----

    /// Opens, pings and gives up what is due.
    pub(crate) fn settle(&mut self, cx: &mut Context) {
        let overdue = self.slots.overdue(cx.now);
        // Sessions that are about to be given up still count here: others take their places at the next step.
        let opened = self.slots.open_missing(cx.now, self.quorum());
        for (seed, overdue) in overdue {
            match overdue {
                Overdue::Seed => self.close(cx, seed, "was silent for too long"),
                Overdue::Peer => cx.want(Effect::Tell { seed, message: Message::Ping { nonce: 1 } }),
            }
        }
        for seed in opened {
            let address = self.name_of(seed).to_owned();
            cx.want(Effect::OpenSession { seed, address });
        }
        self.slots.former_to_leave().into_iter().for_each(|seed| self.part_with(cx, seed));
    }

    /// When something is due, for a peer of that cluster that still has to register or does not.
    pub(crate) fn deadline(&self, now: Instant, own: Option<ClusterId>, has_to_register: bool) -> Instant {
        let sessions = self.slots.deadline(now, self.quorum());
        let other = own.and_then(|own| self.other_cluster(now, own));
        let follows = other.map_or(Instant::NEVER, |other| other.due());
        let due = sessions.min(follows);
        if !has_to_register {
            return due;
        }
        let seed = self.to_register_with(now, own);
        let settles = match (own, seed) {
            // It may be clear by then with which.
            (None, None) => self.clusters.settles(now),
            (Some(_), _) | (_, Some(_)) => Instant::NEVER,
        };
        due.min(self.registration.deadline(seed.is_some())).min(settles)
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self) {
        self.slots.verify();
        if let Some(seed) = self.registration.at() {
            let is_open = matches!(self.slots.get(seed).state, SessionState::Up { .. });
            assert!(is_open, "a registration is under way at {seed:?}, whose session is not open");
        }
    }
}

#[cfg(test)]
mod tests;

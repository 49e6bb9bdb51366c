//! Sessions with peers and observers: who they are, what they may ask how often, and what each was told.
//!
//! A session holds no promise: a peer that loses it opens another, here or at another seed, and says how much it was
//! told. So nothing of it is logged, and a seed may stop without handing any over.
//!
//! *Owns.* The sessions, the latest changes of the view by which they are brought up to date, and the linearizable
//! reads under way.
//!
//! *May read.* The context, the registry, and presence (how well connected members are, for rosters).
//!
//! *Never.* Decides anything: what is asked on a session is routed, and answered when the log has decided.

mod holders;
mod push;
mod rate;
mod reads;
mod recent_changes;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::{HINTS_PER_SECOND, JSON_PROBE_EVERY, REQUESTS_PER_SECOND, SESSION_SILENCE_MAX};
use coterie_common::message::{CloseReason, ClusterId, SessionMessage};
use coterie_common::{Address, Epoch, Instant, MemberId, Message, Wire};
use rand::seq::IndexedRandom;

use holders::Holders;
use reads::Reads;
use recent_changes::RecentChanges;
use session::Session;

use crate::core::context::Context;
use crate::core::effect::{Effect, SessionId};
use crate::core::presence::Presence;
use crate::core::registry::Registry;
use crate::core::spreading::Spreading;

/// Registrations that one session may ask for in a second. A guess: a peer needs one.
pub(crate) const REGISTRATIONS_PER_SECOND: Knob<u32> = Knob::new("REGISTRATIONS_PER_SECOND", 10);

/// Reports and departures a second of one whose admission this registry has not seen: enough for what one peer sees. A
/// guess. Less than of a member, for anybody can say that it was admitted elsewhere.
const EARLY_REQUESTS_PER_SECOND: Knob<u32> = Knob::new("EARLY_REQUESTS_PER_SECOND", 10);

/// Lists and whole views a second on one session. Each takes time for every member; who wants to know of each change is
/// told without asking.
pub(crate) const VIEWS_PER_SECOND: Knob<u32> = Knob::new("VIEWS_PER_SECOND", 10);

/// All sessions.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    /// Observers' sessions, too.
    all: BTreeMap<SessionId, Session>,
    holders: Holders,
    recent: RecentChanges,
    /// When joins are pushed.
    joins: Spreading,
    reads: Reads,
    /// The entry of the voters that all sessions were told of last; 0 while they are those of everybody's list.
    voters_told_at: u64,
}

impl Sessions {
    /// No session yet, of a registry whose view is that of `epoch`.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Sessions {
            all: BTreeMap::new(),
            holders: Holders::default(),
            recent: RecentChanges::new(epoch),
            joins: Spreading::default(),
            reads: Reads::default(),
            voters_told_at: 0,
        }
    }

    // ---- who is there ----

    /// A frame came: on a session that is known, or on a new one. To be called before anything else is done about the
    /// frame.
    pub(crate) fn heard(&mut self, now: Instant, id: SessionId, wire: Wire) {
        let session = self.all.entry(id).or_insert_with(|| Session::new(now, wire));
        session.heard = now;
        session.seems_gone = false;
    }

    /// The session that a message came on: it cannot have ended since.
    fn session(&mut self, id: SessionId) -> &mut Session {
        let session = self.all.get_mut(&id);
        let Some(session) = session else { panic!("something was asked on {id:?}, which is not there") };
        session
    }

    /// Whether there is that session still.
    pub(crate) fn is_there(&self, id: SessionId) -> bool {
        self.all.contains_key(&id)
    }

    /// The member at the other end of a session. None of an observer, or of one who has not said who it is.
    pub(crate) fn member_on(&self, id: SessionId) -> Option<MemberId> {
        self.all.get(&id)?.member
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The sessions of a member.
    pub(crate) fn of(&self, member: MemberId) -> Vec<SessionId> {
        self.holders.of(member).collect()
    }

    /// The members that hold a session here and are not thought gone. The leader is told these, and misses whom no seed
    /// names.
    pub(crate) fn held(&self, registry: &Registry) -> BTreeSet<MemberId> {
        let held = self.all.values().filter(|session| !session.seems_gone);
        held.filter_map(|session| session.member).filter(|m| registry.member(*m).is_some()).collect()
    }

    /// Any peer that holds a session here, and that session. Drawn, so that what observers say does not burden one
    /// peer. JSON programs are not asked.
    pub(crate) fn any_peer(&self, cx: &mut Context, registry: &Registry) -> Option<(SessionId, Address)> {
        let native = self.all.iter().filter(|(_, session)| session.wire == Wire::Native);
        let members = native.filter_map(|(id, session)| Some((*id, session.member?)));
        let alive: Vec<_> = members.filter(|(_, member)| registry.member(*member).is_some()).collect();
        alive.choose(&mut cx.rng).map(|(id, member)| (*id, member.address))
    }

    /// The other end is this member.
    fn bind(&mut self, id: SessionId, member: MemberId) {
        self.release(id);
        let session = self.session(id);
        session.member = Some(member);
        session.seems_gone = false;
        self.holders.bind(member, id);
    }

    fn release(&mut self, id: SessionId) {
        // None: it was nobody's, or is no more.
        if let Some(member) = self.all.get_mut(&id).and_then(|session| session.member.take()) {
            self.holders.release(member, id);
        }
    }

    // ---- of which cluster ----

    /// The other end says of which cluster it is. This seed answers with its `own`, or, where it knows of none yet,
    /// when it does. Returns whether it was of another before: then it is sent away, and nothing that it asked means
    /// anything any more.
    #[must_use]
    pub(crate) fn greeted(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        own: Option<ClusterId>,
        id: SessionId,
        theirs: Option<ClusterId>,
    ) -> bool {
        let before = self.session(id).cluster.replace(theirs).flatten();
        if before.is_some() && before != theirs {
            self.close(cx, id, CloseReason::Protocol("of another cluster than before".to_owned()));
            return true;
        }
        if let Some(own) = own {
            self.answer_greeting(cx, registry, own, id);
        }
        false
    }

    /// This seed knows of which cluster it is: those that have greeted it before are answered. Those of another cluster
    /// are sent away; which, is returned, for nothing that they asked may be answered by this one.
    #[must_use]
    pub(crate) fn cluster_known(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        own: ClusterId,
    ) -> BTreeSet<SessionId> {
        let greeted = self.all.iter().filter(|(_, session)| session.cluster.is_some()).map(|(id, _)| *id);
        let greeted: Vec<SessionId> = greeted.collect();
        greeted.into_iter().filter(|id| !self.answer_greeting(cx, registry, own, *id)).collect()
    }

    /// Whether the other end is of this cluster, or of none yet: then it is told which this is, else sent away.
    fn answer_greeting(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        own: ClusterId,
        id: SessionId,
    ) -> bool {
        let theirs = self.session(id).cluster.flatten();
        if let Some(theirs) = theirs.filter(|theirs| *theirs != own) {
            cx.count("sessions_of_other_clusters");
            let goes_on_for_theirs = registry.predecessors().contains(&theirs);
            let reason = if goes_on_for_theirs { CloseReason::Succeeded } else { CloseReason::OtherCluster };
            self.close(cx, id, reason(own));
            return false;
        }
        self.send(cx, id, SessionMessage::Cluster(Some(own)));
        self.send(cx, id, SessionMessage::SilenceMax(silence_max(cx)));
        true
    }

    /// Whether the other end has said that it is of a cluster: only that makes its incarnation mean anything here.
    fn names_cluster(&mut self, id: SessionId) -> bool {
        self.session(id).cluster.flatten().is_some()
    }

    // ---- how often ----

    /// Whether one more registration may be asked for on a session.
    pub(crate) fn may_register(&mut self, now: Instant, id: SessionId) -> bool {
        self.session(id).registrations.allows(now, REGISTRATIONS_PER_SECOND.get())
    }

    /// Whether one more hint may be given on a session.
    pub(crate) fn may_hint(&mut self, now: Instant, id: SessionId) -> bool {
        self.session(id).hints.allows(now, HINTS_PER_SECOND.get())
    }

    /// Whether one more list or whole view may be asked for on a session.
    pub(crate) fn may_have_view(&mut self, now: Instant, id: SessionId) -> bool {
        self.session(id).views.allows(now, VIEWS_PER_SECOND.get())
    }

    /// Whether one more report, departure or linearizable read may be asked for on a session.
    pub(crate) fn may_ask(&mut self, now: Instant, registry: &Registry, id: SessionId) -> bool {
        let session = self.session(id);
        let is_early = session.member.is_some_and(|member| registry.member(member).is_none());
        let most = if is_early { EARLY_REQUESTS_PER_SECOND.get() } else { REQUESTS_PER_SECOND.get() };
        session.requests.allows(now, most)
    }

    // ---- words ----

    /// Says something on a session.
    pub(crate) fn send(&self, cx: &mut Context, to: SessionId, message: SessionMessage) {
        cx.want(Effect::Send { to, message: Message::Session(message) });
    }

    /// Says why, and closes a session. The reason goes out first; the core has forgotten it by then.
    pub(crate) fn close(&mut self, cx: &mut Context, id: SessionId, reason: CloseReason) {
        self.forget(id);
        cx.want(Effect::Close { session: id, reason });
    }

    /// A session has ended. Also one that was closed here before, of which nothing is left.
    pub(crate) fn forget(&mut self, id: SessionId) {
        self.release(id);
        self.all.remove(&id);
    }

    /// This seed stops.
    pub(crate) fn close_all(&mut self, cx: &mut Context) {
        for id in self.all.keys().copied().collect::<Vec<_>>() {
            self.close(cx, id, CloseReason::ShuttingDown);
        }
    }

    // ---- reads ----

    /// Somebody watches from now on, and wants to begin with everything that was answered anywhere before.
    pub(crate) fn begin_read(&mut self, cx: &mut Context, id: SessionId) {
        let read = self.reads.begin(id);
        cx.want(Effect::ReadIndex(read));
    }

    /// The log told which index a read must wait for; or that nobody could be sure.
    pub(crate) fn read_ready(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        presence: &Presence,
        (read, index): (u64, Option<u64>),
    ) {
        match index {
            // It may be applied by now: then nothing else would answer it.
            Some(index) => {
                self.reads.wait_for(read, index);
                self.answer_reads(cx, registry, presence);
            }
            // Not answered by an older view: it was asked for the latest.
            None => {
                if let Some(session) = self.reads.fail(read) {
                    let reason = "no leader could confirm the read".to_owned();
                    self.close(cx, session, CloseReason::Refused(reason));
                }
            }
        }
    }

    /// Answers the reads whose index is applied.
    pub(crate) fn answer_reads(&mut self, cx: &mut Context, registry: &Registry, presence: &Presence) {
        for id in self.reads.due(registry.applied()) {
            // Who asked may have gone meanwhile.
            if self.is_there(id) {
                self.send_whole(cx, registry, presence, id);
            }
        }
    }

    // ---- silence ----

    /// This seed stood still for so long: what it did not hear meanwhile waits in its sockets, and nobody's silence
    /// counts for that time.
    pub(crate) fn stood_still(&mut self, now: Instant, time: Duration) {
        for session in self.all.values_mut() {
            assert!(session.heard <= now, "a frame of {:?} is heard at {now:?}", session.heard);
            session.heard = (session.heard + time).min(now);
        }
    }

    /// Whether a frame of that member came on a session in the last moment.
    pub(crate) fn heard_lately(&self, now: Instant, member: MemberId) -> bool {
        let heard = |id: SessionId| self.all.get(&id).map(|session| session.heard);
        self.holders.of(member).filter_map(heard).any(|heard| now.since(heard) <= HEARD_LATELY.get())
    }

    /// How many members' sessions are quiet, and of how many: half of what ends one, when each should have pinged at
    /// least once.
    pub(crate) fn quiet(&self, cx: &Context) -> (usize, usize) {
        let quiet = silence_max(cx) / 2;
        let peers = || self.all.values().filter(|s| s.wire == Wire::Native && s.member.is_some());
        (peers().filter(|s| cx.now.since(s.heard) >= quiet).count(), peers().count())
    }

    /// Ends the sessions of peers that have been silent for too long. Peers alone, since they ping when they are quiet.
    /// Observers only listen, and JSON programs are probed instead.
    pub(crate) fn end_silent(&mut self, cx: &mut Context) {
        let silence = silence_max(cx);
        let is_silent =
            |s: &Session| s.wire == Wire::Native && s.member.is_some() && cx.now >= s.heard + silence;
        let over: Vec<SessionId> = self.all.iter().filter(|(_, s)| is_silent(s)).map(|(id, _)| *id).collect();
        for id in over {
            self.close(cx, id, CloseReason::Silent);
        }
    }

    /// The JSON programs that are to be looked after. They never write after registering, so they are probed where they
    /// listen.
    pub(crate) fn quiet_programs(&mut self, now: Instant) -> Vec<MemberId> {
        let is_quiet = |s: &Session| {
            s.wire == Wire::Json
                && now.since(s.heard) >= JSON_PROBE_EVERY.get()
                && now.since(s.looked_after) >= JSON_PROBE_EVERY.get()
        };
        let mut quiet = Vec::new();
        for session in self.all.values_mut().filter(|session| is_quiet(session)) {
            if let Some(member) = session.member {
                session.looked_after = now;
                quiet.push(member);
            }
        }
        quiet
    }

    /// A look after a quiet JSON program has ended.
    pub(crate) fn looked_after(&mut self, member: MemberId, is_gone: bool) {
        for id in self.of(member) {
            self.session(id).seems_gone = is_gone;
        }
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self, registry: &Registry, own: Option<ClusterId>) {
        self.recent.verify(registry.epoch());
        self.reads.verify(registry.applied());
        let mut holders = Holders::default();
        for (id, session) in &self.all {
            assert!(
                !session.in_flight || session.told.is_some(),
                "{id:?} was told nothing, and it is in flight"
            );
            let theirs = session.cluster.flatten();
            let is_ours = own.zip(theirs).is_none_or(|(own, theirs)| own == theirs);
            assert!(is_ours, "{id:?} is of cluster {theirs:?}, and this seed of {own:?}");
            if let Some(member) = session.member {
                holders.bind(member, *id);
            }
        }
        assert_eq!(self.holders, holders, "holders, and the members of all sessions");
    }
}

/// A frame that came so lately says that its sender lives.
const HEARD_LATELY: Knob<Duration> = Knob::new("seed/sessions/HEARD_LATELY", Duration::from_millis(100));

/// How long the other end of a session may be silent.
fn silence_max(cx: &Context) -> Duration {
    cx.config.patience.scale(SESSION_SILENCE_MAX.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::{Address, Incarnation};

    #[test]
    #[should_panic(expected = "holders, and the members of all sessions")]
    fn a_member_that_holds_a_session_that_is_not_there_is_found() {
        let id = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let mut sessions = Sessions::new(Epoch(0));
        sessions.verify(&Registry::default(), None);
        sessions.holders.bind(id, SessionId(1));
        sessions.verify(&Registry::default(), None);
    }
}

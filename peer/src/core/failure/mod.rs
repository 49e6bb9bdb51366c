//! The first tier of failure detection: doubts about members, weighed with others.
//!
//! ```text
//! a link breaks, or pings go unanswered --> suspicion --> own probe, and a jury of up to seven
//!                                                           |
//!                        more than half dead, or undecided  |  too many alive
//!                              DEAD_REPORT to a seed <------+------> dropped
//! ```
//!
//! After SWIM (Das, Gupta, Motivala, DSN 2002), whose indirect pings are our jury, and Lifeguard (2018), whose local
//! health is ours. Where they differ: no member is removed here. A report makes the seeds find out for themselves
//! (`seed/core/leader`), and only what they commit is believed.
//!
//! A doubt makes work, and work makes a machine slow, which looks dead to others. So what is known already answers
//! first (`acquittals`), all probes are drawn from one budget (`probes`), who cannot tell says so and is replaced
//! once (`jury`), and who was found alive is left alone for a while (`cool_down`). Proof needs none of that: a
//! refused connection decides at once.
//!
//! *Owns.* A detector for each link, the suspicions, the probes under way, which connections broke lately, who was
//! found alive just now, who is not to be accused again yet, and how well this peer itself is.
//!
//! *May read.* The context, membership (who may be suspected at all), and the overlay (over which links to ask).
//!
//! *Never.* Tells a seed anything, ends a link, or changes the view.

mod acquittals;
mod cool_down;
mod detector;
mod jury;
mod link_watch;
mod probes;
mod pursuit;
mod question;
mod reporting;
mod round_trips;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::limits::SUSPICIONS_MAX;
use coterie_common::message::Cause;
use coterie_common::{Address, Finding, HostEvidence, Instant, Life, Line, MemberId, Refusal, Why};
use rand::RngExt;

pub(crate) use probes::Asker;
pub(crate) use question::Question;

use cool_down::CoolDown;
use jury::Suspicion;
use link_watch::LinkWatch;
use probes::Probes;

use crate::core::context::Context;
use crate::core::effect::Effect;
use crate::core::membership::Membership;
use crate::core::overlay::{Link, Linked, Overlay};

/// What this peer thinks of others, and of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureDetection {
    links: LinkWatch,
    /// Invariant: of members in the view, at most [`SUSPICIONS_MAX`]. In the order of addresses, in which they are
    /// pursued.
    suspicions: BTreeMap<MemberId, Suspicion>,
    probes: Probes,
    cool_down: CoolDown,
}

/// What becomes of a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raised {
    /// It is there already, or that member is to be left alone, or it is one too many.
    Nothing,
    /// To be hinted at, and probed.
    Suspicion,
    /// One question, whose answer may be proof: that member is left alone, and a connection to it broke or was refused.
    Question,
}

impl FailureDetection {
    /// Whom it suspects.
    pub(crate) fn suspicions(&self) -> impl ExactSizeIterator<Item = MemberId> + '_ {
        self.suspicions.keys().copied()
    }

    /// Whether it suspects that member.
    pub(crate) fn is_suspected(&self, id: MemberId) -> bool {
        self.suspicions.contains_key(&id)
    }

    /// Whether that member is not to be dialled: it is suspected, or the seeds have just refused to remove it.
    pub(crate) fn leaves_alone(&self, now: Instant, id: MemberId) -> bool {
        self.cool_down.covers(now, id) || self.suspicions.contains_key(&id)
    }

    // ---- links ----

    /// The loop wished to run at `deadline` and runs now: if it is late, no link is to blame for its silence.
    /// Returns for how long it stood still.
    #[must_use]
    pub(crate) fn woke(&mut self, cx: &mut Context, deadline: Instant) -> Option<Duration> {
        self.links.woke(cx, deadline)
    }

    /// A link came up, or its connection is another one.
    pub(crate) fn linked(&mut self, cx: &mut Context, linked: &Linked) {
        if linked.is_new {
            self.links.begin(cx, linked);
            self.met_again(cx, linked.id);
        }
        self.links.greeted(cx, linked);
    }

    /// The last connection of a link broke.
    pub(crate) fn link_broke(&mut self, now: Instant, id: MemberId) {
        self.links.end(id);
        self.probes.broke(now, id);
    }

    /// A link is no more, by the will of one of its ends. Nothing is to be thought of its neighbour for that.
    pub(crate) fn link_gone(&mut self, id: MemberId) {
        self.links.end(id);
    }

    /// Pings quiet links; returns those that answered no ping, and what that is called.
    #[must_use]
    pub(crate) fn silent_links(&mut self, cx: &mut Context, overlay: &Overlay) -> Vec<(MemberId, Cause)> {
        let busy: BTreeSet<Address> = self.suspicions.values().flat_map(Suspicion::owing).collect();
        self.links.silent(cx, overlay, &busy)
    }

    /// A silent link is to be left alone for now: it is pinged anew, so that it is looked at again.
    pub(crate) fn look_again(&mut self, now: Instant, id: MemberId) {
        self.links.look_again(now, id);
    }

    // ---- suspicions ----

    /// Begins to suspect a member, if it is one and nothing stands against that.
    #[must_use]
    pub(crate) fn suspect(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        id: MemberId,
        cause: Cause,
    ) -> Raised {
        if members.view().get(id).is_none() || !members.is_member() {
            return Raised::Nothing;
        }
        if let Some(suspicion) = self.suspicions.get_mut(&id) {
            cx.count("suspicions_joined");
            // Who was silent and then broke off may have died since others found it alive.
            let is_news = suspicion.breaks(cx.now, cause);
            return if is_news { Raised::Suspicion } else { Raised::Nothing };
        }
        if self.cool_down.covers(cx.now, id) {
            cx.count("suspicions_cooling_down");
            let is_asked = cause.is_break() && self.cool_down.may_ask(cx.now, id);
            return if is_asked { Raised::Question } else { Raised::Nothing };
        }
        if self.suspicions.len() >= SUSPICIONS_MAX.get() {
            cx.count("suspicions_over_limit");
            return Raised::Nothing;
        }
        let line = Line::new("SUSPICION").with("suspect", id.address).with("incarnation", id.incarnation);
        cx.log(line.show("cause", cause));
        let others = members.view().len() - 1;
        self.suspicions.insert(id, Suspicion::new(cx.now, id, cause, others, cx.config.patience));
        Raised::Suspicion
    }

    /// The seeds refused to remove a member. Only that they reach it is an acquittal: whatever else was wrong with the
    /// report, it is reported again.
    pub(crate) fn report_rejected(&mut self, cx: &mut Context, dead: MemberId, refusal: &Refusal) {
        if !self.suspicions.contains_key(&dead) {
            return;
        }
        match refusal.why {
            Why::Alive => self.cool_down.begin(cx.now, dead),
            Why::NotMember => {}
            _ => return cx.count("reports_undecided"),
        }
        cx.count("reports_rejected");
        self.drop_suspicion(cx, dead, &refusal.to_string());
    }

    /// The seeds can decide again, who could not: what they did not answer is reported again at once.
    pub(crate) fn report_again(&mut self, now: Instant) {
        self.suspicions.values_mut().for_each(|suspicion| suspicion.report_again(now));
    }

    /// Its probe may run on, for others may have asked for it too.
    fn drop_suspicion(&mut self, cx: &mut Context, id: MemberId, reason: &str) {
        let dropped = self.suspicions.remove(&id);
        assert!(dropped.is_some(), "{id} is suspected no longer, and was not: {reason}");
        cx.log(Line::new("SUSPICION_DROPPED").with("suspect", id.address).with("reason", reason));
        // The link may still be there, and silent: it is pinged anew.
        self.look_again(cx.now, id);
    }

    /// A frame came from a life on a new link: whatever was thought of it, it lives.
    fn met_again(&mut self, cx: &mut Context, id: MemberId) {
        self.probes.is_back(id);
        if self.suspicions.remove(&id).is_some() {
            cx.log(Line::new("SUSPICION_DROPPED").with("suspect", id.address).with("reason", "heard"));
        }
    }

    // ---- probes ----

    /// Somebody asks for this peer's vote: it is answered at once where no probe is needed, else when the probe has
    /// ended.
    pub(crate) fn asked(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        question: Question,
        cause: Cause,
    ) {
        let Some(id) = members.member_named(question.suspect) else {
            // As far as this peer was told. It may be behind; the other jurors and the seeds judge too.
            return question.answer(cx, false, "not_member");
        };
        if id.address == cx.me {
            return question.answer(cx, true, "self");
        }
        if let Some(found) = self.probes.known(cx.now, &self.links, id, cause) {
            cx.count("questions_answered_from_memory");
            return question.answer(cx, true, found);
        }
        // By the link that it came on, where there is one: a message may name anybody.
        let asker = overlay.link_on(question.connection).map_or(question.requester, |link| link.id.address);
        let asker = match members.view().at(asker) {
            Some(_) => Asker::Other(asker),
            None => Asker::Stranger,
        };
        match self.probe(cx, members, overlay, (id, cause), asker) {
            true => self.probes.wait(cx, id, question),
            false => question.answer_undecided(cx),
        }
    }

    /// Probes a member, which must be in the view, or joins the probe that is under way. False: as many are under way
    /// as may be.
    pub(crate) fn probe(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        about: (MemberId, Cause),
        asker: Asker,
    ) -> bool {
        let begins = self.probes.begin(cx, (members, overlay), &mut self.links, about, asker);
        if !begins && asker == Asker::Oneself {
            self.own_undecided(cx, about.0);
        }
        begins
    }

    /// This peer's own look at a suspect came to nothing: it is due again after a pause.
    fn own_undecided(&mut self, cx: &mut Context, id: MemberId) {
        let chance = cx.rng.random();
        if let Some(suspicion) = self.suspicions.get_mut(&id) {
            suspicion.own_undecided(cx.now, chance);
        }
    }

    /// A probe has ended. Returns whether it proves a member dead whom this peer leaves alone. `has_seed`: whether a
    /// seed was heard lately.
    #[must_use]
    pub(crate) fn probed(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        has_seed: bool,
        target: MemberId,
        found: (Finding, HostEvidence),
    ) -> bool {
        let Some((asker, finding)) = self.probes.ended(cx, &mut self.links, has_seed, target, found) else {
            return false;
        };
        let Some(dead) = finding.is_dead() else {
            cx.count("probes_abstained");
            self.own_undecided(cx, target);
            return false;
        };
        if let (Some(suspicion), Some(me)) = (self.suspicions.get_mut(&target), members.id()) {
            suspicion.own_vote(me, dead);
            return false;
        }
        // Its connection broke, and another is refused: whoever acquitted it did so before.
        let is_proof = matches!(finding, Finding::Refused | Finding::OtherLife(_))
            && (asker == Asker::Proof || self.probes.broke_lately(cx.now, target))
            && self.cool_down.covers(cx.now, target);
        if is_proof {
            self.cool_down.end(cx.now, target);
        }
        is_proof
    }

    /// A frame came over a link: a sign of life, whatever it says. `pong` holds the nonce and the life that a PONG
    /// names, if it was one.
    pub(crate) fn heard(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        link: &Link,
        pong: Option<(u64, Option<Life>)>,
    ) {
        let asked = self.links.heard(cx.now, link.id, pong.map(|(nonce, _)| nonce));
        // A JSON program names no life, so any PONG of it will do.
        let is_same = pong.is_some_and(|(_, life)| life.is_none_or(|life| life == link.life));
        if is_same && asked.is_some_and(|asked| self.probes.is_answered_by(link.id, asked)) {
            // The link has answered the probe before its own connections did.
            cx.want(Effect::CancelProbe(link.id));
            let found = (Finding::Alive, HostEvidence::Unknown);
            let is_proof = self.probed(cx, members, true, link.id, found);
            assert!(!is_proof, "{} has answered, and is proved dead", link.id);
        }
    }

    // ---- ends ----

    /// A life is over: it goes from every table, and who asked about it is answered. It has no link any more.
    pub(crate) fn life_ended(&mut self, cx: &mut Context, id: MemberId) {
        self.links.forget(id);
        self.suspicions.remove(&id);
        self.cool_down.forget(id);
        self.probes.life_ended(cx, id);
    }

    /// All links are gone: this peer ends, or is somebody else from now on.
    pub(crate) fn all_links_gone(&mut self) {
        self.links.clear();
    }

    /// This peer is somebody else from now on: what it thought of others was thought by a life that is over.
    pub(crate) fn begin_anew(&mut self, cx: &mut Context) {
        self.suspicions.clear();
        self.cool_down = CoolDown::default();
        self.probes.begin_anew(cx);
    }

    // ---- time ----

    /// When something is due.
    pub(crate) fn deadline(&self, now: Instant, may_report: bool) -> Instant {
        let cool_down = self.cool_down.deadline(now).unwrap_or(Instant::NEVER);
        self.links.deadline(now).min(cool_down).min(self.suspicions_deadline(now, may_report))
    }

    fn suspicions_deadline(&self, now: Instant, may_report: bool) -> Instant {
        let deadlines = self.suspicions.values().filter(|s| may_report || !s.is_reported());
        let deadlines = deadlines.map(Suspicion::deadline);
        // With nobody to report to, what is due waits for a session that comes up, and not for time.
        deadlines.filter(|at| may_report || *at > now).min().unwrap_or(Instant::NEVER)
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self, members: &Membership, overlay: &Overlay) {
        let linked: Vec<MemberId> = overlay.links().map(|link| link.id).collect();
        assert_eq!(linked, self.links.watched(), "links, and their detectors");
        let suspected = self.suspicions.len();
        assert!(suspected <= SUSPICIONS_MAX.get(), "{suspected} suspicions, {SUSPICIONS_MAX} are the most");
        for id in self.suspicions.keys() {
            assert!(members.view().get(*id).is_some(), "{id} is suspected and no member");
        }
        self.probes.verify();
    }
}

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
//! *Owns.* A detector for each link, the suspicions, the probes under way, which connections broke lately, who is not
//! to be accused again yet, and how well this peer itself is.
//!
//! *May read.* The context, membership (who may be suspected at all), and the overlay (over which links to ask).
//!
//! *Never.* Tells a seed anything, ends a link, or changes the view.

mod cool_down;
mod detector;
mod jury;
mod link_watch;
mod local_health;
mod probes;
mod round_trips;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::limits::{JURY_MAX, SUSPICIONS_MAX};
use coterie_common::message::{Cause, DeathReport, LinkMessage};
use coterie_common::{Address, Instant, Line, MemberId, Message, Refusal, Why, Wire};
use rand::RngExt;

pub(crate) use probes::Question;

use cool_down::CoolDown;
use jury::{JuryResult, Suspicion};
use link_watch::LinkWatch;
use probes::{QUESTIONS_MAX, RunningProbe};

use crate::core::context::Context;
use crate::core::effect::Effect;
use crate::core::membership::Membership;
use crate::core::overlay::{Linked, Overlay};

/// How long a broken connection is a reason for a shorter probe: about as long as what follows from it takes.
const BREAK_COUNTS_FOR: Duration = Duration::from_secs(2);

/// What this peer thinks of others, and of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureDetection {
    links: LinkWatch,
    /// Invariant: of members in the view, at most [`SUSPICIONS_MAX`]. In the order of addresses, in which they are
    /// pursued.
    suspicions: BTreeMap<MemberId, Suspicion>,
    /// Own ones, and those that others asked for.
    probes: BTreeMap<MemberId, RunningProbe>,
    /// Lives whose connection to us broke, and when: a probe of them must open another soon.
    broke: BTreeMap<MemberId, Instant>,
    cool_down: CoolDown,
}

/// A report that is to be sent to a seed.
#[derive(Debug)]
pub(crate) struct DueReport {
    /// How many were made before: each goes to another seed.
    pub(crate) turn: usize,
    pub(crate) report: DeathReport,
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
    pub(crate) fn woke(&mut self, cx: &mut Context, deadline: Instant) {
        self.links.woke(cx, deadline);
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
        self.broke.insert(id, now);
    }

    /// A link is no more, by the will of one of its ends. Nothing is to be thought of its neighbour for that.
    pub(crate) fn link_gone(&mut self, id: MemberId) {
        self.links.end(id);
    }

    /// Pings quiet links; returns those that were silent through all pings.
    #[must_use]
    pub(crate) fn silent_links(&mut self, cx: &mut Context, overlay: &Overlay) -> Vec<MemberId> {
        let busy: BTreeSet<Address> = self.suspicions.values().flat_map(Suspicion::owing).collect();
        self.links.silent(cx, overlay, &busy)
    }

    /// A silent link is to be left alone for now: it is pinged anew, so that it is looked at again.
    pub(crate) fn look_again(&mut self, now: Instant, id: MemberId) {
        self.links.look_again(now, id);
    }

    // ---- suspicions ----

    /// Begins to suspect a member. False if it is none, is suspected already, is to be left alone, or is one too many.
    #[must_use]
    pub(crate) fn suspect(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        id: MemberId,
        cause: Cause,
    ) -> bool {
        if members.view().get(id).is_none() || !members.is_member() {
            return false;
        }
        if self.suspicions.contains_key(&id) {
            cx.count("suspicions_joined");
            return false;
        }
        if self.cool_down.covers(cx.now, id) {
            return false;
        }
        if self.suspicions.len() >= SUSPICIONS_MAX {
            cx.count("suspicions_over_limit");
            return false;
        }
        let line = Line::new("SUSPICION").with("suspect", id.address).with("incarnation", id.incarnation);
        cx.log(line.show("cause", cause));
        let others = members.view().len() - 1;
        self.suspicions.insert(id, Suspicion::new(cx.now, id, cause, others, cx.config.patience));
        true
    }

    /// Whom it suspects, each to be pursued. Breaks that are too old to count are forgotten.
    pub(crate) fn suspects(&mut self, now: Instant) -> Vec<MemberId> {
        self.broke.retain(|_, at| now.since(*at) < BREAK_COUNTS_FOR);
        self.suspicions.keys().copied().collect()
    }

    /// Asks jurors, reports, or gives up, as far as the suspicion has come. `may_report`: a seed is there to be told.
    #[must_use]
    pub(crate) fn pursue(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        overlay: &Overlay,
        may_report: bool,
        id: MemberId,
    ) -> Option<DueReport> {
        self.fill_jury(cx, members, overlay, id);
        let suspicion = self.suspicion(id);
        let is_undecided = match suspicion.result(cx.now) {
            // What was reported stands: votes that come late stop it no more, only the seeds' answer, a new link or
            // the end of that life does.
            _ if suspicion.is_reported() => false,
            JuryResult::Dead => false,
            JuryResult::Undecided => true,
            JuryResult::Pending => return None,
            JuryResult::Alive => {
                cx.count("juries_alive");
                self.drop_suspicion(cx, id, "alive");
                return None;
            }
        };
        // With nobody to tell, the report is not counted as made, and is due when a session comes up.
        if may_report { self.due_report(cx, id, is_undecided) } else { None }
    }

    fn suspicion(&mut self, id: MemberId) -> &mut Suspicion {
        let suspicion = self.suspicions.get_mut(&id);
        let Some(suspicion) = suspicion else { panic!("{id} is pursued and not suspected") };
        suspicion
    }

    /// Fills the empty seats of a jury: neighbours first, then anybody.
    fn fill_jury(&mut self, cx: &mut Context, members: &Membership, overlay: &Overlay, id: MemberId) {
        let suspicion = self.suspicion(id);
        let mut wanted = suspicion.wants(cx.now);
        assert!(wanted < JURY_MAX, "{wanted} jurors are wanted, {JURY_MAX} are a whole jury");
        if wanted == 0 {
            return;
        }
        let cause = suspicion.cause;
        let is_free =
            |other: MemberId| other.address != cx.me && other != id && !suspicion.has_asked(other.address);
        let mut candidates: Vec<(bool, u32, MemberId, Wire)> = members
            .view()
            .members()
            .filter(|m| is_free(m.id))
            // False sorts first: neighbours, over open connections. Then chance decides, so that no peer is asked
            // about all.
            .map(|m| (overlay.link_with(m.id.address).is_none(), cx.rng.random(), m.id, m.wire))
            .collect();
        candidates.sort_unstable();
        let broke = cause.is_break();
        // Another takes the place of one that has not found a gone host gone by then; whose host accepts connections
        // may take longer, and its vote counts all the same.
        let borne = cx.config.patience;
        let grace = borne.juror_grace();
        let replaced_after = borne.for_opening(broke, 0.0, false) + grace;
        let patience = borne.for_probe(0.0, false) + grace;
        for (_, _, juror, wire) in candidates {
            if wanted == 0 {
                return;
            }
            wanted -= 1;
            suspicion.asked(juror, wire, cx.now + replaced_after);
            if suspicion.has_replaced() {
                cx.count("witnesses_replaced");
            }
            let message = LinkMessage::SuspectRequest {
                suspect: id,
                cause,
                requester: cx.me,
                cluster: members.cluster(),
            };
            match overlay.link_with(juror.address) {
                Some(link) => cx.send(link.connection, Message::Link(message)),
                None => cx.want(Effect::Ask { juror: juror.address, wire, message, patience }),
            }
        }
        // Every member was asked: the result need not wait for the end of the time.
        suspicion.nobody_left();
    }

    /// A juror has voted.
    pub(crate) fn voted(
        &mut self,
        cx: &mut Context,
        members: &Membership,
        juror: Address,
        suspect: MemberId,
        alive: bool,
    ) {
        // A vote may come when its suspect is a member no longer, or suspected no longer.
        let Some(id) = members.member_named(suspect) else { return };
        let Some(suspicion) = self.suspicions.get_mut(&id) else { return };
        if !suspicion.vote(juror, !alive) {
            return cx.count("votes_unasked");
        }
        cx.log(
            Line::new("SUSPECT_RESPONSE")
                .with("suspect", id.address)
                .with("from", juror)
                .with("alive", alive)
                .with("dead_votes", suspicion.dead_votes())
                .with("jury", suspicion.jury),
        );
    }

    /// The report, the first or a repeated one, if it is due.
    fn due_report(&mut self, cx: &mut Context, id: MemberId, is_undecided: bool) -> Option<DueReport> {
        let now = cx.now;
        let suspicion = self.suspicion(id);
        if !suspicion.report_is_due(now) {
            return None;
        }
        let undecided = is_undecided || suspicion.dead_votes() < suspicion.needed();
        let made = suspicion.reports();
        assert!(made > 0, "a report about {id} is due and counts as not made");
        let turn = made - 1;
        let report = DeathReport {
            dead: id,
            suspected: Some(cx.wall(suspicion.since)),
            timestamp: cx.wall(now),
            cause: suspicion.cause,
            votes: suspicion.votes(),
            undecided,
        };
        cx.log(report.line(id, cx.me));
        match turn {
            0 if undecided => cx.count("juries_undecided"),
            0 => {}
            _ => cx.count("reports_repeated"),
        }
        Some(DueReport { turn, report })
    }

    /// The seeds refused to remove a member: they reach it. That none could decide is no answer: it is reported again.
    pub(crate) fn report_rejected(&mut self, cx: &mut Context, dead: MemberId, refusal: &Refusal) {
        if refusal.why == Why::NoQuorum {
            return cx.count("reports_undecided");
        }
        if self.suspicions.contains_key(&dead) {
            cx.count("reports_rejected");
            self.cool_down.begin(cx.now, dead);
            self.drop_suspicion(cx, dead, &refusal.to_string());
        }
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
        self.cool_down.forget(id);
        self.broke.remove(&id);
        if self.suspicions.remove(&id).is_some() {
            cx.log(Line::new("SUSPICION_DROPPED").with("suspect", id.address).with("reason", "heard"));
        }
    }

    // ---- ends ----

    /// A life is over: it goes from every table, and who asked about it is answered. It has no link any more.
    pub(crate) fn life_ended(&mut self, cx: &mut Context, id: MemberId) {
        self.links.forget(id);
        self.suspicions.remove(&id);
        self.broke.remove(&id);
        self.cool_down.forget(id);
        self.end_probe_of(cx, id);
    }

    /// All links are gone: this peer ends, or is somebody else from now on.
    pub(crate) fn all_links_gone(&mut self) {
        self.links.clear();
    }

    /// This peer is somebody else from now on: what it thought of others was thought by a life that is over.
    pub(crate) fn begin_anew(&mut self, cx: &mut Context) {
        self.suspicions.clear();
        self.broke.clear();
        self.cool_down = CoolDown::default();
        // Who asked gets no answer: the connections of the old life were closed, and another is asked in its place.
        for id in std::mem::take(&mut self.probes).into_keys() {
            cx.want(Effect::CancelProbe(id));
        }
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
        assert!(suspected <= SUSPICIONS_MAX, "{suspected} suspicions, {SUSPICIONS_MAX} are the most");
        for id in self.suspicions.keys() {
            assert!(members.view().get(*id).is_some(), "{id} is suspected and no member");
        }
        for (id, probe) in &self.probes {
            let asked = probe.questions.len();
            assert!(asked <= QUESTIONS_MAX, "{asked} questions about {id}, {QUESTIONS_MAX} are the most");
        }
    }
}

//! Probing a suspect, for oneself and for those who ask for this peer's vote.
//!
//! One probe of a member is under way at most, and serves everybody who wants to know. It is made of some connections
//! of its own; where there is a link with the suspect, a ping on that counts too.
//!
//! In SWIM the one who suspects and those it asks all ping the suspect. So it is here, with one difference: each
//! opens connections of its own, for the one that is open may be what is broken.
//!
//! The first connection of a probe is free, for it may bring proof. More of them are drawn from the budget of this
//! peer: its own suspicions may take all of it, those who ask leave it a part, and none of them takes all of theirs.
//! Who finds no place is told that this peer cannot tell, unless the first connection decides.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::PROBES_MAX;
use coterie_common::message::Cause;
use coterie_common::{
    Address, Allowance, Budget, Effort, Finding, HostEvidence, Instant, MemberId, Message, ProbeOrder,
    UnderWay,
};

use super::acquittals::Acquittals;
use super::link_watch::LinkWatch;
use super::question::Question;
use crate::core::context::Context;
use crate::core::effect::Effect;
use crate::core::membership::Membership;
use crate::core::overlay::Overlay;

/// Questions about one suspect that wait for one probe: more than a jury asks (a guess).
const QUESTIONS_MAX: Knob<usize> = Knob::new("QUESTIONS_MAX", 64);

/// What doubts may cost a peer that is well: so many probes at a time, each with seven connections beyond its first,
/// and twice as many in a second (starting points).
const ALLOWANCE: Knob<Allowance> = Knob::new("ALLOWANCE", Allowance { probes: 16, connections: 256 });

/// Of one that is not well, that many probes remain.
const PROBES_MIN: Knob<usize> = Knob::new("peer/probes/PROBES_MIN", 8);

/// Those who ask leave a quarter of the budget to this peer's own suspicions.
const ASKED_SHARE: (usize, usize) = (3, 4);

/// Probes of one asker at a time that take from the budget.
const PROBES_OF_ASKER_MAX: Knob<usize> = Knob::new("PROBES_OF_ASKER_MAX", 4);

/// How long a broken connection is a reason for a shorter probe: about as long as what follows from it takes.
const BREAK_COUNTS_FOR: Knob<Duration> = Knob::new("BREAK_COUNTS_FOR", Duration::from_secs(2));

/// A frame that came so lately, or within two round trips, says that its sender lives.
const HEARD_LATELY: Knob<Duration> = Knob::new("peer/probes/HEARD_LATELY", Duration::from_millis(100));

/// For whom a probe is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A suspicion of this peer.
    Oneself,
    /// Another member, who asks for this peer's vote.
    Other(Address),
    /// Somebody who is no member: not even one connection is free.
    Stranger,
    /// Nobody suspects it yet: one connection is to bring proof, or nothing follows.
    Proof,
}

/// A probe under way, and who wants to know.
#[derive(Clone, Debug)]
struct RunningProbe {
    /// Says what a result is still worth when it comes.
    probe: UnderWay,
    asker: Asker,
    /// None where only this peer wants to know.
    questions: Vec<Question>,
}

/// The probes under way, and what is known without one.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    /// Own ones, and those that others asked for. At most [`PROBES_MAX`].
    running: BTreeMap<MemberId, RunningProbe>,
    budget: Budget,
    acquittals: Acquittals,
    /// Lives whose connection to us broke, and when: a probe of them must open another soon.
    broke: BTreeMap<MemberId, Instant>,
}

impl Probes {
    // ---- what is known ----

    /// The connection to a life broke.
    pub(super) fn broke(&mut self, now: Instant, id: MemberId) {
        self.broke.insert(id, now);
        // What was found is of before.
        self.acquittals.forget(id);
    }

    /// It is connected again.
    pub(super) fn is_back(&mut self, id: MemberId) {
        self.broke.remove(&id);
    }

    /// Whether the connection to that life broke lately.
    pub(super) fn broke_lately(&self, now: Instant, id: MemberId) -> bool {
        self.broke.get(&id).is_some_and(|at| now.since(*at) < BREAK_COUNTS_FOR.get())
    }

    /// Forgets what is too old to count.
    pub(super) fn expire(&mut self, now: Instant) {
        self.broke.retain(|_, at| now.since(*at) < BREAK_COUNTS_FOR.get());
        self.acquittals.expire(now);
    }

    /// What is known of a life without looking, where nobody's connection to it broke. A frame of the last moment
    /// speaks against silence alone, and only where this peer has not itself stood still: it may have waited here.
    pub(super) fn known(
        &self,
        now: Instant,
        links: &LinkWatch,
        id: MemberId,
        cause: Cause,
    ) -> Option<&'static str> {
        if cause.is_break() {
            return None;
        }
        if self.acquittals.holds(now, id) {
            return Some("answered_before");
        }
        let lately =
            links.round_trip(id).map_or(HEARD_LATELY.get(), |trip| (trip * 2).max(HEARD_LATELY.get()));
        let is_heard = links.quiet_for(now, id).is_some_and(|quiet| quiet <= lately);
        (cause.is_silence() && is_heard && !links.local_health().is_unwell(now)).then_some("heard")
    }

    // ---- probes ----

    /// Probes a member, which must be in the view, or joins the probe that is under way. What is known of the way
    /// there decides how long it may take: the round trip, this peer's own health, and whether a connection has just
    /// broken. False: as many are under way as may be.
    #[must_use]
    pub(super) fn begin(
        &mut self,
        cx: &mut Context,
        (members, overlay): (&Membership, &Overlay),
        links: &mut LinkWatch,
        (id, cause): (MemberId, Cause),
        asker: Asker,
    ) -> bool {
        if self.running.contains_key(&id) {
            return true;
        }
        if self.running.len() >= PROBES_MAX.get() {
            cx.count("probes_over_limit");
            return false;
        }
        let member = members.view().get(id);
        let Some(member) = member else { panic!("{id} is probed, and no member") };
        let broke = self.broke_lately(cx.now, id) || cause.is_break();
        let health = links.local_health();
        let (loss, unwell) = (health.loss(), health.is_unwell(cx.now));
        let patience = cx.config.patience;
        let mut order = ProbeOrder {
            address: id.address,
            life: member.life,
            wire: member.wire,
            patience: patience.for_probe(loss, unwell),
            open_within: patience.for_opening(broke, loss, unwell),
            round_trip: Duration::ZERO,
            effort: Effort::Whole,
        };
        if let Some(round_trip) = links.round_trip(id) {
            // Enough of its connections must have the time to open.
            order.open_within = order.open_within.max(round_trip * 8).min(order.patience);
            order.round_trip = round_trip;
        }
        let own = ALLOWANCE.get().shared_by(health.score(cx.now), PROBES_MIN.get());
        order.effort = self.effort_for(cx.now, asker, own, order.opens_at().len());
        if asker == Asker::Stranger && order.effort == Effort::FirstOnly {
            return false;
        }
        if order.effort == Effort::FirstOnly {
            cx.count("probes_of_one_connection");
        }
        if let Some(link) = overlay.link_with(id.address).filter(|link| link.id == id) {
            // The open link counts as one of the probe's connections.
            let nonce = links.ping(cx.now, id);
            cx.send(link.connection, Message::Ping { nonce });
        }
        let probe = UnderWay::new(cx.now, &order);
        self.running.insert(id, RunningProbe { probe, asker, questions: Vec::new() });
        cx.want(Effect::Probe { target: id, order });
        true
    }

    fn effort_for(&mut self, now: Instant, asker: Asker, own: Allowance, connections: usize) -> Effort {
        let allowance = match asker {
            Asker::Proof => return Effort::FirstOnly,
            Asker::Oneself => own,
            Asker::Other(_) | Asker::Stranger => {
                let is_his = |running: &&RunningProbe| {
                    running.asker == asker && running.probe.effort() == Effort::Whole
                };
                if self.running.values().filter(is_his).count() >= PROBES_OF_ASKER_MAX.get() {
                    return Effort::FirstOnly;
                }
                Allowance { probes: own.probes * ASKED_SHARE.0 / ASKED_SHARE.1, ..own }
            }
        };
        assert!(allowance.probes > 0, "{asker:?} may not probe at all");
        self.budget.begin(now, allowance, connections)
    }

    /// Somebody waits for the probe of `id`, which must be under way.
    pub(super) fn wait(&mut self, cx: &mut Context, id: MemberId, question: Question) {
        let running = self.running.get_mut(&id);
        let Some(running) = running else { panic!("{} waits for a probe of {id}", question.requester) };
        if running.questions.len() < QUESTIONS_MAX.get() {
            running.questions.push(question);
        } else {
            cx.count("suspect_requests_over_limit");
            question.answer_undecided(cx);
        }
    }

    /// Whether a PONG that answers a ping of that time answers the probe of `id`. What was asked before it began tells
    /// how it was then: the answer may have waited here for long.
    pub(super) fn is_answered_by(&self, id: MemberId, asked: Instant) -> bool {
        self.running.get(&id).is_some_and(|running| asked >= running.probe.began())
    }

    /// A probe has ended: for whom it was, and what it is worth. None: it was cancelled, and its result was on its
    /// way already. Who asked is answered; `has_seed`: who is cut off from all seeds may be the one that is cut off.
    pub(super) fn ended(
        &mut self,
        cx: &mut Context,
        links: &mut LinkWatch,
        has_seed: bool,
        target: MemberId,
        (finding, host): (Finding, HostEvidence),
    ) -> Option<(Asker, Finding)> {
        let RunningProbe { probe, asker, questions } = self.running.remove(&target)?;
        self.budget.end(probe.effort());
        let finding = weigh(cx.now, links, probe, finding);
        if finding == Finding::Alive {
            self.acquittals.note(probe.found_at(cx.now), target);
        }
        let found = match host {
            HostEvidence::Unknown => finding.to_string(),
            HostEvidence::Answers | HostEvidence::Silent => format!("{finding},host_{host}"),
        };
        for question in &questions {
            match finding.is_dead() {
                None => question.answer_undecided(cx),
                Some(true) if finding == Finding::Silent && !has_seed => question.answer_undecided(cx),
                Some(dead) => question.answer(cx, !dead, &found),
            }
        }
        Some((asker, finding))
    }

    /// The life that may be being probed is over: whoever asked about it is told.
    pub(super) fn life_ended(&mut self, cx: &mut Context, id: MemberId) {
        self.broke.remove(&id);
        self.acquittals.forget(id);
        if let Some(RunningProbe { probe, questions, .. }) = self.running.remove(&id) {
            self.budget.end(probe.effort());
            cx.want(Effect::CancelProbe(id));
            for question in &questions {
                question.answer(cx, false, "not_member");
            }
        }
    }

    /// This peer is somebody else from now on. Who asked gets no answer: the connections of the old life were closed,
    /// and another is asked in its place.
    pub(super) fn begin_anew(&mut self, cx: &mut Context) {
        for id in std::mem::take(self).running.into_keys() {
            cx.want(Effect::CancelProbe(id));
        }
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self) {
        for (id, running) in &self.running {
            let asked = running.questions.len();
            assert!(
                asked <= QUESTIONS_MAX.get(),
                "{asked} questions about {id}, {QUESTIONS_MAX} are the most"
            );
        }
        let probes = self.running.len();
        assert!(probes <= PROBES_MAX.get(), "{probes} probes, {PROBES_MAX} are the most");
        let is_whole = |running: &&RunningProbe| running.probe.effort() == Effort::Whole;
        let whole = self.running.values().filter(is_whole).count();
        assert_eq!(whole, self.budget.under_way(), "probes with all connections, and what the budget counts");
    }
}

/// What a finding is worth: silence none where this peer was late, had not all its connections, or hears hardly anybody
/// at all.
fn weigh(now: Instant, links: &mut LinkWatch, probe: UnderWay, found: Finding) -> Finding {
    let finding = probe.weigh(now, found);
    let was_late = found == Finding::Silent && finding == Finding::CannotProbe;
    if found == Finding::CannotProbe || was_late && probe.effort() == Effort::Whole {
        links.could_not_probe(now);
    }
    match finding {
        Finding::Silent if links.doubts_itself(now) && !probe.follows_a_break() => Finding::CannotProbe,
        Finding::Silent
        | Finding::Alive
        | Finding::Refused
        | Finding::OtherLife(_)
        | Finding::CannotProbe => finding,
    }
}

//! How a seed looks for itself: by whose wish it probes, and what follows from what it found.

use std::collections::BTreeSet;
use std::time::Duration;

use coterie_common::limits::BALLOT_TIME_MAX;
use coterie_common::message::{Cause, SeedId};
use coterie_common::{
    Effort, Finding, HostEvidence, Member, MemberId, PROBE_CONNECTIONS, ProbeOrder, ProbeTarget, Wire,
};

use super::probes::{self, ProbePurpose, ProbeResult};
use super::vote::{vote_on_death, vote_on_joiner};
use super::{ProbeOutcome, Voter, target_of};
use crate::core::context::Context;
use crate::core::effect::Effect;
use crate::core::registry::Registry;

impl Voter {
    // ---- hints, and looking after members ----

    /// Somebody began to suspect a member: this seed probes it while the jury does, unless it does so already or has
    /// just found it dead.
    pub(crate) fn hint(&mut self, cx: &mut Context, registry: &Registry, suspect: MemberId, cause: Cause) {
        // It has ended, or is not admitted here yet: the ballot will tell.
        let Some(member) = registry.member(suspect) else { return cx.count("hints_dropped") };
        let (target, wire) = (target_of(member), member.wire);
        let is_known = |found| serves(found, cause.is_break());
        if self.probes.is_running(target) || self.probes.recent(cx.now, target).is_some_and(is_known) {
            return;
        }
        if self.probe(cx, registry, target, (wire, cause.is_break()), ProbePurpose::Result) {
            self.hinted.insert(target);
        }
    }

    /// The lives that were hinted at and are still being probed.
    pub(crate) fn hinted(&self) -> &BTreeSet<ProbeTarget> {
        &self.hinted
    }

    /// Looks after a member that has been quiet for long. A look, not a suspicion: nothing waits for it, and no death
    /// follows from it.
    pub(crate) fn look_after(&mut self, cx: &mut Context, registry: &Registry, member: &Member) {
        // One that finds no place is looked after at the next time.
        let _ = self.probe(cx, registry, target_of(member), (member.wire, false), ProbePurpose::Result);
    }

    /// Probes `target` for somebody who waits, unless a probe of it runs. In that case it is told with the others what
    /// that one finds. False: too many run.
    pub(super) fn probe(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        target: ProbeTarget,
        (wire, broke): (Wire, bool),
        purpose: ProbePurpose,
    ) -> bool {
        // Not stretched by losses of its own, as a peer's is: a seed measures none. But nothing is wrong with who takes
        // long to join: it may be one of a crowd.
        let is_joiner = matches!(purpose, ProbePurpose::Registration(..));
        let patience = cx.config.patience.for_probe(0.0, is_joiner);
        let open_within = cx.config.patience.for_opening(broke, 0.0, is_joiner);
        let ProbeTarget { address, life } = target;
        let (round_trip, effort) = (Duration::ZERO, Effort::Whole);
        let order = ProbeOrder { address, life, wire, patience, open_within, round_trip, effort };
        self.order(cx, registry, order, purpose)
    }

    fn order(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        order: ProbeOrder,
        purpose: ProbePurpose,
    ) -> bool {
        let allowance = probes::allowance(registry.members().len(), self.health.score(cx.now));
        match self.probes.want(cx.now, order, purpose, allowance) {
            Ok(None) => true,
            Ok(Some(order)) => {
                if order.effort == Effort::FirstOnly {
                    cx.count("probes_of_one_connection");
                }
                cx.want(Effect::Probe(order));
                true
            }
            Err(_) => {
                cx.count("probes_over_limit");
                false
            }
        }
    }

    /// A probe has ended: what follows from it, in the order in which it was asked for.
    #[must_use]
    pub(crate) fn probed(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        me: SeedId,
        target: ProbeTarget,
        (finding, host): (Finding, HostEvidence),
    ) -> Vec<ProbeOutcome> {
        let now = cx.now;
        // Before the votes: with the last hint gone, what is carried need not wait for it any more.
        self.hinted.remove(&target);
        // A member's address was reached when it joined; a stranger's may be one to which nobody here has a way.
        let is_member = registry.at(target.address).is_some();
        match finding {
            Finding::CannotProbe if is_member => {
                self.health.could_not_probe(now);
                self.inability.failed(now);
            }
            Finding::CannotProbe => {}
            Finding::Alive | Finding::Silent | Finding::Refused | Finding::OtherLife(_) => {
                self.inability.worked();
            }
        }
        let (mut found, mut purposes) = self.probes.ended(now, target, finding, host);
        // Who hears hardly anybody says nothing against the silent; a break is none of its own doing.
        if found.finding == Finding::Silent && self.health.silence_is_own(now) && !found.follows_a_break {
            found.finding = Finding::CannotProbe;
        }
        // One that was late is no hint's: this seed stood still, and says so.
        if found.finding == Finding::CannotProbe && finding == Finding::Silent && found.ended == now {
            purposes = self.look_again(cx, registry, target, purposes);
        }
        let ballot_time = cx.config.patience.scale(BALLOT_TIME_MAX.get());
        while let Some((order, purpose)) = self.probes.next_joiner(now, ballot_time) {
            self.order(cx, registry, order, purpose);
        }
        let outcome = |purpose| match purpose {
            ProbePurpose::Registration(leader, proposal) => {
                let reply = vote_on_joiner(now, me, &proposal, found, None);
                Some(ProbeOutcome::Vote { leader, reply })
            }
            ProbePurpose::Death(leader, proposal) => {
                Some(ProbeOutcome::Vote { leader, reply: vote_on_death(now, me, &proposal, found) })
            }
            // A look that could not tell changes nothing.
            ProbePurpose::Result => {
                let is_gone = found.finding.is_dead()?;
                Some(ProbeOutcome::Looked { target, is_gone })
            }
        };
        purposes.into_iter().filter_map(outcome).collect()
    }

    /// A hint's only connection was silent, and ballots wait for what it found: they come before hints, and get a probe
    /// of their own where there is room. Returns who gets none.
    fn look_again(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        target: ProbeTarget,
        purposes: Vec<ProbePurpose>,
    ) -> Vec<ProbePurpose> {
        let allowance = probes::allowance(registry.members().len(), self.health.score(cx.now));
        let may_look =
            !self.health.silence_is_own(cx.now) && self.probes.has_room(cx.now, allowance, PROBE_CONNECTIONS);
        let member = registry.at(target.address).filter(|member| member.life == target.life);
        let Some(wire) = member.map(|member| member.wire).filter(|_| may_look) else { return purposes };
        let is_ballot = |purpose: &ProbePurpose| matches!(purpose, ProbePurpose::Death(..));
        assert!(!self.probes.is_running(target), "a probe of {target:?} runs, and another is wanted");
        let (ballots, others): (Vec<_>, Vec<_>) = purposes.into_iter().partition(is_ballot);
        for purpose in ballots {
            self.probe(cx, registry, target, (wire, false), purpose);
        }
        others
    }
}

/// Whether what was found answers a doubt. That somebody was alive speaks against silence; against a break only where
/// the probe began after one, for it may have died since.
pub(super) fn serves(found: ProbeResult, broke: bool) -> bool {
    match found.finding.is_dead() {
        Some(true) => true,
        Some(false) => !broke || found.follows_a_break,
        None => false,
    }
}

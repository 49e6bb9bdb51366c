//! What a leader conducts: the ballots about joiners and about deaths, departures, and changes of the seeds.
//!
//! Thrown away at each election: votes never pass from one term to another. Who asked for something asks the next
//! leader.
//!
//! In Raft a leader orders what it is asked. This one asks first: most of what it proposes was carried by the seeds'
//! own probes. A leave and a change of the seeds are proposed without a ballot.
//!
//! *Owns.* What is under way in this term, and the numbers of its ballots.
//!
//! *May read.* The context, the registry, ballots, their pace, and the names of requests.
//!
//! *Never.* Probes anybody: the leader votes as every seed does (`seed/core/voter`). Answers nobody: it returns who
//! is to be told what.

mod death_ballot;
mod deaths;
mod departures;
mod joiner_queue;
mod registrations;
mod reports;
mod seed_changes;

use std::collections::BTreeSet;

use coterie_common::message::{
    BallotId, Candidate, Cause, DeathProposal, DeathReport, SeedChange, SeedId, VoteReply,
};
use coterie_common::{Instant, MemberId, ProbeTarget, Refusal};

pub(crate) use deaths::{Accusation, Closed};
pub(crate) use registrations::{Opened, Settled};
pub(crate) use reports::too_many_votes;
pub(crate) use seed_changes::check as check_seed_change;

use deaths::Deaths;
use departures::Departures;
use registrations::Registrations;
use seed_changes::SeedChanges;

use crate::core::ballot::{BallotNumbers, Proposal};
use crate::core::context::Context;
use crate::core::entry::Body;
use crate::core::pace::Pace;
use crate::core::registry::Registry;
use crate::core::request::RequestId;

/// What this seed has under way, if it leads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leader {
    /// The only thing that outlives an election, where the term remains the same.
    numbers: BallotNumbers,
    registrations: Registrations,
    deaths: Deaths,
    departures: Departures,
    seed_changes: SeedChanges,
}

impl Leader {
    /// There was an election: nothing stays. The count of ballots begins again with the term, not with the leader, so
    /// that no id is given twice. Nobody is told: the seeds that forwarded the requests own the retry.
    pub(crate) fn begin_anew(&mut self, new_term: Option<u64>) {
        let numbers = new_term.map_or(self.numbers, BallotNumbers::of);
        *self = Leader { numbers, ..Leader::default() };
    }

    // ---- ballots of both kinds ----

    /// What that seed was asked to vote on and has not.
    pub(crate) fn proposals_to(&self, registry: &Registry, seed: SeedId) -> Vec<Proposal> {
        let registrations = self.registrations.proposals_to(registry, seed);
        registrations.into_iter().chain(self.deaths.proposals_to(registry, seed)).collect()
    }

    // ---- registrations ----

    /// Somebody wants to be admitted, for those who asked. Whoever asks again for the same life joins the ballot about
    /// it.
    #[must_use]
    pub(crate) fn register(
        &mut self,
        cx: &Context,
        registry: &Registry,
        joiner: Candidate,
        requests: Vec<RequestId>,
    ) -> Opened {
        self.registrations.open(cx, &mut self.numbers, registry, joiner, requests)
    }

    /// The next joiner that waited, once the seeds can look at another. To be called until there is none.
    #[must_use]
    pub(crate) fn next_registration(&mut self, cx: &Context, registry: &Registry) -> Option<Opened> {
        self.registrations.open_next(cx, &mut self.numbers, registry)
    }

    /// A vote on a registration came. A carried ballot is proposed at once.
    #[must_use]
    pub(crate) fn count_registration(&mut self, cx: &mut Context, reply: VoteReply) -> Settled {
        self.registrations.count(cx, reply)
    }

    /// The next registration whose time is over. Each is named once, also one that was decided long before; to be
    /// called until there is none.
    pub(crate) fn next_registration_due(&mut self, now: Instant) -> Option<BallotId> {
        self.registrations.next_due(now)
    }

    /// Looks where a registration stands.
    #[must_use]
    pub(crate) fn settle_registration(&mut self, cx: &mut Context, id: BallotId) -> Settled {
        self.registrations.settle(cx, id)
    }

    /// What that registration was about has changed meanwhile, or its entry was not taken. Open, where no such ballot
    /// is: it was another leader's, or of another term.
    #[must_use]
    pub(crate) fn registration_outdated(&mut self, cx: &mut Context, id: BallotId) -> Settled {
        self.registrations.outdated(cx, id)
    }

    /// The log has decided about a registration: who is to be told. Nobody, at a seed that did not hold the ballot:
    /// every seed applies the entry.
    pub(crate) fn close_registration(&mut self, id: BallotId) -> Vec<RequestId> {
        self.registrations.close(id)
    }

    // ---- deaths ----

    /// Whether a report may open a ballot: about whom, or why not.
    pub(crate) fn check_report(
        &self,
        registry: &Registry,
        report: &DeathReport,
        reporter: MemberId,
        ended_lately: impl Fn(MemberId) -> bool,
    ) -> Result<MemberId, Refusal> {
        reports::check(registry, report, reporter, self.deaths.len(), ended_lately)
    }

    /// A death is reported, or a member is absent: what the seeds are to vote on, if no ballot about that life is open.
    #[must_use]
    pub(crate) fn open_death(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        (dead, cause): (MemberId, Cause),
        pace: Pace,
        accusation: Option<Accusation>,
    ) -> Option<DeathProposal> {
        self.deaths.open(cx, &mut self.numbers, registry, (dead, cause, accusation), pace)
    }

    /// The next one about whom the seeds are to be asked now, who were not before, or could not decide. The caller
    /// holds that ballot.
    #[must_use]
    pub(crate) fn next_death_due(&mut self, cx: &Context, pace: Pace) -> Option<MemberId> {
        self.deaths.next_due(cx, pace)
    }

    /// Another ballot about a death is held, on which the seeds are to vote.
    #[must_use]
    pub(crate) fn hold_death_again(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        dead: MemberId,
    ) -> DeathProposal {
        self.deaths.hold_again(cx, &mut self.numbers, registry, dead)
    }

    /// A vote on a death came; whether it counted. If it did, the caller settles what that may have decided.
    #[must_use]
    pub(crate) fn count_death(&mut self, cx: &mut Context, dead: MemberId, reply: VoteReply) -> bool {
        self.deaths.count(cx, dead, reply)
    }

    /// Marks the ballots about deaths that are carried or undecided; returns those that are lost. The caller closes
    /// them, for it answers.
    #[must_use]
    pub(crate) fn lost_deaths(&mut self, cx: &mut Context) -> Vec<(MemberId, Refusal)> {
        self.deaths.lost(cx)
    }

    /// Proposes the deaths that are carried; returns the ballots whose evidence is too old by now. The caller holds
    /// those again. `hinted`: lives that this seed's probes are about to tell of.
    #[must_use]
    pub(crate) fn propose_deaths(
        &mut self,
        cx: &mut Context,
        members: usize,
        hinted: &BTreeSet<ProbeTarget>,
    ) -> Vec<(MemberId, BallotId)> {
        self.deaths.propose_carried(cx, members, hinted)
    }

    /// The ballot about that life is over; none if there was none.
    pub(crate) fn close_death(&mut self, dead: MemberId) -> Option<Closed> {
        self.deaths.close(dead)
    }

    /// Whether this very ballot about that life is open. A ballot that was held again is another.
    pub(crate) fn holds_death(&self, dead: MemberId, ballot: BallotId) -> bool {
        self.deaths.holds(dead, ballot)
    }

    /// Whether any ballot about that life is open.
    pub(crate) fn has_death_open(&self, dead: MemberId) -> bool {
        self.deaths.is_open(dead)
    }

    /// How many ballots about deaths are open.
    pub(crate) fn open_deaths(&self) -> usize {
        self.deaths.len()
    }

    // ---- departures ----

    /// A member wants to leave. The caller has seen that it is one.
    pub(crate) fn depart(&mut self, cx: &mut Context, member: MemberId, request: RequestId) {
        self.departures.open(cx, member, request);
    }

    /// A departure is over, or has failed: who asked for it. Nobody, at a seed that was not asked.
    pub(crate) fn close_departure(&mut self, member: MemberId) -> Vec<RequestId> {
        self.departures.close(member)
    }

    // ---- the seeds ----

    /// A change of the seeds is asked for. False if it is made already. Then there is no entry to wait for, and the
    /// caller answers.
    pub(crate) fn change_seeds(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        is_available: impl Fn(SeedId) -> bool,
        change: (SeedChange, Option<SeedId>),
        request: RequestId,
    ) -> Result<bool, Refusal> {
        self.seed_changes.open(cx, registry, is_available, change, request)
    }

    /// An entry about the seeds is applied: who asked for it.
    pub(crate) fn close_seed_change(&mut self, body: &Body) -> Vec<RequestId> {
        self.seed_changes.close(body)
    }

    /// An entry about the seeds was not taken. Proposed again as it is: whether it still makes sense the registry
    /// tells.
    pub(crate) fn seed_change_failed(&mut self, cx: &mut Context, body: Body) {
        self.seed_changes.failed(cx, body);
    }

    /// Has the voters changed to those that the registry wants. Called at each upkeep, so it need not remember what an
    /// earlier leader began.
    pub(crate) fn settle_voters(&mut self, cx: &mut Context, registry: &Registry) {
        self.seed_changes.settle(cx, registry);
    }

    /// The log has one set of voters.
    pub(crate) fn voters_settled(&mut self) {
        self.seed_changes.voters_settled();
    }

    /// The voters were not changed.
    pub(crate) fn voters_unchanged(&mut self, cx: &mut Context) {
        self.seed_changes.voters_unchanged(cx);
    }

    /// When something is due. Of departures and changes of the seeds nothing is: upkeep looks after the latter.
    pub(crate) fn deadline(&self) -> Instant {
        self.registrations.deadline().min(self.deaths.deadline())
    }

    /// Checks what must hold between steps. `leads`: whether this seed leads.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self, registry: &Registry, leads: bool) {
        self.registrations.verify();
        self.deaths.verify(registry);
        self.departures.verify();
        let ballots = self.registrations.len() + self.deaths.len() + self.departures.len();
        assert!(leads || ballots == 0, "a seed that does not lead has {ballots} things under way");
    }
}

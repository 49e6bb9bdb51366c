//! What every seed does when it is asked: it checks a proposal, probes whom it is about, and votes.
//!
//! ```text
//! leader: proposal --> reached its index? --no--> waits until the registry has
//!                        | yes
//!                      cheap checks, then a probe of its own; or one that ended just now
//!                        |
//!                      vote, with what was found and how long ago
//! ```
//!
//! *Owns.* This seed's probes, the hints whose probe has not ended, the proposals that its registry has not reached,
//! and the votes that it has cast lately.
//!
//! *May read.* The context, the registry, and proposals.
//!
//! *Never.* Counts votes, or knows who leads: it answers whoever asked.
//!
//! No seed votes by what another has found: a majority that has looked for itself is the point of asking.
//!
//! Left out: a vote by the sessions that this seed holds. That a member holds one tells little of the others' way to
//! it; and that it holds none is a reason to ask, not an answer.

mod cast;
mod joiner;
mod probes;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use coterie_common::limits::{BALLOT_TIME_MAX, BALLOTS_MAX, PROBE_SPACING_MIN};
use coterie_common::message::{
    BallotId, Candidate, Cause, DeathProposal, RegisterProposal, SeedId, Subject, Vote, VoteReply,
};
use coterie_common::{
    Finding, HostEvidence, Instant, Member, MemberId, ProbeOrder, ProbeTarget, Refusal, Why, Wire,
};

pub(crate) use joiner::check_tags;

use cast::CastVotes;
use probes::{ProbePurpose, ProbeResult, Probes};

use crate::core::ballot::Proposal;
use crate::core::context::Context;
use crate::core::effect::Effect;
use crate::core::registry::Registry;

/// This seed's part in every ballot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voter {
    probes: Probes,
    /// Hints whose probe by this seed has not ended: a death that is carried meanwhile waits for them a little.
    hinted: BTreeSet<ProbeTarget>,
    /// Proposals that wait until this registry has reached the leader's, and who made them. Bounded, as the ballots of
    /// a leader are.
    ahead: BTreeMap<(BallotId, SeedId), Proposal>,
    cast: CastVotes,
}

/// What follows from a probe that has ended.
#[derive(Debug)]
pub(crate) enum ProbeOutcome {
    /// A vote, for that leader.
    Vote { leader: SeedId, reply: VoteReply },
    /// Somebody was looked after: whether it is gone. Of interest only for quiet JSON programs; after a hint the
    /// finding is kept for the ballot.
    Looked { target: ProbeTarget, is_gone: bool },
}

impl Voter {
    /// There was an election. Votes never pass from one term to another. What the leader of this term asked in it
    /// stays, and what was asked in a later one: a seed that has just started may be asked before it hears who leads.
    /// Probes stay, too: what they find is this seed's own knowledge. A vote that waits for one goes to the leader of
    /// before, where its ballot is gone.
    pub(crate) fn begin_anew(&mut self, leader: Option<SeedId>, term: u64) {
        let is_of_leader = |from: SeedId| leader.is_none_or(|leader| leader == from);
        self.ahead.retain(|(ballot, from), _| match ballot.term.cmp(&term) {
            Ordering::Less => false,
            Ordering::Equal => is_of_leader(*from),
            Ordering::Greater => true,
        });
        self.hinted.clear();
        self.cast.forget_before(term);
    }

    // ---- proposals ----

    /// Votes on a leader's proposal, at once or when a probe has ended; where this registry has not reached the
    /// leader's, the proposal waits for that. Returns the vote if it can be cast now. None is no refusal: it comes
    /// later, or, where too many wait, never, and the ballot does without.
    #[must_use]
    pub(crate) fn consider(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        me: SeedId,
        leader: SeedId,
        proposal: Proposal,
    ) -> Option<VoteReply> {
        // Asked again, by a leader that may not have heard it.
        if let Some(cast) = self.cast.on(cx.now, leader, proposal.ballot()) {
            return Some(cast);
        }
        if proposal.commit() <= registry.applied() {
            match proposal {
                Proposal::Registration(proposal) => self.consider_joiner(cx, registry, me, leader, proposal),
                Proposal::Death(proposal) => self.consider_death(cx, registry, me, leader, proposal),
            }
        } else {
            let key = (proposal.ballot(), leader);
            if self.ahead.len() >= BALLOTS_MAX && !self.ahead.contains_key(&key) {
                cx.count("proposals_over_limit");
            } else if self.ahead.insert(key, proposal).is_none() {
                cx.count("proposals_waited");
            }
            None
        }
    }

    /// The proposals that wait, to be considered again now that the registry has moved. Those that are still ahead come
    /// back by `consider`.
    pub(crate) fn take_ahead(&mut self) -> Vec<(SeedId, Proposal)> {
        let ahead = std::mem::take(&mut self.ahead);
        ahead.into_iter().map(|((_, from), proposal)| (from, proposal)).collect()
    }

    fn consider_joiner(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        me: SeedId,
        leader: SeedId,
        proposal: RegisterProposal,
    ) -> Option<VoteReply> {
        assert_reached(registry, proposal.commit);
        // A no that needs no probe is cast at once: it spares the joiner a connection and the leader the wait.
        if let Err(refusal) = joiner::check(registry, cx.config.address, &proposal) {
            let nothing = nothing_found(cx.now);
            return Some(vote_on_joiner(cx.now, me, &proposal, nothing, Some(refusal)));
        }
        let Candidate { address, life, wire, .. } = proposal.candidate;
        let purpose = ProbePurpose::Registration(leader, proposal);
        self.probe(cx, ProbeTarget { address, life }, (wire, false), purpose);
        None
    }

    fn consider_death(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        me: SeedId,
        leader: SeedId,
        proposal: DeathProposal,
    ) -> Option<VoteReply> {
        assert_reached(registry, proposal.commit);
        // It has ended already. Its ballot, where one is open, ends when the leader applies that entry.
        let Some(member) = registry.member(proposal.dead) else {
            let subject = Subject::Death(proposal.dead);
            let refusal = Some(Why::NotMember.into());
            return Some(vote(cx.now, me, (proposal.ballot, subject), nothing_found(cx.now), refusal));
        };
        let (target, wire) = (target_of(member), member.wire);
        match self.probes.recent(cx.now, target) {
            // A probe that could not be made is made anew: what was lacking, a port or a descriptor, may be there by
            // now.
            Some(found) if found.finding != Finding::CannotProbe => {
                Some(vote_on_death(cx.now, me, &proposal, found))
            }
            Some(_) | None => {
                let broke = proposal.broke;
                self.probe(cx, target, (wire, broke), ProbePurpose::Death(leader, proposal));
                None
            }
        }
    }

    /// A vote is said to another seed. It is kept, for it may be lost on the way.
    pub(crate) fn keep_vote(&mut self, now: Instant, leader: SeedId, reply: VoteReply) {
        self.cast.keep(now, leader, reply);
    }

    /// The votes that a leader may still wait for: on nothing that is decided here.
    pub(crate) fn votes_for(&self, cx: &Context, registry: &Registry, leader: SeedId) -> Vec<VoteReply> {
        let is_open = |reply: &VoteReply| match reply.vote.subject {
            Subject::Death(dead) => registry.member(dead).is_some(),
            Subject::Admission { address, life, .. } => {
                registry.at(address).is_none_or(|member| member.life != life)
            }
        };
        let votes = self.cast.of_leader(cx.now, leader, cx.config.patience.scale(BALLOT_TIME_MAX));
        votes.into_iter().filter(is_open).collect()
    }

    // ---- hints, and looking after members ----

    /// Somebody began to suspect a member: this seed probes it while the jury does, unless it does so already or has
    /// just found it dead.
    pub(crate) fn hint(&mut self, cx: &mut Context, registry: &Registry, suspect: MemberId, cause: Cause) {
        // It has ended, or is not admitted here yet: the ballot will tell.
        let Some(member) = registry.member(suspect) else { return cx.count("hints_dropped") };
        let (target, wire) = (target_of(member), member.wire);
        let is_dead = |found: ProbeResult| found.finding.is_dead() == Some(true);
        // That it was alive just now is no reason to spare it: the suspicion is newer than that probe.
        if self.probes.is_running(target) || self.probes.recent(cx.now, target).is_some_and(is_dead) {
            return;
        }
        self.hinted.insert(target);
        self.probe(cx, target, (wire, cause.is_break()), ProbePurpose::Result);
    }

    /// The lives that were hinted at and are still being probed.
    pub(crate) fn hinted(&self) -> &BTreeSet<ProbeTarget> {
        &self.hinted
    }

    /// Looks after a member that has been quiet for long. A look, not a suspicion: nothing waits for it, and no death
    /// follows from it.
    pub(crate) fn look_after(&mut self, cx: &mut Context, member: &Member) {
        self.probe(cx, target_of(member), (member.wire, false), ProbePurpose::Result);
    }

    // ---- probes ----

    /// Probes `target` for somebody who waits, unless a probe of it runs. In that case it is told with the others what
    /// that one finds.
    fn probe(
        &mut self,
        cx: &mut Context,
        target: ProbeTarget,
        (wire, broke): (Wire, bool),
        purpose: ProbePurpose,
    ) {
        // Not stretched by losses of its own, as a peer's is: a seed measures none.
        let patience = cx.config.patience.for_probe(0.0, false);
        if self.probes.wait(cx.now, target, purpose, patience) {
            let ProbeTarget { address, life } = target;
            let open_within = cx.config.patience.for_opening(broke, 0.0, false);
            let spacing = PROBE_SPACING_MIN;
            cx.want(Effect::Probe(ProbeOrder { address, life, wire, patience, open_within, spacing }));
        }
    }

    /// A probe has ended: what follows from it, in the order in which it was asked for.
    #[must_use]
    pub(crate) fn probed(
        &mut self,
        now: Instant,
        me: SeedId,
        target: ProbeTarget,
        (finding, host): (Finding, HostEvidence),
    ) -> Vec<ProbeOutcome> {
        // Before the votes: with the last hint gone, what is carried need not wait for it any more.
        self.hinted.remove(&target);
        let (found, purposes) = self.probes.ended(now, target, finding, host);
        let outcome = |purpose| match purpose {
            ProbePurpose::Registration(leader, proposal) => {
                let reply = vote_on_joiner(now, me, &proposal, found, None);
                ProbeOutcome::Vote { leader, reply }
            }
            ProbePurpose::Death(leader, proposal) => {
                ProbeOutcome::Vote { leader, reply: vote_on_death(now, me, &proposal, found) }
            }
            ProbePurpose::Result => {
                ProbeOutcome::Looked { target, is_gone: found.finding.is_dead() == Some(true) }
            }
        };
        purposes.into_iter().map(outcome).collect()
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self, registry: &Registry) {
        self.probes.verify();
        let unprobed = self.hinted.iter().find(|target| !self.probes.is_running(**target));
        assert!(unprobed.is_none(), "{unprobed:?} was hinted at, and no probe of it runs");
        let ahead = self.ahead.len();
        assert!(ahead <= BALLOTS_MAX, "{ahead} proposals wait, {BALLOTS_MAX} are the most");
        let reached = self.ahead.values().find(|proposal| proposal.commit() <= registry.applied());
        assert!(reached.is_none(), "a proposal waits that the registry has reached: {reached:?}");
    }

    /// Forgets what serves no longer. Called at each upkeep; what is asked is held against the time anyway.
    pub(crate) fn expire(&mut self, cx: &Context) {
        self.probes.expire(cx.now);
        self.cast.expire(cx.now, cx.config.patience.scale(BALLOT_TIME_MAX));
        let probes = &self.probes;
        self.hinted.retain(|target| probes.is_running(*target));
    }
}

/// Nobody votes by a registry that is older than that by which the leader asks.
fn assert_reached(registry: &Registry, commit: u64) {
    assert!(commit <= registry.applied(), "a vote at {} on a proposal of {commit}", registry.applied());
}

fn target_of(member: &Member) -> ProbeTarget {
    ProbeTarget { address: member.id.address, life: member.life }
}

/// What is said of one who was not probed. It must go with a refusal: a yes needs a finding.
fn nothing_found(now: Instant) -> ProbeResult {
    ProbeResult { finding: Finding::CannotProbe, host: HostEvidence::Unknown, ended: now }
}

/// A joiner must answer as the life that it says it is: who cannot be reached would be found dead at once.
fn vote_on_joiner(
    now: Instant,
    me: SeedId,
    proposal: &RegisterProposal,
    found: ProbeResult,
    refusal: Option<Refusal>,
) -> VoteReply {
    let Candidate { address, life, .. } = proposal.candidate;
    let refusal = refusal.or_else(|| match found.finding {
        Finding::Alive => None,
        Finding::OtherLife(_) => Some(Why::AddressInUse.into()),
        Finding::Refused | Finding::Silent => {
            Some(Refusal::new(Why::NotAnswering, format!("{address} {}", found.finding)))
        }
        Finding::CannotProbe => Some(Why::CannotProbe.into()),
    });
    let subject = Subject::Admission { address, life, replaces: proposal.replaces };
    vote(now, me, (proposal.ballot, subject), found, refusal)
}

/// A seed that could not probe votes no: it has found nobody dead.
fn vote_on_death(now: Instant, me: SeedId, proposal: &DeathProposal, found: ProbeResult) -> VoteReply {
    let refusal = match found.finding.is_dead() {
        Some(true) => None,
        Some(false) => Some(Why::Alive.into()),
        None => Some(Why::CannotProbe.into()),
    };
    vote(now, me, (proposal.ballot, Subject::Death(proposal.dead)), found, refusal)
}

/// The leader holds no clock of another against its own, so a voter sends how old its finding is.
fn vote(
    now: Instant,
    me: SeedId,
    (ballot, subject): (BallotId, Subject),
    found: ProbeResult,
    refusal: Option<Refusal>,
) -> VoteReply {
    let vote = Vote { seed: me, ballot, subject, finding: found.finding, host: found.host };
    VoteReply { vote, refusal, age_ms: now.since(found.ended).as_millis() as u64 }
}

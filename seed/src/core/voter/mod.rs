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
//! the votes that it has cast lately, and how well this seed itself is: who hears hardly anybody, or has no place
//! left to look, votes neither yes nor no.
//!
//! *May read.* The context, the registry, proposals, and the pace at which they come.
//!
//! *Never.* Counts votes, or knows who leads: it answers whoever asked.
//!
//! No seed votes by what another has found: a majority that has looked for itself is the point of asking.
//!
//! A frame that came from the member itself in the last moment counts as having looked, where only silence speaks
//! against it. Left out: a vote by the sessions that others hold, or that this seed holds none.

mod cast;
mod inability;
mod joiner;
mod looking;
mod probes;
mod vote;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::{BALLOT_TIME_MAX, BALLOTS_MAX};
use coterie_common::message::{
    BallotId, Candidate, DeathProposal, Means, RegisterProposal, SeedId, Subject, VoteReply,
};
use coterie_common::{Finding, Instant, LocalHealth, Member, MemberId, ProbeTarget, Why};

pub(crate) use joiner::check_tags;

use cast::CastVotes;
use inability::Inability;
use looking::serves;
use probes::{ProbePurpose, ProbeResult, SeedProbes};
use vote::{cannot_tell, nothing_found, vote, vote_on_death, vote_on_joiner};

use crate::core::ballot::Proposal;
use crate::core::context::Context;
use crate::core::registry::Registry;

/// How long a leader goes slowly after most sessions fell silent: they are ended meanwhile, and their members missed.
const CUT_OFF_FOR: Knob<Duration> = Knob::new("CUT_OFF_FOR", Duration::from_secs(10));

/// This seed's part in every ballot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voter {
    probes: SeedProbes,
    /// Hints whose probe by this seed has not ended: a death that is carried meanwhile waits for them a little.
    hinted: BTreeSet<ProbeTarget>,
    /// Proposals that wait until this registry has reached the leader's, and who made them. Bounded, as the ballots of
    /// a leader are.
    ahead: BTreeMap<(BallotId, SeedId), Proposal>,
    cast: CastVotes,
    health: LocalHealth,
    inability: Inability,
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
        (leader, proposal): (SeedId, Proposal),
        heard_lately: impl Fn(MemberId) -> bool,
    ) -> Option<VoteReply> {
        // Asked again, by a leader that may not have heard it.
        if let Some(cast) = self.cast.on(cx.now, leader, proposal.ballot()) {
            return Some(cast);
        }
        if proposal.commit() <= registry.applied() {
            match proposal {
                Proposal::Registration(proposal) => self.consider_joiner(cx, registry, me, leader, proposal),
                Proposal::Death(proposal) => {
                    let is_heard = proposal.cause.is_silence() && heard_lately(proposal.dead);
                    self.consider_death(cx, registry, me, (leader, proposal), is_heard)
                }
            }
        } else {
            let key = (proposal.ballot(), leader);
            if self.ahead.len() >= BALLOTS_MAX.get() && !self.ahead.contains_key(&key) {
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
        self.probe(cx, registry, ProbeTarget { address, life }, (wire, false), purpose);
        None
    }

    fn consider_death(
        &mut self,
        cx: &mut Context,
        registry: &Registry,
        me: SeedId,
        (leader, proposal): (SeedId, DeathProposal),
        is_heard: bool,
    ) -> Option<VoteReply> {
        assert_reached(registry, proposal.commit);
        // It has ended already. Its ballot, where one is open, ends when the leader applies that entry.
        let Some(member) = registry.member(proposal.dead) else {
            let subject = Subject::Death(proposal.dead);
            let refusal = Some(Why::NotMember.into());
            return Some(vote(cx.now, me, (proposal.ballot, subject), nothing_found(cx.now), refusal));
        };
        let (target, wire) = (target_of(member), member.wire);
        if is_heard && !self.health.is_unwell(cx.now) {
            cx.count("votes_by_what_was_heard");
            let found = ProbeResult { finding: Finding::Alive, ..nothing_found(cx.now) };
            return Some(vote_on_death(cx.now, me, &proposal, found));
        }
        match self.probes.recent(cx.now, target) {
            // A probe that could not be made is made anew: what was lacking, a port or a descriptor, may be there by
            // now.
            Some(found) if serves(found, proposal.cause.is_break()) => {
                Some(vote_on_death(cx.now, me, &proposal, found))
            }
            Some(_) | None => {
                let about = (wire, proposal.cause.is_break());
                let undecided = cannot_tell(cx.now, me, &proposal);
                let is_probed =
                    self.probe(cx, registry, target, about, ProbePurpose::Death(leader, proposal));
                (!is_probed).then_some(undecided)
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
        let votes = self.cast.of_leader(cx.now, leader, cx.config.patience.scale(BALLOT_TIME_MAX.get()));
        votes.into_iter().filter(is_open).collect()
    }

    // ---- this seed itself ----

    /// The loop wished to run at `deadline` and runs now. If it was late, what waits in the sockets counts before what
    /// was not heard meanwhile; returns for how long it stood still.
    pub(crate) fn woke(&mut self, cx: &mut Context, deadline: Instant) -> Option<Duration> {
        let late = cx.now.since(deadline);
        let was_late = self.health.woke(cx.now, deadline);
        if was_late {
            cx.count("loops_late");
        }
        was_late.then_some(late)
    }

    /// So many of this seed's sessions with members are quiet. Where that is most of them at once, this seed doubts
    /// itself first.
    pub(crate) fn saw_quiet(&mut self, cx: &mut Context, (quiet, sessions): (usize, usize)) {
        let borne = cx.config.patience.for_probe(0.0, false);
        if self.health.saw_silence(cx.now, quiet, sessions, borne) {
            cx.count("sessions_silent_together");
        }
    }

    /// What this seed can do about doubts.
    pub(crate) fn means(&self, cx: &Context, registry: &Registry) -> Means {
        let allowance = probes::allowance(registry.members().len(), self.health.score(cx.now));
        let probes = u32::try_from(allowance.probes).unwrap_or(u32::MAX);
        Means { probes, is_cut_off: self.health.heard_hardly_anybody(cx.now, CUT_OFF_FOR.get()) }
    }

    /// Whether its probes have come to nothing for long, for want of its own means. It judges nobody then.
    pub(crate) fn cannot_probe(&self, now: Instant) -> bool {
        self.inability.lasts(now)
    }

    /// How unwell this seed is: from 1, well, to 8.
    pub(crate) fn health(&self, now: Instant) -> u32 {
        self.health.score(now)
    }

    // ---- probes ----

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self, registry: &Registry) {
        self.probes.verify();
        let unprobed = self.hinted.iter().find(|target| !self.probes.is_running(**target));
        assert!(unprobed.is_none(), "{unprobed:?} was hinted at, and no probe of it runs");
        let ahead = self.ahead.len();
        assert!(ahead <= BALLOTS_MAX.get(), "{ahead} proposals wait, {BALLOTS_MAX} are the most");
        let reached = self.ahead.values().find(|proposal| proposal.commit() <= registry.applied());
        assert!(reached.is_none(), "a proposal waits that the registry has reached: {reached:?}");
    }

    /// Forgets what serves no longer. Called at each upkeep; what is asked is held against the time anyway.
    pub(crate) fn expire(&mut self, cx: &Context) {
        self.probes.expire(cx.now);
        self.cast.expire(cx.now, cx.config.patience.scale(BALLOT_TIME_MAX.get()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::{Address, Life};

    #[test]
    #[should_panic(expected = "was hinted at, and no probe of it runs")]
    fn a_hint_without_a_probe_is_found() {
        let mut voter = Voter::default();
        voter.verify(&Registry::default());
        let target = ProbeTarget { address: Address::new([127, 0, 0, 1].into(), 1), life: Life(7) };
        voter.hinted.insert(target);
        voter.verify(&Registry::default());
    }
}

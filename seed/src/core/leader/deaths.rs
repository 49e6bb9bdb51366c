//! The ballots about deaths.
//!
//! ```text
//! suspecting peer      asked seed       leader                     every seed
//!   | Hint -------------> |               |                          |  probes at once
//!   | Report -----------> | ------------> |  DeathProposal --------> |  votes by that probe, or by a new one
//!   |                     |               |  <----------------- Vote |
//!   |                     |               |  Deaths in the log: DEAD_CONFIRMED to every session of every seed
//!   | <-------- Rejected  | <----- Reply  |  or lost: the reporter leaves that life alone for a while
//!   |                     |               |  or undecided: held again after a pause, and nobody is told
//! ```
//!
//! As in SWIM (Das, Gupta and Motivala, 2002) and Rapid (Suresh et al., 2018), members suspect each other. There their
//! word removes a member; here each seed must have found it dead by itself before it votes.
//!
//! Left out: a ballot for several lives. One that is doubtful would hold up the others; they share an entry instead,
//! when each is carried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::knob::Knob;
use coterie_common::limits::{BALLOT_TIME_MAX, DEATH_GATHER_TIME, DEATHS_PER_ENTRY_MAX, EVIDENCE_AGE_MAX};
use coterie_common::message::{
    BallotId, Cause, DeathProposal, DeathReport, SeedId, Stages, Subject, VoteReply,
};
use coterie_common::{Backoff, Instant, Line, MemberId, ProbeTarget, Refusal};
use rand::RngExt;

use super::death_ballot::{BallotState, DeathBallot, HELD_AGAIN_AFTER};
use crate::core::ballot::{Ballot, BallotNumbers, Proposal, Verdict};
use crate::core::context::Context;
use crate::core::entry::Body;
use crate::core::pace::{Openings, Pace};
use crate::core::registry::Registry;
use crate::core::request::RequestId;
use crate::core::spreading::Spreading;

/// How long deaths may wait for others to share their entry, where one after the other is found: for each member, and
/// at most. After a mass death everybody would be sent a view for each few. A guess. A death after a quiet time never
/// waits, nor any in a cluster of fewer than 80.
const DEATHS_WAIT: Knob<(Duration, Duration)> =
    Knob::new("DEATHS_WAIT", (Duration::from_micros(250), Duration::from_millis(500)));

/// The deaths that this leader conducts. One ballot for each life.
#[derive(Clone, Debug, Default)]
pub(super) struct Deaths {
    /// By life, not by address: a ballot ends with the life that it is about.
    open: BTreeMap<MemberId, DeathBallot>,
    openings: Openings,
    /// When it was last looked which of those that wait may be opened.
    looked: Instant,
    /// When deaths are proposed.
    entries: Spreading,
}

/// A report, and which request is to be answered with what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Accusation {
    pub(crate) request: RequestId,
    pub(crate) reporter: MemberId,
    pub(crate) report: DeathReport,
}

/// A ballot that is over.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Who is to be told.
    pub(crate) requests: Vec<RequestId>,
    /// Whether somebody reported that death, and it was not merely an absence.
    pub(crate) was_reported: bool,
}

impl Deaths {
    /// A death is reported, or a member is absent. A second report joins the first; otherwise the seeds are to vote.
    /// The caller has made sure that it is a member, and that there is room for one more.
    #[must_use]
    pub(super) fn open(
        &mut self,
        cx: &mut Context,
        numbers: &mut BallotNumbers,
        registry: &Registry,
        (dead, cause, accusation): (MemberId, Cause, Option<Accusation>),
        pace: Pace,
    ) -> Option<DeathProposal> {
        if let Some(open) = self.open.get_mut(&dead) {
            if let Some(accusation) = accusation {
                open.join(cx.now, accusation);
                cx.count("ballots_joined");
            }
            return None;
        }
        if accusation.is_none() {
            cx.count("ballots_of_absence");
        }
        let stages = Stages { opened: cx.wall(), ..Stages::default() };
        // Those that wait already are older doubts.
        let is_asked = cause.is_break() || self.are_none_waiting() && self.take_opening(cx, pace);
        let mut open = DeathBallot {
            id: numbers.next(),
            ballot: new_ballot(cx, registry),
            state: if is_asked { BallotState::Voting } else { BallotState::Waiting(cx.now) },
            requests: Vec::new(),
            reporter: None,
            cause,
            jurors: Vec::new(),
            stages,
            pause: Backoff::new(HELD_AGAIN_AFTER.get().0, HELD_AGAIN_AFTER.get().1),
            was_held: is_asked,
        };
        // Before the votes: they may decide it at once, and whoever asked is to be told.
        if let Some(accusation) = accusation {
            open.join(cx.now, accusation);
        }
        self.open.insert(dead, open);
        if !is_asked {
            cx.count("ballots_waited");
        }
        is_asked.then(|| self.proposal(registry, dead))
    }

    fn are_none_waiting(&self) -> bool {
        !self.open.values().any(|open| matches!(open.state, BallotState::Waiting(_)))
    }

    fn take_opening(&mut self, cx: &Context, pace: Pace) -> bool {
        let open = self.open.values().filter(|open| open.is_voting_on_silence()).count();
        self.openings.take(cx.now, pace, open)
    }

    /// About whom the seeds are to be asked now, if about anybody: whose pause is over, the oldest doubt first, as long
    /// as more may be asked about. To be called until there is none.
    #[must_use]
    pub(super) fn next_due(&mut self, cx: &Context, pace: Pace) -> Option<MemberId> {
        self.looked = cx.now;
        let is_due =
            |open: &DeathBallot| matches!(open.state, BallotState::Waiting(until) if until <= cx.now);
        let due = || self.open.iter().filter(|(_, open)| is_due(open));
        // Proof may be found with its first connection.
        let broke = due().find(|(_, open)| open.cause.is_break()).map(|(dead, _)| *dead);
        let oldest = due().min_by_key(|(_, open)| open.stages.opened).map(|(dead, _)| *dead);
        broke.or_else(|| oldest.filter(|_| self.take_opening(cx, pace)))
    }

    /// What the last ballot found is of no use any more, or none was held yet: the seeds are to vote.
    #[must_use]
    pub(super) fn hold_again(
        &mut self,
        cx: &mut Context,
        numbers: &mut BallotNumbers,
        registry: &Registry,
        dead: MemberId,
    ) -> DeathProposal {
        let (id, ballot) = (numbers.next(), new_ballot(cx, registry));
        let open = self.open.get_mut(&dead);
        let Some(open) = open else { panic!("a ballot about {dead} is held again, and none was open") };
        assert_ne!(
            open.state,
            BallotState::Voting,
            "a ballot about {dead} is held again while it is under way"
        );
        (open.id, open.ballot, open.state) = (id, ballot, BallotState::Voting);
        if std::mem::replace(&mut open.was_held, true) {
            cx.count("ballots_held_again");
        }
        self.proposal(registry, dead)
    }

    /// What that seed was asked to vote on and has not.
    pub(super) fn proposals_to(&self, registry: &Registry, seed: SeedId) -> Vec<Proposal> {
        let is_awaited =
            |open: &DeathBallot| open.state == BallotState::Voting && open.ballot.is_owed_by(seed);
        let awaited = self.open.iter().filter(|(_, open)| is_awaited(open));
        awaited.map(|(dead, _)| Proposal::Death(self.proposal(registry, *dead))).collect()
    }

    fn proposal(&self, registry: &Registry, dead: MemberId) -> DeathProposal {
        let open = self.open.get(&dead);
        let Some(open) = open else { panic!("the seeds are to vote on {dead}, and no ballot is open") };
        DeathProposal { ballot: open.id, dead, commit: registry.applied(), cause: open.cause }
    }

    /// A vote came; whether it counted.
    #[must_use]
    pub(super) fn count(&mut self, cx: &mut Context, dead: MemberId, reply: VoteReply) -> bool {
        assert_eq!(reply.vote.subject, Subject::Death(dead), "a vote about somebody else");
        let open = self.open.get_mut(&dead).filter(|open| open.id == reply.vote.ballot);
        // Of a ballot that was held again, or is over: late, but no fault of the voter.
        let counted = open.is_some_and(|open| open.ballot.vote(cx.now, reply));
        if !counted {
            cx.count("votes_out_of_place");
        }
        counted
    }

    /// Marks the ballots that are carried, and those that nobody could decide, which are held again after a pause;
    /// returns those that are lost. They stay open until the caller closes them. Those that are proposed are the log's.
    #[must_use]
    pub(super) fn lost(&mut self, cx: &mut Context) -> Vec<(MemberId, Refusal)> {
        let mut lost = Vec::new();
        for (dead, open) in &mut self.open {
            if open.state != BallotState::Voting {
                continue;
            }
            match open.ballot.verdict(cx.now) {
                Verdict::Pending => {}
                Verdict::Carried => {
                    open.state = BallotState::Carried(cx.now);
                    open.stages.carried = cx.wall();
                }
                Verdict::Lost(refusal) => lost.push((*dead, refusal)),
                Verdict::Undecided(why) => {
                    cx.count("ballots_undecided");
                    // Said when it is news.
                    if open.pause.is_fresh() {
                        cx.log(Line::new("DEAD_UNDECIDED").with("dead", dead.address).show("reason", why));
                    }
                    let pause = open.pause.pause_with_jitter(cx.rng.random());
                    open.state = BallotState::Waiting(cx.now + pause);
                }
            }
        }
        lost
    }

    /// Proposes what is carried; returns the ballots whose evidence has become too old meanwhile.
    ///
    /// Deaths that happen together should share an entry: one durable write, one new view for everybody. A hint whose
    /// probe still runs is the earliest sign of another death; hints about lives with a ballot do not count, their
    /// ballot does. A lone death does not pay for that: its own hint ended with the probe that carried it. How long
    /// any of them waits for the others is bounded by [`DEATH_GATHER_TIME`]; in a large cluster, where hundreds die, by
    /// `DEATHS_WAIT`.
    #[must_use]
    pub(super) fn propose_carried(
        &mut self,
        cx: &mut Context,
        members: usize,
        hinted: &BTreeSet<ProbeTarget>,
    ) -> Vec<(MemberId, BallotId)> {
        let Some(first) = self.open.values().filter_map(DeathBallot::carried_at).min() else {
            // Nothing is carried.
            return Vec::new();
        };
        let others = self.open.values().any(|open| open.state == BallotState::Voting);
        // By address alone: whichever life was hinted at, the ballot speaks of that place.
        let is_open = |target: &ProbeTarget| self.open.keys().any(|dead| dead.address == target.address);
        let hints = hinted.iter().any(|target| !is_open(target));
        if (others || hints) && cx.now < first + DEATH_GATHER_TIME.get() {
            return Vec::new();
        }
        // A member may have come back since: a death that waited long for its entry is asked about again.
        let age_max = cx.config.patience.scale(EVIDENCE_AGE_MAX.get());
        let is_stale =
            |open: &DeathBallot| open.ballot.evidence_from().is_none_or(|from| cx.now.since(from) > age_max);
        let is_fresh = |open: &DeathBallot| open.carried_at().is_some() && !is_stale(open);
        let stale = self.open.iter().filter(|(_, open)| open.carried_at().is_some() && is_stale(open));
        let stale = stale.map(|(dead, open)| (*dead, open.id)).collect();
        // Evidence must not become too old because it waits.
        let (each, most) = DEATHS_WAIT.get();
        if !self.open.values().any(is_fresh)
            || !self.entries.take(cx.now, (each, most.min(age_max / 4)), members)
        {
            return stale;
        }
        let mut records = Vec::new();
        for (dead, open) in self.open.iter_mut().filter(|(_, open)| is_fresh(open)) {
            open.state = BallotState::Proposed;
            open.stages.proposed = cx.wall();
            open.ballot.assert_carried();
            records.push(open.record(*dead));
        }
        // More in one entry would not fit a frame.
        for part in records.chunks(DEATHS_PER_ENTRY_MAX) {
            cx.propose(Body::Deaths(part.to_vec()));
        }
        stale
    }

    /// The ballot about that life is over, whatever came of it; none if there was none here.
    pub(super) fn close(&mut self, dead: MemberId) -> Option<Closed> {
        let DeathBallot { requests, reporter, .. } = self.open.remove(&dead)?;
        Some(Closed { requests, was_reported: reporter.is_some() })
    }

    /// Whether this very ballot about that life is open.
    pub(super) fn holds(&self, dead: MemberId, ballot: BallotId) -> bool {
        self.open.get(&dead).is_some_and(|open| open.id == ballot)
    }

    /// Whether a ballot about that life is open.
    pub(super) fn is_open(&self, dead: MemberId) -> bool {
        self.open.contains_key(&dead)
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Checks what must hold between steps.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn verify(&self, registry: &Registry) {
        for (dead, open) in &self.open {
            assert!(registry.member(*dead).is_some(), "a ballot is open about {dead}, who is no member");
            open.ballot.verify();
            match open.state {
                BallotState::Waiting(_) | BallotState::Voting => {}
                BallotState::Carried(_) | BallotState::Proposed => open.ballot.assert_carried(),
            }
            let is_record = open.reporter.is_some() || open.jurors.is_empty();
            assert!(is_record, "jurors voted on {dead}, and nobody reported it");
            let was_asked = open.reporter.is_none() == open.requests.is_empty();
            assert!(was_asked, "{dead} was reported by {:?}, {} wait", open.reporter, open.requests.len());
        }
    }

    /// When a ballot's time is over, or that of its waiting for others. Never, of one that the log has.
    pub(super) fn deadline(&self) -> Instant {
        let of = |open: &DeathBallot| match open.state {
            BallotState::Waiting(until) if until > self.looked => Some(until),
            // It was looked at and had to wait for others, which end by themselves, or for the next patience.
            BallotState::Waiting(_) => Some(self.openings.until()).filter(|until| *until > self.looked),
            BallotState::Voting => Some(open.ballot.ends()),
            BallotState::Carried(at) => Some((at + DEATH_GATHER_TIME.get()).max(self.entries.next())),
            BallotState::Proposed => None,
        };
        self.open.values().filter_map(of).min().unwrap_or(Instant::NEVER)
    }
}

fn new_ballot(cx: &Context, registry: &Registry) -> Ballot {
    Ballot::new(registry.seed_sets().to_vec(), cx.now + cx.config.patience.scale(BALLOT_TIME_MAX.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::{Address, Incarnation};

    #[test]
    #[should_panic(expected = "who is no member")]
    fn a_ballot_about_the_death_of_nobody_is_found() {
        let dead = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let registry = Registry::default();
        let open = DeathBallot {
            id: BallotId { term: 1, number: 1 },
            ballot: Ballot::new(registry.seed_sets().to_vec(), Instant::NEVER),
            state: BallotState::Voting,
            requests: Vec::new(),
            reporter: None,
            cause: Cause::Absent,
            jurors: Vec::new(),
            stages: Stages::default(),
            pause: Backoff::new(HELD_AGAIN_AFTER.get().0, HELD_AGAIN_AFTER.get().1),
            was_held: true,
        };
        let mut deaths = Deaths::default();
        deaths.verify(&registry);
        deaths.open.insert(dead, open);
        deaths.verify(&registry);
    }
}

//! The ballots about deaths.
//!
//! ```text
//! suspecting peer      asked seed       leader                     every seed
//!   | Hint -------------> |               |                          |  probes at once
//!   | Report -----------> | ------------> |  DeathProposal --------> |  votes by that probe, or by a new one
//!   |                     |               |  <----------------- Vote |
//!   |                     |               |  Deaths in the log: DEAD_CONFIRMED to every session of every seed
//!   | <-------- Rejected  | <----- Reply  |  or lost: the reporter leaves that life alone for a while
//! ```
//!
//! As in SWIM (Das, Gupta and Motivala, 2002) and Rapid (Suresh et al., 2018), members suspect each other. There their
//! word removes a member; here each seed must have found it dead by itself before it votes.
//!
//! Left out: a ballot for several lives. One that is doubtful would hold up the others; they share an entry instead,
//! when each is carried.

use std::collections::{BTreeMap, BTreeSet};

use coterie_common::limits::{BALLOT_TIME_MAX, DEATH_GATHER_TIME, DEATHS_PER_ENTRY_MAX, EVIDENCE_AGE_MAX};
use coterie_common::message::{
    BallotId, Cause, DeathProposal, DeathReport, JurorVote, SeedId, Stages, Subject, VoteReply,
};
use coterie_common::{Address, Instant, MemberId, ProbeTarget, Refusal};

use crate::core::ballot::{Ballot, BallotNumbers, Proposal, Verdict};
use crate::core::context::Context;
use crate::core::entry::{Body, DeathRecord};
use crate::core::registry::Registry;
use crate::core::request::RequestId;

/// The deaths that this leader conducts. One ballot for each life.
#[derive(Clone, Debug, Default)]
pub(super) struct Deaths {
    /// By life, not by address: a ballot ends with the life that it is about.
    open: BTreeMap<MemberId, DeathBallot>,
}

#[derive(Clone, Debug)]
struct DeathBallot {
    /// Another each time that it is held: votes on the one before are out of place.
    id: BallotId,
    ballot: Ballot,
    state: BallotState,
    /// Nobody, for an absence.
    requests: Vec<RequestId>,
    /// Who reported it first; none for an absence.
    reporter: Option<Address>,
    /// What opened it; reports that join do not change how seeds probe.
    cause: Cause,
    /// Those of the first report.
    jurors: Vec<JurorVote>,
    stages: Stages,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BallotState {
    /// Votes are awaited.
    Voting,
    /// Carried then. It waits a moment to share an entry with others.
    Carried(Instant),
    /// Its entry is proposed: the log decides.
    Proposed,
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

impl DeathBallot {
    /// The first report stands in the record; everybody who reported is told the result.
    fn join(&mut self, accusation: Accusation) {
        if self.reporter.is_none() {
            let DeathReport { suspected, timestamp, votes, .. } = accusation.report;
            (self.reporter, self.jurors) = (Some(accusation.reporter.address), votes);
            (self.stages.suspected, self.stages.reported) = (suspected, Some(timestamp));
        }
        self.requests.push(accusation.request);
        self.requests.sort_unstable();
        self.requests.dedup();
    }

    /// None before, and when its entry is proposed already.
    fn carried_at(&self) -> Option<Instant> {
        match self.state {
            BallotState::Carried(at) => Some(at),
            BallotState::Voting | BallotState::Proposed => None,
        }
    }

    fn record(&self, dead: MemberId) -> DeathRecord {
        DeathRecord {
            dead,
            ballot: self.id,
            votes: self.ballot.votes(),
            cause: self.cause,
            reporter: self.reporter,
            jurors: self.jurors.clone(),
            stages: self.stages,
        }
    }
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
        (dead, cause): (MemberId, Cause),
        accusation: Option<Accusation>,
    ) -> Option<DeathProposal> {
        if let Some(open) = self.open.get_mut(&dead) {
            if let Some(accusation) = accusation {
                open.join(accusation);
                cx.count("ballots_joined");
            }
            return None;
        }
        if accusation.is_none() {
            cx.count("ballots_of_absence");
        }
        let stages = Stages { opened: cx.wall(), ..Stages::default() };
        let mut open = DeathBallot {
            id: numbers.next(),
            ballot: new_ballot(cx, registry),
            state: BallotState::Voting,
            requests: Vec::new(),
            reporter: None,
            cause,
            jurors: Vec::new(),
            stages,
        };
        // Before the votes: they may decide it at once, and whoever asked is to be told.
        if let Some(accusation) = accusation {
            open.join(accusation);
        }
        self.open.insert(dead, open);
        Some(self.proposal(registry, dead))
    }

    /// What the last ballot found is of no use any more: another one is held, on which the seeds are to vote.
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
        cx.count("ballots_held_again");
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
        let broke = open.cause.is_break();
        DeathProposal { ballot: open.id, dead, commit: registry.applied(), broke }
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

    /// Marks the ballots that are carried; returns those that are lost. They stay open until the caller closes them.
    /// Those that are proposed are the log's.
    #[must_use]
    pub(super) fn lost(&mut self, cx: &Context) -> Vec<(MemberId, Refusal)> {
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
            }
        }
        lost
    }

    /// Proposes what is carried; returns the ballots whose evidence has become too old meanwhile.
    ///
    /// Deaths that happen together should share an entry: one durable write, one new view for everybody. A hint whose
    /// probe still runs is the earliest sign of another death; hints about lives with a ballot do not count, their
    /// ballot does. A lone death does not pay for that: its own hint ended with the probe that carried it. How long
    /// any of them waits for the others is bounded by [`DEATH_GATHER_TIME`].
    #[must_use]
    pub(super) fn propose_carried(
        &mut self,
        cx: &mut Context,
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
        if (others || hints) && cx.now < first + DEATH_GATHER_TIME {
            return Vec::new();
        }
        // A member may have come back since: a death that waited long for its entry is asked about again.
        let age_max = cx.config.patience.scale(EVIDENCE_AGE_MAX);
        let is_stale =
            |open: &DeathBallot| open.ballot.evidence_from().is_none_or(|from| cx.now.since(from) > age_max);
        let (mut stale, mut records) = (Vec::new(), Vec::new());
        for (dead, open) in self.open.iter_mut().filter(|(_, open)| open.carried_at().is_some()) {
            if is_stale(open) {
                stale.push((*dead, open.id));
                continue;
            }
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
            if open.state != BallotState::Voting {
                open.ballot.assert_carried();
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
            BallotState::Voting => Some(open.ballot.ends()),
            BallotState::Carried(at) => Some(at + DEATH_GATHER_TIME),
            BallotState::Proposed => None,
        };
        self.open.values().filter_map(of).min().unwrap_or(Instant::NEVER)
    }
}

fn new_ballot(cx: &Context, registry: &Registry) -> Ballot {
    Ballot::new(registry.seed_sets().to_vec(), cx.now + cx.config.patience.scale(BALLOT_TIME_MAX))
}

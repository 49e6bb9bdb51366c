//! One proposal to the seeds, and its votes.
//!
//! A ballot has a number, and each vote repeats it, so that no vote counts in another: as in Paxos (Lamport, *The
//! part-time parliament*, 1998). Unlike there it decides nothing for good. What is carried is proposed to the log, and
//! the registry checks the votes again when the entry is applied.
//!
//! Left out: a vote that can be changed. The first one counts, so what is repeated or late never turns a result.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::{
    BallotId, DeathProposal, MeshMessage, RegisterProposal, SeedId, Vote, VoteReply,
};
use coterie_common::{Instant, Refusal, Why, majority};

/// What the seeds are asked to vote on. A voter keeps it as it came, while its registry is behind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Proposal {
    /// That a life be admitted.
    Registration(RegisterProposal),
    /// That a member be recorded as dead.
    Death(DeathProposal),
}

impl Proposal {
    /// The ballot in which a vote on it counts.
    pub(crate) fn ballot(&self) -> BallotId {
        match self {
            Proposal::Registration(proposal) => proposal.ballot,
            Proposal::Death(proposal) => proposal.ballot,
        }
    }

    /// The index that the leader's registry had reached: who votes must have reached it too.
    pub(crate) fn commit(&self) -> u64 {
        match self {
            Proposal::Registration(proposal) => proposal.commit,
            Proposal::Death(proposal) => proposal.commit,
        }
    }
}

impl From<Proposal> for MeshMessage {
    fn from(proposal: Proposal) -> Self {
        match proposal {
            Proposal::Registration(proposal) => MeshMessage::RegisterProposal(proposal),
            Proposal::Death(proposal) => MeshMessage::DeathProposal(proposal),
        }
    }
}

/// The numbers of the ballots that a leader opens. They count within a term, so that no id is given twice, even if a
/// seed loses and regains the lead in one term.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BallotNumbers {
    /// 0 before the first election: no ballot may be opened then.
    term: u64,
    /// So many were opened in this term.
    opened: u64,
}

impl BallotNumbers {
    /// Those of a new term.
    pub(crate) fn of(term: u64) -> Self {
        BallotNumbers { term, opened: 0 }
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> BallotId {
        assert_ne!(self.term, 0, "a ballot is opened before there was an election");
        self.opened += 1;
        BallotId { term: self.term, number: self.opened }
    }
}

/// Where a ballot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Votes are still to come.
    Pending,
    /// Enough said yes. More votes cannot change that.
    Carried,
    /// It cannot be carried any more; the reason that most gave.
    Lost(Refusal),
    /// Neither, and no more votes are to come: too many could not tell, or did not answer in time. The reason that most
    /// gave, or that there was no quorum. It says nothing about its subject.
    Undecided(Refusal),
}

/// The votes of one ballot, in the seed sets in force when it was opened.
#[derive(Clone, Debug)]
pub struct Ballot {
    /// Two while the voters are being changed: a majority of each is needed (Raft, section 6). If they change before
    /// the entry is applied, the registry judges by those of then.
    sets: Vec<BTreeSet<SeedId>>,
    /// Whole votes: they go into the entry, as evidence.
    yes: BTreeMap<SeedId, Vote>,
    /// Reasons alone: a no never stands in the log.
    no: BTreeMap<SeedId, Refusal>,
    /// Those who could not tell, and why.
    undecided: BTreeMap<SeedId, Refusal>,
    /// The end of the oldest probe behind a yes.
    evidence_from: Option<Instant>,
    /// Not later than this it is decided, one way or the other.
    ends: Instant,
}

impl Ballot {
    /// A ballot among `sets`, which is undecided at `ends` if it is not decided before.
    pub fn new(sets: Vec<BTreeSet<SeedId>>, ends: Instant) -> Self {
        Ballot {
            sets,
            yes: BTreeMap::new(),
            no: BTreeMap::new(),
            undecided: BTreeMap::new(),
            evidence_from: None,
            ends,
        }
    }

    /// A seed voted. Only its first vote counts, and only if it may vote; returns whether it did.
    pub fn vote(&mut self, now: Instant, reply: VoteReply) -> bool {
        let seed = reply.vote.seed;
        if !self.is_owed_by(seed) {
            return false;
        }
        match reply.refusal {
            // No seed is asked twice in a ballot: who cannot tell now is asked in the next one.
            Some(refusal) if refusal.why == Why::CannotProbe => {
                self.undecided.insert(seed, refusal);
            }
            Some(refusal) => {
                self.no.insert(seed, refusal);
            }
            None => {
                // A voter sends the age of its probe, for no two clocks are compared. Travel makes the evidence look
                // younger than it is, at most by the time that a vote takes; never older. The age is a remote's word:
                // one that reaches back beyond this seed's own start is cut there.
                let age = Duration::from_millis(reply.age_ms).min(now.since(Instant::START));
                let ended = Instant::from_nanos(now.as_nanos() - age.as_nanos() as u64);
                self.evidence_from = Some(self.evidence_from.map_or(ended, |from| from.min(ended)));
                self.yes.insert(seed, reply.vote);
            }
        }
        let both = self.yes.keys().find(|seed| self.no.contains_key(seed));
        assert!(both.is_none(), "{both:?} has voted both yes and no");
        let may_vote: BTreeSet<&SeedId> = self.sets.iter().flatten().collect();
        let voted = self.yes.len() + self.no.len() + self.undecided.len();
        assert!(voted <= may_vote.len(), "{voted} seeds have voted, {} may", may_vote.len());
        true
    }

    /// Whether that seed has a vote and has not cast it here.
    pub(crate) fn is_owed_by(&self, seed: SeedId) -> bool {
        let may = self.sets.iter().any(|set| set.contains(&seed));
        may && !self.has_answered(&seed)
    }

    fn has_answered(&self, seed: &SeedId) -> bool {
        self.yes.contains_key(seed) || self.no.contains_key(seed) || self.undecided.contains_key(seed)
    }

    /// Where it stands at `now`.
    pub fn verdict(&self, now: Instant) -> Verdict {
        let yes_in = |set: &BTreeSet<SeedId>| set.iter().filter(|s| self.yes.contains_key(s)).count();
        let no_in = |set: &BTreeSet<SeedId>| set.iter().filter(|s| self.no.contains_key(s)).count();
        let needed = |set: &BTreeSet<SeedId>| majority(set.len());
        // Of no sets at all each would have its majority, hence the first condition. The time comes last: whoever has
        // enough votes when it is over has carried the ballot.
        if !self.sets.is_empty() && self.sets.iter().all(|set| yes_in(set) >= needed(set)) {
            Verdict::Carried
        } else if self.sets.iter().any(|set| no_in(set) > set.len() - needed(set)) {
            Verdict::Lost(commonest(&self.no))
        } else if self.sets.iter().flatten().all(|seed| self.has_answered(seed)) {
            Verdict::Undecided(commonest(&self.undecided))
        } else if now >= self.ends {
            Verdict::Undecided(Why::NoQuorum.into())
        } else {
            Verdict::Pending
        }
    }

    /// The yes votes, for the log. Those of the moment: a yes that comes later is not in the entry.
    pub fn votes(&self) -> Vec<Vote> {
        self.yes.values().cloned().collect()
    }

    /// Checks what must hold at any time.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn verify(&self) {
        assert!(!self.sets.is_empty(), "a ballot in which nobody may vote");
        let (from, yes) = (self.evidence_from, self.yes.len());
        assert_eq!(from.is_some(), yes > 0, "evidence from {from:?}, and {yes} who said yes");
    }

    /// Its entry is about to be proposed, which only a majority of every set may bring about.
    pub(crate) fn assert_carried(&self) {
        for set in &self.sets {
            let yes = set.iter().filter(|seed| self.yes.contains_key(seed)).count();
            assert!(yes >= majority(set.len()), "{yes} of {} seeds said yes to what is proposed", set.len());
        }
    }

    /// The end of the oldest probe behind a yes. None before the first yes. A death that would be proposed long after
    /// it is voted on anew instead (`leader/deaths`).
    pub fn evidence_from(&self) -> Option<Instant> {
        self.evidence_from
    }

    /// When it ends for want of votes. The leader's deadline, so that a ballot without votes is closed too.
    pub fn ends(&self) -> Instant {
        self.ends
    }
}

/// Counted by the reason, not by its wording, which may name what one seed saw. Among equally common ones the highest
/// id's is taken: any would do, but each run has to take the same.
fn commonest(refusals: &BTreeMap<SeedId, Refusal>) -> Refusal {
    let count = |refusal: &Refusal| refusals.values().filter(|other| other.why == refusal.why).count();
    refusals.values().max_by_key(|refusal| count(refusal)).cloned().unwrap_or_else(|| Why::NoQuorum.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::message::{BallotId, Subject};
    use coterie_common::{Address, Finding, HostEvidence, Incarnation, MemberId};

    fn reply(seed: u64, refusal: Option<Why>) -> VoteReply {
        let address = Address::new([127, 0, 0, 1].into(), 1);
        let vote = Vote {
            seed: SeedId(seed),
            ballot: BallotId { term: 1, number: 1 },
            subject: Subject::Death(MemberId { address, incarnation: Incarnation(1) }),
            finding: Finding::Silent,
            host: HostEvidence::Unknown,
        };
        VoteReply { vote, refusal: refusal.map(Refusal::from), age_ms: 5 }
    }

    fn ballot(seeds: u64) -> Ballot {
        Ballot::new(vec![(0..seeds).map(SeedId).collect()], Instant::from_nanos(1_000))
    }

    /// Every way in which up to five seeds can vote yes, no, that they cannot tell, or not at all.
    #[test]
    fn carried_with_a_majority_of_yes_lost_when_it_is_out_of_reach_and_else_undecided() {
        for seeds in 1..=5_u64 {
            for code in 0..4_u64.pow(seeds as u32) {
                let choice = |seed: u64| code / 4_u64.pow(seed as u32) % 4;
                let mut ballot = ballot(seeds);
                for seed in (0..seeds).filter(|&s| choice(s) != 3) {
                    let why = [None, Some(Why::Alive), Some(Why::CannotProbe)][choice(seed) as usize];
                    assert!(ballot.vote(Instant::START, reply(seed, why)));
                }
                let count = |c| (0..seeds).filter(|&s| choice(s) == c).count();
                let needed = majority(seeds as usize);
                let expected = match () {
                    () if count(0) >= needed => Verdict::Carried,
                    () if seeds as usize - count(1) < needed => Verdict::Lost(Why::Alive.into()),
                    () if count(3) == 0 => Verdict::Undecided(Why::CannotProbe.into()),
                    () => Verdict::Pending,
                };
                assert_eq!(ballot.verdict(Instant::START), expected, "{seeds} seeds, votes {code}");
                let over = match expected {
                    Verdict::Pending => Verdict::Undecided(Why::NoQuorum.into()),
                    decided => decided,
                };
                assert_eq!(ballot.verdict(ballot.ends()), over, "{seeds} seeds, votes {code}, when it ends");
            }
        }
    }

    #[test]
    fn a_second_vote_and_a_strangers_vote_do_not_count() {
        let mut ballot = ballot(3);
        assert!(ballot.vote(Instant::START, reply(0, None)));
        assert!(!ballot.vote(Instant::START, reply(0, None)));
        assert!(!ballot.vote(Instant::START, reply(9, None)));
        assert_eq!(ballot.verdict(Instant::START), Verdict::Pending);
        assert_eq!(ballot.verdict(ballot.ends()), Verdict::Undecided(Why::NoQuorum.into()));
    }

    #[test]
    fn the_age_of_the_evidence_is_that_of_its_oldest_probe() {
        let mut ballot = ballot(3);
        let now = Instant::from_nanos(1_000_000_000);
        ballot.vote(now, reply(0, None));
        ballot.vote(now + Duration::from_millis(100), reply(1, None));
        assert_eq!(ballot.evidence_from(), Some(Instant::from_nanos(995_000_000)));
    }
}

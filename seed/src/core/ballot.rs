//! One proposal to the seeds, and its votes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::{SeedId, Vote, VoteReply};
use coterie_common::{Instant, Refusal, Why, majority};

/// Where a ballot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Votes are still to come.
    Pending,
    /// Enough said yes.
    Carried,
    /// It cannot be carried any more; the reason that most gave.
    Lost(Refusal),
}

/// The votes of one ballot, in the seed sets in force when it was opened.
#[derive(Clone, Debug)]
pub struct Ballot {
    sets: Vec<BTreeSet<SeedId>>,
    yes: BTreeMap<SeedId, Vote>,
    no: BTreeMap<SeedId, Refusal>,
    /// The end of the oldest probe behind a yes.
    evidence_from: Option<Instant>,
    ends: Instant,
}

impl Ballot {
    /// A ballot among `sets`, which is lost at `ends` if it is not carried before.
    pub fn new(sets: Vec<BTreeSet<SeedId>>, ends: Instant) -> Self {
        Ballot { sets, yes: BTreeMap::new(), no: BTreeMap::new(), evidence_from: None, ends }
    }

    /// A seed voted. Only its first vote counts, and only if it may vote; returns whether it did.
    pub fn vote(&mut self, now: Instant, reply: VoteReply) -> bool {
        let seed = reply.vote.seed;
        let may = self.sets.iter().any(|set| set.contains(&seed));
        if !may || self.yes.contains_key(&seed) || self.no.contains_key(&seed) {
            return false;
        }
        match reply.refusal {
            Some(refusal) => {
                self.no.insert(seed, refusal);
            }
            None => {
                let age = Duration::from_millis(reply.age_ms).min(now.since(Instant::START));
                let ended = Instant::from_nanos(now.as_nanos() - age.as_nanos() as u64);
                self.evidence_from = Some(self.evidence_from.map_or(ended, |from| from.min(ended)));
                self.yes.insert(seed, reply.vote);
            }
        }
        true
    }

    /// Where it stands at `now`.
    pub fn standing(&self, now: Instant) -> Standing {
        let yes_in = |set: &BTreeSet<SeedId>| set.iter().filter(|s| self.yes.contains_key(s)).count();
        let no_in = |set: &BTreeSet<SeedId>| set.iter().filter(|s| self.no.contains_key(s)).count();
        let needed = |set: &BTreeSet<SeedId>| majority(set.len());
        if !self.sets.is_empty() && self.sets.iter().all(|set| yes_in(set) >= needed(set)) {
            Standing::Carried
        } else if self.sets.iter().any(|set| no_in(set) > set.len() - needed(set)) {
            Standing::Lost(self.commonest_refusal())
        } else if now >= self.ends {
            Standing::Lost(Why::NoQuorum.into())
        } else {
            Standing::Pending
        }
    }

    fn commonest_refusal(&self) -> Refusal {
        let count = |refusal: &Refusal| self.no.values().filter(|other| other.why == refusal.why).count();
        self.no.values().max_by_key(|refusal| count(refusal)).cloned().unwrap_or_else(|| Why::NoQuorum.into())
    }

    /// The yes votes, for the log.
    pub fn votes(&self) -> Vec<Vote> {
        self.yes.values().cloned().collect()
    }

    /// The end of the oldest probe behind a yes.
    pub fn evidence_from(&self) -> Option<Instant> {
        self.evidence_from
    }

    /// When it is lost for want of votes.
    pub fn ends(&self) -> Instant {
        self.ends
    }
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

    /// Every way in which up to five seeds can vote yes, no or not at all.
    #[test]
    fn carried_with_a_majority_of_yes_and_lost_when_it_is_out_of_reach() {
        for seeds in 1..=5_u64 {
            for code in 0..3_u64.pow(seeds as u32) {
                let choice = |seed: u64| code / 3_u64.pow(seed as u32) % 3;
                let mut ballot = ballot(seeds);
                for seed in (0..seeds).filter(|&s| choice(s) != 2) {
                    assert!(
                        ballot.vote(Instant::START, reply(seed, (choice(seed) == 1).then_some(Why::Alive)))
                    );
                }
                let count = |c| (0..seeds).filter(|&s| choice(s) == c).count();
                let needed = majority(seeds as usize);
                let expected = match () {
                    () if count(0) >= needed => Standing::Carried,
                    () if seeds as usize - count(1) < needed => Standing::Lost(Why::Alive.into()),
                    () => Standing::Pending,
                };
                assert_eq!(ballot.standing(Instant::START), expected, "{seeds} seeds, votes {code}");
            }
        }
    }

    #[test]
    fn a_second_vote_and_a_strangers_vote_do_not_count() {
        let mut ballot = ballot(3);
        assert!(ballot.vote(Instant::START, reply(0, None)));
        assert!(!ballot.vote(Instant::START, reply(0, None)));
        assert!(!ballot.vote(Instant::START, reply(9, None)));
        assert_eq!(ballot.standing(Instant::START), Standing::Pending);
        assert_eq!(ballot.standing(ballot.ends()), Standing::Lost(Why::NoQuorum.into()));
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

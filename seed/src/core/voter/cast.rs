//! The votes that this seed has cast lately.
//!
//! A vote is said once. Where no connection led to the leader just then, or one broke with the vote on it, the ballot
//! would wait for it to its end. So each is kept for as long as a ballot lasts, and is said again to a leader that is
//! connected anew; one that had it passes over the second.

use std::collections::BTreeMap;
use std::time::Duration;

use coterie_common::Instant;
use coterie_common::limits::BALLOTS_MAX;
use coterie_common::message::{BallotId, SeedId, VoteReply};

/// As many as one leader can wait for: it has so many ballots of either kind.
fn cast_max() -> usize {
    2 * BALLOTS_MAX.get()
}

/// The votes of this term, and of a later one that this seed has not heard of, for as long as a ballot lasts.
#[derive(Clone, Debug, Default)]
pub(super) struct CastVotes {
    /// By ballot, and by who leads as far as it says: each proposal is looked up here.
    votes: BTreeMap<(BallotId, SeedId), CastVote>,
}

#[derive(Clone, Debug)]
struct CastVote {
    at: Instant,
    reply: VoteReply,
}

impl CastVote {
    /// What it rests on has grown older.
    fn said_at(&self, now: Instant) -> VoteReply {
        assert!(now >= self.at, "a vote of {:?} is said at {now:?}, before it was cast", self.at);
        let age_ms = self.reply.age_ms + now.since(self.at).as_millis() as u64;
        VoteReply { age_ms, ..self.reply.clone() }
    }
}

impl CastVotes {
    /// A vote is said to another seed, which leads.
    pub(super) fn keep(&mut self, at: Instant, leader: SeedId, reply: VoteReply) {
        self.votes.insert((reply.vote.ballot, leader), CastVote { at, reply });
        if self.votes.len() > cast_max() {
            self.votes.pop_first();
        }
        assert!(
            self.votes.len() <= cast_max(),
            "{} votes are kept, {} are the most",
            self.votes.len(),
            cast_max()
        );
    }

    /// The votes for that leader whose ballots may be open, as they are to be said now.
    pub(super) fn of_leader(&self, now: Instant, leader: SeedId, ballot_time: Duration) -> Vec<VoteReply> {
        let may_be_open = |cast: &CastVote| now.since(cast.at) < ballot_time;
        let of_leader = self.votes.iter().filter(|((_, to), cast)| *to == leader && may_be_open(cast));
        of_leader.map(|(_, cast)| cast.said_at(now)).collect()
    }

    /// The vote in that ballot, if it was cast.
    pub(super) fn on(&self, now: Instant, leader: SeedId, ballot: BallotId) -> Option<VoteReply> {
        self.votes.get(&(ballot, leader)).map(|cast| cast.said_at(now))
    }

    /// There was an election.
    pub(super) fn forget_before(&mut self, term: u64) {
        self.votes.retain(|(ballot, _), _| ballot.term >= term);
    }

    /// Forgets those whose ballot is over.
    pub(super) fn expire(&mut self, now: Instant, ballot_time: Duration) {
        self.votes.retain(|_, cast| now.since(cast.at) < ballot_time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coterie_common::message::{Subject, Vote};
    use coterie_common::{Address, Finding, HostEvidence, Incarnation, MemberId};

    fn reply(number: u64) -> VoteReply {
        let dead = MemberId { address: Address::new([127, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
        let vote = Vote {
            seed: SeedId(2),
            ballot: BallotId { term: 1, number },
            subject: Subject::Death(dead),
            finding: Finding::Refused,
            host: HostEvidence::Unknown,
        };
        VoteReply { vote, refusal: None, age_ms: 5 }
    }

    #[test]
    fn a_vote_is_kept_for_as_long_as_its_ballot_lasts_and_grows_older() {
        let (time, leader) = (Duration::from_secs(2), SeedId(1));
        let mut cast = CastVotes::default();
        cast.keep(Instant::START, leader, reply(1));
        cast.keep(Instant::START, SeedId(3), reply(2));
        let just_before = Instant::START + Duration::from_millis(1_999);
        cast.expire(just_before, time);
        let ages: Vec<u64> =
            cast.of_leader(just_before, leader, time).iter().map(|reply| reply.age_ms).collect();
        assert_eq!(ages, [2_004]);
        let again = cast.on(just_before, leader, reply(1).vote.ballot);
        assert_eq!(again.map(|reply| reply.age_ms), Some(2_004));
        let over = Instant::START + time;
        assert_eq!(cast.of_leader(over, leader, time), []);
        cast.expire(over, time);
        assert_eq!(cast.on(over, leader, reply(1).vote.ballot), None);
    }

    #[test]
    fn of_more_votes_than_a_leader_can_wait_for_the_last_are_kept() {
        let mut cast = CastVotes::default();
        (0..=cast_max() as u64).for_each(|number| cast.keep(Instant::START, SeedId(1), reply(number)));
        let kept = cast.of_leader(Instant::START, SeedId(1), Duration::from_secs(2));
        assert_eq!(kept.len(), cast_max());
        assert_eq!(kept[0].vote.ballot.number, 1);
    }
}

//! Ballots: whatever is voted in whatever order, only the first vote of each who may vote counts, and what is decided
//! stays decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coterie_common::message::{BallotId, SeedId, Subject, Vote, VoteReply};
use coterie_common::{
    Address, Finding, HostEvidence, Incarnation, Instant, MemberId, Refusal, Why, majority,
};
use coterie_seed::core::ballot::{Ballot, Verdict};

use crate::stream::Stream;

pub(crate) fn target(bytes: &[u8]) {
    let mut stream = Stream::new(bytes);
    let count = 1 + stream.below(7);
    let mut sets: Vec<BTreeSet<SeedId>> = vec![(0..count).map(SeedId).collect()];
    if stream.below(2) == 1 {
        let from = stream.below(count);
        sets.push((from..from + 1 + stream.below(7)).map(SeedId).collect());
    }
    let ends = Instant::START + Duration::from_secs(2);
    let mut ballot = Ballot::new(sets.clone(), ends);
    let dead = MemberId { address: Address::new([10, 0, 0, 1].into(), 1), incarnation: Incarnation(1) };
    let (mut now, mut counted) = (Instant::START, BTreeMap::new());
    let mut decided = Verdict::Pending;
    while !stream.is_over() {
        now = now + Duration::from_millis(stream.below(64));
        let (seed, yes) = (SeedId(stream.below(12)), stream.below(3) != 0);
        let vote = Vote {
            seed,
            ballot: BallotId { term: 1, number: 1 },
            subject: Subject::Death(dead),
            finding: Finding::Silent,
            host: HostEvidence::Unknown,
        };
        let refusal = (!yes).then(|| Refusal::from(Why::Alive));
        let took = ballot.vote(now, VoteReply { vote, refusal, age_ms: stream.below(256) });
        let may = sets.iter().any(|set| set.contains(&seed)) && !counted.contains_key(&seed);
        assert_eq!(took, may, "{seed} voted");
        if took {
            counted.insert(seed, yes);
        }
        let yes_in =
            |set: &BTreeSet<SeedId>| set.iter().filter(|seed| counted.get(seed) == Some(&true)).count();
        let carried = sets.iter().all(|set| yes_in(set) >= majority(set.len()));
        let standing = ballot.verdict(now);
        assert_eq!(standing == Verdict::Carried, carried, "{counted:?} of {sets:?}");
        if decided == Verdict::Carried {
            assert_eq!(standing, Verdict::Carried, "what was carried was lost again");
        }
        decided = standing;
    }
    assert!(decided != Verdict::Pending || now < ends || counted.is_empty(), "open after its time");
}

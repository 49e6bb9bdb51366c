//! The registry, given any log: it is pure and total, a refusal changes nothing, and no life comes back.

use std::collections::BTreeSet;

use coterie_common::codec::from_bytes;
use coterie_common::message::{BallotId, Candidate, Cause, ClusterId, SeedId, Stages, Subject, Vote};
use coterie_common::{Address, Finding, HostEvidence, Incarnation, Life, MemberId, Tags, Wire};
use coterie_seed::core::entry::{Applied, Body, DeathRecord, SeedRecord};
use coterie_seed::core::{Entry, Registry};

use crate::stream::Stream;

fn address(number: u64) -> Address {
    Address::new([10, 0, 0, number as u8].into(), 7_000)
}

fn votes(stream: &mut Stream<'_>, ballot: BallotId, subject: &Subject) -> Vec<Vote> {
    let findings = [Finding::Refused, Finding::Silent, Finding::Refused, Finding::Alive];
    let vote = |stream: &mut Stream<'_>| Vote {
        seed: SeedId(stream.below(5)),
        ballot: BallotId { number: ballot.number + u64::from(stream.below(16) == 15), ..ballot },
        subject: subject.clone(),
        finding: findings[stream.below(4) as usize],
        host: HostEvidence::Unknown,
    };
    (0..stream.below(5)).map(|_| vote(stream)).collect()
}

/// An entry that might be one, or whatever the bytes say.
fn entry(stream: &mut Stream<'_>, index: u64) -> Option<Entry> {
    let ballot = BallotId { term: 1, number: stream.below(4) };
    let incarnation = Incarnation(index.saturating_sub(stream.below(8)));
    let member = MemberId { address: address(stream.below(6)), incarnation };
    Some(Entry::new(match stream.below(9) {
        0 => {
            let record =
                |id: u64| (SeedId(id), SeedRecord { address: format!("s{id}:1"), directory_id: Some(id) });
            Body::Found { cluster: ClusterId([1; 16]), seeds: (0..3).map(record).collect() }
        }
        1 => Body::SeedDirectory { seed: SeedId(stream.below(5)), directory_id: stream.below(3) },
        2 => Body::SeedAdd { address: format!("s{}:1", stream.below(6)), replaces: None },
        3 => Body::SeedRemove(SeedId(stream.below(5))),
        4 | 5 => {
            let life = Life(stream.below(4));
            let candidate =
                Candidate { address: member.address, life, wire: Wire::Native, tags: Tags::new() };
            let replaces = if stream.below(2) == 0 { Incarnation::NONE } else { incarnation };
            let subject = Subject::Admission { address: member.address, life, replaces };
            Body::Join { ballot, candidate, replaces, votes: votes(stream, ballot, &subject) }
        }
        6 => Body::Leave(member),
        7 => {
            let verdict = DeathRecord {
                dead: member,
                ballot,
                votes: votes(stream, ballot, &Subject::Death(member)),
                cause: Cause::Absent,
                reporter: None,
                jurors: Vec::new(),
                stages: Stages::default(),
            };
            Body::Deaths(vec![verdict.clone(), verdict])
        }
        _ => return from_bytes(stream.piece()).ok(),
    }))
}

pub(crate) fn target(bytes: &[u8]) {
    let mut stream = Stream::new(bytes);
    let mut registry = Registry::default();
    registry.set_seeds(0, vec![(0..3).map(SeedId).collect()]);
    let mut gone: BTreeSet<MemberId> = BTreeSet::new();
    let mut index = 0;
    while !stream.is_over() {
        index += 1;
        if stream.below(16) == 15 {
            let seeds = (0..=stream.below(5)).map(SeedId).collect();
            registry.set_seeds(index, vec![seeds]);
            continue;
        }
        let Some(entry) = entry(&mut stream, index) else { continue };
        let before = registry.clone();
        let mut twin = registry.clone();
        let outcome = registry.apply(index, &entry);
        assert_eq!((twin.apply(index, &entry), &twin), (outcome.clone(), &registry), "apply is no function");
        if let Applied::Refused(_) = outcome.applied {
            assert!(outcome.changes.is_empty() && registry.epoch() == before.epoch());
            assert!(registry.members().eq(before.members()) && registry.seeds() == before.seeds());
        }
        assert!(registry.epoch() >= before.epoch() && registry.applied() == index);
        let after: BTreeSet<MemberId> = registry.members().map(|member| member.id).collect();
        gone.extend(before.members().map(|member| member.id).filter(|id| !after.contains(id)));
        assert!(after.is_disjoint(&gone), "a life came back");
    }
}

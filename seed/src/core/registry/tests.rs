//! What the registry takes and what it refuses.

use super::*;
use coterie_common::limits::PREDECESSORS_KEPT;
use coterie_common::message::{Cause, Stages};
use coterie_common::{Finding, HostEvidence, Tags, Wire};

const BALLOT: BallotId = BallotId { term: 1, number: 1 };

fn address(port: u16) -> Address {
    Address::new([127, 0, 0, 1].into(), port)
}

fn founded(seeds: u64) -> Registry {
    let mut registry = Registry::default();
    registry.set_seeds(0, vec![(0..seeds).map(SeedId).collect()]);
    let record = |id| (SeedId(id), SeedRecord { address: format!("s{id}:1"), directory_id: Some(id) });
    let found = Body::Found { cluster: ClusterId([7; 16]), seeds: (0..seeds).map(record).collect() };
    assert_eq!(registry.apply(1, &Entry::new(found)).applied, Applied::Founded);
    registry
}

fn votes(subject: &Subject, finding: Finding, seeds: &[u64]) -> Vec<Vote> {
    let vote = |&seed| Vote {
        seed: SeedId(seed),
        ballot: BALLOT,
        subject: subject.clone(),
        finding,
        host: HostEvidence::Unknown,
    };
    seeds.iter().map(vote).collect()
}

fn join(port: u16, life: u64, replaces: u64, seeds: &[u64]) -> Entry {
    let candidate =
        Candidate { address: address(port), life: Life(life), wire: Wire::Native, tags: Tags::new() };
    let replaces = Incarnation(replaces);
    let subject = Subject::Admission { address: address(port), life: Life(life), replaces };
    let votes = votes(&subject, Finding::Alive, seeds);
    Entry::new(Body::Join { ballot: BALLOT, candidate, replaces, votes })
}

fn id(port: u16, incarnation: u64) -> MemberId {
    MemberId { address: address(port), incarnation: Incarnation(incarnation) }
}

fn death(dead: MemberId, seeds: &[u64]) -> DeathRecord {
    let votes = votes(&Subject::Death(dead), Finding::Refused, seeds);
    DeathRecord {
        dead,
        ballot: BALLOT,
        votes,
        cause: Cause::Absent,
        reporter: None,
        jurors: vec![],
        stages: Stages::default(),
    }
}

fn deaths(records: Vec<DeathRecord>) -> Entry {
    Entry::new(Body::Deaths(records))
}

#[test]
fn a_join_needs_the_votes_of_a_majority_of_distinct_seeds_of_the_set() {
    for (seeds, expected) in [
        (&[0_u64, 1][..], true),
        (&[0, 1, 2], true),
        (&[0], false),
        (&[0, 0], false),
        (&[0, 7], false),
        (&[], false),
    ] {
        let outcome = founded(3).apply(5, &join(1, 10, 0, seeds));
        assert_eq!(outcome.applied == Applied::Joined(Incarnation(5)), expected, "{seeds:?}: {outcome:?}");
    }
}

#[test]
fn nothing_happens_before_the_founding() {
    let mut registry = Registry::default();
    registry.set_seeds(0, vec![[SeedId(0)].into()]);
    let Outcome { applied, changes } = registry.apply(1, &join(1, 7, 0, &[0]));
    assert_eq!(applied, refused(Why::BadRequest, "the cluster is not founded"));
    assert_eq!((changes.len(), registry.members().len(), registry.applied()), (0, 0, 1));
}

#[test]
fn while_the_set_changes_a_majority_of_each_set_is_needed() {
    let mut registry = founded(3);
    registry.set_seeds(4, vec![[0, 1, 2].map(SeedId).into(), [2, 3, 4].map(SeedId).into()]);
    assert_eq!(registry.apply(5, &join(1, 10, 0, &[0, 1])).applied, Applied::Refused(Why::BadVotes.into()));
    assert_eq!(registry.apply(6, &join(1, 10, 0, &[1, 2, 3])).applied, Applied::Joined(Incarnation(6)));
}

#[test]
fn votes_about_something_else_do_not_count() {
    let mut registry = founded(3);
    let Body::Join { candidate, .. } = join(1, 10, 0, &[]).body else { unreachable!() };
    let other = Subject::Admission { address: address(1), life: Life(10), replaces: Incarnation(3) };
    let votes = votes(&other, Finding::Alive, &[0, 1, 2]);
    let entry = Body::Join { ballot: BALLOT, candidate, replaces: Incarnation(0), votes };
    assert_eq!(registry.apply(5, &Entry::new(entry)).applied, Applied::Refused(Why::BadVotes.into()));
}

#[test]
fn a_new_life_ends_the_old_one_in_the_same_entry_and_an_ended_life_never_returns() {
    let mut registry = founded(3);
    registry.apply(5, &join(1, 10, 0, &[0, 1]));
    assert_eq!(registry.apply(6, &join(1, 10, 0, &[0, 1])).applied, Applied::Known(Incarnation(5)));
    let stale = registry.apply(7, &join(1, 11, 0, &[0, 1]));
    assert!(matches!(stale.applied, Applied::Refused(ref r) if r.why == Why::Superseded), "{stale:?}");
    assert_eq!(registry.epoch(), Epoch(5), "a refusal makes no epoch");
    let replaced = registry.apply(8, &join(1, 11, 5, &[0, 1]));
    assert!(
        matches!(&replaced.changes[..], [Change { event: Event::Replaced { old, .. }, .. }] if *old == id(1, 5))
    );
    assert_eq!(registry.apply(9, &join(1, 10, 8, &[0, 1])).applied, Applied::Refused(Why::Ended.into()));
    assert!(!registry.is_ended(address(1), Life::NONE), "a program without lives may come again");
}

#[test]
fn deaths_are_judged_one_by_one() {
    let mut registry = founded(3);
    registry.apply(5, &join(1, 10, 0, &[0, 1]));
    registry.apply(6, &join(2, 20, 0, &[0, 1]));
    registry.apply(7, &join(3, 30, 0, &[0, 1]));
    let mut alive = death(id(3, 7), &[0, 1, 2]);
    alive.votes[1].finding = Finding::Alive;
    let records = vec![death(id(1, 4), &[0, 1]), death(id(1, 5), &[0, 2]), death(id(2, 6), &[0]), alive];
    let outcome = registry.apply(8, &deaths(records));
    let left_out = vec![
        (id(1, 4), Why::NotMember.into()),
        (id(2, 6), Why::BadVotes.into()),
        (id(3, 7), Why::BadVotes.into()),
    ];
    assert_eq!(outcome.applied, Applied::Died { left_out });
    assert_eq!(outcome.changes, [Change { epoch: Epoch(8), event: Event::Died(id(1, 5)) }]);
    assert_eq!(registry.deaths().count(), 1);
}

#[test]
fn a_leave_names_its_incarnation() {
    let mut registry = founded(3);
    registry.apply(5, &join(1, 10, 0, &[0, 1]));
    let leave = |registry: &mut Registry, index, incarnation| {
        registry.apply(index, &Entry::new(Body::Leave(id(1, incarnation)))).applied
    };
    assert_eq!(leave(&mut registry, 6, 4), Applied::Refused(Why::NotMember.into()));
    assert_eq!(leave(&mut registry, 7, 5), Applied::Left);
    assert_eq!(leave(&mut registry, 8, 5), Applied::Refused(Why::NotMember.into()));
}

#[test]
fn the_first_directory_of_a_seed_stays() {
    let mut registry = founded(3);
    let directory_id = |directory_id| Entry::new(Body::SeedDirectory { seed: SeedId(1), directory_id });
    assert_eq!(registry.apply(5, &directory_id(1)).applied, Applied::DirectoryRecorded);
    assert!(matches!(registry.apply(6, &directory_id(99)).applied, Applied::Refused(_)));
}

#[test]
fn what_is_kept_of_the_past_is_bounded() {
    let mut registry = founded(1);
    let last = ENDED_KEPT as u64 + 20;
    let mut replaces = 0;
    for index in 2..2 + last {
        registry.apply(index, &join(1, index, replaces, &[0]));
        replaces = index;
    }
    assert_eq!((registry.ended().count(), registry.ended_index.len()), (ENDED_KEPT, ENDED_KEPT));
    for round in 0..DEATHS_KEPT as u64 + 20 {
        let index = last + 2 * round + 10;
        registry.apply(index, &join(2, index, 0, &[0]));
        registry.apply(index + 1, &deaths(vec![death(id(2, index), &[0])]));
    }
    assert_eq!(registry.deaths().count(), DEATHS_KEPT);
}

#[test]
fn a_registry_that_no_log_makes_is_told_from_one_that_some_log_does() {
    let mut sound = founded(1);
    sound.apply(2, &join(1, 11, 0, &[0]));
    sound.apply(3, &join(1, 12, 2, &[0]));
    assert_eq!(sound.check(), Ok(()));
    let broken = |break_it: fn(&mut Registry)| {
        let mut registry = sound.clone();
        break_it(&mut registry);
        registry.check().unwrap_err()
    };
    assert_eq!(broken(|r| r.epoch = Epoch(4)), "epoch 4 after entry 3");
    assert_eq!(broken(|r| r.cluster = None), "1 members before the founding");
    assert_eq!(broken(|r| r.ended.clear()), "0 lives have ended, 1 are known as ended");
    assert_eq!(broken(|r| r.ended_index.clear()), "the index of ended lives is another");
    assert_eq!(
        broken(|r| (r.epoch, r.applied) = (Epoch(2), 2)),
        "127.0.0.1:1#3 stands at 127.0.0.1:1, and entry 2 was the last"
    );
    let moved = broken(|r| {
        let member = r.members.remove(&address(1)).unwrap();
        r.members.insert(address(2), member);
    });
    assert_eq!(moved, "127.0.0.1:1#3 stands at 127.0.0.1:2, and entry 3 was the last");
    let back = broken(|r| {
        r.ended_lives.push_back((address(1), Life(12)));
        r.ended_index.insert((address(1), Life(12)));
        r.ended.push_back(r.ended[0]);
    });
    assert_eq!(back, "127.0.0.1:1#3 has ended and is a member");
}

/// The majority is lost; whoever is a member stays one, and no number is used again.
#[test]
fn a_successor_has_the_members_and_one_seed_alone_under_another_name() {
    let mut registry = founded(3);
    assert_eq!(registry.apply(2, &join(6001, 5, 0, &[0, 1])).applied, Applied::Joined(Incarnation(2)));
    let former = registry.cluster().unwrap();
    let seed = SeedRecord { address: "s2:1".to_owned(), directory_id: Some(99) };
    let successor = succeed(registry.clone(), seed.clone(), 1_000_002);
    assert!(successor.cluster().is_some_and(|cluster| cluster != former));
    assert_eq!(successor.predecessors(), [former]);
    assert_eq!(successor.members().len(), 1);
    assert_eq!(successor.at(address(6001)), registry.at(address(6001)), "the same life");
    assert_eq!((successor.applied(), successor.epoch()), (1_000_002, Epoch(1_000_002)));
    let id = SeedId(1_001_002);
    assert_eq!(successor.voters(), [id]);
    assert_eq!(successor.directory_id_of(id), Some(99));
    assert!((0..3).all(|seed| successor.is_gone(SeedId(seed))), "also the seat that it had itself");
    // Its seed decides alone.
    let mut successor = successor;
    let record = death(MemberId { address: address(6001), incarnation: Incarnation(2) }, &[]);
    let votes = votes(&Subject::Death(record.dead), Finding::Refused, &[1_001_002]);
    let outcome = successor.apply(1_000_003, &deaths(vec![DeathRecord { votes, ..record }]));
    assert_eq!(outcome.changes.len(), 1, "{outcome:?}");
    // And may be succeeded in turn; the first names are forgotten at last.
    for index in 2..40 {
        successor = succeed(successor, seed.clone(), index * 1_000_000);
    }
    assert_eq!(successor.predecessors().len(), PREDECESSORS_KEPT);
}

//! Races that other systems shipped, each a world of its own: what happened there does not happen here, and does, in
//! three of the five, where the bug is planted that they had.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

use std::time::Duration;

use coterie_simulator::check::marks::Marks;
use coterie_simulator::check::report::Violation;
use coterie_simulator::model::host::Host;
use coterie_simulator::model::latency::Latency;
use coterie_simulator::plan::Plan;
use coterie_simulator::plan::fault::Fault;
use coterie_simulator::plan::planted_bug::PlantedBug;
use coterie_simulator::plan::swarm::Swarm;
use coterie_simulator::run::run;

/// Worlds of each race: what is drawn in them is when nodes start, how long packets take, and who dials whom.
const WORLDS: u64 = 20;

const MS: Duration = Duration::from_millis(1);

/// A calm world of 3 seeds and 9 peers.
fn swarm() -> Swarm {
    Swarm { chaos: Duration::from_secs(20), ..Swarm::calm(3, 9) }
}

/// What all worlds of a race visited, or the first violation.
fn race(swarm: &Swarm, faults: &[(u64, Fault)], bug: Option<PlantedBug>) -> Result<Marks, Violation> {
    let mut marks = Marks::default();
    for number in 0..WORLDS {
        let mut plan = Plan::of(number, swarm.clone(), faults.to_vec());
        plan.planted_bug = bug;
        marks.merge(&run(&plan, None)?.marks);
    }
    Ok(marks)
}

/// So many suspicions there were, whatever the cause.
fn suspicions(marks: &Marks) -> u64 {
    let causes = ["connection_lost", "pings_missed", "connect_refused", "asked", "absent", "deaf"];
    causes.iter().map(|cause| marks.get(&format!("cause_{cause}"))).sum()
}

/// Infinispan 15834: two nodes dial each other in one moment, one of the two connections is closed, and its end is
/// taken for the other's death. Here it is said why a connection is closed, and only an end without a word is
/// suspicious.
#[test]
fn of_two_crossed_dials_one_is_closed_and_nobody_is_suspected() {
    let all_at_once = Swarm { start_within: MS, ..swarm() };
    let marks = race(&all_at_once, &[], None).unwrap();
    assert!(marks.get("links_duplicate") > 0, "no two dials have crossed");
    assert_eq!(suspicions(&marks), 0);
    let without_a_word = race(&all_at_once, &[], Some(PlantedBug::DuplicatesEndWithoutAWord)).unwrap();
    assert!(suspicions(&without_a_word) > 0);
}

/// Elasticsearch 67873: a node rejoins while its removal is still being published, and the removal, which comes later,
/// takes the new one. Here a removal names the incarnation that it removes.
#[test]
fn a_removal_that_is_published_late_does_not_take_who_has_rejoined() {
    // Too long for the seeds to find them alive. What one seed publishes comes so late that they are back by then.
    let mut faults = vec![(7_000, Fault::Slow(Host::Seed(2), 700 * MS))];
    faults.extend((1..4).map(|peer| (8_000, Fault::Pause(Host::Peer(peer), 2_300 * MS))));
    let marks = race(&swarm(), &faults, None).unwrap();
    assert!(marks.get("rejoins") > 0, "nobody has been removed and come back");
    let found = race(&swarm(), &faults, Some(PlantedBug::RemovalsNameAddresses)).unwrap_err();
    assert_eq!(found.invariant, "agreement");
}

/// etcd 15247: a leader slept, woke, and revoked everybody's lease before it had heard that another leads. Here a node
/// that stood still reads what waits before it judges, and nobody is removed by the word of one.
#[test]
fn who_slept_and_wakes_removes_nobody() {
    // All seeds in turn, so that the leader is among them, and a peer; none of them for so long that it is removed.
    let sleepers = [Host::Seed(0), Host::Seed(1), Host::Seed(2), Host::Peer(4)];
    let faults: Vec<(u64, Fault)> = (0..)
        .zip(sleepers)
        .map(|(place, host)| (6_000 + 3_000 * place, Fault::Pause(host, 900 * MS)))
        .collect();
    let marks = race(&swarm(), &faults, None).unwrap();
    assert!(marks.get("loops_late") > 0, "nobody has slept");
    assert_eq!(marks.get("rejoins"), 0, "somebody was removed and came back");
}

/// ScyllaDB 16410: on a link of 150 ms and some jitter every ping was answered after the time-out, and nodes flapped.
/// Here the time-out follows the answers, also late ones.
#[test]
fn round_trips_above_the_first_time_out_are_learnt_and_nobody_is_suspected() {
    // One way takes half of 150 ms, give or take 20.
    let far =
        Swarm { latency: Latency::Uniform(65 * MS, 85 * MS), chaos: Duration::from_secs(60), ..swarm() };
    let marks = race(&far, &[], None).unwrap();
    assert_eq!(suspicions(&marks), 0);
    let unlearnt = race(&far, &[], Some(PlantedBug::PongsAnswerNothing)).unwrap_err();
    assert_eq!(unlearnt.invariant, "proportion", "{unlearnt:?}");
}

/// memberlist 311: a node that came back under its old address was taken for the one that had been there, by those who
/// still discussed that one's death. Here a life and an incarnation are named by all who speak of it.
#[test]
fn who_is_back_at_its_old_address_is_not_taken_for_the_life_before() {
    // Back while links still break and juries sit: packets take up to 60 ms.
    let back = |peer: usize, after: u64| {
        [(7_000, Fault::Kill(Host::Peer(peer))), (7_000 + after, Fault::Start(Host::Peer(peer)))]
    };
    let mut faults: Vec<(u64, Fault)> = (0..6).flat_map(|peer| back(peer, 30 + 70 * peer as u64)).collect();
    faults.push((6_000, Fault::Slow(Host::Seed(2), 700 * MS)));
    let slow = Swarm { latency: Latency::Uniform(5 * MS, 60 * MS), ..swarm() };
    let marks = race(&slow, &faults, None).unwrap();
    assert!(suspicions(&marks) > 0, "no jury has sat");
    assert!(marks.get("replacements") > 0, "nobody came back before its former life was removed");
    assert_eq!(marks.get("rejoins"), 0, "a new life was removed for the old one's death");
}

//! Whole clusters in simulated time: they keep every promise, every invariant bites, and what is rare is visited.
//!
//! What a run is stands with `coterie_simulator`. Many more of them, from fresh numbers, are run by `cargo sim`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

use std::time::Duration;

use coterie_simulator::check::marks::{MARKS, Marks};
use coterie_simulator::check::report::Violation;
use coterie_simulator::model::host::Host;
use coterie_simulator::plan::Plan;
use coterie_simulator::plan::fault::Fault;
use coterie_simulator::plan::planted_bug::PlantedBug;
use coterie_simulator::run::run;
use coterie_simulator::shrink::shrink;

/// Runs within which a planted bug must be found.
const FOUND_WITHIN: u64 = 300;

/// Runs of 5 to 30 peers from `from` on; on failure says how to see the first bad one again.
fn run_all(from: u64, count: u64) -> Marks {
    let mut marks = Marks::default();
    for number in from..from + count {
        match run(&Plan::draw(number), None) {
            Ok(report) => marks.merge(&report.marks),
            Err(violation) => panic!("{violation}; to see it: cargo sim --seeds 1 --from {number}"),
        }
    }
    marks
}

// Four hundred runs in four parts, so that two cores share them.

#[test]
fn runs_0_to_99_keep_every_promise() {
    run_all(0, 100);
}

#[test]
fn runs_100_to_199_keep_every_promise() {
    run_all(100, 100);
}

#[test]
fn runs_200_to_299_keep_every_promise() {
    run_all(200, 100);
}

#[test]
fn runs_300_to_399_keep_every_promise_and_all_of_them_visit_what_is_rare() {
    let mut marks = run_all(300, 100);
    if !marks.missing(&MARKS).is_empty() {
        marks.merge(&run_all(400, 300));
    }
    assert_eq!(marks.missing(&MARKS), Vec::<&str>::new(), "marks that no run has reached");
}

#[test]
fn three_hundred_peers_keep_every_promise() {
    let result = run(&Plan::large(1, 300), None);
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

/// The same number makes the same run, down to every line; another number makes another.
#[test]
fn a_run_is_determined_by_its_number() {
    let report = |number| run(&Plan::draw(number), None).unwrap();
    assert_eq!(report(7), report(7));
    assert_ne!(report(7).digest, report(8).digest);
}

/// Runs a plan of which only these faults are left, and which an earlier version of the nodes or of the world failed.
fn keeps_every_promise(number: u64, peers: usize, chaos_ms: u64, faults: Vec<(u64, Fault)>) {
    let mut plan = Plan::draw(number);
    plan.swarm.peers = peers;
    plan.swarm.chaos = Duration::from_millis(chaos_ms);
    plan.swarm.seeds_within = Duration::from_millis(300);
    plan.faults = faults;
    let result = run(&plan, None);
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

/// An operator who removes a seed leaves some that a peer, cut off since before others were added, has in its list;
/// those that lost their directories and stopped are none. Found as run 71680: the peer was left with three addresses
/// at which nobody would ever answer again, which no program can mend.
#[test]
fn an_operator_leaves_seeds_that_a_peer_cut_off_since_the_beginning_can_find() {
    let faults = vec![
        (1_309, Fault::Deafen(Host::Peer(14))),
        (5_172, Fault::AddSeed(5)),
        (6_758, Fault::AddSeed(4)),
        (18_874, Fault::Wipe(2)),
        (25_386, Fault::Wipe(1)),
        (27_338, Fault::AddSeed(3)),
        (30_505, Fault::RemoveSeed(0)),
    ];
    keeps_every_promise(71_680, 15, 31_705, faults);
}

/// Five seeds, of which two lost their directories and begin empty; everything else is down. Those two are a majority
/// of the list that they were given, of three, and began a second cluster beside the first. A fault of the nodes: only
/// where every seed of the list has answered and is empty may one begin.
#[test]
fn two_emptied_seeds_begin_no_second_cluster_while_the_others_are_silent() {
    let faults = vec![
        (3_231, Fault::AddSeed(3)),
        (9_984, Fault::AddSeed(5)),
        (10_168, Fault::Wipe(1)),
        (14_705, Fault::Wipe(0)),
        (14_754, Fault::KillAllSeeds),
        (21_016, Fault::ReplaceSeed(1)),
    ];
    keeps_every_promise(7_700_206, 2, 26_767, faults);
}

/// Seven seeds, of which three lost their directories; two of those have ended, one has just come back empty. The
/// leader counted it among the connected, and let a fourth be removed: three were left of six. A fault of the nodes (an
/// empty seed is connected and decides nothing) and of the world (its operator does not ask for that any more).
#[test]
fn no_seed_is_removed_while_an_emptied_one_makes_up_the_majority() {
    let faults = vec![
        (1_679, Fault::AddSeed(6)),
        (1_717, Fault::Depose),
        (2_837, Fault::AddSeed(7)),
        (3_189, Fault::Wipe(3)),
        (9_019, Fault::Wipe(0)),
        (15_761, Fault::Wipe(2)),
        (16_212, Fault::Pause(Host::Seed(4), Duration::from_millis(2_048))),
        (16_986, Fault::RemoveSeed(7)),
        (19_323, Fault::Kill(Host::Peer(1))),
    ];
    keeps_every_promise(90_002_529, 7, 19_548, faults);
}

/// Peers are cut off together with a seed that is being replaced. It catches up with the log, and told them of a list
/// that had been in force on the way, without itself; they left it for two others, which then lost their directories.
/// A fault of the nodes, at both ends: a seed tells of the last list of a batch alone, and a peer none of whose seeds
/// answers asks those of older lists.
#[test]
fn peers_find_the_way_back_from_a_list_of_seeds_that_was_in_force_for_a_moment() {
    let seeds = |seeds: &[usize]| seeds.iter().map(|index| Host::Seed(*index)).collect::<Vec<_>>();
    let peers = |peers: &[usize]| peers.iter().map(|index| Host::Peer(*index)).collect::<Vec<_>>();
    let here = [seeds(&[1, 2]), peers(&[2, 3, 6, 8])].concat();
    let there = [seeds(&[0]), peers(&[0, 1, 4, 5, 7, 9, 10, 11])].concat();
    let faults = vec![
        (2_644, Fault::Wipe(0)),
        (5_194, Fault::Partition(here, there)),
        (5_706, Fault::ReplaceSeed(0)),
        (8_043, Fault::AddSeed(5)),
        (16_117, Fault::AddSeed(3)),
        (16_591, Fault::Depose),
        (17_813, Fault::Wipe(2)),
        (17_828, Fault::Slow(Host::Peer(2), Duration::from_millis(35))),
        (18_733, Fault::Wipe(1)),
    ];
    keeps_every_promise(90_007_845, 12, 18_878, faults);
}

/// A new leader stands still before it has applied its first entry, whose writing its disk finishes meanwhile. A fault
/// of the world: nobody handed the entry over when the leader went on, so it never led, and nothing was decided again.
#[test]
fn a_leader_that_stood_still_while_its_disk_wrote_goes_on() {
    let faults = vec![
        (1_084, Fault::Wipe(3)),
        (1_915, Fault::Darken(Host::Peer(8))),
        (2_454, Fault::Depose),
        (2_467, Fault::Pause(Host::Seed(1), Duration::from_millis(3_034))),
    ];
    keeps_every_promise(70_045, 12, 3_028, faults);
}

/// The first violation of an invariant that is found when a bug is planted and that invariant looks. A run may end
/// before by an assert of the world, whose logs differ by what was planted: that is no finding of the invariant.
fn first_violation(planted_bug: PlantedBug, invariant: &str) -> Option<(Plan, Violation)> {
    (0..FOUND_WITHIN).find_map(|number| {
        let mut plan = Plan::draw(number);
        plan.planted_bug = Some(planted_bug);
        let violation = run(&plan, Some(invariant)).err().filter(|found| found.invariant == invariant)?;
        Some((plan, violation))
    })
}

/// An invariant that nothing could violate would prove nothing.
#[test]
fn every_planted_bug_is_found_by_the_invariant_that_looks_for_it() {
    let mut missed = Vec::new();
    for (planted_bug, invariant) in PlantedBug::ALL {
        if first_violation(planted_bug, invariant).is_none() {
            missed.push((planted_bug, invariant));
        }
    }
    assert_eq!(missed, [], "planted and not found");
}

#[test]
fn a_run_that_fails_is_shrunk_to_less_that_fails_in_the_same_way() {
    let (plan, violation) = first_violation(PlantedBug::PushLeavesOneOut, "agreement").unwrap();
    let (restriction, smaller) = shrink(&plan, &violation);
    let shrunk = plan.restricted(&restriction);
    assert_eq!(smaller.invariant, "agreement");
    assert!(shrunk.faults.len() <= plan.faults.len() && shrunk.swarm.peers <= plan.swarm.peers);
    assert_eq!(run(&shrunk, None).unwrap_err(), smaller, "what is printed is what happens again");
}

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

/// An operator who removes a seed leaves some that a peer, cut off since before others were added, has in its list;
/// those that lost their directories and stopped are none. Found as run 71680: the peer was left with three addresses
/// at which nobody would ever answer again, which no program can mend.
#[test]
fn an_operator_leaves_seeds_that_a_peer_cut_off_since_the_beginning_can_find() {
    let mut plan = Plan::draw(71_680);
    plan.swarm.peers = 15;
    plan.swarm.chaos = Duration::from_millis(31_705);
    plan.faults = vec![
        (1_309, Fault::Deafen(Host::Peer(14))),
        (5_172, Fault::AddSeed(5)),
        (6_758, Fault::AddSeed(4)),
        (18_874, Fault::Wipe(2)),
        (25_386, Fault::Wipe(1)),
        (27_338, Fault::AddSeed(3)),
        (30_505, Fault::RemoveSeed(0)),
    ];
    let result = run(&plan, None);
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

/// The first violation that is found when a bug is planted and one invariant looks.
fn first_violation(planted_bug: PlantedBug, invariant: &str) -> Option<(Plan, Violation)> {
    (0..FOUND_WITHIN).find_map(|number| {
        let mut plan = Plan::draw(number);
        plan.planted_bug = Some(planted_bug);
        let violation = run(&plan, Some(invariant)).err()?;
        Some((plan, violation))
    })
}

/// An invariant that nothing could violate would prove nothing.
#[test]
fn every_planted_bug_is_found_by_the_invariant_that_looks_for_it() {
    let mut missed = Vec::new();
    for (planted_bug, invariant) in PlantedBug::ALL {
        match first_violation(planted_bug, invariant) {
            Some((_, violation)) => assert_eq!(violation.invariant, invariant, "{planted_bug}: {violation}"),
            None => missed.push((planted_bug, invariant)),
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

//! Each mechanism that keeps doubts in proportion has a world in which it matters: switched off, it costs many times as
//! much there, or the living are suspected.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

use std::time::Duration;

use coterie_simulator::check::marks::Marks;
use coterie_simulator::model::host::Host;
use coterie_simulator::model::machine::Prices;
use coterie_simulator::plan::Plan;
use coterie_simulator::plan::fault::Fault;
use coterie_simulator::plan::planted_bug::PlantedBug;
use coterie_simulator::plan::swarm::Swarm;
use coterie_simulator::plan::trigger::Trigger;
use coterie_simulator::run::run;

/// Worlds of each kind.
const WORLDS: u64 = 3;

const MS: Duration = Duration::from_millis(1);

/// When everybody is at rest.
const AT: u64 = 15_000;

fn swarm(peers: usize) -> Swarm {
    Swarm { chaos: Duration::from_secs(50), ..Swarm::calm(3, peers) }
}

/// Suspicions, and connections that probes opened, over all worlds. Held against no invariant but the one that every
/// death is well founded: what is switched off may violate others.
fn cost(swarm: &Swarm, faults: &[(u64, Fault)], bug: Option<PlantedBug>) -> (u64, u64) {
    let mut marks = Marks::default();
    for number in 0..WORLDS {
        let mut plan = Plan::of(number, swarm.clone(), faults.to_vec());
        plan.planted_bug = bug;
        marks.merge(&run(&plan, Some("no_unilateral_death")).unwrap().marks);
    }
    let causes = ["connection_lost", "pings_missed", "connect_refused", "deaf"];
    let suspicions = causes.iter().map(|cause| marks.get(&format!("cause_{cause}"))).sum();
    (suspicions, marks.get("connections_of_probes"))
}

/// Two machines of one core for everybody, whose cores are taken away for eight seconds; meanwhile somebody dies.
fn starved() -> (Swarm, Vec<(u64, Fault)>) {
    let prices = Prices { step: Duration::from_micros(100), machines: 2, cores: 1 };
    let swarm = Swarm { prices: Some(prices), ..swarm(60) };
    let steal = Fault::Trigger(Trigger::Steal(30, 8_000 * MS));
    (swarm, vec![(AT, steal), (AT + 2_000, Fault::Darken(Host::Peer(3)))])
}

#[test]
fn who_reads_late_what_came_in_time_suspects_nobody_for_that() {
    let (swarm, faults) = starved();
    let (suspicions, connections) = cost(&swarm, &faults, None);
    let (without, connections_without) = cost(&swarm, &faults, Some(PlantedBug::LateIsNotLate));
    assert!(without > 10 * suspicions, "{without} suspicions against {suspicions}");
    assert!(connections_without > 4 * connections, "{connections_without} against {connections}");
}

#[test]
fn who_finds_itself_unwell_suspects_fewer() {
    let (swarm, faults) = starved();
    let (suspicions, _) = cost(&swarm, &faults, None);
    let (without, _) = cost(&swarm, &faults, Some(PlantedBug::NobodyDoubtsItself));
    assert!(2 * without > 3 * suspicions, "{without} suspicions against {suspicions}");
}

#[test]
fn time_outs_that_learn_bear_losses() {
    let faults = [(AT, Fault::Lose(20))];
    let (suspicions, connections) = cost(&swarm(40), &faults, None);
    let (without, connections_without) = cost(&swarm(40), &faults, Some(PlantedBug::NothingIsLearnt));
    assert!(without > 3 * suspicions, "{without} suspicions against {suspicions}");
    assert!(connections_without > 2 * connections, "{connections_without} against {connections}");
}

/// Every third pair of peers is cut, one way, and stays so; the seeds reach everybody.
#[test]
fn who_was_found_alive_is_left_alone_for_a_while() {
    let peers = 40;
    let pairs = (0..peers).flat_map(|a| (0..peers).map(move |b| (a, b))).filter(|(a, b)| a != b);
    let cut = |(a, b)| (AT, Fault::Cut(Host::Peer(a), Host::Peer(b)));
    let faults: Vec<(u64, Fault)> = pairs.filter(|(a, b)| (a + b) % 3 == 0).map(cut).collect();
    let (suspicions, connections) = cost(&swarm(peers), &faults, None);
    let (without, connections_without) =
        cost(&swarm(peers), &faults, Some(PlantedBug::AcquittalsAreForgotten));
    assert!(2 * without > 3 * suspicions, "{without} suspicions against {suspicions}");
    assert!(2 * connections_without > 3 * connections, "{connections_without} against {connections}");
}

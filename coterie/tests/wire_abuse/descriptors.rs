//! Strangers that take all descriptors a node has.

use std::net::TcpStream;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::common::{TestCluster, Watched, run, wait_until};
use super::one_host::connect_from;

/// What a container may be given by mistake.
const DESCRIPTORS: u64 = 48;

pub(crate) fn leave_few_descriptors(cluster: &TestCluster, node: usize) {
    let pid = cluster.cluster.nodes[node].process.as_ref().unwrap().id();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let few = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    prlimit(pid, Resource::Nofile, few).unwrap();
}

/// A seed with few descriptors, and more strangers than that, which say nothing: it was deaf, and a second seed that
/// died cost the majority. Whoever speaks is served, and what decides is not touched.
#[test]
fn strangers_that_say_nothing_take_no_descriptor_from_who_speaks() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let leader = cluster.leader();
    let crowded = cluster.seeds().into_iter().find(|seed| *seed != leader).unwrap();
    let (peer, victim) = (cluster.peers()[0], cluster.peers()[1]);
    for node in [crowded, peer] {
        leave_few_descriptors(&cluster, node);
    }
    let strangers: Vec<TcpStream> = [crowded, peer]
        .iter()
        // Of several hosts: of one alone they would be too many sooner.
        .flat_map(|&node| (0..60).map(move |number| (number % 3, node)))
        .map(|(host, node)| connect_from([127, 78, 0, host], cluster.socket(node)))
        .collect();
    for (node, role) in [(crowded, "seed"), (peer, "peer")] {
        let address = cluster.socket(node).to_string();
        wait_until("it to answer", || run(&[role, "--check", &address]).status.success());
    }
    // The majority needs the crowded one.
    let mark = cluster.mark();
    cluster.kill(leader);
    cluster.kill(victim);
    let rest: Vec<usize> = cluster.seeds().into_iter().filter(|seed| *seed != leader).chain([peer]).collect();
    cluster.wait_for_death(mark, cluster.address(victim), &rest);
    let told = run(&["status", "--seed", &cluster.socket(crowded).to_string()]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("connections_over_limit"), "{told}");
    drop(strangers);
}

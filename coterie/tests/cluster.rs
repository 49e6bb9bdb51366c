//! Whole clusters of real processes.

mod common;

use common::TestCluster;

#[test]
fn a_killed_peer_is_confirmed_dead_at_every_node_with_one_epoch() {
    let mut cluster = TestCluster::form(3, 6, &["--messages", "0"]);
    let mark = cluster.mark();
    let victim = cluster.peers()[2];
    let dead = cluster.address(victim);
    cluster.kill(victim);
    let survivors: Vec<usize> = (0..9).filter(|&index| index != victim).collect();
    cluster.wait_for_death(mark, dead, &survivors);
    let epochs: Vec<&str> =
        cluster.seen[mark..].iter().filter(|(_, e)| e.event == "DEAD_CONFIRMED").map(|(_, e)| e.get("epoch")).collect();
    assert_eq!(epochs.len(), 8, "once at each node");
    assert!(epochs.iter().all(|epoch| epoch == &epochs[0]), "one entry, one epoch: {epochs:?}");
}

//! The way back from a majority of the seeds that is lost for good: `--force-new-cluster`, as docs/disasters.md has it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::{DEADLINE, TestCluster, Watched, run, status, wait_until};
use coterie::cluster::directory::{seeds_of, stderr_of};

fn data(cluster: &TestCluster, seed: usize) -> PathBuf {
    cluster.cluster.nodes[seed].record.data.clone().expect("a seed has a directory")
}

/// The name of the cluster, as `status` prints it.
fn name(cluster: &TestCluster, seed: usize) -> String {
    let told = status(cluster.socket(seed));
    let after = told.split("cluster ").nth(1).unwrap_or_else(|| panic!("{told}"));
    after.chars().take_while(char::is_ascii_hexdigit).collect()
}

/// Whether a seed's status says this. One that starts does not answer yet.
fn says(seed: std::net::SocketAddr, what: &str) -> bool {
    String::from_utf8_lossy(&run(&["status", "--seed", &seed.to_string()]).stdout).contains(what)
}

/// The incarnation of each member, as a seed has it, and the epoch.
fn members(cluster: &TestCluster, seed: usize) -> (u64, BTreeMap<String, String>) {
    let output = run(&["members", "--seed", &cluster.socket(seed).to_string()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let epoch = text.split("epoch ").nth(1).and_then(|rest| rest.split([',', ' ', '\n']).next());
    let member = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    let all = text.lines().filter(|line| line.starts_with("127.")).filter_map(member).collect();
    (epoch.and_then(|epoch| epoch.parse().ok()).unwrap_or_else(|| panic!("{text}")), all)
}

/// Starts a seed with the option, which must end with 1; returns what it said last.
fn refused(cluster: &mut TestCluster, seed: usize, name: &str) -> String {
    cluster.cluster.layout.seed_args = ["--force-new-cluster", name].map(str::to_owned).to_vec();
    cluster.start(seed);
    let mut process = cluster.cluster.nodes[seed].process.take().unwrap();
    assert_eq!(process.wait_or_kill(DEADLINE), Some(1));
    cluster.cluster.layout.seed_args.clear();
    let said = std::fs::read_to_string(stderr_of(&cluster.cluster.nodes[seed].record)).unwrap();
    said.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_cluster_goes_on_with_its_members_when_a_majority_of_its_seeds_is_lost_for_good() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let former = name(&cluster, 0);
    let (epoch, before) = members(&cluster, 0);
    assert_eq!(before.len(), 3, "{before:?}");
    for seed in [1, 2] {
        cluster.kill(seed);
    }
    // One disk is gone, and one turns up again later, when nobody expects it.
    std::fs::remove_dir_all(data(&cluster, 1)).unwrap();
    let found_again = cluster.path().join("found-again");
    std::fs::rename(data(&cluster, 2), &found_again).unwrap();
    assert_eq!(cluster.stop(0), Some(0));
    let mark = cluster.mark();
    cluster.cluster.layout.seed_args = ["--force-new-cluster", &former].map(str::to_owned).to_vec();
    cluster.start(0);
    // Members stay who they are: the same lives, with the same incarnations, and no epoch is used twice.
    let peers = cluster.peers();
    cluster.wait_for("peers to follow", mark, &peers, |_, e| e.event == "CLUSTER_CHANGED");
    // They hear of the cluster sooner than the seed leads.
    let seed = cluster.socket(0).to_string();
    wait_until("the seed to be ready", || run(&["seed", "--check", &seed]).status.success());
    let (after_epoch, after) = members(&cluster, 0);
    assert_eq!(after, before);
    assert!(after_epoch >= epoch + 1_000_000, "{after_epoch} after {epoch}");
    let successor = name(&cluster, 0);
    assert_ne!(successor, former);
    // It decides, and it is green; what it does not know any more it hears from those who are there.
    cluster.kill(peers[0]);
    cluster.wait_for_death(mark, cluster.address(peers[0]), &[0, peers[1], peers[2]]);
    let own = cluster.socket(0).to_string();
    assert!(run(&["seed", "--check", &own]).status.success());
    // Empty seeds at the old addresses are let in at the operator's word.
    let list = seeds_of(cluster.path()).display().to_string();
    let second = cluster.address(1).to_string();
    let added = run(&["seed-add", &second, "--config", &list]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    cluster.cluster.layout.seed_args.clear();
    cluster.start(1);
    let socket = cluster.socket(0);
    wait_until("its vote", || says(socket, "2 of 2 voters"));
    // The directory that turned up is of the former cluster: it is refused by name at both ends, and changes nothing.
    std::fs::rename(&found_again, data(&cluster, 2)).unwrap();
    cluster.start(2);
    wait_until("the refusal", || {
        let said = std::fs::read_to_string(stderr_of(&cluster.cluster.nodes[2].record)).unwrap();
        let third = cluster.address(2);
        said.contains(&format!("cluster {former}, for which {successor} goes on without {third}: empty"))
    });
    assert_eq!(name(&cluster, 0), successor);
    let (_, last) = members(&cluster, 0);
    assert_eq!(last.len(), 2, "{last:?}");
    assert_eq!(name(&cluster, 2), former);
    assert!(!run(&["seed", "--check", &cluster.socket(2).to_string()]).status.success());
}

/// The option holds for one cluster, once; for another it is an error, and so it is where nothing is lost.
#[test]
fn the_option_is_refused_where_it_would_do_harm_and_does_nothing_twice() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let former = name(&cluster, 0);
    assert_eq!(cluster.stop(0), Some(0));
    let other = if former == "0000" { "0001" } else { "0000" };
    let said = refused(&mut cluster, 0, other);
    assert!(said.contains(&format!("is of cluster {former}")), "{said}");
    let said = refused(&mut cluster, 0, &former);
    assert!(said.contains("can have things decided, so nothing is lost"), "{said}");
    let aside = cluster.path().join("aside");
    std::fs::rename(data(&cluster, 0), &aside).unwrap();
    let said = refused(&mut cluster, 0, &former);
    assert!(said.contains("has no history to go on with"), "{said}");
    std::fs::remove_dir_all(data(&cluster, 0)).unwrap();
    std::fs::rename(&aside, data(&cluster, 0)).unwrap();
    // Refused, it has changed nothing.
    cluster.start(0);
    let socket = cluster.socket(0);
    wait_until("its return", || says(socket, "3 of 3 voters"));
    for seed in 0..3 {
        cluster.kill(seed);
    }
    // Left in a unit file, it begins nothing more.
    cluster.cluster.layout.seed_args = ["--force-new-cluster", &former].map(str::to_owned).to_vec();
    cluster.start(0);
    wait_until("the seed to lead alone", || says(socket, "1 of 1 voters"));
    let successor = name(&cluster, 0);
    cluster.kill(0);
    cluster.start(0);
    wait_until("the seed to lead again", || says(socket, "1 of 1 voters"));
    assert_eq!(name(&cluster, 0), successor);
    let said = std::fs::read_to_string(stderr_of(&cluster.cluster.nodes[0].record)).unwrap();
    assert!(said.contains(&format!("it goes on as cluster {successor} already")), "{said}");
}

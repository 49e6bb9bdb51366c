//! Seeds that are added, removed and replaced while the cluster runs: real processes, real logs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod common;

use std::process::Stdio;

use common::{DEADLINE, TestCluster, Watched, command, run, status, wait_until};
use coterie::cluster::directory::seeds_of;
use coterie_common::Role;

/// An operator's command about `seed`, asked of `through`; it must succeed, and what it says is returned.
fn change(cluster: &TestCluster, command: &str, seed: usize, through: usize) -> String {
    let (seed, through) = (cluster.address(seed).to_string(), cluster.address(through).to_string());
    let output = run(&[command, &seed, "--seed", &through]);
    assert!(output.status.success(), "{command} {seed}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Waits until `through` says that exactly these seeds vote.
fn wait_for_votes(cluster: &TestCluster, through: usize, seeds: &[usize]) {
    let mut names: Vec<String> = seeds.iter().map(|seed| cluster.address(*seed).to_string()).collect();
    names.sort();
    let socket = cluster.socket(through);
    wait_until(&format!("the votes of {names:?}"), || {
        // A seed that was just started may not listen yet.
        let output = run(&["status", "--seed", &socket.to_string()]);
        let status = String::from_utf8(output.stdout).expect("text");
        let told = status.lines().find_map(|line| line.strip_prefix("seeds ")).unwrap_or_default().to_owned();
        let mut told: Vec<&str> = told.split(", ").collect();
        told.sort_unstable();
        told == names
    });
}

/// Has the first peer die, and waits until these seeds and all other peers have heard of it.
fn have_a_death_confirmed(cluster: &mut TestCluster, seeds: &[usize]) {
    let peers = cluster.peers();
    let survivors: Vec<usize> = seeds.iter().chain(&peers[1..]).copied().collect();
    let (mark, dead) = (cluster.mark(), cluster.address(peers[0]));
    cluster.kill(peers[0]);
    cluster.wait_for_death(mark, dead, &survivors);
}

#[test]
fn a_seed_is_added_while_the_cluster_runs_and_takes_part_in_what_is_decided() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let new = cluster.cluster.add(Role::Seed).unwrap();
    // Started too early it waits, and says for what.
    cluster.start(new);
    wait_until("the new seed to say what it waits for", || cluster.stderr().contains("seed-add"));
    let said = change(&cluster, "seed-add", new, 0);
    assert!(said.contains("gets a vote as soon as it runs"), "{said}");
    wait_for_votes(&cluster, 0, &[0, 1, 2, new]);
    wait_for_votes(&cluster, new, &[0, 1, 2, new]);
    // Four seeds need three: without the new one's vote nothing could be decided now.
    let follower = (0..3).find(|seed| *seed != cluster.leader()).unwrap();
    cluster.kill(follower);
    let seeds: Vec<usize> = (0..3).filter(|seed| *seed != follower).chain([new]).collect();
    have_a_death_confirmed(&mut cluster, &seeds);
}

/// What Jepsen found of others: a node that was removed and runs on with its old data must not disturb anybody.
#[test]
fn a_removed_seed_stops_and_disturbs_nobody_when_it_comes_back_with_its_old_data() {
    let mut cluster = TestCluster::form(4, 3, &["--messages", "0"]);
    let leader = cluster.leader();
    let gone = (0..4).find(|seed| *seed != leader).unwrap();
    let left: Vec<usize> = (0..4).filter(|seed| *seed != gone).collect();
    change(&cluster, "seed-remove", gone, leader);
    wait_for_votes(&cluster, leader, &left);
    let mut process = cluster.cluster.nodes[gone].process.take().unwrap();
    assert_eq!(process.wait_or_kill(DEADLINE), Some(0), "it was told to: no supervisor is to start it again");
    assert!(cluster.stderr().contains("this seed was removed from its cluster"), "{}", cluster.stderr());
    let last = cluster.whole_log(gone).last().cloned().unwrap();
    assert_eq!(last.get("reason"), "this seed was removed from its cluster", "{}", last.line);
    let term = |cluster: &TestCluster| status(cluster.socket(leader)).lines().next().unwrap().to_owned();
    let before = term(&cluster);
    let mark = cluster.mark();
    cluster.start(gone);
    wait_until("the removed seed to stop again", || !cluster.cluster.is_alive(gone));
    let words = |line: &str| line.split(", applied").next().unwrap().to_owned();
    assert_eq!(words(&term(&cluster)), words(&before), "the same leader in the same term");
    cluster.look();
    assert!(!cluster.seen[mark..].iter().any(|(_, e)| e.event == "LEADER"), "nobody stood for election");
    have_a_death_confirmed(&mut cluster, &left);
}

#[test]
fn a_leader_that_is_removed_hands_over_and_stops() {
    let mut cluster = TestCluster::form(4, 3, &["--messages", "0"]);
    let leader = cluster.leader();
    let left: Vec<usize> = (0..4).filter(|seed| *seed != leader).collect();
    change(&cluster, "seed-remove", leader, left[0]);
    wait_until("the removed leader to stop", || !cluster.cluster.is_alive(leader));
    wait_for_votes(&cluster, left[0], &left);
    have_a_death_confirmed(&mut cluster, &left);
}

#[test]
fn a_seed_that_lost_its_disk_is_replaced_at_its_address() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let leader = cluster.leader();
    let lost = (0..3).find(|seed| *seed != leader).unwrap();
    cluster.kill(lost);
    let data = cluster.cluster.nodes[lost].record.data.clone().unwrap();
    let former = data.with_extension("former");
    std::fs::rename(&data, &former).unwrap();
    cluster.start(lost);
    wait_until("the seed without its directory to stop", || !cluster.cluster.is_alive(lost));
    // As the seed's own advice says, with the list that every node has.
    let (list, own) = (seeds_of(cluster.path()), cluster.address(lost).to_string());
    let output = run(&["seed-replace", &own, "--config", &list.display().to_string()]);
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.contains("may begin anew"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    cluster.start(lost);
    wait_for_votes(&cluster, leader, &[0, 1, 2]);
    let said = cluster.stderr();
    assert!(!said.contains("this seed, "), "it meets itself in nobody's seat: {said}");
    // The former directory comes back: its seat is another's.
    cluster.stop(lost);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&former, &data).unwrap();
    cluster.start(lost);
    wait_until("the seed with its former directory to stop", || !cluster.cluster.is_alive(lost));
    let said = cluster.stderr();
    assert!(said.contains("this seed was replaced by another at its address: with an empty data"), "{said}");
    cluster.look();
    let last = cluster.seen.iter().rev().find(|(node, _)| *node == lost).unwrap();
    assert!(last.1.get("reason").starts_with("this seed was replaced"), "the last line of its log: {last:?}");
    std::fs::remove_dir_all(&data).unwrap();
    let output = run(&["seed-replace", &own, "--config", &list.display().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.start(lost);
    wait_for_votes(&cluster, leader, &[0, 1, 2]);
    // Two of three: the new one's vote is needed.
    let other = (0..3).find(|seed| *seed != leader && *seed != lost).unwrap();
    cluster.kill(other);
    have_a_death_confirmed(&mut cluster, &[leader, lost]);
}

/// The list of a seed that lost its disk is older than the cluster, which has grown: it waited for ever for seeds
/// that it did not know how to reach.
#[test]
fn a_seed_that_lost_its_disk_stops_also_where_its_list_is_older_than_the_cluster() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let list_of_before = std::fs::read_to_string(seeds_of(cluster.path())).unwrap();
    let mut seeds = vec![0, 1, 2];
    for _ in 0..2 {
        let new = cluster.cluster.add(Role::Seed).unwrap();
        change(&cluster, "seed-add", new, 0);
        cluster.start(new);
        seeds.push(new);
        wait_for_votes(&cluster, 0, &seeds);
    }
    cluster.kill(1);
    let (own, list) = (cluster.address(1).to_string(), cluster.path().join("list-of-before.csv"));
    std::fs::write(&list, list_of_before).unwrap();
    let mut lost = command()
        .args(["seed", &own, "--config", list.to_str().unwrap(), "--data-dir"])
        .arg(cluster.path().join("empty"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the seed without its directory to stop", || lost.try_wait().unwrap().is_some());
    let said = String::from_utf8(lost.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains(&format!("run coterie seed-replace {own}")), "{said}");
}

/// One by one, all seeds are exchanged for others. The peers, which were started with the first list, follow.
#[test]
fn peers_follow_their_seeds_when_all_of_them_are_exchanged() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let mut seeds = vec![0, 1, 2];
    for old in 0..3 {
        let new = cluster.cluster.add(Role::Seed).unwrap();
        change(&cluster, "seed-add", new, seeds[0]);
        cluster.start(new);
        seeds.push(new);
        wait_for_votes(&cluster, new, &seeds);
        seeds.retain(|seed| *seed != old);
        change(&cluster, "seed-remove", old, new);
        wait_for_votes(&cluster, new, &seeds);
        wait_until("the old seed to stop", || !cluster.cluster.is_alive(old));
    }
    have_a_death_confirmed(&mut cluster, &seeds);
    cluster.look();
    assert!(!cluster.seen.iter().any(|(_, e)| e.event == "DECLARED_DEAD"), "nobody was taken for dead");
}

/// A seed that waits with an empty directory is connected, and decides nothing. The leader that was left beside it
/// called itself ready, and neither removed nor admitted anybody.
#[test]
fn a_leader_beside_an_emptied_seed_is_not_ready() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let leader = cluster.leader();
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|seed| *seed != leader).collect();
    others.iter().for_each(|&seed| cluster.kill(seed));
    let mark = cluster.mark();
    let emptied = others[0];
    std::fs::remove_dir_all(cluster.cluster.nodes[emptied].record.data.clone().unwrap()).unwrap();
    cluster.start(emptied);
    let name = cluster.address(emptied).to_string();
    cluster.wait_for("the emptied seed", mark, &[leader], |_, e| {
        e.event == "SEED_CONNECTED" && e.get("seed") == name
    });
    let socket = cluster.socket(leader);
    assert!(status(socket).contains("leader none"), "{}", status(socket));
    assert_eq!(run(&["seed", "--check", &socket.to_string()]).status.code(), Some(1));
    let output = run(&["seed-replace", &name, "--seed", &socket.to_string()]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("no_quorum"), "it is refused with the reason");
}

/// The command was silent while it waited, and was cut off after three seconds, long before the seeds gave up; another
/// said that a seed refuses connections, where one that was there had the reason.
#[test]
fn a_change_of_the_seeds_that_nobody_can_decide_is_answered_with_the_reason() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    // A leader would refuse at once what takes the majority: the one that is asked must be looking for one.
    let leader = cluster.leader();
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|seed| *seed != leader).collect();
    cluster.kill(leader);
    cluster.kill(others[1]);
    let (gone, through) = (cluster.address(leader).to_string(), cluster.address(others[0]).to_string());
    let output = run(&["seed-remove", &gone, "--seed", &through]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(" has not answered yet: for a leader with a majority it waits 10 s\n"), "{said}");
    assert!(said.contains("no leader with a majority of the seeds answered within 10 s"), "{said}");
    // Of the list, two are not reached, one of them last; what the third has to say tells more.
    let list = cluster.cluster.directory.path().join("config.csv");
    let output = run(&["members", "--linearizable", "--config", list.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(&format!("coterie: {through}: ")), "{said}");
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let mut cluster = TestCluster::form(1, 1, &["--messages", "0"]);
    let own = cluster.address(0).to_string();
    let refused = |command: &str, seed: &str| {
        let output = run(&[command, seed, "--seed", &own]);
        assert_eq!(output.status.code(), Some(1), "{command} {seed}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("seed-remove", &own).contains("the last seed cannot be removed"));
    assert!(refused("seed-add", &own).contains("is a seed already"));
    assert!(refused("seed-remove", "127.0.0.1:1").contains("127.0.0.1:1 is no seed of this cluster"));
    assert!(cluster.cluster.is_alive(0));
}

//! What operators do with data directories: copy, restore, swap. Real processes, real disks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod common;

use std::path::{Path, PathBuf};

use common::{DEADLINE, TestCluster, Watched, run, status, wait_until};
use coterie::cluster::directory::{seeds_of, stderr_of};

fn data(cluster: &TestCluster, seed: usize) -> PathBuf {
    cluster.cluster.nodes[seed].record.data.clone().expect("a seed has a directory")
}

/// Copies a directory of files, in place of whatever is there.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Has a copy count more starts than its original: so nothing but what it lacks gives it away.
fn count_more_starts(directory: &Path) {
    let store = coterie_seed::raft::Store::open(directory).unwrap();
    let runs: Vec<u64> = (0..9).map(|_| store.begin_run().unwrap()).collect();
    assert!(runs.is_sorted() && runs[8] >= 9, "{runs:?}");
}

/// Kills a seed and keeps a copy of its directory.
fn kill_and_copy(cluster: &mut TestCluster, seed: usize) -> PathBuf {
    cluster.kill(seed);
    let copied = cluster.path().join(format!("copy-of-{seed}"));
    copy(&data(cluster, seed), &copied);
    copied
}

/// Has the first peer die and its death applied by these seeds.
fn have_a_death_confirmed(cluster: &mut TestCluster, by: &[usize]) {
    let (mark, dead) = (cluster.mark(), cluster.peers()[0]);
    cluster.kill(dead);
    cluster.wait_for_death(mark, cluster.address(dead), by);
}

/// Starts a seed, which must end with 1; returns what it said last.
fn start_and_end(cluster: &mut TestCluster, seed: usize) -> String {
    cluster.start(seed);
    let mut process = cluster.cluster.nodes[seed].process.take().unwrap();
    assert_eq!(process.wait_or_kill(DEADLINE), Some(1));
    let said = std::fs::read_to_string(stderr_of(&cluster.cluster.nodes[seed].record)).unwrap();
    let last = said.lines().last().unwrap_or_default().to_owned();
    let logged = cluster.whole_log(seed).last().cloned().unwrap();
    assert!(logged.event == "SHUTTING_DOWN" && !logged.get("reason").is_empty(), "{}", logged.line);
    last
}

/// Starts a seed, and waits until another has let it in.
fn start_and_be_greeted(cluster: &mut TestCluster, seed: usize, by: usize) {
    let (mark, name) = (cluster.mark(), cluster.address(seed).to_string());
    cluster.start(seed);
    cluster.wait_for("its return", mark, &[by], |_, e| e.event == "SEED_CONNECTED" && e.get("seed") == name);
}

/// Until these seeds agree on what they have: a follower that was started again has caught up.
fn wait_until_caught_up(cluster: &TestCluster, seeds: &[usize]) {
    wait_until("the seeds to have the same log", || {
        let applied = |seed: &usize| {
            let told = status(cluster.socket(*seed));
            told.split("applied ").nth(1).and_then(|rest| rest.split(',').next()).map(str::to_owned)
        };
        let all: Vec<_> = seeds.iter().map(applied).collect();
        all.iter().all(|one| one.is_some() && *one == all[0])
    });
}

/// A follower came back with a copy of before: it stayed behind for ever, said nothing, and was counted on. With the
/// third seed dead there were two of three seeds, no majority, and nobody said why.
#[test]
fn an_older_copy_of_a_seeds_directory_is_refused_with_the_reason_and_replaced() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let leader = cluster.leader();
    let old = (0..3).find(|seed| *seed != leader).unwrap();
    let copied = kill_and_copy(&mut cluster, old);
    start_and_be_greeted(&mut cluster, old, leader);
    have_a_death_confirmed(&mut cluster, &[0, 1, 2]);
    // What it had acknowledged when it was killed it may have told to nobody; what it says at its start is known.
    cluster.kill(old);
    start_and_be_greeted(&mut cluster, old, leader);
    cluster.kill(old);
    copy(&copied, &data(&cluster, old));
    let said = start_and_end(&mut cluster, old);
    let own = cluster.address(old).to_string();
    assert!(said.contains("is a copy of another: it ends with entry "), "{said}");
    assert!(said.ends_with(&format!("Empty it and run coterie seed-replace {own}")), "{said}");
    // As it says.
    std::fs::remove_dir_all(data(&cluster, old)).unwrap();
    let list = seeds_of(cluster.path()).display().to_string();
    let replaced = run(&["seed-replace", &own, "--config", &list]);
    assert!(replaced.status.success(), "{}", String::from_utf8_lossy(&replaced.stderr));
    cluster.start(old);
    let socket = cluster.socket(leader);
    wait_until("its vote", || status(socket).contains("3 of 3 voters"));
}

/// What the others had is remembered on disk: it is found also where all were started anew since.
#[test]
fn an_older_copy_is_refused_by_seeds_that_were_started_since() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let copied = kill_and_copy(&mut cluster, 2);
    start_and_be_greeted(&mut cluster, 2, 0);
    have_a_death_confirmed(&mut cluster, &[0, 1, 2]);
    wait_until_caught_up(&cluster, &[0, 1, 2]);
    // What it has it tells ten times a second, and at its start at once.
    cluster.kill(2);
    start_and_be_greeted(&mut cluster, 2, 0);
    // In order: what was heard in the last second is on disk then.
    for seed in 0..3 {
        cluster.stop(seed);
    }
    copy(&copied, &data(&cluster, 2));
    count_more_starts(&data(&cluster, 2));
    cluster.start(0);
    let said = start_and_end(&mut cluster, 2);
    // An election meanwhile has it lack a vote, too, and that is looked at first.
    let reasons = ["it ends with entry ", "it is in term "];
    let is_told = |reason: &str| said.contains(&format!("is a copy of another: {reason}"));
    assert!(reasons.into_iter().any(is_told), "{said}");
}

/// A directory has its number before the cluster begins. A copy of then is empty, and has the very number that the log
/// has for the seat: it was let in, and had forgotten everything.
#[test]
fn a_copy_of_before_the_cluster_began_is_refused() {
    let mut cluster = TestCluster::prepare(3, 2, &[], &["--messages", "0"]);
    cluster.start(0);
    wait_until("the first seed's directory", || data(&cluster, 0).join("log.redb").exists());
    let socket = cluster.socket(0);
    wait_until("the first seed", || run(&["status", "--seed", &socket.to_string()]).status.success());
    let copied = kill_and_copy(&mut cluster, 0);
    cluster.start_all();
    cluster.kill(0);
    copy(&copied, &data(&cluster, 0));
    count_more_starts(&data(&cluster, 0));
    let said = start_and_end(&mut cluster, 0);
    assert!(said.contains("is a copy of another: it ends with entry 0 of term 0"), "{said}");
}

/// A copy that lacks nothing is a copy all the same: two would vote under one name.
#[test]
fn of_two_copies_that_count_their_starts_alike_one_is_refused() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let leader = cluster.leader();
    let twin = (0..3).find(|seed| *seed != leader).unwrap();
    let copied = kill_and_copy(&mut cluster, twin);
    start_and_be_greeted(&mut cluster, twin, leader);
    cluster.kill(twin);
    copy(&copied, &data(&cluster, twin));
    let said = start_and_end(&mut cluster, twin);
    // With an election meanwhile it lacks something, too.
    assert!(said.contains("is a copy of another"), "{said}");
    // It stays one: a supervisor that starts it again and again would have it count more starts than its original.
    let again = start_and_end(&mut cluster, twin);
    assert_eq!(again, said);
}

#[test]
fn two_seeds_whose_directories_were_swapped_end_with_the_names_of_both() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    cluster.kill(0);
    cluster.kill(1);
    let (first, second) = (data(&cluster, 0), data(&cluster, 1));
    let aside = cluster.path().join("aside");
    std::fs::rename(&first, &aside).unwrap();
    std::fs::rename(&second, &first).unwrap();
    std::fs::rename(&aside, &second).unwrap();
    let names = [0, 1].map(|seed| cluster.address(seed).to_string());
    for (seed, of) in [(0, 1), (1, 0)] {
        cluster.start(seed);
        let mut process = cluster.cluster.nodes[seed].process.take().unwrap();
        assert_eq!(process.wait_or_kill(DEADLINE), Some(1));
        let said = std::fs::read_to_string(stderr_of(&cluster.cluster.nodes[seed].record)).unwrap();
        let expected = format!("it is that of seed {}, and this seed is {}", names[of], names[seed]);
        assert!(said.contains(&expected), "{said}");
    }
    // Each in its own again, both go on.
    std::fs::rename(&first, &aside).unwrap();
    std::fs::rename(&second, &first).unwrap();
    std::fs::rename(&aside, &second).unwrap();
    cluster.start(0);
    cluster.start(1);
    have_a_death_confirmed(&mut cluster, &[0, 1, 2]);
}

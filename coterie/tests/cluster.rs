//! Whole clusters of real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod common;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use common::{TestCluster, Watched, run, status, wait_until};
use coterie::cluster::LogEvent;

#[test]
fn a_killed_peer_is_confirmed_dead_at_every_node_with_one_epoch() {
    let mut cluster = TestCluster::form(3, 6, &["--messages", "0"]);
    let mark = cluster.mark();
    let victim = cluster.peers()[2];
    let dead = cluster.address(victim);
    cluster.kill(victim);
    let survivors: Vec<usize> = (0..9).filter(|&index| index != victim).collect();
    cluster.wait_for_death(mark, dead, &survivors);
    let epochs: Vec<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "DEAD_CONFIRMED")
        .map(|(_, e)| e.get("epoch"))
        .collect();
    assert_eq!(epochs.len(), 8, "once at each node");
    assert!(epochs.iter().all(|epoch| epoch == &epochs[0]), "one entry, one epoch: {epochs:?}");
}

/// Seeds print at most one line per entry, and all lines of one entry agree.
#[test]
fn every_node_tells_the_same_history() {
    let mut cluster = TestCluster::form(3, 5, &["--messages", "0"]);
    let everybody: Vec<usize> = (0..8).collect();
    cluster
        .wait_for("a view of five", 0, &cluster.peers(), |_, e| e.event == "VIEW" && e.get("members") == "5");
    for seed in cluster.seeds() {
        let registered: Vec<String> = cluster
            .events_of(0, seed)
            .iter()
            .filter(|e| e.event == "REGISTERED")
            .map(|e| e.get("peer").to_owned())
            .collect();
        assert_eq!(registered.len(), 5, "one REGISTERED per entry: {registered:?}");
    }
    let history = |cluster: &TestCluster, index: usize| -> Vec<(String, String)> {
        let told = cluster.events_of(0, index).into_iter().filter(|e| e.event == "REGISTERED");
        told.map(|e| (e.get("epoch").to_owned(), e.get("peer").to_owned())).collect()
    };
    assert_eq!(history(&cluster, 0), history(&cluster, 1));
    assert_eq!(history(&cluster, 0), history(&cluster, 2));
    assert!(everybody.iter().all(|&index| cluster.cluster.is_alive(index)));
}

#[test]
fn a_message_reaches_every_peer_once() {
    let mut cluster = TestCluster::form(3, 6, &["--messages", "3", "--message-interval", "100ms"]);
    let peers = cluster.peers();
    let mark = cluster.mark();
    cluster.say(peers[0], "the same words");
    cluster.say(peers[0], "the same words");
    cluster.wait("18 + 2 messages at each peer", 0, |events| {
        peers.iter().all(|peer| {
            events.iter().filter(|(i, e)| i == peer && e.event.starts_with("GOSSIP")).count() >= 20
        })
    });
    // One more message, said after all the others: once it is everywhere, so is any duplicate before it.
    cluster.say(peers[1], "the last");
    cluster.wait_for("the last message", mark, &peers, |_, e| {
        e.event.starts_with("GOSSIP") && e.get("content") == "the last"
    });
    for &peer in &peers {
        let heard: Vec<(&str, &str)> = cluster
            .events_of(0, peer)
            .into_iter()
            .filter(|e| e.event.starts_with("GOSSIP"))
            .map(|e| (e.get("content"), e.get("origin")))
            .collect();
        assert_eq!(heard.len(), 21, "{heard:?}");
        assert_eq!(heard.iter().filter(|(content, _)| *content == "the same words").count(), 2);
    }
}

#[test]
fn a_peer_that_stands_still_is_found_dead_and_comes_back_as_another_life() {
    let mut cluster = TestCluster::form(3, 4, &["--messages", "0"]);
    let paused = cluster.peers()[0];
    let address = cluster.address(paused);
    let mark = cluster.mark();
    cluster.pause(paused);
    let others: Vec<usize> = (0..7).filter(|&index| index != paused).collect();
    cluster.wait_for_death(mark, address, &others);
    cluster.resume(paused);
    cluster.wait_for("its return", mark, &[paused], |_, e| e.event == "JOINED");
    cluster.wait_for("its return at the seeds", mark, &cluster.seeds(), |_, e| {
        e.event == "REGISTERED" && e.get("peer") == address.to_string()
    });
    let declared = cluster.events_of(mark, paused).into_iter().find(|e| e.event == "DECLARED_DEAD").cloned();
    let old = declared.expect("it is told that it was removed").number("incarnation");
    let joined = cluster.events_of(mark, paused).into_iter().find(|e| e.event == "JOINED").cloned();
    assert!(joined.unwrap().number("incarnation") > old, "another incarnation");
}

#[test]
fn a_peer_that_is_told_to_stop_leaves_in_order_and_nobody_suspects_it() {
    let mut cluster = TestCluster::form(3, 4, &["--messages", "0"]);
    let leaver = cluster.peers()[1];
    let address = cluster.address(leaver).to_string();
    let mark = cluster.mark();
    assert_eq!(cluster.stop(leaver), Some(0));
    let others: Vec<usize> = (0..7).filter(|&index| index != leaver).collect();
    cluster.wait_for("LEFT everywhere", mark, &others, |_, e| e.event == "LEFT" && e.get("peer") == address);
    // A death that everybody learns of later: a suspicion of the leaver would have been logged by then.
    let victim = cluster.peers()[3];
    cluster.kill(victim);
    let rest: Vec<usize> = others.into_iter().filter(|&index| index != victim).collect();
    cluster.wait_for_death(mark, cluster.address(victim), &rest);
    let suspected =
        cluster.seen[mark..].iter().any(|(_, e)| e.event == "SUSPICION" && e.get("suspect") == address);
    assert!(!suspected, "nobody suspects who leaves");
    let log = cluster.whole_log(leaver);
    assert_eq!(log.last().map(|e| e.event.as_str()), Some("SHUTTING_DOWN"));
}

#[test]
fn when_most_peers_die_at_once_the_rest_learn_of_every_death() {
    let mut cluster = TestCluster::form(3, 9, &["--messages", "0"]);
    let mark = cluster.mark();
    let victims: Vec<usize> = cluster.peers()[..6].to_vec();
    for &victim in &victims {
        cluster.cluster.nodes[victim].process.as_mut().unwrap().kill();
    }
    let survivors: Vec<usize> = (0..12).filter(|index| !victims.contains(index)).collect();
    for &victim in &victims {
        cluster.wait_for_death(mark, cluster.address(victim), &survivors);
    }
    let peers: Vec<usize> = cluster.peers()[6..].to_vec();
    cluster.wait("a view of three", mark, |events| {
        let last = |peer| events.iter().rev().find(|(i, e)| *i == peer && e.event == "VIEW");
        peers.iter().all(|&peer| last(peer).is_some_and(|(_, e)| e.get("members") == "3"))
    });
}

#[test]
fn a_peer_without_a_neighbour_left_is_missed_all_the_same() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let mark = cluster.mark();
    let only = cluster.peers()[0];
    cluster.kill(only);
    cluster.wait_for_death(mark, cluster.address(only), &cluster.seeds());
}

#[test]
fn members_survive_kill_9_of_all_seeds_at_once() {
    let mut cluster = TestCluster::form(3, 4, &["--messages", "0"]);
    let seeds = cluster.seeds();
    for &seed in &seeds {
        cluster.kill(seed);
    }
    // One peer dies while nobody is there to be told.
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    let mark = cluster.mark();
    for &seed in &seeds {
        cluster.start(seed);
    }
    cluster.wait_for("a leader", mark, &seeds, |_, e| e.event == "LEADER");
    let rest: Vec<usize> = (0..7).filter(|&index| index != victim).collect();
    cluster.wait_for_death(mark, cluster.address(victim), &rest);
    let again = cluster.seen[mark..].iter().filter(|(_, e)| e.event == "REGISTERED").count();
    assert_eq!(again, 0, "what was registered is not registered, nor printed, again");
    let declared = cluster.seen[mark..].iter().filter(|(_, e)| e.event == "DECLARED_DEAD").count();
    assert_eq!(declared, 0, "nobody alive was removed");
}

#[test]
fn a_minority_of_the_seeds_refuses_and_a_majority_goes_on() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let seeds = cluster.seeds();
    let mark = cluster.mark();
    let leader = cluster.leader();
    let leader_name = cluster.address(leader).to_string();
    cluster.kill(leader);
    let followers: Vec<usize> = seeds.iter().copied().filter(|&seed| seed != leader).collect();
    cluster.wait_for("another leader", mark, &followers, |_, e| {
        e.event == "LEADER" && e.get("leader") != leader_name
    });
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &followers);
    // Now only one of three is left: nothing can be decided any more.
    let mark = cluster.mark();
    cluster.kill(followers[0]);
    let second = cluster.peers()[1];
    cluster.kill(second);
    let last = cluster.peers()[2];
    cluster.wait_for("a suspicion", mark, &[last], |_, e| e.event == "SUSPICION");
    cluster.start(victim);
    cluster.wait_for("a registration that times out", mark, &[followers[1]], |_, e| {
        e.event == "REGISTER_TIMEOUT"
    });
    let decided = cluster
        .events_of(mark, followers[1])
        .iter()
        .any(|e| e.event == "DEAD_CONFIRMED" || e.event == "REGISTERED");
    assert!(!decided, "a minority decides nothing");
    // With a second seed back, both are decided.
    cluster.start(followers[0]);
    cluster.wait_for_death(mark, cluster.address(second), &[followers[0], followers[1], last]);
    cluster.wait_for("the return of the first victim", mark, &[victim], |_, e| e.event == "JOINED");
}

#[test]
fn a_seed_that_was_down_catches_up() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let seed = cluster.seeds()[1];
    cluster.kill(seed);
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|&s| s != seed).collect();
    cluster.wait_for_death(mark, cluster.address(victim), &others);
    cluster.start(seed);
    cluster.wait_for_death(mark, cluster.address(victim), &[seed]);
}

#[test]
fn a_seed_that_comes_late_to_the_founding_is_let_in() {
    let mut cluster = TestCluster::prepare(3, 2, &[], &["--messages", "0"]);
    let (early, late) = (cluster.seeds()[..2].to_vec(), cluster.seeds()[2]);
    for index in early.iter().copied().chain(cluster.peers()) {
        cluster.start(index);
    }
    cluster.wait_for_all("JOINED", &cluster.peers());
    cluster.start(late);
    cluster.wait_for("the members at the late seed", 0, &[late], |_, e| {
        (e.event == "REGISTERED" || e.event == "VIEW") && e.get("members") == "2"
    });
    // It counts as a voter from then on: with one of the others dead, decisions go on.
    cluster.kill(early[0]);
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &[early[1], late]);
}

#[test]
fn a_seed_that_lost_its_directory_ends_with_advice() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let seed = cluster.seeds()[0];
    let own = cluster.address(seed);
    cluster.kill(seed);
    let data = cluster.cluster.nodes[seed].record.data.clone().unwrap();
    std::fs::remove_dir_all(data).unwrap();
    cluster.start(seed);
    let mut process = cluster.cluster.nodes[seed].process.take().unwrap();
    assert_eq!(process.wait_or_kill(common::DEADLINE), Some(1));
    let said = cluster.stderr();
    let expected = format!("has a history with this seed: run coterie seed-replace {own}");
    assert!(
        said.contains("seed: data directory is empty, but cluster ") && said.contains(&expected),
        "{said}"
    );
}

#[test]
fn an_orderly_stop_of_the_leader_hands_leadership_over() {
    let mut cluster = TestCluster::form(3, 2, &["--messages", "0"]);
    let name =
        cluster.seen.iter().rev().find(|(_, e)| e.event == "LEADER").unwrap().1.get("leader").to_owned();
    let leader = cluster.seeds().into_iter().find(|&seed| cluster.address(seed).to_string() == name).unwrap();
    let mark = cluster.mark();
    assert_eq!(cluster.stop(leader), Some(0));
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|&s| s != leader).collect();
    cluster.wait_for("another leader", mark, &others, |_, e| e.event == "LEADER" && e.get("leader") != name);
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &others);
}

#[test]
fn peers_wait_for_seeds_that_start_after_them() {
    let mut cluster = TestCluster::prepare(3, 2, &[], &["--messages", "0"]);
    for index in cluster.peers().into_iter().chain(cluster.seeds()) {
        cluster.start(index);
    }
    cluster.wait_for_all("JOINED", &cluster.peers());
}

#[test]
fn the_overlay_is_connected_again_after_its_hub_died() {
    // Each peer may have one link: the overlay comes apart by itself, and the seeds have to mend it.
    let mut cluster =
        TestCluster::form(3, 6, &["--messages", "0", "--overlay", "random", "--max-neighbours", "1"]);
    let peers = cluster.peers();
    let clock = coterie_common::clock::Clock::start();
    let mut round = 0;
    loop {
        round += 1;
        let words = format!("round {round}");
        let mark = cluster.mark();
        cluster.say(peers[0], &words);
        cluster.wait_for("the message at its origin", mark, &peers[..1], |_, e| e.get("content") == words);
        let heard = |cluster: &TestCluster| {
            peers
                .iter()
                .filter(|&&p| cluster.events_of(mark, p).iter().any(|e| e.get("content") == words))
                .count()
        };
        let patience = clock.now() + std::time::Duration::from_millis(500);
        while heard(&cluster) < peers.len() && clock.now() < patience {
            std::thread::park_timeout(std::time::Duration::from_millis(10));
            cluster.look();
        }
        if heard(&cluster) == peers.len() {
            return;
        }
        let spent = clock.now().since(coterie_common::Instant::START);
        assert!(spent < common::DEADLINE, "the overlay is still in pieces after {spent:?}");
    }
}

#[test]
fn every_overlay_carries_messages() {
    for overlay in ["zipf", "random", "pareto"] {
        let args = ["--messages", "0", "--overlay", overlay, "--max-neighbours", "4"];
        let mut cluster = TestCluster::form(1, 5, &args);
        let peers = cluster.peers();
        cluster.wait_for("a link", 0, &peers, |_, e| e.event == "LINK_UP");
        let mark = cluster.mark();
        cluster.say(peers[0], overlay);
        cluster.wait_for(overlay, mark, &peers, |_, e| {
            e.event.starts_with("GOSSIP") && e.get("content") == overlay
        });
    }
}

/// Ranks in an edited list are not the ids of the log: a seed that took them for such dialled itself as another one,
/// and was its own majority.
#[test]
fn a_seed_whose_list_was_edited_keeps_to_the_seeds_of_its_log() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let seed = cluster.seeds()[0];
    cluster.kill(seed);
    let list = coterie::cluster::directory::seeds_of(cluster.path());
    let edited = format!("127.0.0.1,1\n{}", std::fs::read_to_string(&list).unwrap());
    let mark = cluster.mark();
    let mut process = {
        let record = cluster.cluster.nodes[seed].record.clone();
        std::fs::write(&list, edited).unwrap();
        coterie::cluster::Command::new(
            std::process::Command::new(common::program()),
            &record,
            cluster.path(),
            &[],
        )
        .spawn()
        .unwrap()
    };
    cluster.wait_for("a leader at the restarted seed", mark, &[seed], |_, e| e.event == "LEADER");
    assert!(cluster.stderr().contains("the seed list differs from the log"), "{}", cluster.stderr());
    // It decides nothing alone: without the two others, nothing is decided; with one of them, everything.
    let others: Vec<usize> = cluster.seeds().into_iter().filter(|&s| s != seed).collect();
    cluster.kill(others[0]);
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    cluster.kill(victim);
    cluster.wait_for_death(mark, cluster.address(victim), &[seed, others[1]]);
    assert!(process.is_alive());
}

#[test]
fn a_seed_whose_disk_takes_no_more_stops_with_the_reason_and_the_others_carry_on() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let mut cluster = TestCluster::form(3, 4, &["--messages", "0"]);
    let seed = cluster.seeds()[2];
    let others: Vec<usize> = cluster.seeds()[..2].to_vec();
    // A file-size limit below what the log has already: its next write fails, as on a full disk.
    let pid = cluster.cluster.nodes[seed].process.as_ref().unwrap().id();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(32 << 10), maximum: None }).unwrap();
    let mark = cluster.mark();
    let victim = cluster.peers()[0];
    let dead = cluster.address(victim);
    cluster.kill(victim);
    let survivors: Vec<usize> = others.iter().copied().chain(cluster.peers()[1..].iter().copied()).collect();
    cluster.wait_for_death(mark, dead, &survivors);
    let mut process = cluster.cluster.nodes[seed].process.take().unwrap();
    assert_eq!(process.wait_or_kill(common::DEADLINE), Some(1));
    let said = cluster.stderr();
    assert!(said.contains("seed: data directory ") && said.contains("the log has stopped: "), "{said}");
    // With room again, what was acknowledged is there, and what it missed comes.
    cluster.start(seed);
    cluster.wait_for_death(mark, dead, &[seed]);
}

#[test]
fn a_leader_that_stands_still_is_succeeded_and_learns_what_it_missed() {
    let mut cluster = TestCluster::form(3, 3, &["--messages", "0"]);
    let (leader, victim) = (cluster.leader(), cluster.peers()[1]);
    let name = cluster.address(leader).to_string();
    let others: Vec<usize> = (0..6).filter(|&index| index != leader && cluster.peers()[1] != index).collect();
    let mark = cluster.mark();
    cluster.pause(leader);
    cluster.kill(victim);
    let dead = cluster.address(victim);
    cluster.wait_for_death(mark, dead, &others);
    let succeeded = cluster.seen[mark..].iter().any(|(_, e)| e.event == "LEADER" && e.get("leader") != name);
    assert!(succeeded, "another leads");
    cluster.resume(leader);
    cluster.wait_for_death(mark, dead, &[leader]);
    let epochs: BTreeSet<Option<u64>> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "DEAD_CONFIRMED")
        .map(|(_, e)| e.number("epoch"))
        .collect();
    assert_eq!(epochs.len(), 1, "one death, one epoch");
    let mark = cluster.mark();
    cluster.start(victim);
    cluster.wait_for("a join at every seed", mark, &cluster.seeds(), |_, e| e.event == "REGISTERED");
}

/// A seed told of the leader of the vote on its disk, before anybody led it: a resumed cluster was called formed.
#[test]
fn a_seed_that_starts_alone_knows_no_leader() {
    let mut cluster = TestCluster::form(3, 1, &["--messages", "0"]);
    let seeds = cluster.seeds();
    let (first, second) = (seeds[0], seeds[1]);
    seeds.iter().for_each(|&seed| cluster.kill(seed));
    let mark = cluster.mark();
    cluster.start(first);
    cluster.wait_for("the first seed", mark, &[first], |_, e| e.event == "LISTENING");
    // It has read its vote when it knows the term.
    let seed = cluster.socket(first);
    wait_until("its log", || {
        let status = status(seed);
        status.contains(", term ") && !status.contains(", term 0,")
    });
    let alone = cluster.mark();
    cluster.start(second);
    cluster.wait_for("a leader", alone, &[first, second], |_, e| e.event == "LEADER");
    let leaders: Vec<&LogEvent> =
        cluster.seen[mark..alone].iter().map(|(_, e)| e).filter(|e| e.event == "LEADER").collect();
    assert_eq!(leaders, Vec::<&LogEvent>::new(), "nobody led it");
}

/// The same, where the others have a newer leader: the old one was told of in the moment before the new one.
#[test]
fn a_seed_that_missed_an_election_does_not_tell_of_the_leader_before_it() {
    let mut cluster = TestCluster::form(5, 1, &["--messages", "0"]);
    let (seeds, old) = (cluster.seeds(), cluster.leader());
    let late = seeds.iter().copied().find(|&seed| seed != old).unwrap();
    let name = cluster.address(old).to_string();
    cluster.wait_for_all("LEADER", &seeds);
    cluster.kill(late);
    let mark = cluster.mark();
    cluster.kill(old);
    let rest: Vec<usize> = seeds.into_iter().filter(|&seed| seed != old && seed != late).collect();
    cluster.wait_for("another leader", mark, &rest, |_, e| e.event == "LEADER" && e.get("leader") != name);
    let mark = cluster.mark();
    cluster.start(late);
    cluster.wait_for("the new leader", mark, &[late], |_, e| {
        e.event == "LEADER" && !["none", name.as_str()].contains(&e.get("leader"))
    });
    let told = cluster.events_of(mark, late).iter().any(|e| e.event == "LEADER" && e.get("leader") == name);
    assert!(!told, "that one is dead");
}

/// A seed that had just started knew nobody: it called every reporter a stranger, the peers dropped what they had
/// rightly suspected, and the death was found ten seconds after there was a leader again.
#[test]
fn what_is_reported_while_no_seed_can_decide_is_decided_as_soon_as_one_can() {
    let mut cluster = TestCluster::form(3, 4, &["--messages", "0"]);
    let (seeds, peers) = (cluster.seeds(), cluster.peers());
    let mark = cluster.mark();
    seeds.iter().for_each(|&seed| cluster.kill(seed));
    cluster.start(seeds[0]);
    cluster.wait_for("the seed", mark, &seeds[..1], |_, e| e.event == "LISTENING");
    let seed = cluster.socket(seeds[0]);
    wait_until("the sessions of all four", || {
        let told = status(seed);
        let sessions = told.lines().find_map(|line| line.strip_suffix(" sessions")?.rsplit(' ').next());
        // One is that of this question.
        sessions.and_then(|count| count.parse::<usize>().ok()).is_some_and(|count| count > 4)
    });
    cluster.kill(peers[0]);
    let survivors = &peers[1..];
    cluster.wait("a report", mark, |events| events.iter().any(|(_, e)| e.event == "DEAD_REPORT"));
    let members = run(&["members", "--seed", &seed.to_string()]);
    assert_eq!(members.status.code(), Some(1), "what its disk alone tells is told to nobody");
    let led = cluster.mark();
    cluster.start(seeds[1]);
    cluster.wait_for("a leader", led, &[seeds[1]], |_, e| e.event == "LEADER");
    cluster.wait_for_death(mark, cluster.address(peers[0]), survivors);
    let dropped: Vec<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "SUSPICION_DROPPED")
        .map(|(_, e)| e.line.as_str())
        .collect();
    assert_eq!(dropped, Vec::<&str>::new(), "nobody had found it alive");
    let strangers = cluster.seen[mark..].iter().any(|(_, e)| e.get("reason") == "stranger");
    assert!(!strangers, "the reporters are members");
}

#[test]
fn a_cluster_runs_on_ipv6() {
    let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if std::net::TcpListener::bind((ip, 0)).is_err() {
        // There is nothing to be shown on a host without IPv6.
        return println!("this host has no IPv6 loopback");
    }
    let mut cluster = TestCluster::prepare_at(ip, 3, 4, &[], &["--messages", "0"]);
    cluster.start_all();
    let (peers, victim) = (cluster.peers(), cluster.peers()[3]);
    let dead = cluster.address(victim);
    assert!(dead.to_string().starts_with("[::1]:"), "{dead}");
    let mark = cluster.mark();
    cluster.say(peers[0], "over IPv6");
    cluster.wait_for("the message", mark, &peers[1..], |_, e| {
        e.event == "GOSSIP" && e.get("content") == "over IPv6"
    });
    cluster.kill(victim);
    cluster.wait_for_death(mark, dead, &(0..6).collect::<Vec<_>>());
    let seed = cluster.address(0).to_string();
    let members = run(&["members", "--seed", &seed]);
    assert!(String::from_utf8_lossy(&members.stdout).contains(&cluster.address(peers[0]).to_string()));
}

//! What becomes of a cluster when its peers fail, leave and talk.

use std::net::{IpAddr, Ipv6Addr};

use super::common::{DEADLINE, TestCluster, Watched, run};

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
        assert!(spent < DEADLINE, "the overlay is still in pieces after {spent:?}");
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

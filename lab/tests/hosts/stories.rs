//! What happens to hosts, and what the cluster makes of it.

use std::process::{Command, Stdio};
use std::time::Duration;

use coterie_common::clock::wall;
use coterie_lab::Material;

use super::Hosts;
use super::common::{Watched, command, wait_until};

/// Within so long everybody knows of a death, whatever the network does.
const DEATH_TIME_MAX: Duration = Duration::from_secs(5);

/// Within so long a peer that was declared dead is a member again, once it can be.
const RETURN_TIME_MAX: Duration = Duration::from_secs(3);

/// Within so long all views are one, once the network is.
const HEAL_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a cut is looked at. The cool-down (1, 2, 4 s ..) lets one accuser be heard four times in it.
const CUT_TIME: Duration = Duration::from_secs(12);

pub(crate) fn a_killed_node_is_confirmed_dead_and_returns_when_it_is_started_again(material: Material) {
    let mut hosts = Hosts::form(material, 3, 4);
    let victim = hosts.peers()[1];
    let (mark, dead) = (hosts.mark(), hosts.address(victim));
    let killed = hosts.kill(victim);
    hosts.wait_for_death(mark, dead, &hosts.all_but(&[victim]));
    assert!(last_confirmation(&hosts, mark, killed) < DEATH_TIME_MAX);
    hosts.start(victim);
    hosts.wait_for("its return", mark, &[victim], |_, e| e.event == "JOINED");
    hosts.wait_for("its registration", mark, &hosts.seeds(), |_, e| {
        e.event == "REGISTERED" && e.get("peer") == dead.to_string()
    });
}

fn last_confirmation(hosts: &Hosts, mark: usize, moment: coterie_common::Timestamp) -> Duration {
    let deaths = hosts.seen()[mark..].iter().filter(|(_, e)| e.event == "DEAD_CONFIRMED");
    deaths.map(|(_, e)| e.after(moment)).max().unwrap_or_default()
}

/// Probes found silence, and ICMP, where it is permitted, found that of the host.
fn assert_silence(hosts: &Hosts, mark: usize, with_icmp: &str) {
    let found: Vec<&str> = hosts.seen()[mark..].iter().map(|(_, e)| e.get("probe")).collect();
    let icmp_is_permitted = !hosts.stderr().contains("no ICMP (");
    assert!(found.iter().any(|probe| probe.starts_with("silent")), "{found:?}");
    assert_eq!(found.contains(&with_icmp), icmp_is_permitted, "{found:?}");
}

pub(crate) fn a_node_that_is_stopped_leaves_in_order(material: Material) {
    let mut hosts = Hosts::form(material, 3, 4);
    let leaver = hosts.peers()[2];
    let (mark, address) = (hosts.mark(), hosts.address(leaver).to_string());
    hosts.lab.stop(leaver).unwrap();
    hosts.wait_for("its departure", mark, &hosts.all_but(&[leaver]), |_, e| {
        e.event == "LEFT" && e.get("peer") == address
    });
    hosts.wait_for("its last line", mark, &[leaver], |_, e| e.event == "SHUTTING_DOWN");
    assert_eq!(hosts.count(mark, "SUSPICION"), 0, "nobody suspects it");
    hosts.assert_nobody_died(mark);
    // A seed that is stopped hands leadership over, and everything goes on.
    let leader = hosts.leader();
    let mark = hosts.mark();
    hosts.lab.stop(leader).unwrap();
    let others: Vec<usize> = hosts.seeds().into_iter().filter(|seed| *seed != leader).collect();
    hosts.wait_for("another leader", mark, &others, |_, e| e.event == "LEADER");
    hosts.start(leaver);
    hosts.wait_for("its return", mark, &others, |_, e| e.event == "REGISTERED" && e.get("peer") == address);
}

pub(crate) fn a_paused_peer_is_removed_and_is_back_within_three_seconds(material: Material) {
    let mut hosts = Hosts::form(material, 3, 5);
    let victim = hosts.peers()[0];
    let (mark, dead) = (hosts.mark(), hosts.address(victim));
    hosts.lab.pause(victim).unwrap();
    hosts.wait_for_death(mark, dead, &hosts.all_but(&[victim]));
    // The kernel of a host that stands still goes on answering: that is evidence about the host, and none of life.
    assert_silence(&hosts, mark, "silent,host_answers");
    let (mark, resumed) = (hosts.mark(), wall());
    hosts.lab.resume(victim).unwrap();
    let took = hosts.wait_for_return(mark, victim, resumed);
    assert!(took < RETURN_TIME_MAX, "back after {took:?}");
    for index in 0..hosts.lab.hosts.len() {
        let said = hosts.lab.stderr(index).matches("no ICMP (").count();
        assert!(said <= 1, "what is not permitted is said once, not {said} times");
    }
}

pub(crate) fn a_disconnected_peer_is_removed_and_is_back_within_three_seconds(material: Material) {
    let mut hosts = Hosts::form(material, 3, 5);
    let victim = hosts.peers()[0];
    let (mark, dead) = (hosts.mark(), hosts.address(victim));
    hosts.lab.disconnect(victim).unwrap();
    hosts.wait_for_death(mark, dead, &hosts.all_but(&[victim]));
    assert_silence(&hosts, mark, "silent,host_silent");
    let (mark, connected) = (hosts.mark(), wall());
    hosts.lab.connect(victim).unwrap();
    let took = hosts.wait_for_return(mark, victim, connected);
    assert!(took < RETURN_TIME_MAX, "back after {took:?}");
}

pub(crate) fn seeds_may_be_killed_one_by_one_and_nothing_is_lost(material: Material) {
    let mut hosts = Hosts::form(material, 3, 4);
    let (seeds, peers) = (hosts.seeds(), hosts.peers());
    let leader = hosts.leader();
    let mark = hosts.mark();
    hosts.kill(leader);
    let rest: Vec<usize> = seeds.iter().copied().filter(|seed| *seed != leader).collect();
    hosts.wait_for("another leader", mark, &rest, |_, e| e.event == "LEADER");
    let mark = hosts.mark();
    hosts.kill(peers[0]);
    let mut aware = rest.clone();
    aware.extend(&peers[1..]);
    hosts.wait_for_death(mark, hosts.address(peers[0]), &aware);
    // With one of three left, a death waits and so does a join.
    let mark = hosts.mark();
    hosts.kill(rest[0]);
    hosts.kill(peers[1]);
    hosts.start(peers[0]);
    hosts.wait_for("a registration without a majority", mark, &[rest[1]], |_, e| {
        e.event == "REGISTER_TIMEOUT"
    });
    let decided =
        hosts.events_of(mark, rest[1]).iter().any(|e| e.event == "DEAD_CONFIRMED" || e.event == "REGISTERED");
    assert!(!decided, "one seed decides nothing");
    hosts.start(rest[0]);
    hosts.wait_for_death(mark, hosts.address(peers[1]), &[rest[0], rest[1], peers[2], peers[3]]);
    hosts.wait_for("the join that waited", mark, &[peers[0]], |_, e| e.event == "JOINED");
}

pub(crate) fn all_seeds_may_be_restarted_at_once(material: Material) {
    let mut hosts = Hosts::form(material, 3, 4);
    let mark = hosts.mark();
    for seed in hosts.seeds() {
        hosts.kill(seed);
    }
    for seed in hosts.seeds() {
        hosts.start(seed);
    }
    hosts.wait_for("a leader", mark, &hosts.seeds(), |_, e| e.event == "LEADER");
    hosts.assert_nobody_died(mark);
    // What was registered is still there, and what happens now is decided.
    let (mark, victim) = (hosts.mark(), hosts.peers()[3]);
    hosts.kill(victim);
    hosts.wait_for_death(mark, hosts.address(victim), &hosts.all_but(&[victim]));
    let registered: Vec<usize> = hosts.peers().into_iter().filter(|peer| *peer != victim).collect();
    for peer in registered {
        let joins = hosts.events_of(0, peer).into_iter().filter(|e| e.event == "JOINED").count();
        assert_eq!(joins, 1, "nobody had to join again");
    }
}

pub(crate) fn a_seed_without_its_disk_ends_with_advice(material: Material) {
    let mut hosts = Hosts::form(material, 3, 3);
    let seed = hosts.seeds()[1];
    hosts.kill(seed);
    hosts.lab.lose_disk(seed).unwrap();
    let mark = hosts.mark();
    hosts.start(seed);
    let advice = "has a history with this seed: run coterie seed-replace";
    wait_until("the advice", || hosts.lab.stderr(seed).contains(advice));
    assert!(hosts.lab.stderr(seed).contains("seed: data directory is empty, but cluster "));
    let victim = hosts.peers()[0];
    hosts.kill(victim);
    hosts.wait_for_death(mark, hosts.address(victim), &hosts.all_but(&[victim, seed]));
}

/// Two peers that are linked.
fn a_link(hosts: &mut Hosts) -> (usize, usize) {
    let peer = hosts.peers()[0];
    (peer, hosts.neighbours(peer)[0])
}

pub(crate) fn of_two_neighbours_that_hear_each_other_one_way_neither_dies(material: Material) {
    let mut hosts = Hosts::form(material, 3, 4);
    let (mark, (heard, deaf)) = (hosts.mark(), a_link(&mut hosts));
    hosts.lab.cut(heard, deaf).unwrap();
    hosts.wait_for("a suspicion", mark, &[deaf], |_, e| e.event == "SUSPICION");
    hosts.live_through(CUT_TIME);
    hosts.assert_nobody_died(mark);
    assert_few_ballots(&mut hosts, mark, 2);
    // Healed, both are as they were.
    hosts.lab.heal_all().unwrap();
    assert_still_works(&mut hosts);
}

pub(crate) fn two_peers_that_are_cut_from_each_other_both_live(material: Material) {
    let mut hosts = Hosts::form(material, 3, 4);
    let (mark, (a, b)) = (hosts.mark(), a_link(&mut hosts));
    hosts.lab.part(a, b).unwrap();
    hosts.wait("a suspicion", mark, |events| {
        events.iter().any(|(i, e)| (*i == a || *i == b) && e.event == "SUSPICION")
    });
    hosts.live_through(CUT_TIME);
    hosts.assert_nobody_died(mark);
    assert_few_ballots(&mut hosts, mark, 2);
    hosts.lab.heal_all().unwrap();
    assert_still_works(&mut hosts);
}

/// So many accusers, each left to accuse again after 1, 2, 4 .. s, can have had no more ballots than that.
fn assert_few_ballots(hosts: &mut Hosts, mark: usize, accusers: usize) {
    let ballots = hosts.death_ballots(mark);
    let most = accusers * 5;
    assert!(ballots <= most, "{ballots} ballots of {accusers} accusers, at most {most}: no storm");
}

/// A death is found in a cluster that was broken and healed.
fn assert_still_works(hosts: &mut Hosts) {
    let victim = *hosts.peers().last().expect("there are peers");
    let mark = hosts.mark();
    let killed = hosts.kill(victim);
    hosts.wait_for_death(mark, hosts.address(victim), &hosts.all_but(&[victim]));
    let took = last_confirmation(hosts, mark, killed);
    assert!(took < DEATH_TIME_MAX, "known after {took:?}");
}

pub(crate) fn a_peer_that_only_seeds_can_reach_is_no_dead_peer(material: Material) {
    let mut hosts = Hosts::form_talking(material, 3, 5);
    let lonely = hosts.peers()[0];
    let mark = hosts.mark();
    for peer in hosts.peers().into_iter().filter(|peer| *peer != lonely) {
        hosts.lab.part(lonely, peer).unwrap();
    }
    let address = hosts.address(lonely).to_string();
    hosts.wait("its neighbours to suspect it", mark, |events| {
        events.iter().any(|(_, e)| e.event == "SUSPICION" && e.get("suspect") == address)
    });
    hosts.live_through(CUT_TIME);
    hosts.assert_nobody_died(mark);
    // Four accuse it, and it accuses four.
    assert_few_ballots(&mut hosts, mark, 8);
    let mark = hosts.mark();
    hosts.lab.heal_all().unwrap();
    // Over new links, or over the old ones that outlived the cut: what it says is heard again.
    let others: Vec<usize> = hosts.peers().into_iter().filter(|peer| *peer != lonely).collect();
    hosts.wait_for("its words", mark, &others, |_, e| e.event == "GOSSIP" && e.get("origin") == address);
}

pub(crate) fn a_peer_that_no_seed_can_reach_is_removed_and_comes_back(material: Material) {
    let mut hosts = Hosts::form(material, 3, 4);
    let lost = hosts.peers()[0];
    let (mark, dead) = (hosts.mark(), hosts.address(lost));
    for seed in hosts.seeds() {
        hosts.lab.part(lost, seed).unwrap();
    }
    // Its neighbours hear it well. What counts is whom the seeds can reach: they alone decide.
    hosts.wait_for_death(mark, dead, &hosts.all_but(&[lost]));
    assert_few_ballots(&mut hosts, mark, 1);
    let (mark, healed) = (hosts.mark(), wall());
    hosts.lab.heal_all().unwrap();
    let took = hosts.wait_for_return(mark, lost, healed);
    assert!(took < RETURN_TIME_MAX, "back after {took:?}");
}

pub(crate) fn a_leader_that_is_cut_from_everybody_is_succeeded(material: Material) {
    let mut hosts = Hosts::form(material, 3, 4);
    let leader = hosts.leader();
    let mark = hosts.mark();
    for other in hosts.all_but(&[leader]) {
        hosts.lab.part(leader, other).unwrap();
    }
    let rest: Vec<usize> = hosts.seeds().into_iter().filter(|seed| *seed != leader).collect();
    let old = hosts.lab.hosts[leader].name.clone();
    let old_ip = hosts.address(leader).ip().to_string();
    hosts.wait_for("another leader", mark, &rest, |_, e| {
        let led_by = e.get("leader");
        e.event == "LEADER" && !led_by.starts_with(&old) && !led_by.starts_with(&old_ip) && led_by != "none"
    });
    let victim = hosts.peers()[0];
    hosts.kill(victim);
    hosts.wait_for_death(mark, hosts.address(victim), &hosts.all_but(&[victim, leader]));
    assert_eq!(hosts.count(mark, "DEAD_CONFIRMED"), hosts.lab.hosts.len() - 2, "one death, nobody else's");
    let told = hosts.events_of(mark, leader).iter().any(|e| e.event == "DEAD_CONFIRMED");
    assert!(!told, "who is cut off decides nothing");
    let healed = wall();
    hosts.lab.heal_all().unwrap();
    let took = hosts.wait_for_one_view(&hosts.all_but(&[victim]), 3, healed);
    assert!(took < HEAL_TIME_MAX, "one view after {took:?}");
}

pub(crate) fn a_split_of_the_seeds_commits_on_one_side_and_heals_within_five_seconds(material: Material) {
    let mut hosts = Hosts::form(material, 3, 6);
    let (seeds, peers) = (hosts.seeds(), hosts.peers());
    let (large, small): (Vec<usize>, Vec<usize>) =
        ([&seeds[..2], &peers[..3]].concat(), [&seeds[2..], &peers[3..]].concat());
    let mark = hosts.mark();
    for a in &large {
        for b in &small {
            hosts.lab.part(*a, *b).unwrap();
        }
    }
    for peer in &peers[3..] {
        hosts.wait_for_death(mark, hosts.address(*peer), &large);
    }
    hosts.live_through(Duration::from_secs(2));
    let minority = small[0];
    let decided: Vec<String> = hosts
        .events_of(mark, minority)
        .into_iter()
        .filter(|e| ["DEAD_CONFIRMED", "REGISTERED", "LEFT"].contains(&e.event.as_str()))
        .map(|e| e.line.clone())
        .collect();
    assert_eq!(decided, Vec::<String>::new(), "the minority commits nothing");
    let healed = wall();
    hosts.lab.heal_all().unwrap();
    let everybody = hosts.all_but(&[]);
    let took = hosts.wait_for_one_view(&everybody, 6, healed);
    assert!(took < HEAL_TIME_MAX, "one view after {took:?}");
}

/// How long packets are lost; `COTERIE_LOSS_SECONDS` in seconds.
fn loss_time() -> Duration {
    let seconds = std::env::var("COTERIE_LOSS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

pub(crate) fn nobody_dies_of_lost_packets_and_the_dead_are_still_found(material: Material) {
    const SHARE: f64 = 0.2;
    let mut at_peers = Hosts::form(material.clone(), 3, 6);
    let mut at_all = Hosts::form(material, 3, 6);
    let marks = (at_peers.mark(), at_all.mark());
    at_peers.peers().into_iter().for_each(|index| at_peers.lab.lose(index, SHARE).unwrap());
    at_all.all_but(&[]).into_iter().for_each(|index| at_all.lab.lose(index, SHARE).unwrap());
    let clock = coterie_common::clock::Clock::start();
    while clock.now() < coterie_common::Instant::START + loss_time() {
        at_peers.assert_nobody_died(marks.0);
        at_all.assert_nobody_died(marks.1);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    // Connections between seeds are kept, not dialled anew after every time-out.
    let lost = at_all.count(marks.1, "SEED_LOST");
    assert!(lost as u64 <= 2 + loss_time().as_secs() / 60, "{lost} times a seed's connection was given up");
    for hosts in [&mut at_peers, &mut at_all] {
        let victim = hosts.peers()[2];
        let (mark, dead) = (hosts.mark(), hosts.address(victim));
        let killed = hosts.kill(victim);
        hosts.wait_for_death(mark, dead, &hosts.all_but(&[victim]));
        let took = last_confirmation(hosts, mark, killed);
        assert!(took < DEATH_TIME_MAX, "known after {took:?}");
        let others = hosts.seen()[mark..]
            .iter()
            .filter(|(_, e)| e.event == "DEAD_CONFIRMED" && e.get("dead") != dead.to_string())
            .count();
        assert_eq!(others, 0, "nobody else");
    }
}

pub(crate) fn a_seed_that_returns_under_another_address_is_found_again(material: Material) {
    let mut hosts = Hosts::form(material, 3, 3);
    let (seed, leader) = (hosts.seeds()[1], hosts.leader());
    let mark = hosts.mark();
    hosts.lab.disconnect(seed).unwrap();
    let others: Vec<usize> = hosts.seeds().into_iter().filter(|other| *other != seed).collect();
    if leader == seed {
        hosts.wait_for("another leader", mark, &others, |_, e| e.event == "LEADER");
    }
    let elsewhere = match hosts.address(seed).ip() {
        std::net::IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            std::net::IpAddr::from([a, b, c, d + 100])
        }
        std::net::IpAddr::V6(ip) => ip.into(),
    };
    let mark = hosts.mark();
    hosts.lab.connect_at(seed, elsewhere).unwrap();
    let name = hosts.lab.hosts[seed].name.clone();
    hosts.wait_for("the seed to be found", mark, &others, |_, e| {
        e.event == "SEED_CONNECTED" && e.get("seed").starts_with(&name)
    });
    let victim = hosts.peers()[0];
    hosts.kill(victim);
    hosts.wait_for_death(mark, hosts.address(victim), &hosts.all_but(&[victim]));
}

/// What this machine still has of a lab of that name.
fn left_of(name: &str, is_containers: bool) -> Vec<String> {
    let lists: &[(&str, &[&str])] = match is_containers {
        true => &[
            ("docker", &["ps", "-a", "--format", "{{.Names}}"]),
            ("docker", &["network", "ls", "--format", "{{.Name}}"]),
            ("docker", &["volume", "ls", "--format", "{{.Name}}"]),
        ],
        false => &[("ip", &["netns", "list"]), ("ip", &["link"]), ("iptables-save", &[])],
    };
    let lines = lists.iter().flat_map(|(tool, args)| {
        let output = Command::new(tool).args(*args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    });
    lines.filter(|line| line.contains(name)).collect()
}

pub(crate) fn a_lab_leaves_nothing_behind(material: Material) {
    let is_containers = matches!(material, Material::Containers { .. });
    let mut hosts = Hosts::form(material, 1, 2);
    let (paused, cut) = (hosts.peers()[0], hosts.seeds()[0]);
    hosts.lab.lose(cut, 0.1).unwrap();
    hosts.lab.pause(paused).unwrap();
    let (name, files) = (hosts.lab.name().to_owned(), hosts.lab.path().to_owned());
    assert!(!left_of(&name, is_containers).is_empty(), "there is something");
    drop(hosts);
    assert_eq!(left_of(&name, is_containers), Vec::<String>::new());
    assert!(!files.exists());
}

pub(crate) fn a_lab_whose_owner_is_killed_leaves_nothing_behind(material: Material) {
    let mut command = command();
    command.args(["hosts", "--seeds", "1", "--peers", "2", "--deaths", "1"]);
    let is_containers = matches!(material, Material::Containers { .. });
    if let Material::Containers { image } = material {
        command.args(["--image", &image]);
    }
    let files = tempfile::tempdir().unwrap();
    let mut owner = command.env("TMPDIR", files.path()).stdout(Stdio::null()).spawn().unwrap();
    let name = match is_containers {
        true => format!("coterie-lab-{}-01", owner.id()),
        false => format!("cl{}x01", owner.id()),
    };
    wait_until("its hosts", || left_of(&name, is_containers).len() >= 4);
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("nothing to be left", || left_of(&name, is_containers).is_empty());
    wait_until("its files to be gone", || std::fs::read_dir(files.path()).unwrap().next().is_none());
}

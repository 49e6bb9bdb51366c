//! A program in another language among our nodes: it speaks the JSON of WIRE.md, and no line of its wire is ours.
//!
//! [`Program`] is that program, written from the contract alone: threads, blocking sockets, JSON by hand. It has
//! the habits that such programs have: it registers with every seed and never writes there again, forwards
//! gossip by the hash of its content, checks a suspect by connecting and closing without a byte, answers PING on
//! the connection it came on, and ignores the news of its own death.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

#[path = "../common/mod.rs"]
mod common;
mod program;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use common::{TestCluster, Watched, run, status, wait_until};
use coterie::cluster::LogEvent;
use program::*;
use serde_json::json;
use wire::*;

// ---- what the tests share ----

fn native_names(cluster: &TestCluster) -> Vec<String> {
    let mut names: Vec<String> =
        cluster.peers().into_iter().map(|i| cluster.address(i).to_string()).collect();
    names.sort();
    names
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn is_registered(event: &LogEvent, peer: &str) -> bool {
    event.event == "REGISTERED" && event.get("peer") == peer
}

/// A cluster that is slow to call silence death, so that a busy machine does not decide a story.
fn patient(seeds: usize, peers: usize, patience: &str) -> TestCluster {
    let mut cluster = TestCluster::prepare(
        seeds,
        peers,
        &["--patience", patience],
        &["--messages", "0", "--patience", patience],
    );
    cluster.cluster.start_all().expect("the processes start");
    cluster.wait_for_all("LEADER", &cluster.seeds());
    cluster.wait_for_all("JOINED", &cluster.peers());
    cluster
}

fn native(seeds: usize, peers: usize) -> TestCluster {
    let mut cluster = TestCluster::form(seeds, peers, &["--messages", "0"]);
    cluster.wait_for_all("LEADER", &cluster.seeds());
    cluster
}

/// Waits until every peer's view has so many members.
fn wait_for_members(cluster: &mut TestCluster, members: u64) {
    let peers = cluster.peers();
    let mut views: BTreeMap<usize, u64> = BTreeMap::new();
    cluster.wait(&format!("{members} members in every view"), 0, |events| {
        for (node, event) in events.iter().filter(|(_, e)| e.event == "VIEW") {
            views.extend(event.number("members").map(|count| (*node, count)));
        }
        peers.iter().all(|peer| views.get(peer) == Some(&members))
    });
}

/// The program dials every peer, and each has the link.
fn link_with_all(cluster: &mut TestCluster, program: &Program) {
    let (peers, name) = (cluster.peers(), program.name());
    for peer in &peers {
        program.dial(cluster.socket(*peer));
    }
    cluster.wait_for("its links", 0, &peers, |_, e| e.event == "LINK_UP" && e.get("peer") == name);
}

fn wait_for_gossip(cluster: &mut TestCluster, mark: usize, content: &str, peers: &[usize]) {
    cluster.wait_for(&format!("{content:?} at {peers:?}"), mark, peers, |_, e| {
        e.event == "GOSSIP" && e.get("content") == content
    });
}

/// The lines that say that `content` was heard at `peer`.
fn gossip_lines(cluster: &TestCluster, peer: usize, content: &str) -> Vec<LogEvent> {
    let events = cluster.whole_log(peer);
    events.into_iter().filter(|e| e.event == "GOSSIP" && e.get("content") == content).collect()
}

fn none_about(cluster: &TestCluster, event: &str, key: &str, who: SocketAddr) {
    let found: Vec<&str> = cluster
        .seen
        .iter()
        .filter(|(_, e)| e.event == event && e.get(key) == who.to_string())
        .map(|(_, e)| e.line.as_str())
        .collect();
    assert_eq!(found, Vec::<&str>::new(), "{event} about {who}");
}

// ---- membership ----

#[test]
fn a_program_that_registers_with_every_seed_is_one_member_with_one_incarnation() {
    let mut cluster = native(3, 3);
    let (first, second) = (Program::start(&cluster), Program::start(&cluster));
    for seed in cluster.seeds() {
        let answer = first.register(cluster.socket(seed));
        assert_eq!(answer["status"], "ok", "{answer}");
        assert_eq!(
            sorted(addresses(&answer["peer_list"])),
            native_names(&cluster),
            "all but the asker: {answer}"
        );
    }
    // A second registration on a kept connection changes nothing either.
    let seed = cluster.socket(0);
    first.tell_seed(seed, &first.register_request());
    first.wait_for("a second answer on the same connection", |h| h.is("REGISTER_RESPONSE"));
    let again = first.heard().into_iter().find(|h| h.is("REGISTER_RESPONSE")).expect("waited for it").message;
    assert_eq!(again["status"], "ok", "{again}");

    // The second program comes later in the log, so what the first one caused has been said by then.
    second.join(&cluster);
    let seeds = cluster.seeds();
    cluster.wait_for("the second program at every seed", 0, &seeds, |_, e| is_registered(e, &second.name()));
    let mut admissions = BTreeSet::new();
    for seed in seeds {
        let log = cluster.whole_log(seed);
        let lines: Vec<&LogEvent> = log.iter().filter(|e| is_registered(e, &first.name())).collect();
        assert_eq!(lines.len(), 1, "one REGISTERED at seed {seed}: {lines:?}");
        admissions.insert((lines[0].get("incarnation").to_owned(), lines[0].get("epoch").to_owned()));
    }
    assert_eq!(admissions.len(), 1, "one incarnation, one epoch: {admissions:?}");
    wait_for_members(&mut cluster, 5);

    let listed = run(&["members", "--seed", &seed.to_string()]);
    let listed = String::from_utf8(listed.stdout).expect("text");
    let own = |line: &&str| line.split(' ').next() == Some(first.name().as_str());
    assert_eq!(listed.lines().filter(own).count(), 1, "{listed}");
    let open = first.connections(|c| matches!(c.kind, Kind::Seed(_)) && !c.ended);
    assert_eq!(open.len(), 3, "no registration closed the connection of another");
}

#[test]
fn a_member_is_listed_to_others_and_not_to_itself() {
    let mut cluster = native(3, 2);
    let (first, second) = (Program::joined(&cluster), Program::joined(&cluster));
    wait_for_members(&mut cluster, 4);
    let own = &first;
    let request =
        json!({"type": "PEER_LIST_REQUEST", "ip": own.me().ip().to_string(), "port": own.me().port()});
    for seed in cluster.seeds() {
        let seed = cluster.socket(seed);
        first.tell_seed(seed, &request);
        let is_list = |h: &Heard| h.is("PEER_LIST_RESPONSE") && first.seed_of(h.connection) == Some(seed);
        first.wait_for("a list on the kept connection", is_list);
        let list = first.heard().into_iter().find(is_list).expect("waited for it").message;
        let mut expected = native_names(&cluster);
        expected.push(second.name());
        assert_eq!(sorted(addresses(&list["peer_list"])), sorted(expected), "{list}");

        // Anybody may ask. A stranger is told of all members.
        let stranger = json!({"type": "PEER_LIST_REQUEST", "ip": "192.0.2.7", "port": 9});
        let answer = ask(seed, &stranger);
        assert_eq!(answer["type"], "PEER_LIST_RESPONSE");
        let mut everybody = native_names(&cluster);
        everybody.extend([first.name(), second.name()]);
        assert_eq!(sorted(addresses(&answer["peer_list"])), sorted(everybody), "{answer}");
    }
}

/// `peer_list` is "without the asker", and the asker is named in the request.
#[test]
fn a_member_that_asks_for_the_peers_on_a_fresh_connection_is_not_in_its_own_list() {
    let mut cluster = native(1, 2);
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 3);
    let request = json!({"type": "PEER_LIST_REQUEST", "ip": program.me().ip().to_string(), "port": program.me().port()});
    let answer = ask(cluster.socket(0), &request);
    assert_eq!(sorted(addresses(&answer["peer_list"])), native_names(&cluster), "{answer}");
}

#[test]
fn life_0_cannot_take_the_address_of_a_living_native_peer() {
    let mut cluster = native(3, 2);
    let owner = cluster.peers()[0];
    let address = cluster.socket(owner);
    let registered = |cluster: &TestCluster, seed: usize| {
        cluster.whole_log(seed).iter().filter(|e| is_registered(e, &address.to_string())).count()
    };
    for seed in cluster.seeds() {
        for life in [None, Some(0)] {
            let mut request =
                json!({"type": "REGISTER_REQUEST", "ip": address.ip().to_string(), "port": address.port()});
            if let Some(life) = life {
                request["life"] = json!(life);
            }
            let answer = ask(cluster.socket(seed), &request);
            assert_eq!(answer["status"], "rejected", "{answer}");
            assert_eq!(text(&answer, "reason"), "address_in_use", "{answer}");
            assert_eq!(answer["retry"], false, "{answer}");
            assert_eq!(answer["peer_list"], json!([]), "{answer}");
        }
    }
    // Later in the log than anything the attempts could have left there.
    let program = Program::joined(&cluster);
    let seeds = cluster.seeds();
    cluster.wait_for("a later registration", 0, &seeds, |_, e| is_registered(e, &program.name()));
    for seed in seeds {
        assert_eq!(registered(&cluster, seed), 1, "the owner's own registration at seed {seed}");
    }
    wait_for_members(&mut cluster, 3);
    none_about(&cluster, "DEAD_CONFIRMED", "dead", address);
    assert!(cluster.seen.iter().all(|(_, e)| e.event != "DECLARED_DEAD"));
}

#[test]
fn a_registration_without_a_majority_times_out_and_succeeds_when_the_seeds_are_back() {
    let mut cluster = native(3, 0);
    cluster.kill(1);
    cluster.kill(2);
    let program = Program::start(&cluster);
    let answer = program.register(cluster.socket(0));
    assert_eq!(answer["status"], "timeout", "{answer}");
    assert_eq!(answer["retry"], true, "{answer}");
    cluster.start(1);
    cluster.start(2);
    let mut answer = json!(null);
    wait_until("a registration to be granted", || {
        answer = program.register(cluster.socket(0));
        answer["status"] == "ok"
    });
    program.join(&cluster);
    let mark = 0;
    let seeds = cluster.seeds();
    cluster
        .wait_for("the registration at every seed", mark, &seeds, |_, e| is_registered(e, &program.name()));
}

#[test]
fn a_program_that_restarts_at_once_is_ok_everywhere_and_still_the_same_member() {
    // Nobody is its neighbour, so nobody notices that it was away.
    let mut cluster = native(3, 0);
    let mut program = Program::joined(&cluster);
    let me = program.me();
    program.kill();
    let again = Program::start_at(me);
    again.join(&cluster);
    let other = Program::joined(&cluster);
    let seeds = cluster.seeds();
    cluster.wait_for("a later registration", 0, &seeds, |_, e| is_registered(e, &other.name()));
    for seed in seeds {
        let lines = cluster.whole_log(seed).into_iter().filter(|e| is_registered(e, &me.to_string())).count();
        assert_eq!(lines, 1, "one entry at seed {seed}");
    }
    assert_eq!(again.connections(|c| matches!(c.kind, Kind::Seed(_)) && !c.ended).len(), 3);
}

#[test]
fn a_program_that_loses_its_sessions_but_answers_stays_a_member() {
    let mut cluster = native(3, 1);
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 2);
    for session in program.connections(|c| matches!(c.kind, Kind::Seed(_))) {
        program.close(session);
    }
    // The seeds miss it, ask for themselves, and find it alive.
    let name = program.name();
    let refuted = |e: &LogEvent| {
        e.event == "DEAD_REJECTED" && e.get("dead") == name && e.get("reason").starts_with("alive")
    };
    cluster.wait("an absence that is refuted", 0, |events| events.iter().any(|(_, e)| refuted(e)));
    let answer = ask(cluster.socket(0), &json!({"type": "PEER_LIST_REQUEST", "ip": "192.0.2.7", "port": 9}));
    assert!(addresses(&answer["peer_list"]).contains(&program.name()), "{answer}");
    cluster.look();
    none_about(&cluster, "DEAD_CONFIRMED", "dead", program.me());
}

#[test]
fn a_new_life_at_its_address_replaces_it_and_no_death_is_told() {
    let mut cluster = TestCluster::prepare(1, 1, &[], &["--messages", "0"]);
    cluster.start(0);
    cluster.wait_for_all("LEADER", &[0]);
    let peer = cluster.peers()[0];
    let mut old = Program::start_at(cluster.socket(peer));
    let watcher = Program::start(&cluster);
    old.join(&cluster);
    watcher.join(&cluster);
    // Nobody is its neighbour, so nobody accuses it before the new life is there.
    old.kill();
    cluster.start(peer);
    cluster.wait_for_all("JOINED", &[peer]);
    let mut victim = Program::joined(&cluster);
    victim.dial(cluster.socket(peer));
    wait_for_members(&mut cluster, 3);
    victim.kill();
    watcher.wait_for("a later death", |h| {
        h.is("DEAD_CONFIRMED") && address_in(&h.message, "dead_") == victim.name()
    });
    assert_eq!(watcher.deaths_told(old.me()), BTreeMap::new(), "it was replaced");
    none_about(&cluster, "DEAD_CONFIRMED", "dead", old.me());
    let lines: Vec<LogEvent> =
        cluster.whole_log(0).into_iter().filter(|e| is_registered(e, &old.name())).collect();
    assert_eq!(lines.len(), 2, "the old life and the new one: {lines:?}");
}

// ---- links and gossip ----

#[test]
fn two_connections_of_one_pair_are_one_link_and_ours_closes_neither() {
    let mut cluster = native(1, 1);
    let peer = cluster.peers()[0];
    let program = Program::joined(&cluster);
    wait_until("our peer to dial the program", || program.is_neighbour_of(cluster.socket(peer)));
    let older = program.connections(|c| c.kind == Kind::Accepted && c.neighbour.is_some())[0];
    let newer = program.dial(cluster.socket(peer));
    // A PONG shows that the HELLO before it has been read.
    let is_pong = |h: &Heard| h.is("PONG") && h.connection == newer;
    program.say_on(
        newer,
        &json!({"type": "PING", "from_ip": program.me().ip().to_string(), "from_port": program.me().port()}),
    );
    program.wait_for("a PONG on the newer connection", is_pong);
    let mark = cluster.mark();

    // Both are read.
    program.say_on(older, &program.gossip("on the older"));
    program.say_on(newer, &program.gossip("on the newer"));
    program.say_on(older, &program.gossip("on both"));
    program.say_on(newer, &program.gossip("on both"));
    for content in ["on the older", "on the newer", "on both"] {
        wait_for_gossip(&mut cluster, mark, content, &[peer]);
    }
    // The newer is written to, and each message crosses once.
    cluster.say(peer, "from ours");
    program.wait_for("gossip from ours", |h| h.is("GOSSIP") && h.message["content"] == "from ours");
    cluster.say(peer, "and again");
    program.wait_for("more from ours", |h| h.is("GOSSIP") && h.message["content"] == "and again");
    let crossings = |content: &str| -> Vec<u64> {
        let all = program.heard().into_iter().filter(|h| h.is("GOSSIP") && h.message["content"] == content);
        all.map(|h| h.connection).collect()
    };
    assert_eq!((crossings("from ours"), crossings("and again")), (vec![newer], vec![newer]));
    for content in ["on the older", "on the newer", "on both"] {
        assert_eq!(crossings(content), Vec::<u64>::new(), "{content:?} came back");
        let lines = gossip_lines(&cluster, peer, content);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(
            (lines[0].get("origin"), lines[0].get("from")),
            (program.name().as_str(), program.name().as_str())
        );
    }
    let of_the_link = |c: &Connection| c.neighbour.is_some();
    assert_eq!(program.connections(|c| of_the_link(c) && c.ended), Vec::<u64>::new(), "ours closes none");

    // One of them ends, whichever: the link goes on with the other. Both end: it is lost.
    let third = program.dial(cluster.socket(peer));
    program.close(newer);
    program.say_on(third, &program.gossip("on a third"));
    wait_for_gossip(&mut cluster, mark, "on a third", &[peer]);
    program.close(third);
    cluster.say(peer, "to the one that is left");
    // What was on its way to the third when it ended may be lost; what is said after that arrives.
    let mut tries = 0;
    wait_until("gossip on the connection that is left", || {
        tries += 1;
        cluster.say(peer, &format!("try {tries}"));
        program.count(|h| h.is("GOSSIP") && h.connection == older) > 0
    });
    cluster.look();
    none_about(&cluster, "LINK_DOWN", "peer", program.me());
    none_about(&cluster, "SUSPICION", "suspect", program.me());
    program.close(older);
    let name = program.name();
    cluster.wait_for("the end of the link", mark, &[peer], |_, e| {
        e.event == "LINK_DOWN" && e.get("peer") == name
    });
    // It answers the probes: nobody dies of that.
    cluster.wait_for("the end of the suspicion", mark, &[peer], |_, e| {
        e.event == "SUSPICION_DROPPED" && e.get("suspect") == name
    });
    none_about(&cluster, "DEAD_CONFIRMED", "dead", program.me());
}

#[test]
fn a_program_that_dials_nobody_is_dialled_and_hears_everything() {
    let mut cluster = native(3, 4);
    let program = Program::joined(&cluster);
    let peers = cluster.peers();
    let any = |program: &Program| !program.connections(|c| !c.ended && c.neighbour.is_some()).is_empty();
    wait_until("one of ours to dial the program", || any(&program));
    let linked = program.connections(|c| c.neighbour.is_some())[0];
    let hello =
        program.heard().into_iter().find(|h| h.connection == linked).expect("HELLO is the first frame");
    assert!(hello.is("HELLO"), "{hello:?}");
    assert!(
        native_names(&cluster).contains(&address_in(&hello.message, "")),
        "the listening address: {hello:?}"
    );

    let speaker = peers[3];
    cluster.say(speaker, "heard through the overlay");
    program.wait_for("gossip", |h| h.is("GOSSIP") && h.message["content"] == "heard through the overlay");
    let heard = program.heard().into_iter().find(|h| h.is("GOSSIP")).expect("waited for it").message;
    assert_eq!(text(&heard, "hash"), sha256_hex("heard through the overlay"));
    assert_eq!(address_in(&heard, "origin_"), cluster.address(speaker).to_string());
    assert!(native_names(&cluster).contains(&address_in(&heard, "sender_")), "{heard}");
    assert_eq!(text(&heard, "id").len(), 64, "{heard}");
}

#[test]
fn gossip_goes_both_ways_once_with_the_right_origin_and_hash() {
    let mut cluster = native(1, 4);
    let (first, second) = (Program::joined(&cluster), Program::joined(&cluster));
    wait_for_members(&mut cluster, 6);
    let peers = cluster.peers();
    let links: Vec<u64> = [peers[0], peers[1]].map(|p| first.dial(cluster.socket(p))).to_vec();
    let other_links: Vec<u64> = [peers[1], peers[2]].map(|p| second.dial(cluster.socket(p))).to_vec();
    for (program, linked) in [(&first, [peers[0], peers[1]]), (&second, [peers[1], peers[2]])] {
        let name = program.name();
        cluster.wait_for("the links", 0, &linked, |_, e| e.event == "LINK_UP" && e.get("peer") == name);
    }
    let mark = cluster.mark();

    // Without `id` and even without `hash`; with quotes, a newline and letters beyond ASCII.
    let odd = "with \"quotes\" and ümlauts \u{1f600}";
    let mut bare = first.gossip("bare");
    bare.as_object_mut().expect("an object").remove("hash");
    for message in [first.gossip("said once"), first.gossip(odd), bare] {
        first.say_on(links[0], &message);
    }
    // The same content twice is one message for it, whoever says it again.
    first.say_on(links[0], &first.gossip("said once"));
    first.say_on(links[1], &first.gossip("said once"));
    for content in ["said once", odd, "bare"] {
        wait_for_gossip(&mut cluster, mark, content, &peers);
        second.wait_for("gossip at the other program", |h| h.is("GOSSIP") && h.message["content"] == content);
    }
    second.say_on(other_links[1], &first.gossip("said once"));
    first.say_on(links[0], &first.gossip("the last word"));
    first.say_on(links[1], &first.gossip("the last word"));
    second.say_on(other_links[1], &second.gossip("the very last word"));
    wait_for_gossip(&mut cluster, mark, "the last word", &peers);
    wait_for_gossip(&mut cluster, mark, "the very last word", &peers);
    for content in ["said once", odd, "bare", "the last word"] {
        for peer in &peers {
            let lines = gossip_lines(&cluster, *peer, content);
            assert_eq!(lines.len(), 1, "{content:?} at {peer}: {lines:?}");
            assert_eq!(lines[0].get("origin"), first.name(), "{lines:?}");
        }
    }

    // Ours may say the same words twice, and both programs hear ours with the right hash (which they check).
    cluster.say(peers[3], "twice");
    cluster.say(peers[3], "twice");
    cluster.say(peers[3], "after twice");
    let listeners = &peers[..3];
    wait_for_gossip(&mut cluster, mark, "after twice", listeners);
    for peer in listeners {
        let lines = gossip_lines(&cluster, *peer, "twice");
        assert_eq!(lines.len(), 2, "two messages of the same words at {peer}: {lines:?}");
        assert!(lines.iter().all(|e| e.get("origin") == cluster.address(peers[3]).to_string()), "{lines:?}");
    }
    for program in [&first, &second] {
        program.wait_for("gossip from ours", |h| h.is("GOSSIP") && h.message["content"] == "after twice");
        let heard =
            program.heard().into_iter().find(|h| h.message["content"] == "after twice").expect("it heard it");
        assert_eq!(address_in(&heard.message, "origin_"), cluster.address(peers[3]).to_string());
    }
    // No link carried a message of ours to the same neighbour twice.
    for program in [&first, &second] {
        let mut crossed = BTreeSet::new();
        for heard in program.heard().iter().filter(|h| h.is("GOSSIP")) {
            let from = address_in(&heard.message, "sender_");
            assert!(
                crossed.insert((from, text(&heard.message, "id").to_owned())),
                "twice over one link: {heard:?}"
            );
        }
    }
}

/// Unknown fields are ignored, and a program that ignores `id` says the message again without it. It is still the
/// message that its origin said once: no user hears it twice.
#[test]
fn a_program_that_forwards_only_the_fields_it_knows_makes_no_second_message() {
    let mut cluster = native(1, 2);
    let program = Program::start_with(&cluster, Habits { busy: Duration::ZERO, strips: true });
    program.join(&cluster);
    wait_for_members(&mut cluster, 3);
    let peers = cluster.peers();
    let links: Vec<u64> = peers.iter().map(|peer| program.dial(cluster.socket(*peer))).collect();
    let name = program.name();
    cluster.wait_for("its links", 0, &peers, |_, e| e.event == "LINK_UP" && e.get("peer") == name);
    let mark = cluster.mark();
    cluster.say(peers[0], "said by ours");
    program.wait_for("gossip", |h| h.is("GOSSIP") && h.message["content"] == "said by ours");
    // What it forwards is on its way before what it says afterwards.
    let is_forwarded = || {
        program.inside.known.lock().expect("no thread panics with it").contains(&sha256_hex("said by ours"))
    };
    wait_until("the program to have taken it", is_forwarded);
    for link in &links {
        program.say_on(*link, &program.gossip("afterwards"));
    }
    wait_for_gossip(&mut cluster, mark, "said by ours", &peers[1..]);
    wait_for_gossip(&mut cluster, mark, "afterwards", &peers);
    let lines = |peer: usize| gossip_lines(&cluster, peer, "said by ours");
    assert_eq!((lines(peers[0]), lines(peers[1]).len()), (vec![], 1), "{:?}", lines(peers[1]));
}

#[test]
fn a_quiet_program_is_pinged_and_its_pong_without_our_fields_will_do() {
    let mut cluster = native(1, 1);
    let program = Program::joined(&cluster);
    let peer = cluster.peers()[0];
    program.dial(cluster.socket(peer));
    // Eight pings on a link that is pinged every second when it is quiet: three unanswered ones would accuse it.
    wait_until("eight pings", || program.count(|h| h.is("PING")) >= 8);
    for ping in program.heard().iter().filter(|h| h.is("PING")) {
        let from = address_in(&ping.message, "from_");
        assert!([peer, 0].iter().any(|i| from == cluster.address(*i).to_string()), "{ping:?}");
        assert_eq!(program.seed_of(ping.connection), None, "no PING on a session with a seed: {ping:?}");
    }
    cluster.look();
    none_about(&cluster, "SUSPICION", "suspect", program.me());
}

// ---- questions ----

#[test]
fn questions_are_answered_as_first_frames_and_after_unknown_ones() {
    let mut cluster = native(1, 2);
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 3);
    let (asked, other) = (cluster.peers()[0], cluster.peers()[1]);
    let ping = json!({"type": "PING", "from_ip": "192.0.2.7", "from_port": 9});
    let about = |who: SocketAddr| {
        json!({
            "type": "SUSPECT_REQUEST", "suspect_ip": who.ip().to_string(), "suspect_port": who.port(),
            "requester_ip": "192.0.2.7", "requester_port": 9, "a_field_of_theirs": {"deep": [1, null]},
        })
    };
    let unknown = [
        json!({"type": "HEARTBEAT_V2", "n": 1}),
        json!({"type": "", "nested": {"type": "PING"}}),
        json!({"type": "SEED_HELLO", "ip": "192.0.2.7"}),
        json!({"type": "REGISTER_RESPONSE", "status": "ok", "peer_list": []}),
    ];

    for node in [0, asked] {
        let address = cluster.socket(node);
        let pong = ask(address, &ping);
        assert_eq!(
            (text(&pong, "type"), address_in(&pong, "from_")),
            ("PONG", address.to_string()),
            "{pong}"
        );
        let stream = connect(address);
        for message in &unknown {
            write_frame(&stream, message).expect("our node reads");
        }
        let mut numbered = ping.clone();
        numbered["nonce"] = json!(4711);
        write_frame(&stream, &numbered).expect("our node reads");
        let pong = read_message(&stream).expect("unknown types are passed over");
        assert_eq!((text(&pong, "type"), &pong["nonce"]), ("PONG", &json!(4711)), "{pong}");
        if node == asked {
            assert!(pong["life"].is_u64() && pong["incarnation"].is_u64(), "{pong}");
            write_frame(&stream, &about(cluster.socket(other))).expect("our node reads");
        } else {
            write_frame(&stream, &json!({"type": "PEER_LIST_REQUEST", "ip": "192.0.2.7", "port": 9}))
                .expect("it reads");
        }
        let answer = read_message(&stream).expect("it answers on the same connection");
        let expected = if node == asked { "SUSPECT_RESPONSE" } else { "PEER_LIST_RESPONSE" };
        assert_eq!(text(&answer, "type"), expected, "{answer}");
    }

    // The first frame of a connection, about a native member, a JSON member, and the one that is asked.
    for who in [cluster.socket(other), program.me(), cluster.socket(asked)] {
        let answer = ask(cluster.socket(asked), &about(who));
        assert_eq!(text(&answer, "type"), "SUSPECT_RESPONSE");
        assert_eq!(address_in(&answer, "suspect_"), who.to_string());
        assert_eq!(answer["alive"], true, "{answer}");
        assert_eq!(address_in(&answer, "responder_"), cluster.address(asked).to_string());
    }

    // About somebody who is no member: no, at once, and without a probe.
    let stranger = TcpListener::bind((cluster.ip, 0)).expect("a port is free");
    stranger.set_nonblocking(true).expect("an option of every socket");
    let who = stranger.local_addr().expect("it is bound");
    let answer = ask(cluster.socket(asked), &about(who));
    assert_eq!(
        (address_in(&answer, "suspect_"), &answer["alive"]),
        (who.to_string(), &json!(false)),
        "{answer}"
    );
    let knock = stranger.accept().map_err(|e| e.kind());
    assert!(matches!(knock, Err(io::ErrorKind::WouldBlock)), "nobody is a port scanner: {knock:?}");
}

#[test]
fn looking_whether_one_of_ours_listens_does_no_harm() {
    let mut cluster = native(1, 2);
    let program = Program::joined(&cluster);
    for peer in cluster.peers() {
        program.dial(cluster.socket(peer));
    }
    wait_for_members(&mut cluster, 3);
    let stderr = cluster.stderr();
    let before = status(cluster.socket(0));
    let mark = cluster.mark();
    for node in 0..3 {
        for _ in 0..200 {
            drop(TcpStream::connect(cluster.socket(node)).expect("it listens"));
        }
        // An answer on a later connection: those before it have been accepted.
        let pong =
            ask(cluster.socket(node), &json!({"type": "PING", "from_ip": "192.0.2.7", "from_port": 9}));
        assert_eq!(pong["type"], "PONG");
    }
    cluster.say(1, "all is well");
    program.wait_for("gossip", |h| h.is("GOSSIP") && h.message["content"] == "all is well");
    wait_for_gossip(&mut cluster, mark, "all is well", &[2]);
    let unwanted = ["SUSPICION", "LINK_DOWN", "DEAD_REPORT", "DEAD_CONFIRMED", "SEED_LOST"];
    let found: Vec<&LogEvent> = cluster.seen[mark..]
        .iter()
        .map(|(_, e)| e)
        .filter(|e| unwanted.contains(&e.event.as_str()))
        .collect();
    assert_eq!(found, Vec::<&LogEvent>::new());
    assert_eq!(cluster.stderr(), stderr, "not worth a line");
    let broken =
        |status: &str| status.lines().find(|l| l.starts_with("connections_broken_off")).map(str::to_owned);
    assert_eq!(broken(&status(cluster.socket(0))), broken(&before), "not an error");
}

// ---- deaths of others ----

#[test]
fn its_vote_counts_in_a_jury_and_it_is_told_the_verdict() {
    let mut cluster = patient(3, 2, "4s");
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 3);
    let (survivor, victim) = (cluster.peers()[0], cluster.peers()[1]);
    let dead = cluster.socket(victim);
    let victims_name = dead.to_string();
    cluster.wait_for("the link of the two", 0, &[survivor], |_, e| {
        e.event == "LINK_UP" && e.get("peer") == victims_name
    });
    let mark = cluster.mark();
    // A process closes its sockets one after the other: the program looks when the listener is closed too.
    program.pause();
    cluster.kill(victim);
    program.resume();
    let everybody: Vec<usize> = cluster.seeds().into_iter().chain([survivor]).collect();
    let address = cluster.address(victim);
    cluster.wait_for_death(mark, address, &everybody);

    let request =
        program.heard().into_iter().find(|h| h.is("SUSPECT_REQUEST")).expect("it was asked").message;
    assert_eq!(address_in(&request, "suspect_"), dead.to_string());
    assert_eq!(address_in(&request, "requester_"), cluster.address(survivor).to_string());
    let vote = cluster.events_of(mark, survivor).into_iter().find(|e| e.event == "SUSPECT_RESPONSE").cloned();
    let vote = vote.expect("its vote arrived");
    assert_eq!((vote.get("from"), vote.get("alive")), (program.name().as_str(), "false"), "{}", vote.line);
    // The survivor and the program are the whole jury, so both were needed.
    let report = cluster.events_of(mark, survivor).into_iter().find(|e| e.event == "DEAD_REPORT").cloned();
    let report = report.expect("the survivor reported it");
    assert_eq!(report.number("votes"), Some(2), "{}", report.line);

    let seeds: Vec<SocketAddr> = cluster.seeds().into_iter().map(|s| cluster.socket(s)).collect();
    wait_until("the news from every seed", || program.deaths_told(dead).len() == seeds.len());
    let once: BTreeMap<SocketAddr, usize> = seeds.into_iter().map(|seed| (seed, 1)).collect();
    assert_eq!(program.deaths_told(dead), once, "once on each kept connection");
}

#[test]
fn a_juror_that_is_busy_for_two_seconds_is_not_accused() {
    let mut cluster = native(1, 2);
    let program = Program::start_with(&cluster, Habits { busy: Duration::from_secs(2), strips: false });
    program.join(&cluster);
    wait_for_members(&mut cluster, 3);
    let (survivor, victim) = (cluster.peers()[0], cluster.peers()[1]);
    program.dial(cluster.socket(survivor));
    let name = program.name();
    cluster.wait_for("its link", 0, &[survivor], |_, e| e.event == "LINK_UP" && e.get("peer") == name);
    let mark = cluster.mark();
    let dead = cluster.address(victim);
    cluster.kill(victim);
    cluster.wait_for_death(mark, dead, &[0, survivor]);
    program.wait_for("the question", |h| h.is("SUSPECT_REQUEST"));
    // Pings that follow the question on its connection are read when the check is over. If both dialled each other,
    // the pair has a newer connection by then, and pings come on that.
    let question = program.heard().iter().position(|h| h.is("SUSPECT_REQUEST")).expect("waited for it");
    wait_until("pings after the check", || {
        program.heard()[question..].iter().filter(|h| h.is("PING")).count() >= 2
    });
    cluster.look();
    none_about(&cluster, "SUSPICION", "suspect", program.me());
    none_about(&cluster, "DEAD_CONFIRMED", "dead", program.me());
}

#[test]
fn it_reports_a_death_without_votes_and_the_seeds_find_out_for_themselves() {
    let mut cluster = native(3, 1);
    let program = Program::joined(&cluster);
    wait_for_members(&mut cluster, 2);
    let victim = cluster.peers()[0];
    let dead = cluster.socket(victim);
    let incarnation = {
        let log = cluster.whole_log(0);
        log.iter()
            .find(|e| is_registered(e, &dead.to_string()))
            .expect("it is a member")
            .get("incarnation")
            .to_owned()
    };
    let mark = cluster.mark();
    cluster.kill(victim);
    program.report(cluster.socket(1), dead);
    let (address, seeds) = (cluster.address(victim), cluster.seeds());
    cluster.wait_for_death(mark, address, &seeds);

    let reports: Vec<&(usize, LogEvent)> =
        cluster.seen[mark..].iter().filter(|(_, e)| e.event == "DEAD_REPORT").collect();
    assert_eq!(reports.len(), 1, "nobody else was there to report it: {reports:?}");
    let (seed, report) = reports[0];
    assert_eq!(*seed, 1, "at the seed that was told");
    assert_eq!(report.get("reporter"), program.name(), "the reporter is the session's: {}", report.line);
    assert_eq!(
        (report.get("incarnation"), report.number("votes")),
        (incarnation.as_str(), Some(0)),
        "{}",
        report.line
    );
    let line = format!("Dead Node:{}:{}:1763617490.250000:{}", dead.ip(), dead.port(), program.me().ip());
    assert_eq!(report.get("report"), line);
    let position =
        |wanted: &dyn Fn(usize, &LogEvent) -> bool| cluster.seen.iter().position(|(i, e)| wanted(*i, e));
    let reported = position(&|i, e| i == 1 && e.event == "DEAD_REPORT");
    let proposed = position(&|_, e| e.event == "DEAD_PROPOSAL");
    assert!(reported < proposed, "the report opened the ballot: {reported:?} {proposed:?}");
    let votes: BTreeSet<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "DEAD_VOTE" && e.get("vote") == "yes")
        .map(|(_, e)| e.get("voter"))
        .collect();
    assert!(votes.len() >= 2, "a majority of the seeds probed it: {votes:?}");

    wait_until("the news from every seed", || program.deaths_told(dead).len() == 3);
    assert!(program.deaths_told(dead).values().all(|times| *times == 1), "{:?}", program.deaths_told(dead));
}

#[test]
fn a_false_report_about_a_living_peer_is_refused_and_nobody_dies() {
    let mut cluster = native(3, 2);
    let (program, watcher) = (Program::joined(&cluster), Program::joined(&cluster));
    wait_for_members(&mut cluster, 4);
    let mark = cluster.mark();
    let (accused, victim) = (cluster.peers()[0], cluster.peers()[1]);
    let seeds = cluster.seeds();
    // About a native peer and about another program, at every seed.
    for wrongly in [cluster.socket(accused), watcher.me()] {
        for seed in &seeds {
            program.report(cluster.socket(*seed), wrongly);
        }
        let name = wrongly.to_string();
        cluster.wait_for("the refusal at every seed", mark, &seeds, |_, e| {
            e.event == "DEAD_REJECTED" && e.get("dead") == name && e.get("reason").starts_with("alive")
        });
    }
    // A real death comes later in the log.
    let dead = cluster.address(victim);
    cluster.kill(victim);
    program.report(cluster.socket(0), cluster.socket(victim));
    let everybody: Vec<usize> = seeds.iter().copied().chain([accused]).collect();
    cluster.wait_for_death(mark, dead, &everybody);
    for wrongly in [cluster.socket(accused), watcher.me()] {
        none_about(&cluster, "DEAD_CONFIRMED", "dead", wrongly);
        assert_eq!(program.deaths_told(wrongly), BTreeMap::new());
    }
    assert!(cluster.seen.iter().all(|(_, e)| e.event != "DECLARED_DEAD"));
    assert_eq!(
        program.connections(|c| matches!(c.kind, Kind::Seed(_)) && !c.ended).len(),
        3,
        "nor is it sent away"
    );
}

// ---- its own death ----

#[test]
fn when_it_dies_everybody_confirms_it_and_when_it_registers_again_it_is_back() {
    let mut cluster = native(3, 3);
    let (mut program, watcher) = (Program::joined(&cluster), Program::joined(&cluster));
    let me = program.me();
    wait_for_members(&mut cluster, 5);
    let peers = cluster.peers();
    link_with_all(&mut cluster, &program);
    let name = program.name();
    let mark = cluster.mark();
    program.kill();
    let everybody: Vec<usize> = (0..6).collect();
    cluster.wait_for_death(mark, coterie_address(me), &everybody);
    let confirmed: Vec<&LogEvent> =
        cluster.seen[mark..].iter().map(|(_, e)| e).filter(|e| e.event == "DEAD_CONFIRMED").collect();
    assert_eq!(confirmed.len(), 6, "once at each node: {confirmed:?}");
    let epochs: BTreeSet<&str> = confirmed.iter().map(|e| e.get("epoch")).collect();
    assert_eq!(epochs.len(), 1, "one entry: {epochs:?}");
    let old: u64 = confirmed[0].number("incarnation").expect("a number");
    let accused: Vec<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "SUSPICION")
        .map(|(_, e)| e.get("suspect"))
        .collect();
    assert!(!accused.is_empty() && accused.iter().all(|a| *a == name), "its neighbours noticed: {accused:?}");
    wait_until("the news from every seed", || watcher.deaths_told(me).len() == 3);

    let again = Program::start_at(me);
    let mark = cluster.mark();
    again.join(&cluster);
    cluster.wait_for("its new registration", mark, &[0, 1, 2], |_, e| is_registered(e, &name));
    let new = cluster.seen[mark..]
        .iter()
        .find(|(_, e)| is_registered(e, &name))
        .and_then(|(_, e)| e.number("incarnation"));
    assert!(new > Some(old), "a new incarnation: {new:?} after {old}");
    wait_for_members(&mut cluster, 5);
    // It takes part again.
    let link = again.dial(cluster.socket(peers[0]));
    again.say_on(link, &again.gossip("back again"));
    wait_for_gossip(&mut cluster, mark, "back again", &peers);
    // On the same session the death came before the return became visible.
    for seed in cluster.seeds() {
        let seed = cluster.socket(seed);
        watcher.tell_seed(seed, &json!({"type": "PEER_LIST_REQUEST", "ip": watcher.me().ip().to_string(), "port": watcher.me().port()}));
        let on_it = |h: &Heard| watcher.seed_of(h.connection) == Some(seed);
        let is_listed =
            |h: &Heard| h.is("PEER_LIST_RESPONSE") && addresses(&h.message["peer_list"]).contains(&name);
        watcher.wait_for("its name in a list", |h| on_it(h) && is_listed(h));
        let heard: Vec<Heard> = watcher.heard().into_iter().filter(|h| on_it(h)).collect();
        let told = heard.iter().position(|h| h.is("DEAD_CONFIRMED"));
        assert!(told.is_some() && told < heard.iter().position(is_listed), "{heard:?}");
    }
    assert!(
        watcher.deaths_told(me).values().all(|times| *times == 1),
        "told once: {:?}",
        watcher.deaths_told(me)
    );
}

#[test]
fn when_it_stands_still_with_open_sockets_its_neighbours_have_it_confirmed_dead() {
    let mut cluster = native(3, 2);
    let (program, watcher) = (Program::joined(&cluster), Program::joined(&cluster));
    wait_for_members(&mut cluster, 4);
    link_with_all(&mut cluster, &program);
    let name = program.name();
    let mark = cluster.mark();
    program.pause();
    let everybody: Vec<usize> = (0..5).collect();
    cluster.wait_for_death(mark, coterie_address(program.me()), &everybody);
    let cause = cluster.seen[mark..]
        .iter()
        .find(|(_, e)| e.event == "SUSPICION")
        .map(|(_, e)| e.get("cause").to_owned());
    assert_eq!(cause.as_deref(), Some("pings_missed"));
    wait_until("the news from every seed", || watcher.deaths_told(program.me()).len() == 3);

    // When it moves again it finds its links and sessions closed, and is a member when it registers again.
    program.resume();
    let ours = |c: &Connection| matches!(c.kind, Kind::Seed(_)) || c.neighbour.is_some();
    wait_until("its connections to be closed by ours", || {
        program.connections(|c| ours(c) && !c.ended).is_empty()
    });
    let mark = cluster.mark();
    program.join(&cluster);
    cluster.wait_for("its return", mark, &[0, 1, 2], |_, e| is_registered(e, &name));
    wait_for_members(&mut cluster, 4);
}

#[test]
fn when_it_stands_still_without_a_neighbour_the_seeds_find_it_dead_by_themselves() {
    let mut cluster = native(3, 0);
    let (program, watcher) = (Program::joined(&cluster), Program::joined(&cluster));
    let mark = cluster.mark();
    program.pause();
    let seeds = cluster.seeds();
    cluster.wait_for_death(mark, coterie_address(program.me()), &seeds);
    assert!(cluster.seen[mark..].iter().all(|(_, e)| e.event != "DEAD_REPORT"), "nobody accused it");
    wait_until("the news from every seed", || watcher.deaths_told(program.me()).len() == 3);
    // The other one has said as little on its sessions, but answers where it listens.
    none_about(&cluster, "DEAD_CONFIRMED", "dead", watcher.me());
    assert_eq!(watcher.connections(|c| matches!(c.kind, Kind::Seed(_)) && !c.ended).len(), 3);
    wait_until("a look after the quiet one", || watcher.count(|h| h.is("PING")) > 0);
}

fn coterie_address(socket: SocketAddr) -> coterie_common::Address {
    let ip: IpAddr = socket.ip();
    coterie_common::Address::new(ip, socket.port())
}

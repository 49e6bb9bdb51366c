//! Its links, and gossip over them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::common::wait_until;
use super::common::{TestCluster, Watched};
use super::program::{Connection, Habits, Heard, Kind, Program};
use super::shared::{gossip_lines, native, native_names, none_about, wait_for_gossip, wait_for_members};
use super::wire::{address_in, sha256_hex, text};

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

    one_ends_and_then_the_other(&mut cluster, &program, (older, newer));
}

/// One of two connections ends, whichever: the link goes on with the other. Both end: it is lost.
fn one_ends_and_then_the_other(cluster: &mut TestCluster, program: &Program, (older, newer): (u64, u64)) {
    let (peer, mark) = (cluster.peers()[0], cluster.mark());
    let third = program.dial(cluster.socket(peer));
    program.close(newer);
    program.say_on(third, &program.gossip("on a third"));
    wait_for_gossip(cluster, mark, "on a third", &[peer]);
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
    none_about(cluster, "LINK_DOWN", "peer", program.me());
    none_about(cluster, "SUSPICION", "suspect", program.me());
    program.close(older);
    let name = program.name();
    cluster.wait_for("the end of the link", mark, &[peer], |_, e| {
        e.event == "LINK_DOWN" && e.get("peer") == name
    });
    // It answers the probes: nobody dies of that.
    cluster.wait_for("the end of the suspicion", mark, &[peer], |_, e| {
        e.event == "SUSPICION_DROPPED" && e.get("suspect") == name
    });
    none_about(cluster, "DEAD_CONFIRMED", "dead", program.me());
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

//! Registrations, reports and links that may not be.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};

use super::common::{TestCluster, Watched, wait_until};
use super::shared::{
    Member, assert_finds_a_death, assert_nobody_panicked, assert_serves, native, register_request,
    wait_for_links,
};
use super::sockets::{ask, connect, ping, read_message, said, wait_for_close};

/// Whoever asks could look through the seeds at ports that it cannot reach itself.
#[test]
fn a_refused_registration_does_not_tell_what_a_seed_has_found() {
    let cluster = native(1, 0);
    let mute = TcpListener::bind((cluster.ip, 0)).expect("a port is free");
    let gone = TcpListener::bind((cluster.ip, 0)).expect("a port is free");
    let (silent, refuses) =
        (mute.local_addr().expect("it is bound"), gone.local_addr().expect("it is bound"));
    drop(gone);
    let told = |address: SocketAddr| {
        let answer = ask(cluster.socket(0), &register_request(address));
        answer["reason"].as_str().expect("a reason is given").replace(&address.to_string(), "there")
    };
    assert_eq!(told(refuses), told(silent));
}

#[test]
fn registrations_that_cannot_be_granted_are_rejected_with_the_reason() {
    let mut cluster = native(3, 2);
    let mark = cluster.mark();
    // It listens, and never says a word: whoever connects is neither refused nor answered.
    let mute = TcpListener::bind((cluster.ip, 0)).expect("a port is free");
    // Somebody else's host, as far as anybody can tell: nobody is there.
    let nobody = {
        let gone = TcpListener::bind((cluster.ip, 0)).expect("a port is free");
        gone.local_addr().expect("it is bound")
    };
    let living = Member::start(&cluster);
    assert_eq!(ask(cluster.socket(0), &living.request())["status"], "ok");
    let a_seed = cluster.socket(1);
    let a_peer = cluster.socket(cluster.peers()[0]);
    let socket = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let mut another_life = register_request(living.me);
    another_life["life"] = json!(77);
    let cases = [
        ("nobody listens there", register_request(nobody), "not_answering", true),
        (
            "it answers nothing",
            register_request(mute.local_addr().expect("it is bound")),
            "not_answering",
            true,
        ),
        ("another host's address", register_request(socket("127.255.255.254:9")), "not_answering", true),
        ("0.0.0.0", register_request(socket("0.0.0.0:6001")), "bad_request", false),
        ("::", register_request(socket("[::]:6001")), "bad_request", false),
        ("port 0", register_request(socket("127.0.0.1:0")), "bad_request", false),
        ("multicast", register_request(socket("224.0.0.1:6001")), "bad_request", false),
        ("a seed's address", register_request(a_seed), "bad_request", false),
        ("a living native peer's address", register_request(a_peer), "address_in_use", false),
        ("a living program's address, with a life", another_life, "address_in_use", false),
    ];
    for (what, request, reason, retry) in &cases {
        for seed in cluster.seeds() {
            let answer = ask(cluster.socket(seed), request);
            assert_eq!(
                (&answer["type"], &answer["status"]),
                (&json!("REGISTER_RESPONSE"), &json!("rejected")),
                "{what}: {answer}"
            );
            let given = answer["reason"].as_str().expect("a reason is given");
            assert_eq!(given.split(':').next(), Some(*reason), "{what} at seed {seed}: {answer}");
            assert_eq!(answer["retry"], *retry, "{what}: {answer}");
            let name = format!("{}:{}", request["ip"].as_str().expect("text"), request["port"]);
            cluster.wait_for(&format!("the rejection of {what}"), mark, &[seed], |_, e| {
                let peer = e.get("peer").replace(['[', ']'], "");
                e.event == "REGISTER_REJECTED" && peer == name && e.get("reason").starts_with(reason)
            });
        }
    }
    let last = Member::start(&cluster);
    assert_eq!(ask(cluster.socket(0), &last.request())["status"], "ok");
    let seeds = cluster.seeds();
    let name = last.me.to_string();
    cluster.wait_for("a later registration", mark, &seeds, |_, e| {
        e.event == "REGISTERED" && e.get("peer") == name
    });
    let admitted: BTreeSet<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(_, e)| e.event == "REGISTERED")
        .map(|(_, e)| e.get("peer"))
        .collect();
    assert_eq!(admitted, BTreeSet::from([living.me.to_string().as_str(), name.as_str()]), "nobody else");
    assert!(
        cluster.seen[mark..].iter().all(|(_, e)| e.event != "DEAD_CONFIRMED" && e.event != "DECLARED_DEAD")
    );
}

#[test]
fn registrations_too_often_on_one_session_are_rejected_and_it_may_ask_again() {
    let mut cluster = native(1, 1);
    let member = Member::start(&cluster);
    let mut stream = connect(cluster.socket(0));
    stream.write_all(&said(&member.request()).repeat(200)).expect("it is read");
    let answers: Vec<Value> = (0..200).map(|_| read_message(&stream).expect("each is answered")).collect();
    let too_often =
        |answer: &&Value| answer["reason"].as_str().is_some_and(|reason| reason.starts_with("too_often"));
    let refused: Vec<&Value> = answers.iter().filter(too_often).collect();
    assert!(!refused.is_empty(), "200 in one write are more than a session may ask for");
    assert!(
        refused.iter().all(|answer| answer["status"] == "rejected" && answer["retry"] == true),
        "{refused:?}"
    );
    assert_eq!(answers.iter().filter(|a| a["status"] == "ok").count() + refused.len(), 200, "{answers:?}");
    wait_until("a registration to be granted again", || {
        stream.write_all(&said(&member.request())).expect("it is open");
        read_message(&stream).expect("an answer")["status"] == "ok"
    });
    assert_nobody_panicked(&mut cluster);
}

pub(crate) fn report(dead: SocketAddr, timestamp: f64) -> Value {
    json!({
        "type": "DEAD_REPORT", "dead_ip": dead.ip().to_string(), "dead_port": dead.port(),
        "timestamp": timestamp, "reporter": "127.0.0.1:1",
    })
}

#[test]
fn reports_that_may_not_be_made_open_no_ballot() {
    let mut cluster = native(3, 3);
    let mark = cluster.mark();
    let peers = cluster.peers();
    let (living, victim) = (cluster.socket(peers[0]), cluster.socket(peers[2]));
    let nobody = "127.255.255.254:9".parse::<SocketAddr>().expect("an address");
    let member = Member::start(&cluster);
    // Kept to the end: nobody is missed, so no absence is put to the vote.
    let mut sessions = Vec::new();
    for seed in cluster.seeds() {
        let mut stranger = connect(cluster.socket(seed));
        stranger.write_all(&said(&report(living, 1.5))).expect("it is read");
        let mut session = connect(cluster.socket(seed));
        session.write_all(&said(&member.request())).expect("it is read");
        assert_eq!(read_message(&session).expect("an answer")["status"], "ok");
        session.write_all(&said(&report(nobody, f64::MAX))).expect("it is read");
        session.write_all(&said(&report(member.me, -1e300))).expect("it is read");
        for (dead, reason) in [(living, "stranger"), (nobody, "not_member"), (member.me, "oneself")] {
            let name = dead.to_string();
            cluster.wait_for(&format!("{reason} at seed {seed}"), mark, &[seed], |_, e| {
                e.event == "DEAD_REJECTED"
                    && e.get("dead") == name
                    && e.get("reason").split(':').next() == Some(reason)
            });
        }
        for stream in [&mut stranger, &mut session] {
            stream.write_all(&said(&ping())).expect("it is open");
            assert_eq!(read_message(stream).expect("it lives")["type"], "PONG");
        }
        sessions.push(session);
    }
    // A real death comes later, and is the only one that was ever put to the vote.
    assert_finds_a_death(&mut cluster);
    let proposed: BTreeSet<&str> =
        cluster.seen.iter().filter(|(_, e)| e.event == "DEAD_PROPOSAL").map(|(_, e)| e.get("dead")).collect();
    let victim = victim.to_string();
    assert_eq!(proposed, BTreeSet::from([victim.as_str()]));
    let confirmed: BTreeSet<&str> = cluster
        .seen
        .iter()
        .filter(|(_, e)| e.event == "DEAD_CONFIRMED")
        .map(|(_, e)| e.get("dead"))
        .collect();
    assert_eq!(confirmed, BTreeSet::from([victim.as_str()]));
    assert_nobody_else_ended(&mut cluster, peers[2]);
}

pub(crate) fn assert_nobody_else_ended(cluster: &mut TestCluster, killed: usize) {
    for node in (0..cluster.cluster.nodes.len()).filter(|node| *node != killed) {
        assert!(cluster.cluster.is_alive(node), "node {node} has ended: {}", cluster.stderr());
    }
    assert!(!cluster.stderr().contains("panicked"), "{}", cluster.stderr());
}

/// A member's record says how it speaks: JSON in the name of a native member is somebody else.
#[test]
fn a_hello_in_a_native_neighbours_name_does_not_take_its_link() {
    let mut cluster = native(1, 2);
    wait_for_links(&mut cluster);
    let (first, second) = (cluster.peers()[0], cluster.peers()[1]);
    let mark = cluster.mark();
    let name = cluster.socket(second);
    let mut impostor = connect(cluster.socket(first));
    impostor
        .write_all(&said(&json!({"type": "HELLO", "ip": name.ip().to_string(), "port": name.port()})))
        .expect("it is read");
    impostor.write_all(&said(&ping())).expect("it is read");
    // It is answered or closed: either way the HELLO before has been read.
    let _ = read_message(&impostor);
    cluster.say(first, "for the real one");
    cluster.wait_for("gossip at the real neighbour", mark, &[second], |_, e| {
        e.event == "GOSSIP" && e.get("content") == "for the real one"
    });
    cluster.say(second, "from the real one");
    cluster.wait_for("gossip from the real neighbour", mark, &[first], |_, e| {
        e.event == "GOSSIP" && e.get("content") == "from the real one"
    });
}

#[test]
fn a_hello_of_nobody_is_no_link_and_is_closed() {
    let mut cluster = native(1, 2);
    wait_for_links(&mut cluster);
    let mark = cluster.mark();
    let peer = cluster.peers()[0];
    let mut stranger = connect(cluster.socket(peer));
    let own = cluster.socket(peer);
    let nobody = json!({"type": "HELLO", "ip": "127.255.255.254", "port": 9});
    let gossip =
        json!({"type": "GOSSIP", "content": "from nobody", "origin_ip": "127.255.255.254", "origin_port": 9});
    stranger.write_all(&[said(&nobody), said(&gossip)].concat()).expect("it is read");
    let mut mirror = connect(own);
    mirror
        .write_all(&said(&json!({"type": "HELLO", "ip": own.ip().to_string(), "port": own.port()})))
        .expect("it is read");
    wait_for_close("a HELLO in the peer's own name", &mirror);
    wait_for_close("a HELLO of nobody", &stranger);
    let newcomer = assert_serves(&mut cluster, "only members are heard");
    let members = [cluster.address(2).to_string(), newcomer.me.to_string()];
    let links: Vec<&str> = cluster.seen[mark..]
        .iter()
        .filter(|(i, e)| *i == peer && e.event == "LINK_UP")
        .map(|(_, e)| e.get("peer"))
        .collect();
    assert!(links.iter().all(|link| members.iter().any(|member| member == link)), "{links:?}");
    let heard = cluster.seen[mark..].iter().filter(|(_, e)| e.get("content") == "from nobody").count();
    assert_eq!(heard, 0, "only members are heard");
    assert_nobody_panicked(&mut cluster);
}

//! Questions that it asks, and that it is asked.

use std::io::{self};
use std::net::{SocketAddr, TcpListener, TcpStream};

use coterie::cluster::LogEvent;
use serde_json::json;

use super::common::Watched;
use super::common::status;
use super::program::Program;
use super::shared::{native, wait_for_gossip, wait_for_members};
use super::wire::{address_in, ask, connect, read_message, text, write_frame};

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

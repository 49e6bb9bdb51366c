//! What is no frame, and what is no message.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::shared::{
    assert_bounded, assert_finds_a_death, assert_nobody_panicked, assert_serves, counter, native,
    peer_counter, residents, stderr_of, wait_for_links,
};
use super::sockets::{connect, frame, ping, read_message, said, wait_for_close};

/// Everything that makes a connection impossible to understand.
pub(crate) fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let deep = format!("{{\"type\":\"PING\",\"from_ip\":\"::\",\"from_port\":1,\"x\":{}", "[".repeat(10_000));
    let deep_closed =
        format!("{{\"type\":\"NOBODY_KNOWS\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects =
        format!("{{\"type\":\"GOSSIP\",\"x\":{}1{}}}", "{\"x\":".repeat(10_000), "}".repeat(10_000));
    let typed = |message: Value| said(&message);
    vec![
        ("a length over the limit", 0x0020_0001_u32.to_be_bytes().to_vec()),
        ("the longest length", 0xffff_ffff_u32.to_be_bytes().to_vec()),
        ("TLS", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
        ("the first byte of TLS alone", vec![0x16]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("an empty payload", frame(b"")),
        ("garbage", frame(&[0xde, 0xad, 0xbe, 0xef, 0x00, 0x7b])),
        ("another version of the protocol", frame(&[2, 0, 0, 0])),
        ("our version and nothing", frame(&[1])),
        ("our version and garbage", frame(&[&[1_u8][..], &[0xff; 64]].concat())),
        (
            "our version and lengths without end",
            frame(&[1, 3, 1, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
        ("a list", frame(b"[1,2,3]")),
        ("a brace that is not closed", frame(b"{\"type\":\"PING\"")),
        ("no type", frame(b"{\"from_ip\":\"127.0.0.1\",\"from_port\":1}")),
        ("something after the message", frame(b"{\"type\":\"NOBODY_KNOWS\"}{}")),
        ("broken UTF-8", frame(b"{\"type\":\"NOBODY_\xff\xfe\"}")),
        ("a surrogate alone", frame(b"{\"type\":\"PING\",\"from_ip\":\"\\ud800\",\"from_port\":1}")),
        ("a type that is no text", typed(json!({"type": 7}))),
        ("a port that is text", typed(json!({"type": "PING", "from_ip": "127.0.0.1", "from_port": "6001"}))),
        ("a port over 65535", typed(json!({"type": "REGISTER_REQUEST", "ip": "127.0.0.1", "port": 65_536}))),
        ("a port below 0", typed(json!({"type": "REGISTER_REQUEST", "ip": "127.0.0.1", "port": -1}))),
        ("an IP that is none", typed(json!({"type": "HELLO", "ip": "127.0.0.256", "port": 1}))),
        ("a list for an IP", typed(json!({"type": "HELLO", "ip": [127, 0, 0, 1], "port": 1}))),
        (
            "a time that is text",
            typed(json!({"type": "DEAD_REPORT", "dead_ip": "::1", "dead_port": 1, "timestamp": "now"})),
        ),
        ("no content", typed(json!({"type": "GOSSIP", "origin_ip": "127.0.0.1", "origin_port": 1}))),
        (
            "another content's hash",
            typed(
                json!({"type": "GOSSIP", "content": "a", "hash": "00", "origin_ip": "::1", "origin_port": 1}),
            ),
        ),
        ("nesting without an end", frame(deep.as_bytes())),
        ("nesting 10,000 deep", frame(deep_closed.as_bytes())),
        ("objects 10,000 deep", frame(deep_objects.as_bytes())),
    ]
}

#[test]
fn what_cannot_be_understood_closes_its_own_connection_and_nothing_else() {
    let mut cluster = native(3, 3);
    wait_for_links(&mut cluster);
    let (seed, peer) = (0, cluster.peers()[0]);
    let memory = residents(&cluster);
    let cases = nonsense();
    let count = cases.len() as u64;
    let before =
        (counter(cluster.socket(seed), "connections_broken_off"), stderr_of(&cluster, seed).lines().count());
    let peer_before = peer_counter(&mut cluster, peer, "connections_broken_off");
    let peer_lines = stderr_of(&cluster, peer).lines().count();
    let mut bystanders: Vec<TcpStream> = [seed, peer].map(|node| connect(cluster.socket(node))).into();
    for (what, bytes) in &cases {
        for node in [seed, peer] {
            let mut stream = connect(cluster.socket(node));
            stream.write_all(bytes).expect("it is read");
            wait_for_close(&format!("{what} at node {node}"), &stream);
        }
        // The same after a message that was understood.
        for node in [seed, peer] {
            let mut stream = connect(cluster.socket(node));
            stream.write_all(&said(&ping())).expect("it is read");
            assert_eq!(read_message(&stream).expect("an answer")["type"], "PONG");
            stream.write_all(bytes).expect("it is read");
            wait_for_close(&format!("{what} as the second frame at node {node}"), &stream);
        }
        for bystander in &mut bystanders {
            bystander.write_all(&said(&ping())).expect("it is open");
            assert_eq!(read_message(bystander).expect("others are served")["type"], "PONG");
        }
    }
    let counted = counter(cluster.socket(seed), "connections_broken_off");
    assert_eq!(counted - before.0, 2 * count, "each is counted");
    let lines = stderr_of(&cluster, seed).lines().count() - before.1;
    assert!(lines as u64 <= count / 2, "rate-limited: {lines} lines for {} connections", 2 * count);
    let peer_said = stderr_of(&cluster, peer).lines().count() - peer_lines;
    assert!(peer_said as u64 <= count / 2, "rate-limited: {peer_said} lines for {} connections", 2 * count);
    assert_eq!(peer_counter(&mut cluster, peer, "connections_broken_off") - peer_before, 2 * count);
    assert_bounded(&cluster, &memory);
    let _newcomer = assert_serves(&mut cluster, "nothing happened");
    assert_nobody_panicked(&mut cluster);
    assert_finds_a_death(&mut cluster);
}

#[test]
fn unknown_types_are_passed_over_and_the_connection_lives() {
    let mut cluster = native(1, 2);
    for node in [0, cluster.peers()[0]] {
        let mut stream = connect(cluster.socket(node));
        let broken = counter(cluster.socket(0), "connections_broken_off");
        let mut all = Vec::new();
        for number in 0..1_000 {
            all.extend(said(
                &json!({"type": format!("UNKNOWN_{number}"), "type_": "PING", "ip": number, "x": [null]}),
            ));
        }
        for known_elsewhere in
            ["SEED_HELLO", "REGISTER_VOTE", "DEAD_PROPOSAL", "DEAD_VOTE", "ping", "Ping", " PING"]
        {
            all.extend(said(&json!({"type": known_elsewhere})));
        }
        // A field that nobody knows may hold anything, as long as it is JSON.
        all.extend(said(
            &json!({"type": "UNKNOWN", "x": "y".repeat(1 << 20), "deep": [[[[[[[[[[[1]]]]]]]]]]]}),
        ));
        all.extend(said(&ping()));
        stream.write_all(&all).expect("it is read");
        assert_eq!(
            read_message(&stream).expect("it lives")["type"],
            "PONG",
            "the only thing that is answered"
        );
        assert_eq!(counter(cluster.socket(0), "connections_broken_off"), broken);
    }
    assert_nobody_panicked(&mut cluster);
}

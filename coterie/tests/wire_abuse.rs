//! What strangers may do to the ports of a cluster: that connection is closed or the frame passed over, and
//! everybody else is served meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{DEADLINE, TestCluster, Watched, status, wait_until};
use coterie::cluster::LogEvent;
use coterie_common::limits::CONNECTIONS_MAX;
use serde_json::{Value, json};

/// How much a process may grow under any of these stories, in KiB. Generous: allocators keep what they had.
const GROWTH_MAX: u64 = 64 << 10;

// ---- raw sockets ----

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).expect("a short frame").to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

fn said(message: &Value) -> Vec<u8> {
    frame(message.to_string().as_bytes())
}

fn ping() -> Value {
    json!({"type": "PING", "from_ip": "192.0.2.7", "from_port": 9})
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("our node takes connections");
    stream.set_nodelay(true).expect("an option of every socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("an option of every socket");
    stream
}

fn read_message(mut stream: &TcpStream) -> io::Result<Value> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("32 bits fit")];
    stream.read_exact(&mut payload)?;
    Ok(serde_json::from_slice(&payload)?)
}

fn ask(to: SocketAddr, question: &Value) -> Value {
    let mut stream = connect(to);
    stream.write_all(&said(question)).expect("our node reads");
    read_message(&stream).expect("our node answers")
}

/// Waits until the other end has closed the connection; what it says before that is passed over.
fn wait_for_close(what: &str, mut stream: &TcpStream) {
    let mut rest = [0; 4096];
    let mut said = Vec::new();
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return,
            Ok(count) => said.extend_from_slice(&rest[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => {
                panic!("{what}: still open after {DEADLINE:?} ({error}), said {} bytes", said.len())
            }
        }
    }
}

// ---- what the tests share ----

/// A member that says nothing but PONG where it listens: enough to be one.
struct Member {
    me: SocketAddr,
    over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Member {
    fn start(cluster: &TestCluster) -> Self {
        let listener = TcpListener::bind((cluster.ip, 0)).expect("a port is free");
        let me = listener.local_addr().expect("it is bound");
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let listening = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::spawn(move || answer_pings(me, &stream));
            }
        });
        Member { me, over, listening: Some(listening) }
    }

    fn request(&self) -> Value {
        register_request(self.me)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It fails only where the listener is gone already.
        let _ = TcpStream::connect(self.me);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

fn answer_pings(me: SocketAddr, mut stream: &TcpStream) {
    let pong = said(&json!({"type": "PONG", "from_ip": me.ip().to_string(), "from_port": me.port()}));
    while let Ok(message) = read_message(stream) {
        if message["type"] == "PING" && stream.write_all(&pong).is_err() {
            return;
        }
    }
}

fn register_request(address: SocketAddr) -> Value {
    json!({"type": "REGISTER_REQUEST", "ip": address.ip().to_string(), "port": address.port()})
}

fn native(seeds: usize, peers: usize) -> TestCluster {
    let mut cluster = TestCluster::form(seeds, peers, &["--messages", "0"]);
    let (seeds, peers) = (cluster.seeds(), cluster.peers());
    cluster.wait_for_all("LEADER", &seeds);
    cluster.wait_for_all("NEIGHBOURS", &peers);
    // A peer may have joined before the last seed says so: what is logged from now on is the story's own.
    for peer in peers {
        let name = cluster.address(peer).to_string();
        cluster.wait_for("a registration at every seed", 0, &seeds, |_, e| {
            e.event == "REGISTERED" && e.get("peer") == name
        });
    }
    cluster
}

/// Waits until every peer is linked with another: what is said then arrives.
fn wait_for_links(cluster: &mut TestCluster) {
    let peers = cluster.peers();
    cluster.wait_for_all("LINK_UP", &peers);
}

/// What the seed has counted under `name`.
fn counter(seed: SocketAddr, name: &str) -> u64 {
    let status = status(seed);
    let count = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    count.unwrap_or(0)
}

/// What a peer has counted under `name`, as its console tells it.
fn peer_counter(cluster: &mut TestCluster, peer: usize, name: &str) -> u64 {
    let before = stderr_of(cluster, peer).lines().count();
    cluster.say(peer, "/counters");
    // The answer to an unknown command comes after that to the one before it.
    cluster.say(peer, "/end-of-counters");
    let mut told = String::new();
    wait_until("the counters on the console", || {
        told = stderr_of(cluster, peer);
        told.lines().skip(before).any(|line| line.contains("end-of-counters"))
    });
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    told.lines().skip(before).find_map(of).unwrap_or(0)
}

fn stderr_of(cluster: &TestCluster, node: usize) -> String {
    let path = coterie::cluster::directory::stderr_of(&cluster.cluster.nodes[node].record);
    fs::read_to_string(path).unwrap_or_default()
}

fn pid(cluster: &TestCluster, node: usize) -> u32 {
    cluster.cluster.nodes[node].record.pid.expect("it runs")
}

/// What a process holds in memory, in KiB.
fn resident(cluster: &TestCluster, node: usize) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid(cluster, node))).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn descriptors(cluster: &TestCluster, node: usize) -> usize {
    fs::read_dir(format!("/proc/{}/fd", pid(cluster, node))).expect("it runs").count()
}

fn assert_bounded(cluster: &TestCluster, before: &[u64]) {
    for (node, before) in before.iter().enumerate() {
        let now = resident(cluster, node);
        assert!(now <= before + GROWTH_MAX, "node {node} grew from {before} to {now} KiB");
    }
}

fn residents(cluster: &TestCluster) -> Vec<u64> {
    (0..cluster.cluster.nodes.len()).map(|node| resident(cluster, node)).collect()
}

fn assert_nobody_panicked(cluster: &mut TestCluster) {
    assert!(!cluster.stderr().contains("panicked"), "{}", cluster.stderr());
    for node in 0..cluster.cluster.nodes.len() {
        assert!(cluster.cluster.is_alive(node), "node {node} has ended: {}", cluster.stderr());
    }
}

/// A newcomer is admitted and made known to every node, and what a peer says reaches the others.
fn assert_serves(cluster: &mut TestCluster, word: &str) -> Member {
    let mark = cluster.mark();
    let newcomer = Member::start(cluster);
    let answer = ask(cluster.socket(0), &newcomer.request());
    assert_eq!(answer["status"], "ok", "{answer}");
    let (seeds, peers) = (cluster.seeds(), cluster.peers());
    let name = newcomer.me.to_string();
    cluster.wait_for("the newcomer at every seed", mark, &seeds, |_, e| {
        e.event == "REGISTERED" && e.get("peer") == name
    });
    cluster.wait_for("the newcomer in every view", mark, &peers, |_, e| e.event == "VIEW");
    let (speaker, others) = peers.split_first().expect("there are peers");
    cluster.say(*speaker, word);
    cluster.wait_for("gossip", mark, others, |_, e| e.event == "GOSSIP" && e.get("content") == word);
    newcomer
}

/// The last peer is killed, and everybody else confirms it dead.
fn assert_finds_a_death(cluster: &mut TestCluster) {
    let mark = cluster.mark();
    let victim = *cluster.peers().last().expect("there are peers");
    let dead = cluster.address(victim);
    cluster.kill(victim);
    let others: Vec<usize> = (0..cluster.cluster.nodes.len()).filter(|node| *node != victim).collect();
    cluster.wait_for_death(mark, dead, &others);
}

// ---- what is no frame, and what is no message ----

/// Everything that makes a connection impossible to understand.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
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

// ---- frames and connections that do not end ----

#[test]
fn frames_that_never_end_are_given_up_and_everybody_else_is_served_meanwhile() {
    let mut cluster = native(3, 3);
    wait_for_links(&mut cluster);
    let memory = residents(&cluster);
    let broken = counter(cluster.socket(0), "connections_broken_off");
    let lines = stderr_of(&cluster, 0).lines().count();
    let mut open = Vec::new();
    for node in [0, cluster.peers()[0]] {
        let half = [&0x0010_0000_u32.to_be_bytes()[..], &[b'{'; 100_000]].concat();
        let second = [&said(&ping())[..], &[0, 0, 1]].concat();
        for (what, bytes) in [
            ("one byte", vec![0]),
            ("a length", vec![0, 0, 1, 0]),
            ("half a frame", half),
            ("half a second one", second),
        ] {
            let mut stream = connect(cluster.socket(node));
            stream.write_all(&bytes).expect("it is read");
            open.push((format!("{what} at node {node}"), stream));
        }
    }
    let _newcomer = assert_serves(&mut cluster, "while frames do not end");
    assert_finds_a_death(&mut cluster);
    for (what, stream) in &open {
        wait_for_close(what, stream);
    }
    let given_up = counter(cluster.socket(0), "connections_broken_off") - broken;
    assert_eq!(given_up, 4, "each is counted");
    let said = stderr_of(&cluster, 0).lines().count() - lines;
    assert!(said <= 4, "at most a line for each: {}", stderr_of(&cluster, 0));
    let survivors: Vec<u64> = memory[..5].to_vec();
    assert_bounded(&cluster, &survivors);
    assert!(!cluster.stderr().contains("panicked"), "{}", cluster.stderr());
}

/// `FRAME_TIME_MAX` is the time "from the first to the last byte of one frame", not between two bytes of it.
#[test]
fn a_frame_that_drips_in_for_ever_is_given_up_too() {
    let cluster = native(1, 1);
    let drips: Vec<JoinHandle<()>> = [0, 1]
        .map(|node| {
            let address = cluster.socket(node);
            std::thread::spawn(move || {
                let mut stream = connect(address);
                stream.write_all(&0x0010_0000_u32.to_be_bytes()).expect("it is read");
                // A write fails some time after the other end has closed.
                wait_until(&format!("the end of a dripping frame at node {node}"), || {
                    std::thread::park_timeout(Duration::from_millis(200));
                    stream.write_all(b"{").is_err()
                });
            })
        })
        .into();
    let ends: Vec<bool> = drips.into_iter().map(|drip| drip.join().is_ok()).collect();
    assert_eq!(ends, [true, true], "given up at the seed, at the peer");
}

#[test]
fn a_thousand_connections_held_open_keep_nobody_out() {
    let mut cluster = native(3, 3);
    wait_for_links(&mut cluster);
    let memory = residents(&cluster);
    let targets = [0, cluster.peers()[0]];
    let before: Vec<usize> = targets.iter().map(|node| descriptors(&cluster, *node)).collect();
    let lines: Vec<usize> = targets.iter().map(|node| stderr_of(&cluster, *node).lines().count()).collect();
    let broken = counter(cluster.socket(0), "connections_broken_off");
    // Looked at before the others are opened: on a busy machine the first may be closed again by then, for they are
    // silent.
    let held_open = |(node, before): (&usize, &usize)| {
        let streams: Vec<TcpStream> = (0..1_000).map(|_| connect(cluster.socket(*node))).collect();
        wait_until("a thousand accepted connections", || descriptors(&cluster, *node) >= before + 1_000);
        streams
    };
    let open: Vec<Vec<TcpStream>> = targets.iter().zip(&before).map(held_open).collect();
    let _newcomer = assert_serves(&mut cluster, "room for everybody");
    assert_finds_a_death(&mut cluster);
    assert_bounded(&cluster, &memory[..5]);
    // They are not kept for ever, either.
    for (node, streams) in targets.iter().zip(&open) {
        streams.iter().for_each(|stream| wait_for_close(&format!("silence at node {node}"), stream));
    }
    assert_eq!(counter(cluster.socket(0), "connections_broken_off") - broken, 1_000, "each is counted");
    for ((node, before), lines) in targets.iter().zip(&before).zip(&lines) {
        wait_until("the descriptors to be given back", || descriptors(&cluster, *node) <= before + 20);
        let said = stderr_of(&cluster, *node).lines().count() - lines;
        assert!(said <= 10, "rate-limited: {said} lines at node {node}");
    }
}

#[test]
fn one_connection_too_many_is_closed_and_the_others_live_on() {
    let mut cluster = native(3, 2);
    wait_for_links(&mut cluster);
    for node in [0, cluster.peers()[0]] {
        let before = descriptors(&cluster, node);
        let held: Vec<TcpStream> = (0..CONNECTIONS_MAX)
            .map(|_| {
                let mut stream = connect(cluster.socket(node));
                stream.write_all(&said(&ping())).expect("somebody who asks may stay");
                stream
            })
            .collect();
        // Those that the node had count too, so the last few of ours are turned away.
        wait_until("all connections to be used", || {
            descriptors(&cluster, node) >= before + CONNECTIONS_MAX - 20
        });
        wait_for_close("one too many", &connect(cluster.socket(node)));
        assert_eq!(read_message(&held[0]).expect("the first is still there")["type"], "PONG");
        drop(held);
        wait_until("room", || descriptors(&cluster, node) <= before + 20);
        let refused = match node {
            0 => counter(cluster.socket(0), "connections_over_limit"),
            peer => peer_counter(&mut cluster, peer, "connections_over_limit"),
        };
        assert!(refused > 0, "node {node} counts them");
    }
    let _newcomer = assert_serves(&mut cluster, "room again");
    assert_finds_a_death(&mut cluster);
}

#[test]
fn a_connection_that_closes_without_a_byte_is_not_worth_a_word() {
    let mut cluster = native(1, 2);
    wait_for_links(&mut cluster);
    let before = (cluster.stderr(), counter(cluster.socket(0), "connections_broken_off"));
    let descriptors_before: Vec<usize> = (0..3).map(|node| descriptors(&cluster, node)).collect();
    let mark = cluster.mark();
    for node in 0..3 {
        for round in 0..500 {
            let stream = connect(cluster.socket(node));
            if round % 2 == 0 {
                stream.shutdown(Shutdown::Write).expect("it is open");
            }
        }
    }
    for (node, before) in descriptors_before.iter().enumerate() {
        wait_until("their descriptors to be given back", || descriptors(&cluster, node) <= before + 5);
    }
    assert_eq!((cluster.stderr(), counter(cluster.socket(0), "connections_broken_off")), before);
    let newcomer = assert_serves(&mut cluster, "nothing was said");
    let name = newcomer.me.to_string();
    let others = |e: &&LogEvent| {
        !e.line.contains(&name) && !["GOSSIP", "GOSSIP_SENT", "VIEW"].contains(&e.event.as_str())
    };
    let log: Vec<&LogEvent> = cluster.seen[mark..].iter().map(|(_, e)| e).filter(others).collect();
    assert_eq!(log, Vec::<&LogEvent>::new());
}

// ---- too much ----

#[test]
fn who_asks_without_reading_is_cut_off() {
    let mut cluster = native(1, 2);
    wait_for_links(&mut cluster);
    let seed = cluster.socket(0);
    let before = counter(seed, "connections_cut_off");
    let floods: Vec<JoinHandle<()>> = [0, cluster.peers()[0]]
        .map(|node| {
            let address = cluster.socket(node);
            std::thread::spawn(move || {
                let mut stream = connect(address);
                stream
                    .set_write_timeout(Some(Duration::from_millis(100)))
                    .expect("an option of every socket");
                let many: Vec<u8> = said(&ping()).repeat(500);
                let mut left = &many[..];
                // Whole frames only, so that nothing but the missing reader is wrong.
                wait_until(&format!("node {node} to close the connection"), || match stream.write(left) {
                    Ok(count) => {
                        left = if count == left.len() { &many[..] } else { &left[count..] };
                        false
                    }
                    Err(error) => {
                        !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
                    }
                });
            })
        })
        .into();
    wait_until("the seed to count it", || counter(seed, "connections_cut_off") > before);
    let _newcomer = assert_serves(&mut cluster, "others do read");
    let ends: Vec<bool> = floods.into_iter().map(|flood| flood.join().is_ok()).collect();
    assert_eq!(ends, [true, true], "closed by the seed, by the peer");
    assert_nobody_panicked(&mut cluster);
}

#[test]
fn a_flood_of_questions_keeps_nobody_else_waiting() {
    let mut cluster = native(3, 3);
    wait_for_links(&mut cluster);
    let memory = residents(&cluster);
    let over = Arc::new(AtomicBool::new(false));
    let floods: Vec<JoinHandle<u64>> = [0, 0, cluster.peers()[0], cluster.peers()[0]]
        .map(|node| {
            let (address, over) = (cluster.socket(node), Arc::clone(&over));
            std::thread::spawn(move || {
                let mut stream = connect(address);
                let many: Vec<u8> = said(&ping()).repeat(200);
                let mut answers = 0;
                while !over.load(Ordering::SeqCst) {
                    stream.write_all(&many).expect("it is read");
                    for _ in 0..200 {
                        assert_eq!(read_message(&stream).expect("it answers")["type"], "PONG");
                        answers += 1;
                    }
                }
                answers
            })
        })
        .into();
    let _newcomer = assert_serves(&mut cluster, "in the flood");
    assert_finds_a_death(&mut cluster);
    over.store(true, Ordering::SeqCst);
    for flood in floods {
        assert!(flood.join().expect("it was answered to the end") > 0);
    }
    let wrongly: Vec<&LogEvent> = {
        let victim = cluster.address(5).to_string();
        cluster.look();
        let dead = cluster.seen.iter().map(|(_, e)| e).filter(|e| e.event == "DEAD_CONFIRMED");
        dead.filter(|e| e.get("dead") != victim).collect()
    };
    assert_eq!(wrongly, Vec::<&LogEvent>::new(), "nobody died of it");
    assert_bounded(&cluster, &memory[..5]);
}

#[test]
fn half_frames_of_many_connections_are_held_once() {
    let mut cluster = native(1, 2);
    wait_for_links(&mut cluster);
    const CONNECTIONS: u64 = 32;
    const BYTES: u64 = (2 << 20) - 1;
    let targets = [0, cluster.peers()[0]];
    let before = targets.map(|node| resident(&cluster, node));
    let mut open = Vec::new();
    for node in targets {
        for _ in 0..CONNECTIONS {
            let mut stream = connect(cluster.socket(node));
            stream.write_all(&0x0020_0000_u32.to_be_bytes()).expect("it is read");
            stream.write_all(&vec![b' '; usize::try_from(BYTES).expect("it fits")]).expect("it is read");
            open.push(stream);
        }
    }
    let _newcomer = assert_serves(&mut cluster, "with little memory");
    for (node, before) in targets.iter().zip(before) {
        // A buffer that doubles may be twice as long as what is in it.
        let most = before + 2 * CONNECTIONS * BYTES / 1024 + GROWTH_MAX;
        assert!(
            resident(&cluster, *node) <= most,
            "node {node}: {} KiB, {before} before",
            resident(&cluster, *node)
        );
    }
    for stream in &open {
        wait_for_close("a frame of which one byte is missing", stream);
    }
}

// ---- registrations ----

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

// ---- reports ----

fn report(dead: SocketAddr, timestamp: f64) -> Value {
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

fn assert_nobody_else_ended(cluster: &mut TestCluster, killed: usize) {
    for node in (0..cluster.cluster.nodes.len()).filter(|node| *node != killed) {
        assert!(cluster.cluster.is_alive(node), "node {node} has ended: {}", cluster.stderr());
    }
    assert!(!cluster.stderr().contains("panicked"), "{}", cluster.stderr());
}

// ---- links ----

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

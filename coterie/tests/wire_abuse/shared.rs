//! What the tests share.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::common::{TestCluster, Watched, status, wait_until};
use super::sockets::{ask, read_message, said};

/// How much a process may grow under any of these stories, in KiB. Generous: allocators keep what they had.
pub(crate) const GROWTH_MAX: u64 = 64 << 10;

/// A member that says nothing but PONG where it listens: enough to be one.
pub(crate) struct Member {
    pub(crate) me: SocketAddr,
    pub(crate) over: Arc<AtomicBool>,
    pub(crate) listening: Option<JoinHandle<()>>,
}

impl Member {
    pub(crate) fn start(cluster: &TestCluster) -> Self {
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

    pub(crate) fn request(&self) -> Value {
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

pub(crate) fn answer_pings(me: SocketAddr, mut stream: &TcpStream) {
    let pong = said(&json!({"type": "PONG", "from_ip": me.ip().to_string(), "from_port": me.port()}));
    while let Ok(message) = read_message(stream) {
        if message["type"] == "PING" && stream.write_all(&pong).is_err() {
            return;
        }
    }
}

pub(crate) fn register_request(address: SocketAddr) -> Value {
    json!({"type": "REGISTER_REQUEST", "ip": address.ip().to_string(), "port": address.port()})
}

pub(crate) fn native(seeds: usize, peers: usize) -> TestCluster {
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
pub(crate) fn wait_for_links(cluster: &mut TestCluster) {
    let peers = cluster.peers();
    cluster.wait_for_all("LINK_UP", &peers);
}

/// What the seed has counted under `name`.
pub(crate) fn counter(seed: SocketAddr, name: &str) -> u64 {
    let status = status(seed);
    let count = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    count.unwrap_or(0)
}

/// What a peer has counted under `name`, as its console tells it.
pub(crate) fn peer_counter(cluster: &mut TestCluster, peer: usize, name: &str) -> u64 {
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

pub(crate) fn stderr_of(cluster: &TestCluster, node: usize) -> String {
    let path = coterie::cluster::directory::stderr_of(&cluster.cluster.nodes[node].record);
    fs::read_to_string(path).unwrap_or_default()
}

pub(crate) fn pid(cluster: &TestCluster, node: usize) -> u32 {
    cluster.cluster.nodes[node].record.pid.expect("it runs")
}

/// What a process holds in memory, in KiB.
pub(crate) fn resident(cluster: &TestCluster, node: usize) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid(cluster, node))).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

pub(crate) fn descriptors(cluster: &TestCluster, node: usize) -> usize {
    fs::read_dir(format!("/proc/{}/fd", pid(cluster, node))).expect("it runs").count()
}

pub(crate) fn assert_bounded(cluster: &TestCluster, before: &[u64]) {
    for (node, before) in before.iter().enumerate() {
        let now = resident(cluster, node);
        assert!(now <= before + GROWTH_MAX, "node {node} grew from {before} to {now} KiB");
    }
}

pub(crate) fn residents(cluster: &TestCluster) -> Vec<u64> {
    (0..cluster.cluster.nodes.len()).map(|node| resident(cluster, node)).collect()
}

pub(crate) fn assert_nobody_panicked(cluster: &mut TestCluster) {
    assert!(!cluster.stderr().contains("panicked"), "{}", cluster.stderr());
    for node in 0..cluster.cluster.nodes.len() {
        assert!(cluster.cluster.is_alive(node), "node {node} has ended: {}", cluster.stderr());
    }
}

/// A newcomer is admitted and made known to every node, and what a peer says reaches the others.
pub(crate) fn assert_serves(cluster: &mut TestCluster, word: &str) -> Member {
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
pub(crate) fn assert_finds_a_death(cluster: &mut TestCluster) {
    let mark = cluster.mark();
    let victim = *cluster.peers().last().expect("there are peers");
    let dead = cluster.address(victim);
    cluster.kill(victim);
    let others: Vec<usize> = (0..cluster.cluster.nodes.len()).filter(|node| *node != victim).collect();
    cluster.wait_for_death(mark, dead, &others);
}

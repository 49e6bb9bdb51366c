//! A cluster of real processes for one test, at an address of its own in 127/8.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should end there")]

mod watched;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use coterie::cluster::{Cluster, Directory, Layout, LogEvent, Tail};
use coterie_common::clock::Clock;
use coterie_common::{Address, Instant, Role};

pub use watched::Watched;

/// How long anything may take. Far above what it takes on an idle machine: only a failure waits so long.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The program under test: that of the crate that this file is a part of, which can do all that `coterie` can.
pub fn program() -> PathBuf {
    let program = option_env!("CARGO_BIN_EXE_coterie").or(option_env!("CARGO_BIN_EXE_lab"));
    PathBuf::from(program.expect("cargo names the program to each of its tests"))
}

/// The program, which ends with the thread of the test that starts it.
pub fn command() -> Command {
    let mut command = Command::new(program());
    command.env(coterie::cluster::process::DIES_WITH, std::process::id().to_string());
    command
}

/// Runs the program with `args` to its end.
pub fn run(args: &[&str]) -> Output {
    command().args(args).stdin(std::process::Stdio::null()).output().expect("the program runs")
}

/// What `coterie status` tells of a seed.
pub fn status(seed: SocketAddr) -> String {
    let output = run(&["status", "--seed", &seed.to_string()]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// An address in 127/8 that no other test uses, in this process or another one that runs beside it.
pub fn own_ip() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let test = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::new(
        127,
        high,
        low,
        u8::try_from(test + 1).expect("fewer than 250 clusters in a file"),
    ))
}

/// Waits until `done` says so, looking often; panics with `what` after the deadline.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !done() {
        assert!(clock.now() < Instant::START + DEADLINE, "waited {DEADLINE:?} for {what}");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// A cluster, its directory, and all that its logs have told so far.
pub struct TestCluster {
    pub cluster: Cluster,
    pub seen: Vec<(usize, LogEvent)>,
    pub ip: IpAddr,
    _files: tempfile::TempDir,
}

impl TestCluster {
    /// Prepared, nothing started.
    pub fn prepare(seeds: usize, peers: usize, seed_args: &[&str], peer_args: &[&str]) -> Self {
        Self::prepare_at(own_ip(), seeds, peers, seed_args, peer_args)
    }

    /// The same at an address that the test names.
    pub fn prepare_at(
        ip: IpAddr,
        seeds: usize,
        peers: usize,
        seed_args: &[&str],
        peer_args: &[&str],
    ) -> Self {
        coterie_common::net::process::raise_descriptor_limit();
        let files = tempfile::tempdir().expect("a temporary directory");
        let owned = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let layout = Layout {
            seeds,
            peers,
            ip,
            base_port: None,
            seed_args: owned(seed_args),
            peer_args: owned(peer_args),
            program: program(),
            uid: None,
        };
        let directory = Directory::take(files.path(), false).expect("the directory is ours");
        let cluster = Cluster::prepare(directory, layout).expect("the cluster is prepared");
        TestCluster { cluster, seen: Vec::new(), ip, _files: files }
    }

    /// Started, and all peers are members.
    pub fn form(seeds: usize, peers: usize, peer_args: &[&str]) -> Self {
        let mut cluster = Self::prepare(seeds, peers, &[], peer_args);
        cluster.start_all();
        cluster
    }

    /// Starts all, and waits until all peers are members, and every seed has heard of it: one that lags by a heartbeat
    /// would answer a question with fewer.
    pub fn start_all(&mut self) {
        self.cluster.start_all().expect("the processes start");
        self.wait_for_all("JOINED", &self.peers());
        self.wait_for_all("LEADER", &self.seeds());
        let (seeds, peers) = (self.seeds(), self.peers().len());
        self.wait("every seed to know all peers", 0, |events| {
            let known = |seed: &usize| {
                let at = events.iter().filter(|(index, e)| index == seed && e.event == "REGISTERED");
                at.map(|(_, e)| e.get("peer")).collect::<BTreeSet<_>>().len()
            };
            seeds.iter().all(|seed| known(seed) == peers)
        });
    }

    /// The seed that leads, as the logs have it by now.
    pub fn leader(&mut self) -> usize {
        self.look();
        let latest = self.seen.iter().rev().find(|(_, e)| e.event == "LEADER").expect("somebody leads");
        let name = latest.1.get("leader").to_owned();
        self.cluster.find(&name).expect("it is a node")
    }

    pub fn path(&self) -> &Path {
        self.cluster.directory.path()
    }

    pub fn seeds(&self) -> Vec<usize> {
        self.cluster.of(Role::Seed)
    }

    pub fn peers(&self) -> Vec<usize> {
        self.cluster.of(Role::Peer)
    }

    pub fn address(&self, index: usize) -> Address {
        self.cluster.nodes[index].record.address
    }

    pub fn socket(&self, index: usize) -> SocketAddr {
        self.address(index).socket()
    }

    pub fn kill(&mut self, index: usize) {
        let mut process = self.cluster.nodes[index].process.take().expect("it runs");
        process.kill();
        process.wait_or_kill(DEADLINE);
    }

    pub fn pause(&mut self, index: usize) {
        self.cluster.nodes[index].process.as_mut().expect("it runs").pause();
    }

    pub fn resume(&mut self, index: usize) {
        self.cluster.nodes[index].process.as_mut().expect("it runs").resume();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self, index: usize) -> Option<i32> {
        let mut process = self.cluster.nodes[index].process.take().expect("it runs");
        process.terminate();
        process.wait_or_kill(DEADLINE)
    }

    pub fn start(&mut self, index: usize) {
        self.cluster.start(index).expect("the process starts");
    }

    pub fn say(&mut self, index: usize, line: &str) {
        self.cluster.nodes[index].process.as_mut().expect("it runs").say(line).expect("it listens");
    }

    /// The whole log file of a node, whatever was seen of it.
    pub fn whole_log(&self, index: usize) -> Vec<LogEvent> {
        Tail::from_start(&self.cluster.nodes[index].record.log).events()
    }
}

impl Watched for TestCluster {
    fn read_logs(&mut self) -> Vec<(usize, LogEvent)> {
        self.cluster.events()
    }

    fn seen(&self) -> &[(usize, LogEvent)] {
        &self.seen
    }

    fn seen_mut(&mut self) -> &mut Vec<(usize, LogEvent)> {
        &mut self.seen
    }

    fn stderr(&self) -> String {
        let read = |node: &coterie::cluster::Node| {
            let path = coterie::cluster::directory::stderr_of(&node.record);
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.is_empty() { String::new() } else { format!("{}: {text}", node.name) }
        };
        self.cluster.nodes.iter().map(read).collect()
    }
}

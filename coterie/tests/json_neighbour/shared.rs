//! What the tests share.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use coterie::cluster::LogEvent;

use super::common::{TestCluster, Watched};
use super::program::Program;

pub(crate) fn native_names(cluster: &TestCluster) -> Vec<String> {
    let mut names: Vec<String> =
        cluster.peers().into_iter().map(|i| cluster.address(i).to_string()).collect();
    names.sort();
    names
}

pub(crate) fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

pub(crate) fn is_registered(event: &LogEvent, peer: &str) -> bool {
    event.event == "REGISTERED" && event.get("peer") == peer
}

/// A cluster that is slow to call silence death, so that a busy machine does not decide a story.
pub(crate) fn patient(seeds: usize, peers: usize, patience: &str) -> TestCluster {
    let mut cluster = TestCluster::prepare(
        seeds,
        peers,
        &["--patience", patience],
        &["--messages", "0", "--patience", patience],
    );
    cluster.start_all();
    cluster
}

pub(crate) fn native(seeds: usize, peers: usize) -> TestCluster {
    TestCluster::form(seeds, peers, &["--messages", "0"])
}

/// Waits until every peer's view has so many members.
pub(crate) fn wait_for_members(cluster: &mut TestCluster, members: u64) {
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
pub(crate) fn link_with_all(cluster: &mut TestCluster, program: &Program) {
    let (peers, name) = (cluster.peers(), program.name());
    for peer in &peers {
        program.dial(cluster.socket(*peer));
    }
    cluster.wait_for("its links", 0, &peers, |_, e| e.event == "LINK_UP" && e.get("peer") == name);
}

pub(crate) fn wait_for_gossip(cluster: &mut TestCluster, mark: usize, content: &str, peers: &[usize]) {
    cluster.wait_for(&format!("{content:?} at {peers:?}"), mark, peers, |_, e| {
        e.event == "GOSSIP" && e.get("content") == content
    });
}

/// The lines that say that `content` was heard at `peer`.
pub(crate) fn gossip_lines(cluster: &TestCluster, peer: usize, content: &str) -> Vec<LogEvent> {
    let events = cluster.whole_log(peer);
    events.into_iter().filter(|e| e.event == "GOSSIP" && e.get("content") == content).collect()
}

pub(crate) fn none_about(cluster: &TestCluster, event: &str, key: &str, who: SocketAddr) {
    let found: Vec<&str> = cluster
        .seen
        .iter()
        .filter(|(_, e)| e.event == event && e.get(key) == who.to_string())
        .map(|(_, e)| e.line.as_str())
        .collect();
    assert_eq!(found, Vec::<&str>::new(), "{event} about {who}");
}

pub(crate) fn coterie_address(socket: SocketAddr) -> coterie_common::Address {
    let ip: IpAddr = socket.ip();
    coterie_common::Address::new(ip, socket.port())
}

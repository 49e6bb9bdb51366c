//! What the logs tell about each node.

use coterie_common::Role;

use crate::cluster::{Cluster, LogEvent};

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeState {
    Starting,
    Up,
    Paused,
    Killed,
    Ended,
}

impl NodeState {
    pub(super) fn word(self) -> &'static str {
        match self {
            NodeState::Starting => "starting",
            NodeState::Up => "up",
            NodeState::Paused => "stopped",
            NodeState::Killed => "killed",
            NodeState::Ended => "ended",
        }
    }
}

/// One node's line of the table.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) role: Role,
    pub(super) state: NodeState,
    pub(super) epoch: u64,
    pub(super) leader: String,
    pub(super) degree: usize,
    pub(super) messages: usize,
}

/// All of them, in the order of the cluster's nodes.
#[derive(Debug)]
pub(super) struct Board {
    nodes: Vec<Status>,
}

impl Board {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let fresh = |role| Status {
            role,
            state: NodeState::Starting,
            epoch: 0,
            leader: String::new(),
            degree: 0,
            messages: 0,
        };
        Board { nodes: cluster.nodes.iter().map(|node| fresh(node.record.role())).collect() }
    }

    pub(super) fn take(&mut self, index: usize, event: &LogEvent) {
        let node = &mut self.nodes[index];
        if let Some(epoch) = event.number("epoch") {
            node.epoch = node.epoch.max(epoch);
        }
        match event.event.as_str() {
            "LISTENING" => {
                (node.state, node.degree, node.leader) = (NodeState::Starting, 0, String::new());
            }
            "LEADER" => {
                node.leader = event.get("leader").to_owned();
                node.state = NodeState::Up;
            }
            "JOINED" => node.state = NodeState::Up,
            "DECLARED_DEAD" => node.state = NodeState::Starting,
            "LINK_UP" => node.degree += 1,
            "LINK_DOWN" => node.degree = node.degree.saturating_sub(1),
            "GOSSIP" | "GOSSIP_SENT" => node.messages += 1,
            "SHUTTING_DOWN" => node.state = NodeState::Ended,
            _ => {}
        }
    }

    pub(super) fn killed(&mut self, index: usize) {
        self.nodes[index].state = NodeState::Killed;
        self.nodes[index].degree = 0;
    }

    pub(super) fn paused(&mut self, index: usize, paused: bool) {
        let state = &mut self.nodes[index].state;
        match (*state, paused) {
            (NodeState::Up | NodeState::Starting, true) => *state = NodeState::Paused,
            (NodeState::Paused, false) => *state = NodeState::Up,
            _ => {}
        }
    }

    pub(super) fn restarted(&mut self, index: usize) {
        // What a new life catches up on is no second time.
        (self.nodes[index].state, self.nodes[index].degree) = (NodeState::Starting, 0);
        self.nodes[index].messages = 0;
    }

    pub(super) fn get(&self, index: usize) -> &Status {
        &self.nodes[index]
    }

    /// How many of these seeds know a leader.
    pub(super) fn with_leader(&self, seeds: &[usize]) -> usize {
        seeds.iter().filter(|&&index| !self.nodes[index].leader.is_empty()).count()
    }

    /// How many of these peers are members.
    pub(super) fn joined(&self, peers: &[usize]) -> usize {
        peers.iter().filter(|&&index| self.is_member(index)).count()
    }

    pub(super) fn is_member(&self, index: usize) -> bool {
        self.nodes[index].role == Role::Peer && self.is_up(index)
    }

    pub(super) fn is_up(&self, index: usize) -> bool {
        self.nodes[index].state == NodeState::Up
    }

    /// The leader that the seeds know of.
    pub(super) fn leader(&self) -> Option<String> {
        let up = |node: &&Status| {
            node.role == Role::Seed && node.state == NodeState::Up && !node.leader.is_empty()
        };
        self.nodes.iter().find(up).map(|node| node.leader.clone())
    }
}

/// Whether an event is worth a line of its own to somebody who watches the whole cluster.
pub(super) fn is_news(event: &LogEvent) -> bool {
    matches!(
        event.event.as_str(),
        "LEADER"
            | "JOINED"
            | "SUSPICION"
            | "DEAD_REPORT"
            | "DEAD_CONFIRMED"
            | "DEAD_REJECTED"
            | "SUSPICION_DROPPED"
            | "DECLARED_DEAD"
            | "LEFT"
            | "SHUTTING_DOWN"
            | "SEED_LOST"
            | "QUORUM_LOST"
            | "QUORUM"
            | "CLUSTER_CHANGED"
    )
}

/// The event without its date, for a narrow screen.
pub(super) fn short(event: &LogEvent) -> String {
    let time = event.time.get(11..23).unwrap_or_default();
    let body = event.line.splitn(4, ' ').nth(3).unwrap_or_default();
    format!("{time} {} {body}", event.node)
}

//! A lab whose logs are watched.

use std::time::Duration;

use coterie::cluster::LogEvent;
use coterie_common::clock::{Clock, wall};
use coterie_common::{Address, Instant, Role, Timestamp};
use coterie_lab::{HostLayout, Lab, Material};

use super::common::Watched;

/// A cluster of hosts, and all that its logs have told so far.
pub(crate) struct Hosts {
    pub(crate) lab: Lab,
    seen: Vec<(usize, LogEvent)>,
}

impl Watched for Hosts {
    fn read_logs(&mut self) -> Vec<(usize, LogEvent)> {
        self.lab.events()
    }

    fn seen(&self) -> &[(usize, LogEvent)] {
        &self.seen
    }

    fn seen_mut(&mut self) -> &mut Vec<(usize, LogEvent)> {
        &mut self.seen
    }

    fn stderr(&self) -> String {
        let said = |index: usize| format!("{}: {}\n", self.lab.hosts[index].name, self.lab.stderr(index));
        (0..self.lab.hosts.len()).map(said).collect()
    }
}

impl Hosts {
    /// So many seeds and peers; all peers are members, and linked.
    pub(crate) fn form(material: Material, seeds: usize, peers: usize) -> Self {
        Self::form_with(material, seeds, peers, &["--messages", "0"])
    }

    /// The same, and each peer says something twice a second.
    pub(crate) fn form_talking(material: Material, seeds: usize, peers: usize) -> Self {
        Self::form_with(material, seeds, peers, &["--messages", "10000", "--message-interval", "500ms"])
    }

    pub(crate) fn form_with(material: Material, seeds: usize, peers: usize, peer_args: &[&str]) -> Self {
        let peer_args = peer_args.iter().map(|arg| (*arg).to_owned()).collect();
        let plan = HostLayout { seeds, peers, seed_args: Vec::new(), peer_args };
        let lab = Lab::new(material, &plan).expect("hosts can be made");
        let mut hosts = Hosts { lab, seen: Vec::new() };
        (0..seeds + peers).for_each(|index| hosts.start(index));
        hosts.wait_for("a leader", 0, &hosts.seeds(), |_, e| e.event == "LEADER");
        hosts.wait_for("all to join", 0, &hosts.peers(), |_, e| e.event == "JOINED");
        hosts.wait_for("a link of each", 0, &hosts.peers(), |_, e| e.event == "LINK_UP");
        hosts
    }

    pub(crate) fn seeds(&self) -> Vec<usize> {
        self.lab.of(Role::Seed)
    }

    pub(crate) fn peers(&self) -> Vec<usize> {
        self.lab.of(Role::Peer)
    }

    /// All nodes but these.
    pub(crate) fn all_but(&self, left_out: &[usize]) -> Vec<usize> {
        (0..self.lab.hosts.len()).filter(|index| !left_out.contains(index)).collect()
    }

    pub(crate) fn address(&self, index: usize) -> Address {
        self.lab.hosts[index].address
    }

    pub(crate) fn start(&mut self, index: usize) {
        self.lab.start(index).expect("the node starts");
    }

    /// Kills a node; the moment at which the command was given.
    pub(crate) fn kill(&mut self, index: usize) -> Timestamp {
        let at = wall();
        self.lab.kill(index).expect("it runs");
        at
    }

    /// The seed that leads, as the logs have it by now.
    pub(crate) fn leader(&mut self) -> usize {
        self.look();
        let latest = self.seen.iter().rev().find(|(_, e)| e.event == "LEADER").expect("somebody leads");
        let name = latest.1.get("leader").split(':').next().unwrap_or_default().to_owned();
        let is_it = |index: &usize| {
            let host = &self.lab.hosts[*index];
            host.name == name || host.address.ip().to_string() == name
        };
        self.seeds().into_iter().find(is_it).expect("it is a seed of this lab")
    }

    /// The links of a peer, as its own log has them.
    pub(crate) fn neighbours(&mut self, index: usize) -> Vec<usize> {
        self.look();
        let mut links: Vec<String> = Vec::new();
        for (_, event) in self.seen.iter().filter(|(i, _)| *i == index) {
            let peer = event.get("peer").to_owned();
            match event.event.as_str() {
                "LINK_UP" => links.push(peer),
                "LINK_DOWN" => links.retain(|link| *link != peer),
                _ => {}
            }
        }
        self.peers().into_iter().filter(|peer| links.contains(&self.address(*peer).to_string())).collect()
    }

    /// How many events of that name were logged since `mark`, at the nodes that log them first.
    pub(crate) fn count(&self, mark: usize, event: &str) -> usize {
        self.seen[mark..].iter().filter(|(_, e)| e.event == event).count()
    }

    /// The ballots about deaths that were opened since `mark`: each is logged by its proposer and by every seed.
    pub(crate) fn death_ballots(&mut self, mark: usize) -> usize {
        self.look();
        let proposals = self.seen[mark..].iter().filter(|(_, e)| e.event == "DEAD_PROPOSAL");
        let ballots: std::collections::BTreeSet<&str> = proposals.map(|(_, e)| e.get("ballot")).collect();
        ballots.len()
    }

    /// Reads the logs for so long, for what must not be in them.
    pub(crate) fn live_through(&mut self, time: Duration) {
        let clock = Clock::start();
        while clock.now() < Instant::START + time {
            self.look();
            std::thread::park_timeout(super::common::LOOK_EVERY);
        }
    }

    /// Nobody was confirmed dead since `mark`.
    pub(crate) fn assert_nobody_died(&mut self, mark: usize) {
        self.look();
        let deaths: Vec<&str> = self.seen[mark..]
            .iter()
            .filter(|(_, e)| e.event == "DEAD_CONFIRMED")
            .map(|(_, e)| e.line.as_str())
            .collect();
        assert_eq!(deaths, Vec::<&str>::new(), "nobody is dead");
    }

    /// Waits until a peer that was declared dead is a member again; how long after `moment` that was.
    pub(crate) fn wait_for_return(&mut self, mark: usize, index: usize, moment: Timestamp) -> Duration {
        self.wait_for("its return", mark, &[index], |_, e| e.event == "JOINED");
        let of_it = self.events_of(mark, index);
        let joined = of_it.iter().rev().find(|e| e.event == "JOINED").expect("it was waited for");
        let declared = of_it.iter().find(|e| e.event == "DECLARED_DEAD").expect("it saw that it was removed");
        assert!(joined.number("incarnation") > declared.number("incarnation"), "as another incarnation");
        joined.after(moment)
    }

    /// Waits until every running node has the same view; how long after `moment` the last one had it.
    pub(crate) fn wait_for_one_view(
        &mut self,
        nodes: &[usize],
        members: usize,
        moment: Timestamp,
    ) -> Duration {
        let mut latest: Vec<Option<(String, Duration)>> = Vec::new();
        let (peers, count) = (self.peers(), self.lab.hosts.len());
        let nodes = nodes.to_vec();
        self.wait("one view", 0, |events| {
            latest = vec![None; count];
            for (index, event) in events {
                let is_view = match peers.contains(index) {
                    true => event.event == "VIEW",
                    false => ["REGISTERED", "DEAD_CONFIRMED", "LEFT", "VIEW"].contains(&event.event.as_str()),
                };
                if is_view {
                    latest[*index] = Some((event.get("epoch").to_owned(), event.after(moment)));
                }
            }
            let epochs: std::collections::BTreeSet<Option<&String>> =
                nodes.iter().map(|index| latest[*index].as_ref().map(|(epoch, _)| epoch)).collect();
            let full = |(index, e): &(usize, LogEvent)| {
                e.event == "VIEW"
                    && peers.contains(index)
                    && e.number("members") == Some(members as u64)
                    && epochs.contains(&Some(&e.get("epoch").to_owned()))
            };
            epochs.len() == 1 && events.iter().any(full)
        });
        nodes
            .iter()
            .filter_map(|index| latest[*index].as_ref())
            .map(|(_, after)| *after)
            .max()
            .unwrap_or_default()
    }
}

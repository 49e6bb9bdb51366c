//! A whole cluster of real processes on this machine.

pub mod directory;
pub mod event;
pub mod process;
mod signal;
pub mod tail;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use coterie_common::net::tcp;
use coterie_common::{Address, Role};
use rand::RngExt;

pub use directory::{Directory, NodeRecord};
pub use event::LogEvent;
pub use process::{Command, NodeProcess};
pub use tail::Tail;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Layout {
    /// How many seeds.
    pub seeds: usize,
    /// How many peers.
    pub peers: usize,
    /// Where they all listen.
    pub ip: IpAddr,
    /// The first of consecutive ports; none: free ones.
    pub base_port: Option<u16>,
    /// Further arguments for every seed.
    pub seed_args: Vec<String>,
    /// Further arguments for every peer.
    pub peer_args: Vec<String>,
    /// The executable that has `seed` and `peer` as commands.
    pub program: PathBuf,
    /// As which user the nodes run; none: as the one who starts them.
    pub uid: Option<u32>,
}

/// A node of the cluster: what it is, and its process while it has one.
#[derive(Debug)]
pub struct Node {
    /// `s1`, `p3`.
    pub name: String,
    /// What stands in `cluster.json`.
    pub record: NodeRecord,
    /// Its process.
    pub process: Option<NodeProcess>,
    /// Its log, from where it was when the cluster was started.
    pub tail: Tail,
}

/// A cluster whose processes die with this one.
#[derive(Debug)]
pub struct Cluster {
    /// Where its files are.
    pub directory: Directory,
    /// The nodes, seeds first.
    pub nodes: Vec<Node>,
    /// How its nodes are started.
    pub layout: Layout,
}

impl Cluster {
    /// Makes the files of a cluster in `directory`, or takes those that are there; starts nothing yet.
    pub fn prepare(mut directory: Directory, layout: Layout) -> io::Result<Self> {
        if directory.nodes().is_empty() {
            let records = layout.records(&directory)?;
            directory.write(records)?;
        }
        let mut counts: BTreeMap<char, usize> = BTreeMap::new();
        let nodes = directory.nodes().to_vec().into_iter().map(|record| {
            let letter = if record.role == "seed" { 's' } else { 'p' };
            let count = counts.entry(letter).or_insert(0);
            *count += 1;
            let tail = Tail::from_end(&record.log);
            Node { name: format!("{letter}{count}"), record, process: None, tail }
        });
        let nodes = nodes.collect();
        Ok(Cluster { directory, nodes, layout })
    }

    /// Starts every node that has no process.
    pub fn start_all(&mut self) -> io::Result<()> {
        (0..self.nodes.len()).try_for_each(|index| self.start(index))
    }

    /// Starts a node, unless its process lives.
    pub fn start(&mut self, index: usize) -> io::Result<()> {
        if self.is_alive(index) {
            return Ok(());
        }
        let node = &mut self.nodes[index];
        let args = match node.record.role() {
            Role::Seed => &self.layout.seed_args,
            Role::Peer => &self.layout.peer_args,
        };
        let program = self.layout.command();
        let process = Command::new(program, &node.record, self.directory.path(), args).spawn()?;
        node.record.pid = Some(process.id());
        node.process = Some(process);
        self.write_records()
    }

    fn write_records(&mut self) -> io::Result<()> {
        let records = self.nodes.iter().map(|node| node.record.clone()).collect();
        self.directory.write(records)
    }

    /// Adds a node at a free port, not started yet; returns its place. The cluster's seed list has it from now on.
    pub fn add(&mut self, role: Role) -> io::Result<usize> {
        let address = free(self.layout.ip, 1)?.remove(0);
        let record = self.directory.record(role, address);
        let letter = if role == Role::Seed { 's' } else { 'p' };
        let name = format!("{letter}{}", self.of(role).len() + 1);
        let tail = Tail::from_end(&record.log);
        self.nodes.push(Node { name, record, process: None, tail });
        self.write_records()?;
        Ok(self.nodes.len() - 1)
    }

    /// Whether a node's process lives.
    pub fn is_alive(&mut self, index: usize) -> bool {
        self.nodes[index].process.as_mut().is_some_and(NodeProcess::is_alive)
    }

    /// The place of the node called `name`, such as `p3`, or listening at `name`.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name || node.record.address.to_string() == name)
    }

    /// The places of the nodes of a role.
    pub fn of(&self, role: Role) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&index| self.nodes[index].record.role() == role).collect()
    }

    /// The new events of all nodes, each with its node's place, in the order of their times.
    pub fn events(&mut self) -> Vec<(usize, LogEvent)> {
        let mut events: Vec<(usize, LogEvent)> = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            events.extend(node.tail.events().into_iter().map(|event| (index, event)));
        }
        events.sort_by(|(_, a), (_, b)| a.time.cmp(&b.time));
        events
    }

    /// Stops all nodes in order, peers first; those that do not stop are killed.
    pub fn stop_all(&mut self) {
        for role in [Role::Peer, Role::Seed] {
            let places = self.of(role);
            for index in &places {
                if let Some(process) = &mut self.nodes[*index].process {
                    process.terminate();
                }
            }
            for index in &places {
                if let Some(mut process) = self.nodes[*index].process.take() {
                    process.wait_or_kill(process::STOP_TIME_MAX);
                }
                self.nodes[*index].record.pid = None;
            }
        }
        let _ = self.write_records();
    }
}

impl Layout {
    /// So many nodes on loopback, at free ports, of the program that this is.
    pub fn of_this_program(seeds: usize, peers: usize) -> io::Result<Self> {
        Ok(Layout {
            seeds,
            peers,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            base_port: None,
            seed_args: Vec::new(),
            peer_args: Vec::new(),
            program: std::env::current_exe()?,
            uid: None,
        })
    }

    /// The program, or another that becomes it.
    fn command(&self) -> std::process::Command {
        let Some(uid) = self.uid else { return std::process::Command::new(&self.program) };
        let mut command = std::process::Command::new("setpriv");
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={uid}")).arg("--clear-groups");
        command.arg(&self.program);
        command
    }

    fn records(&self, directory: &Directory) -> io::Result<Vec<NodeRecord>> {
        let count = self.seeds + self.peers;
        let addresses = match self.base_port {
            Some(base) => consecutive(self.ip, base, count)?,
            None => free(self.ip, count)?,
        };
        let role = |index| if index < self.seeds { Role::Seed } else { Role::Peer };
        Ok(addresses.iter().enumerate().map(|(i, address)| directory.record(role(i), *address)).collect())
    }
}

/// So many consecutive ports, all of them free now; an error names the one that is not.
fn consecutive(ip: IpAddr, base: u16, count: usize) -> io::Result<Vec<Address>> {
    let mut addresses = Vec::new();
    for offset in 0..count {
        let port = u16::try_from(offset).ok().and_then(|offset| base.checked_add(offset));
        let port = port.ok_or_else(|| io::Error::other(format!("no {count} ports follow {base}")))?;
        let address = Address::new(ip, port);
        tcp::bind(address.socket()).map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))?;
        addresses.push(address);
    }
    Ok(addresses)
}

/// Below those that systems take for connections that are dialled: of hundreds of nodes that dial each other some would
/// find their own port taken before they listen on it.
const LISTENING: std::ops::Range<u16> = 10_000..32_000;

/// The first of so many consecutive ports that are free now, and that no dialled connection takes.
pub fn free_base_port(ip: IpAddr, count: usize) -> io::Result<u16> {
    let last = u16::try_from(count).ok().and_then(|count| LISTENING.end.checked_sub(count));
    let range = LISTENING.start..last.unwrap_or_default();
    if range.is_empty() {
        return Err(io::Error::other(format!("there are no {count} ports in {LISTENING:?}")));
    }
    let mut tries = (0..100).map(|_| rand::rng().random_range(range.clone()));
    let free = tries.find(|base| consecutive(ip, *base, count).is_ok());
    free.ok_or_else(|| io::Error::other(format!("no {count} consecutive ports of {LISTENING:?} are free")))
}

/// So many ports that are free now: held all at once, so that they differ.
fn free(ip: IpAddr, count: usize) -> io::Result<Vec<Address>> {
    let any = Address::new(ip, 0).socket();
    let listeners: Vec<_> = (0..count).map(|_| tcp::bind(any)).collect::<io::Result<_>>()?;
    listeners.iter().map(|listener| listener.local_addr().map(Address::from)).collect()
}

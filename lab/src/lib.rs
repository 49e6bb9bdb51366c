//! A cluster whose nodes are hosts of their own, for breaking what one host cannot break: cables, routes, machines.
//!
//! Two ways to make hosts: containers, where a Docker engine answers, and network namespaces, where this process is
//! root. What breaks the network is the same for both: rules in the node's own network namespace, so nothing is left
//! on the host, and nothing but the lab's own hosts is ever touched. Whatever becomes of this process, a process of
//! another session, the [`Reaper`], removes what it made.

pub mod bench;
mod containers;
mod host;
mod layout;
mod namespaces;
mod reaper;
mod tool;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use coterie_common::Role;

use containers::Containers;
use coterie::cluster::{LogEvent, Tail};
use namespaces::Namespaces;
use tool::run;

pub use containers::engine_answers;
pub use host::LabHost;
pub use layout::HostLayout;
pub use namespaces::may_make_namespaces;
pub use reaper::Reaper;

/// Moves the calling thread into a network: its sockets, and the processes it starts, are there from now on.
pub fn enter(network: &std::fs::File) -> io::Result<()> {
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    Ok(rustix::thread::move_into_link_name_space(network.as_fd(), kind)?)
}

/// Of what the hosts are made.
#[derive(Clone, Debug)]
pub enum Material {
    /// Containers of this image.
    Containers {
        /// Its name.
        image: String,
    },
    /// Network namespaces in which this program runs.
    Namespaces {
        /// The executable that has `seed` and `peer` as commands.
        program: PathBuf,
    },
}

/// The hosts, and what they are made of.
#[derive(Debug)]
pub struct Lab {
    /// The hosts, seeds first.
    pub hosts: Vec<LabHost>,
    made_of: MadeOf,
    files: tempfile::TempDir,
}

#[derive(Debug)]
enum MadeOf {
    Containers(Containers),
    Namespaces(Namespaces),
}

/// The ports of a lab's nodes, as in the compose file.
const SEED_PORTS: u16 = 5001;
const PEER_PORTS: u16 = 6001;

impl Lab {
    /// Makes the hosts; starts no node yet.
    pub fn new(material: Material, plan: &HostLayout) -> io::Result<Self> {
        let files = tempfile::Builder::new().prefix("coterie-lab-").tempdir()?;
        let logs = files.path().join("logs");
        std::fs::create_dir(&logs)?;
        coterie::share::run(&logs).map_err(|e| io::Error::other(format!("{e:?}")))?;
        let names = (1..=plan.seeds)
            .map(|n| (format!("seed{n}"), Role::Seed, SEED_PORTS + n as u16 - 1))
            .chain((1..=plan.peers).map(|n| (format!("peer{n}"), Role::Peer, PEER_PORTS + n as u16 - 1)));
        let names: Vec<(String, Role, u16)> = names.collect();
        let (made_of, addresses) = match material {
            Material::Containers { image } => {
                let (containers, addresses) = Containers::new(image, &names, files.path(), plan.clone())?;
                (MadeOf::Containers(containers), addresses)
            }
            Material::Namespaces { program } => {
                let (namespaces, addresses) = Namespaces::new(program, &names, files.path(), plan.clone())?;
                (MadeOf::Namespaces(namespaces), addresses)
            }
        };
        let hosts = names.into_iter().zip(addresses).map(|((name, role, port), address)| {
            let log = logs.join(format!("outputfile_{}_{port}.txt", role.lower()));
            LabHost { name, role, address, tail: Tail::from_start(&log), log }
        });
        Ok(Lab { hosts: hosts.collect(), made_of, files })
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// Its files are to be looked at: they stay when it goes.
    pub fn keep_files(&mut self) -> &Path {
        // Where not even that can be written, there is little to look at.
        let _ = reaper::keep_files(self.files.path());
        self.files.disable_cleanup(true);
        self.files.path()
    }

    /// Its name, with which everything that it makes on this machine begins.
    pub fn name(&self) -> &str {
        match &self.made_of {
            MadeOf::Containers(containers) => containers.lab(),
            MadeOf::Namespaces(namespaces) => namespaces.lab(),
        }
    }

    /// The places of the hosts of a role.
    pub fn of(&self, role: Role) -> Vec<usize> {
        (0..self.hosts.len()).filter(|&index| self.hosts[index].role == role).collect()
    }

    /// The new events of all nodes, each with its node's place, in the order of their times.
    pub fn events(&mut self) -> Vec<(usize, LogEvent)> {
        let mut events: Vec<(usize, LogEvent)> = Vec::new();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            events.extend(host.tail.events().into_iter().map(|event| (index, event)));
        }
        events.sort_by(|(_, a), (_, b)| a.time.cmp(&b.time));
        events
    }

    // ---- nodes ----

    /// Starts a node, the first time or again.
    pub fn start(&mut self, index: usize) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.start(index),
            MadeOf::Namespaces(namespaces) => namespaces.start(index, &self.hosts[index]),
        }
    }

    /// Kills a node without a word. A container's host is gone with it.
    pub fn kill(&mut self, index: usize) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.docker(index, "kill"),
            MadeOf::Namespaces(namespaces) => namespaces.kill(index),
        }
    }

    /// Has a node stop in order.
    pub fn stop(&mut self, index: usize) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.docker(index, "stop"),
            MadeOf::Namespaces(namespaces) => namespaces.stop(index),
        }
    }

    /// Has a node stand still; its kernel goes on answering.
    pub fn pause(&mut self, index: usize) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.docker(index, "pause"),
            MadeOf::Namespaces(namespaces) => namespaces.pause(index),
        }
    }

    /// Has it go on.
    pub fn resume(&mut self, index: usize) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.docker(index, "unpause"),
            MadeOf::Namespaces(namespaces) => namespaces.resume(index),
        }
    }

    /// Throws away what a seed has on its disk. It must not run.
    pub fn lose_disk(&mut self, index: usize) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.lose_disk(index),
            MadeOf::Namespaces(namespaces) => namespaces.lose_disk(index),
        }
    }

    /// Whether a node runs.
    pub fn runs(&mut self, index: usize) -> bool {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.pid(index).is_ok_and(|pid| pid != 0),
            MadeOf::Namespaces(namespaces) => namespaces.runs(index),
        }
    }

    // ---- what only namespaces can ----

    fn namespaces(&mut self) -> io::Result<&mut Namespaces> {
        match &mut self.made_of {
            MadeOf::Namespaces(namespaces) => Ok(namespaces),
            MadeOf::Containers(_) => Err(io::Error::other("only network namespaces can")),
        }
    }

    /// Puts the data of a seed on a disk of its own, of so many MiB, before it is started for the first time.
    pub fn give_disk(&mut self, index: usize, mib: u32) -> io::Result<()> {
        self.namespaces()?.give_disk(index, mib)
    }

    /// Leaves no room on a seed's own disk.
    pub fn fill_disk(&mut self, index: usize) -> io::Result<()> {
        self.namespaces()?.fill_disk(index)
    }

    /// Gives back what [`Lab::fill_disk`] took.
    pub fn free_disk(&mut self, index: usize) -> io::Result<()> {
        self.namespaces()?.free_disk(index)
    }

    /// The file that stands for a host's network.
    pub fn network(&mut self, index: usize) -> io::Result<std::fs::File> {
        self.namespaces()?.network(index)
    }

    // ---- what nodes say ----

    /// What a node has said on stderr so far.
    pub fn stderr(&self, index: usize) -> String {
        match &self.made_of {
            MadeOf::Containers(containers) => containers.stderr(index),
            MadeOf::Namespaces(namespaces) => namespaces.stderr(index, &self.hosts[index]),
        }
    }

    // ---- the network ----

    /// Pulls a host's cable.
    pub fn disconnect(&mut self, index: usize) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.disconnect(index),
            MadeOf::Namespaces(namespaces) => namespaces.disconnect(index),
        }
    }

    /// Plugs it in again.
    pub fn connect(&mut self, index: usize) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.connect(index, self.hosts[index].address.ip()),
            MadeOf::Namespaces(namespaces) => namespaces.connect(index),
        }
    }

    /// Plugs it in again where its address is another one. Only containers can, for only they have names.
    pub fn connect_at(&mut self, index: usize, ip: IpAddr) -> io::Result<()> {
        match &mut self.made_of {
            MadeOf::Containers(containers) => containers.connect(index, ip),
            MadeOf::Namespaces(_) => Err(io::Error::other("a namespace has no name to be found by")),
        }
    }

    /// From now on nothing that `from` sends arrives at `to`; the other direction is as it was.
    pub fn cut(&mut self, from: usize, to: usize) -> io::Result<()> {
        let source = self.hosts[from].address.ip().to_string();
        self.rules(to, &["-A", "INPUT", "-s", &source, "-j", "DROP"])
    }

    /// From now on nothing passes between the two, in either direction.
    pub fn part(&mut self, a: usize, b: usize) -> io::Result<()> {
        self.cut(a, b)?;
        self.cut(b, a)
    }

    /// From now on `share` (0 to 1) of the packets that arrive at a host are lost.
    pub fn lose(&mut self, index: usize, share: f64) -> io::Result<()> {
        let share = share.to_string();
        let lossy = ["-m", "statistic", "--mode", "random", "--probability", &share, "-j", "DROP"];
        self.rules(index, &[&["-A", "INPUT"][..], &lossy].concat())
    }

    /// From now on no packet of more than `most` bytes passes between this host and the others, in either direction,
    /// and nobody is told: a tunnel behind a firewall. This is so of connections that are made afterwards, for those
    /// that there are hand the kernel several packets as one.
    pub fn lose_large(&mut self, index: usize, most: u16) -> io::Result<()> {
        let source = self.hosts[index].address.ip().to_string();
        let large = format!("{}:65535", most + 1);
        for other in 0..self.hosts.len() {
            let from: &[&str] = if other == index { &[] } else { &["-s", &source] };
            self.rules(
                other,
                &[&["-A", "INPUT"], from, &["-m", "length", "--length", &large, "-j", "DROP"]].concat(),
            )?;
            self.namespaces()?.send_packets_one_by_one(other)?;
        }
        Ok(())
    }

    /// Takes back every cut and every loss. A container that does not run has taken its rules with it.
    pub fn heal_all(&mut self) -> io::Result<()> {
        let has_rules = |index: &usize| match &self.made_of {
            MadeOf::Containers(containers) => containers.pid(*index).is_ok_and(|pid| pid != 0),
            MadeOf::Namespaces(_) => true,
        };
        (0..self.hosts.len()).filter(has_rules).try_for_each(|index| self.rules(index, &["-F", "INPUT"]))
    }

    /// Whether rules can be made: that takes root, and the tools.
    pub fn may_break_networks() -> bool {
        run("nsenter", &["--net=/proc/self/ns/net", "iptables", "-V"]).is_ok()
    }

    fn rules(&self, index: usize, args: &[&str]) -> io::Result<()> {
        let mut command: Vec<String> = match &self.made_of {
            MadeOf::Containers(containers) => {
                vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", containers.pid(index)?)]
            }
            MadeOf::Namespaces(namespaces) => {
                ["ip", "netns", "exec", &namespaces.name(index)].map(str::to_owned).into()
            }
        };
        command.extend(["iptables".to_owned(), "-w".to_owned()]);
        command.extend(args.iter().map(|arg| (*arg).to_owned()));
        let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
        run(&command[0], &args).map(drop)
    }
}

//! Hosts that are network namespaces on a bridge of their own. A node there is a process of this machine.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use coterie_common::{Address, Role};

use super::host::LabHost;
use super::layout::HostLayout;
use super::reaper::Reaper;
use super::tool::run;
use coterie::cluster::directory::{seeds_of, stderr_of};
use coterie::cluster::process::STOP_TIME_MAX;
use coterie::cluster::{Command, NodeProcess, NodeRecord};

/// The first two numbers of the addresses. They are reached from nowhere else.
const NETWORK: [u8; 2] = [10, 214];

/// What takes the room on a disk that is full.
const FILLER: &str = "filler";

/// The namespaces of one lab.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// Short, for the names of interfaces have fifteen letters at most.
    lab: String,
    program: PathBuf,
    plan: HostLayout,
    names: Vec<String>,
    files: PathBuf,
    processes: Vec<Option<NodeProcess>>,
    _reaper: Reaper,
}

/// Whether this process may make network namespaces: that takes root, and the tool.
pub fn may_make_namespaces() -> bool {
    rustix::process::geteuid().is_root() && run("ip", &["netns", "list"]).is_ok()
}

impl Namespaces {
    pub(super) fn new(
        program: PathBuf,
        names: &[(String, Role, u16)],
        files: &Path,
        plan: HostLayout,
    ) -> io::Result<(Self, Vec<Address>)> {
        static LABS: AtomicU32 = AtomicU32::new(1);
        let lab = format!("cl{}x{:02}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let namespaces: Vec<String> = names.iter().map(|(name, ..)| format!("{lab}-{name}")).collect();
        let cables: Vec<String> = (0..names.len()).map(|index| outside(&lab, index)).collect();
        // A namespace may outlive its name for a while, in connections that are still ending: its cable must not.
        let script = format!(
            "for n in {}; do ip netns pids $n | xargs -r kill -9; ip netns del $n; done\n\
             for c in {lab} {}; do ip link del $c; done\n\
             [ -e \"$1/kept\" ] || umount -l \"$1\"/data/*\n\
             iptables -w -D DOCKER-USER -i {lab} -o {lab} -j ACCEPT",
            namespaces.join(" "),
            cables.join(" ")
        );
        let reaper = Reaper::new(&script, files)?;
        run("ip", &["link", "add", &lab, "type", "bridge"])?;
        run("ip", &["link", "set", &lab, "up"])?;
        // A Docker engine lets nothing pass that it was not told of; where there is none, nothing is in the way.
        let _ = run("iptables", &["-w", "-I", "DOCKER-USER", "-i", &lab, "-o", &lab, "-j", "ACCEPT"]);
        let [a, b] = NETWORK;
        let mut addresses = Vec::new();
        for (index, (namespace, (_, _, port))) in namespaces.iter().zip(names).enumerate() {
            let address = Address::new([a, b, 0, 11 + index as u8].into(), *port);
            let (outside, ip) = (&cables[index], format!("{}/24", address.ip()));
            run("ip", &["netns", "add", namespace])?;
            let pair = ["link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace];
            run("ip", &pair)?;
            run("ip", &["link", "set", outside, "master", &lab, "up"])?;
            run("ip", &["-n", namespace, "address", "add", &ip, "dev", "eth0"])?;
            run("ip", &["-n", namespace, "link", "set", "eth0", "up"])?;
            run("ip", &["-n", namespace, "link", "set", "lo", "up"])?;
            addresses.push(address);
        }
        let seeds = names.iter().zip(&addresses).filter(|((_, role, _), _)| *role == Role::Seed);
        let list: String = seeds.map(|(_, a)| format!("{},{}\n", a.ip(), a.port())).collect();
        std::fs::write(seeds_of(files), list)?;
        let processes = names.iter().map(|_| None).collect();
        let files = files.to_owned();
        let made = Namespaces { lab, program, plan, names: namespaces, files, processes, _reaper: reaper };
        Ok((made, addresses))
    }

    pub(super) fn lab(&self) -> &str {
        &self.lab
    }

    pub(super) fn name(&self, index: usize) -> String {
        self.names[index].clone()
    }

    fn record(&self, index: usize, role: Role, address: Address, log: PathBuf) -> NodeRecord {
        let data = (role == Role::Seed).then(|| self.data(index));
        NodeRecord { role: role.lower().to_owned(), address, http: None, pid: None, log, data }
    }

    pub(super) fn start(&mut self, index: usize, host: &LabHost) -> io::Result<()> {
        let record = self.record(index, host.role, host.address, host.log.clone());
        let args = match host.role {
            Role::Seed => &self.plan.seed_args,
            Role::Peer => &self.plan.peer_args,
        };
        let mut program = std::process::Command::new("ip");
        program.args(["netns", "exec", &self.names[index]]).arg(&self.program);
        self.processes[index] = Some(Command::new(program, &record, &self.files, args).spawn()?);
        Ok(())
    }

    fn process(&mut self, index: usize) -> io::Result<&mut NodeProcess> {
        let name = &self.names[index];
        self.processes[index].as_mut().ok_or_else(|| io::Error::other(format!("no node runs in {name}")))
    }

    pub(super) fn kill(&mut self, index: usize) -> io::Result<()> {
        let process = self.process(index)?;
        process.kill();
        process.wait_or_kill(STOP_TIME_MAX);
        Ok(())
    }

    pub(super) fn stop(&mut self, index: usize) -> io::Result<()> {
        let process = self.process(index)?;
        process.terminate();
        process.wait_or_kill(STOP_TIME_MAX);
        Ok(())
    }

    pub(super) fn pause(&mut self, index: usize) -> io::Result<()> {
        self.process(index)?.pause();
        Ok(())
    }

    pub(super) fn resume(&mut self, index: usize) -> io::Result<()> {
        self.process(index)?.resume();
        Ok(())
    }

    pub(super) fn runs(&mut self, index: usize) -> bool {
        self.processes[index].as_mut().is_some_and(NodeProcess::is_alive)
    }

    fn data(&self, index: usize) -> PathBuf {
        self.files.join("data").join(&self.names[index])
    }

    /// What is on it goes; a disk of its own stays.
    pub(super) fn lose_disk(&mut self, index: usize) -> io::Result<()> {
        for entry in std::fs::read_dir(self.data(index))? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }?;
        }
        Ok(())
    }

    pub(super) fn give_disk(&mut self, index: usize, mib: u32) -> io::Result<()> {
        let data = self.data(index);
        std::fs::create_dir_all(&data)?;
        let (size, place) = (format!("size={mib}m"), data.display().to_string());
        run("mount", &["-t", "tmpfs", "-o", &size, &self.names[index], &place]).map(drop)
    }

    pub(super) fn fill_disk(&mut self, index: usize) -> io::Result<()> {
        let mut filler = std::fs::File::create(self.data(index).join(FILLER))?;
        loop {
            match filler.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn free_disk(&mut self, index: usize) -> io::Result<()> {
        std::fs::remove_file(self.data(index).join(FILLER))
    }

    pub(super) fn network(&mut self, index: usize) -> io::Result<std::fs::File> {
        std::fs::File::open(Path::new("/run/netns").join(&self.names[index]))
    }

    pub(super) fn send_packets_one_by_one(&self, index: usize) -> io::Result<()> {
        run("ip", &["-n", &self.names[index], "link", "set", "eth0", "gso_max_segs", "1"]).map(drop)
    }

    pub(super) fn stderr(&self, index: usize, host: &LabHost) -> String {
        let record = self.record(index, host.role, host.address, host.log.clone());
        std::fs::read_to_string(stderr_of(&record)).unwrap_or_default()
    }

    pub(super) fn disconnect(&self, index: usize) -> io::Result<()> {
        run("ip", &["link", "set", &outside(&self.lab, index), "down"]).map(drop)
    }

    pub(super) fn connect(&self, index: usize) -> io::Result<()> {
        run("ip", &["link", "set", &outside(&self.lab, index), "up"]).map(drop)
    }
}

/// The end of a host's cable that is plugged into the bridge.
fn outside(lab: &str, index: usize) -> String {
    format!("{lab}h{index}")
}

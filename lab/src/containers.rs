//! Hosts that are containers on a network of their own.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use coterie_common::{Address, Role};

use super::layout::HostLayout;
use super::reaper::Reaper;
use super::tool::run;

/// Networks that are tried before it is said that none is free.
const SUBNETS: u8 = 40;

/// The first two numbers of the addresses: private, and seldom used by anybody else.
const NETWORK: [u8; 2] = [10, 213];

/// The containers of one lab.
#[derive(Debug)]
pub(super) struct Containers {
    /// The lab's name, which everything that it makes begins with and is labelled by.
    lab: String,
    image: String,
    plan: HostLayout,
    nodes: Vec<(String, Role, Address)>,
    files: PathBuf,
    made: Vec<bool>,
    _reaper: Reaper,
}

/// Whether a Docker engine answers.
pub fn engine_answers() -> bool {
    run("docker", &["version", "--format", "{{.Server.Version}}"]).is_ok()
}

impl Containers {
    pub(super) fn new(
        image: String,
        names: &[(String, Role, u16)],
        files: &Path,
        plan: HostLayout,
    ) -> io::Result<(Self, Vec<Address>)> {
        static LABS: AtomicU32 = AtomicU32::new(1);
        let lab = format!("coterie-lab-{}-{:02}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        // A paused container takes no kill before it goes on.
        let script = format!(
            "for c in $(docker ps -aq --filter label={lab}); do docker unpause $c; docker rm -fv $c; done\n\
             docker network rm {lab}\n\
             docker volume rm $(docker volume ls -q --filter label={lab})"
        );
        let reaper = Reaper::new(&script, files)?;
        let subnet = make_network(&lab)?;
        let address = |index: usize, port| {
            let [a, b, c] = subnet;
            Address::new([a, b, c, 11 + index as u8].into(), port)
        };
        let nodes: Vec<(String, Role, Address)> = names
            .iter()
            .enumerate()
            .map(|(index, (name, role, port))| (name.clone(), *role, address(index, *port)))
            .collect();
        // Seeds are named in the list, as in the compose file.
        let seeds = nodes.iter().filter(|(_, role, _)| *role == Role::Seed);
        let list: String = seeds.map(|(name, _, address)| format!("{name},{}\n", address.port())).collect();
        std::fs::write(files.join("seeds.csv"), list)?;
        let addresses = nodes.iter().map(|(_, _, address)| *address).collect();
        let made = vec![false; nodes.len()];
        let files = files.to_owned();
        Ok((Containers { lab, image, plan, nodes, files, made, _reaper: reaper }, addresses))
    }

    pub(super) fn lab(&self) -> &str {
        &self.lab
    }

    fn container(&self, index: usize) -> String {
        format!("{}-{}", self.lab, self.nodes[index].0)
    }

    pub(super) fn start(&mut self, index: usize) -> io::Result<()> {
        if self.made[index] {
            return self.docker(index, "start");
        }
        let (name, role, address) = self.nodes[index].clone();
        let container = self.container(index);
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let (label, listen) = (self.lab.clone(), format!("0.0.0.0:{port}"));
        let list = format!("{}:/etc/coterie/seeds.csv:ro", self.files.join("seeds.csv").display());
        let logs = format!("{}:/logs", self.files.join("logs").display());
        let volume = format!("{container}:/data");
        let mut args = vec!["run", "--detach", "--name", &container, "--label", &label, "--network", &label];
        args.extend(["--ip", &ip, "--network-alias", &name, "--read-only", "--cap-drop", "ALL"]);
        args.extend(["--security-opt", "no-new-privileges:true", "--volume", &list, "--volume", &logs]);
        let extra = match role {
            Role::Seed => {
                run("docker", &["volume", "create", "--label", &label, &container])?;
                args.extend(["--volume", &volume, &self.image, "seed", &name, &port]);
                args.extend(["--listen", &listen, "--data-dir", "/data"]);
                &self.plan.seed_args
            }
            Role::Peer => {
                args.extend([&self.image[..], "peer", "auto", &port]);
                &self.plan.peer_args
            }
        };
        args.extend(["--config", "/etc/coterie/seeds.csv"]);
        args.extend(["--log-file", "/logs/outputfile_{role}_{port}.txt"]);
        args.extend(extra.iter().map(String::as_str));
        run("docker", &args)?;
        self.made[index] = true;
        Ok(())
    }

    /// `docker kill`, `stop`, `pause`, `unpause` or `start` of one container.
    pub(super) fn docker(&self, index: usize, verb: &str) -> io::Result<()> {
        run("docker", &[verb, &self.container(index)]).map(drop)
    }

    pub(super) fn lose_disk(&mut self, index: usize) -> io::Result<()> {
        let container = self.container(index);
        run("docker", &["rm", &container])?;
        run("docker", &["volume", "rm", &container])?;
        self.made[index] = false;
        Ok(())
    }

    pub(super) fn stderr(&self, index: usize) -> String {
        let logs = std::process::Command::new("docker").args(["logs", &self.container(index)]).output();
        logs.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default()
    }

    pub(super) fn disconnect(&self, index: usize) -> io::Result<()> {
        run("docker", &["network", "disconnect", &self.lab, &self.container(index)]).map(drop)
    }

    pub(super) fn connect(&self, index: usize, ip: IpAddr) -> io::Result<()> {
        let (name, ip) = (&self.nodes[index].0, ip.to_string());
        let args = ["network", "connect", "--ip", &ip, "--alias", name, &self.lab, &self.container(index)];
        run("docker", &args).map(drop)
    }

    /// The process in whose network namespace the node is; 0 while it does not run.
    pub(super) fn pid(&self, index: usize) -> io::Result<u32> {
        let pid = run("docker", &["inspect", "--format", "{{.State.Pid}}", &self.container(index)])?;
        pid.parse()
            .map_err(|_| io::Error::other(format!("{pid:?} is no process of {}", self.container(index))))
    }
}

/// Makes the lab's network and returns the first three numbers of its addresses. Others may have taken some.
fn make_network(lab: &str) -> io::Result<[u8; 3]> {
    let first = (std::process::id() % 200) as u8;
    let mut problem = io::Error::other("no network was tried");
    for offset in 0..SUBNETS {
        let [a, b] = NETWORK;
        let c = first.wrapping_add(offset.wrapping_mul(3)) % 250;
        let subnet = format!("{a}.{b}.{c}.0/24");
        let label = lab.to_owned();
        match run("docker", &["network", "create", "--subnet", &subnet, "--label", &label, lab]) {
            Ok(_) => return Ok([a, b, c]),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

//! The directory of a cluster: its seed list, its logs, its data, and `cluster.json` that tells where all that is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coterie_common::address::file_name_part;
use coterie_common::net::journal::file_name;
use coterie_common::{Address, Role};
use serde::{Deserialize, Serialize};

const RECORDS: &str = "cluster.json";
const LOCK: &str = "cluster.lock";
const SEEDS: &str = "config.csv";
const LOGS: &str = "outputfile_{role}_{port}.txt";

/// One node, as `cluster.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// `seed` or `peer`.
    pub role: String,
    /// Where it listens.
    #[serde(with = "as_text")]
    pub address: Address,
    /// Where it serves HTTP; none when it does not.
    pub http: Option<String>,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// Its log file.
    pub log: PathBuf,
    /// A seed's data directory.
    pub data: Option<PathBuf>,
}

mod as_text {
    use coterie_common::Address;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl NodeRecord {
    /// Its role.
    pub fn role(&self) -> Role {
        if self.role == "seed" { Role::Seed } else { Role::Peer }
    }
}

/// A cluster's directory, held by this process: nobody else runs a cluster in it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    nodes: Vec<NodeRecord>,
    _lock: File,
}

impl Directory {
    /// Takes the directory, making it if it is not there. `fresh` clears what an earlier cluster left.
    pub fn take(path: &Path, fresh: bool) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        fs::create_dir_all(path).map_err(named)?;
        let path = &path.canonicalize().map_err(named)?;
        let lock = lock(&path.join(LOCK)).map_err(named)?;
        let mut directory = Directory { path: path.clone(), nodes: Vec::new(), _lock: lock };
        directory.nodes = directory.read().map_err(named)?;
        if fresh {
            directory.clear().map_err(named)?;
        }
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The nodes of the cluster in it.
    pub fn nodes(&self) -> &[NodeRecord] {
        &self.nodes
    }

    /// The record of a node that would listen at `address`.
    pub fn record(&self, role: Role, address: Address) -> NodeRecord {
        let data = format!("seed_{}_{}", file_name_part(&address.ip().to_string()), address.port());
        NodeRecord {
            role: role.lower().to_owned(),
            address,
            http: None,
            pid: None,
            log: self.path.join(file_name(LOGS, role, address)),
            data: (role == Role::Seed).then(|| self.path.join("data").join(data)),
        }
    }

    /// Writes `cluster.json` and the seed list.
    pub fn write(&mut self, nodes: Vec<NodeRecord>) -> io::Result<()> {
        let seeds: String = nodes
            .iter()
            .filter(|node| node.role() == Role::Seed)
            .map(|node| format!("{},{}\n", node.address.ip(), node.address.port()))
            .collect();
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", self.path.display()));
        replace(&self.path.join(SEEDS), seeds.as_bytes()).map_err(named)?;
        let json = serde_json::to_vec_pretty(&nodes).map_err(io::Error::other)?;
        replace(&self.path.join(RECORDS), &json).map_err(named)?;
        self.nodes = nodes;
        Ok(())
    }

    fn read(&self) -> io::Result<Vec<NodeRecord>> {
        match fs::read(self.path.join(RECORDS)) {
            Ok(json) => {
                serde_json::from_slice(&json).map_err(|e| io::Error::other(format!("{RECORDS}: {e}")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Removes the files that a cluster made here, and nothing else.
    fn clear(&mut self) -> io::Result<()> {
        for node in std::mem::take(&mut self.nodes) {
            remove(fs::remove_file(&node.log))?;
            remove(fs::remove_file(stderr_of(&node)))?;
            if let Some(data) = node.data {
                remove(fs::remove_file(data.join("log.redb")))?;
                // What somebody else put there stays, and so does the directory then.
                let _ = fs::remove_dir(&data);
            }
        }
        let _ = fs::remove_dir(self.path.join("data"));
        remove(fs::remove_file(self.path.join(SEEDS)))?;
        remove(fs::remove_file(self.path.join(RECORDS)))
    }
}

/// Where a node's diagnostics go.
pub fn stderr_of(node: &NodeRecord) -> PathBuf {
    node.log.with_extension("stderr.txt")
}

/// The seed list of the cluster in `directory`.
pub fn seeds_of(directory: &Path) -> PathBuf {
    directory.join(SEEDS)
}

fn remove(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Replaces a file, so that a reader sees the old or the new one and nothing between.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, path)
}

/// Locks the file for as long as this process lives; fails with the pid of the one that has it.
fn lock(path: &Path) -> io::Result<File> {
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    if file.try_lock().is_err() {
        let pid = fs::read_to_string(path).unwrap_or_default();
        return Err(io::Error::other(format!("a cluster is live here, pid {}", pid.trim())));
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

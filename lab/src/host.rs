//! One host of a lab.

use std::path::PathBuf;

use coterie::cluster::Tail;
use coterie_common::{Address, Role};

/// A host with one node on it.
#[derive(Debug)]
pub struct LabHost {
    /// `seed1`, `peer3`.
    pub name: String,
    /// What it runs.
    pub role: Role,
    /// Where it is reached.
    pub address: Address,
    /// Its log file, on this machine.
    pub log: PathBuf,
    pub(crate) tail: Tail,
}

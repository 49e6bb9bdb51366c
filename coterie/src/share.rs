//! `coterie share`: a directory that everybody may write into.
//!
//! The image holds this program and nothing else, so the program itself prepares the directory of the host in which
//! containers without privileges keep their logs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coterie_common::net::process::Failure;

/// Reading, writing and entering for everybody; also removing, so that whoever owns the host's side can tidy up.
const EVERYBODY: u32 = 0o777;

/// Makes `directory`, if it is not there, and lets everybody write into it.
pub fn run(directory: &Path) -> Result<(), Failure> {
    let named = |e: std::io::Error| Failure::running(format!("{}: {e}", directory.display()));
    fs::create_dir_all(directory).map_err(named)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(EVERYBODY)).map_err(named)
}

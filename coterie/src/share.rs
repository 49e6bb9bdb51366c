//! `coterie share`: a directory that everybody may write into.
//!
//! The image holds this program and nothing else, so the program itself prepares the directory of the host in which
//! containers without privileges keep their logs.

use std::fs;
use std::path::Path;

use coterie_common::net::process::Failure;

/// Makes `directory`, if it is not there, and lets everybody write into it.
pub fn run(directory: &Path) -> Result<(), Failure> {
    let named = |e: std::io::Error| Failure::running(format!("{}: {e}", directory.display()));
    fs::create_dir_all(directory).map_err(named)?;
    open_to_everybody(directory).map_err(named)
}

#[cfg(unix)]
fn open_to_everybody(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    /// Reading, writing and entering for everybody; also removing, so that whoever owns the host's side can tidy up.
    const EVERYBODY: u32 = 0o777;
    fs::set_permissions(directory, fs::Permissions::from_mode(EVERYBODY))
}

/// Where there are no such permissions, a directory is as open as the one that it is in.
#[cfg(not(unix))]
fn open_to_everybody(_directory: &Path) -> std::io::Result<()> {
    Ok(())
}

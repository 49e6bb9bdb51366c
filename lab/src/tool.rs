//! Running the tools of this machine.

use std::io;
use std::process::{Command, Stdio};

/// Runs a tool to its end and returns what it printed; an error carries the command and what the tool said of it.
pub(super) fn run(tool: &str, args: &[&str]) -> io::Result<String> {
    let output = Command::new(tool).args(args).stdin(Stdio::null()).output();
    let failed = |why: &str| io::Error::other(format!("{tool} {}: {}", args.join(" "), why.trim()));
    let output = output.map_err(|e| failed(&e.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(failed(&String::from_utf8_lossy(&output.stderr))),
    }
}

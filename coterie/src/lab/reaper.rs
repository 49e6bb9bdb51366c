//! Tidying up, however this process ends.
//!
//! A shell waits for the end of its input, which only this process holds, and then runs the script. So it makes no
//! difference whether a lab is dropped, a test panics, or the process is killed.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Beside the files of a lab that are to stay.
const KEPT: &str = "kept";

/// Runs a script when this is dropped or this process has ended.
#[derive(Debug)]
pub struct Reaper {
    shell: Child,
}

impl Reaper {
    /// Waits to run `script`. What has been removed already must not stop it.
    pub fn new(script: &str) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", &format!("cat >/dev/null\n{script}")])
            // Ctrl-C at a terminal is for the whole group: not for the one who tidies up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Reaper { shell })
    }
}

/// The line of a script that removes a lab's files, unless somebody wants to look at them.
pub(super) fn remove_files(files: &Path) -> String {
    let files = files.display();
    format!("[ -e {files}/{KEPT} ] || rm -rf {files}\n")
}

/// Has the files of a lab stay.
pub(super) fn keep_files(files: &Path) -> io::Result<()> {
    std::fs::write(files.join(KEPT), "")
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

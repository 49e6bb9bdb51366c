//! Tidying up, however this process ends.
//!
//! A shell waits for the end of its input, which only this process holds, and then runs the script. So it makes no
//! difference whether a lab is dropped, a test panics, or the process is killed.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

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

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

//! Tidying up, however this process ends.
//!
//! A shell waits for the end of its input, which only this process holds, and then runs the script. So it makes no
//! difference whether a lab is dropped, a test panics, or the process is killed.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Beside the files of a lab that are to stay.
const KEPT: &str = "kept";

/// An orderly end says so; one that does not may have left a tool at work.
const WAIT: &str = r#"[ "$(cat)" = done ] || sleep 2"#;

const REMOVE_FILES: &str = r#"[ -e "$1/kept" ] || rm -rf -- "$1""#;

/// Runs a script when this is dropped or this process has ended.
#[derive(Debug)]
pub struct Reaper {
    shell: Child,
}

impl Reaper {
    /// Waits to run `script`, in which `$1` is `files`, and to remove those. What has been removed already must not
    /// stop it. After an unexpected end it first lets what was being made be made.
    pub fn new(script: &str, files: &Path) -> io::Result<Self> {
        let script = format!("{WAIT}\n{script}\n{REMOVE_FILES}");
        let shell = Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(files)
            // Ctrl-C at a terminal is for the whole group: not for the one who tidies up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Reaper { shell })
    }
}

/// Has the files of a lab stay.
pub(super) fn keep_files(files: &Path) -> io::Result<()> {
    std::fs::write(files.join(KEPT), "")
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(mut input) = self.shell.stdin.take() {
            let _ = input.write_all(b"done");
        }
        let _ = self.shell.wait();
    }
}

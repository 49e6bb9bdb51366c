//! One node's process.

use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use coterie_common::Role;
use coterie_common::clock::Clock;

use super::directory::{NodeRecord, seeds_of, stderr_of};
use super::signal::{self, NodeSignal};

/// How long a node may take to stop in order.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(4);

/// How often an ending process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The variable that names the process with which a node is to die; it must be the one that starts it.
pub const DIES_WITH: &str = "COTERIE_DIES_WITH";

/// Has the kernel kill this process when the one that started it ends, however that ends, if it was asked to.
pub fn die_with_parent() -> Result<(), String> {
    let Ok(parent) = std::env::var(DIES_WITH) else { return Ok(()) };
    signal::die_with(&parent)
}

/// How a node is started.
#[derive(Debug)]
pub struct Command {
    command: std::process::Command,
    stderr: std::path::PathBuf,
}

impl Command {
    /// The command that runs the node of `record` in `directory`. `command` is the program, or another that puts the
    /// program in its own place.
    pub fn new(
        mut command: std::process::Command,
        record: &NodeRecord,
        directory: &Path,
        args: &[String],
    ) -> Self {
        command
            .arg(&record.role)
            .arg(record.address.to_string())
            .arg("--config")
            .arg(seeds_of(directory))
            .arg("--log-file")
            .arg(&record.log)
            .args(args)
            .current_dir(directory)
            .env(DIES_WITH, std::process::id().to_string())
            .stdin(if record.role() == Role::Peer { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::null());
        if let Some(data) = &record.data {
            command.arg("--data-dir").arg(data);
        }
        Command { command, stderr: stderr_of(record) }
    }

    /// Starts it. It dies with the thread that calls this.
    pub fn spawn(mut self) -> io::Result<NodeProcess> {
        let stderr = File::options().create(true).append(true).open(&self.stderr);
        let stderr =
            stderr.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.stderr.display())))?;
        let mut child = self.command.stderr(stderr).spawn()?;
        let console = child.stdin.take();
        Ok(NodeProcess { child, console })
    }
}

/// A running node.
#[derive(Debug)]
pub struct NodeProcess {
    child: Child,
    console: Option<ChildStdin>,
}

impl NodeProcess {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Types a line at its console.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        match &mut self.console {
            Some(console) => writeln!(console, "{line}"),
            None => Err(io::Error::other("has no console")),
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.signal(NodeSignal::Kill);
    }

    /// SIGSTOP: it stands still, and its connections stay open.
    pub fn pause(&mut self) {
        self.signal(NodeSignal::Stop);
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal(NodeSignal::Continue);
    }

    /// SIGTERM: it leaves in order.
    pub fn terminate(&mut self) {
        self.signal(NodeSignal::Terminate);
        self.signal(NodeSignal::Continue);
    }

    fn signal(&mut self, signal: NodeSignal) {
        // Once it was waited for, its number may be another's.
        if self.is_alive() {
            signal::send(self.child.id(), signal);
        }
    }

    /// Waits until it has ended, and kills it after `patience`. Returns its exit code, if it ended by itself.
    pub fn wait_or_kill(&mut self, patience: Duration) -> Option<i32> {
        let clock = Clock::start();
        while let Ok(None) = self.child.try_wait() {
            if clock.now().since(coterie_common::Instant::START) >= patience {
                self.kill();
                let _ = self.child.wait();
                return None;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        self.child.wait().ok()?.code()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

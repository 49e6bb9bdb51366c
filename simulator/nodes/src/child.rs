//! A run in a process of its own.
//!
//! tokio numbers the tasks of a process one after the other, whichever runtime they belong to, and what is dropped in
//! which order when a host crashes follows from these numbers. So a run repeats to the millisecond only in a process
//! that does nothing else.

use std::process::{Command, Stdio};

use coterie_common::Instant;
use coterie_simulator::check::report::{RunReport, Violation};
use coterie_simulator::invariants;
use coterie_simulator::sink::Sink;
use serde::{Deserialize, Serialize};

use super::run;

/// What a child tells its parent, as one line of JSON.
#[derive(Serialize, Deserialize)]
enum Told {
    Kept(RunReport),
    Violated { invariant: String, at_nanos: u64, what: String },
}

/// Runs the schedule of that number in a new process of this program.
pub fn run_apart(number: u64, disks_lie: bool) -> Result<RunReport, Violation> {
    let failed = |what: String| Violation { invariant: "child", at: Instant::START, what };
    let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let mut command = Command::new(program);
    command.args(["--apart", "--from", &number.to_string()]);
    if disks_lie {
        command.arg("--lying-disks");
    }
    let output = command.stdin(Stdio::null()).output().map_err(|e| failed(e.to_string()))?;
    let told = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str(told.lines().last().unwrap_or_default()) {
        Ok(Told::Kept(report)) => Ok(report),
        Ok(Told::Violated { invariant, at_nanos, what }) => {
            let known = invariants::all().iter().map(|known| known.name()).find(|name| *name == invariant);
            Err(Violation { invariant: known.unwrap_or("panic"), at: Instant::from_nanos(at_nanos), what })
        }
        Err(_) => {
            Err(failed(format!("{}: {told}{}", output.status, String::from_utf8_lossy(&output.stderr))))
        }
    }
}

/// The child's part.
pub fn run_and_tell(number: u64, disks_lie: bool) {
    let told = match run(number, disks_lie, Sink::nobody()) {
        Ok(report) => Told::Kept(report),
        Err(Violation { invariant, at, what }) => {
            Told::Violated { invariant: invariant.to_owned(), at_nanos: at.as_nanos(), what }
        }
    };
    println!("{}", serde_json::to_string(&told).unwrap_or_default());
}

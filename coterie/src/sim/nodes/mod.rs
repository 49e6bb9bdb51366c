//! Real seeds and peers in one thread: real cores, shells, codecs and openraft, on simulated time, TCP and disks.
//!
//! Only under `--cfg coterie_simulated`, which makes the nodes' sockets those of turmoil, their clocks those of its
//! runtimes, and the log's writer a task: see `coterie_common::net::tcp` and `coterie_seed`'s `raft::runtime`. The
//! disks are ours. Every step of every core is seen by a tap and held against the same invariants as in the worlds of
//! models.
//!
//! What repeats: a number draws the plan, and everything that nodes log is the same in every run of it, to the
//! millisecond, which is turmoil's tick; if the run has a process to itself: see [`run_apart`]. What is left out:
//! packets that are lost (turmoil's TCP does not repeat them; they are held back and delivered late, which is what
//! TCP makes of loss), ICMP, processes that are paused.

mod acts;
mod child;
mod cluster;
mod disk;
mod hosts;
mod links;
mod plan;
mod seen;

use std::panic::{AssertUnwindSafe, catch_unwind};

use coterie_common::Instant;

pub use child::{run_and_tell, run_apart};

use super::run::{Report, Violation};
use super::tell::tell;
use cluster::Cluster;
use plan::Plan;

/// How a plan is to be run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Print what happens.
    pub is_told: bool,
    /// A planted bug: disks say that they have synced, and have not.
    pub disks_lie: bool,
}

/// Runs the plan of that number, held against all invariants.
pub fn run(number: u64, manner: Manner) -> Result<Report, Violation> {
    let plan = Plan::draw(number);
    if manner.is_told {
        tell(plan.to_string().trim_end());
    }
    let ran = catch_unwind(AssertUnwindSafe(|| Cluster::new(plan, manner).run()));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation { invariant: "panic", at: Instant::START, what: text.unwrap_or_default() })
    })
}

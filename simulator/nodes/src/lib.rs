//! Real seeds and peers in one thread: real cores, shells, codecs and openraft, on simulated time, TCP and disks.
//!
//! Only under `--cfg coterie_simulated`, which makes the nodes' sockets those of turmoil, their clocks those of its
//! runtimes, and the log's writer a task: see `coterie_common::net::tcp` and `coterie_seed`'s `raft::runtime`. The
//! disks are ours. Every step of every core is seen by a tap and held against the same invariants as in the worlds of
//! models.
//!
//! What repeats: a number draws the schedule, and everything that nodes log is the same in every run of it, to the
//! millisecond, which is turmoil's tick; if the run has a process to itself: see `run_apart`. What is left out:
//! packets that are lost (turmoil's TCP does not repeat them; they are held back and delivered late, which is what
//! TCP makes of loss), ICMP, processes that are paused.

#![cfg(coterie_simulated)]

mod acts;
mod child;
mod cluster;
pub mod command;
mod disk;
mod hosts;
mod links;
mod schedule;
mod seen;

use coterie_simulator::check::report::{RunReport, Violation};
use coterie_simulator::run::caught;
use coterie_simulator::sink::Sink;

pub use child::{run_and_tell, run_apart};

use cluster::SimulatedCluster;
use schedule::Schedule;

/// Runs the schedule of that number, held against all invariants. With `disks_lie` a bug is planted: disks say that
/// they have synced, and have not.
pub fn run(number: u64, disks_lie: bool, mut sink: Sink) -> Result<RunReport, Violation> {
    let schedule = Schedule::draw(number);
    sink.tell(schedule.to_string().trim_end());
    caught(|| SimulatedCluster::new(schedule, disks_lie, sink).run())
}

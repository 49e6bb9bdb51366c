//! The program `simulate-nodes`: runs of real nodes, as many as one likes.

use clap::Parser;
use coterie_common::net::process::Failure;
use coterie_simulator::check::marks::MARKS_OF_NODES;
use coterie_simulator::check::report::{RunReport, Violation};
use coterie_simulator::runner::{self, RunnerArgs, print};
use coterie_simulator::sink::Sink;

use super::{run, run_and_tell, run_apart};

/// What repeats a run, in the directory of this crate.
const PROGRAM: &str = "cargo sim";

/// Run real nodes with real logs, on simulated time, network and disks, and check that they keep every promise
#[derive(Parser, Clone, Debug)]
#[command(name = "simulate-nodes", version)]
pub struct SimulateNodesArgs {
    #[command(flatten)]
    runner: RunnerArgs,
    /// Plant a bug in the nodes' disks: they say that they have synced, and have not
    #[arg(long)]
    lying_disks: bool,
    /// One run, whose outcome is for the process that started this one
    #[arg(long, hide = true)]
    apart: bool,
}

/// Runs them, and fails at the first that fails.
pub fn execute(args: &SimulateNodesArgs) -> Result<(), Failure> {
    if args.apart {
        run_and_tell(args.runner.from.unwrap_or_default(), args.lying_disks);
        return Ok(());
    }
    let run_one = |number| run_one(args, number);
    let total = runner::run_all(&args.runner, PROGRAM, run_one, |number, what| fail(args, number, what))?;
    total.show(&args.runner, &MARKS_OF_NODES)
}

fn run_one(args: &SimulateNodesArgs, number: u64) -> Result<RunReport, Violation> {
    match args.runner.tell {
        true => run(number, args.lying_disks, Sink::to(|line| print(line))),
        false => run_apart(number, args.lying_disks),
    }
}

/// Says how to see the run again.
fn fail(args: &SimulateNodesArgs, number: u64, violation: &Violation) -> Failure {
    print(format_args!("run {number} violates {violation}"));
    let planted = if args.lying_disks { " --lying-disks" } else { "" };
    print(format_args!("again: {PROGRAM} --seeds 1 --threads 1 --tell --from {number}{planted}"));
    Failure::running(format!("run {number} violates {}", violation.invariant))
}

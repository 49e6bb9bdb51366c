//! Many runs, on all cores of this machine: what the program for models and that for real nodes share.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use coterie_common::Instant;
use coterie_common::clock::{Clock, entropy};
use coterie_common::net::process::Failure;

use crate::check::marks::Marks;
use crate::check::report::{RunReport, Violation};

/// How many runs, and what is printed of them.
#[derive(Args, Clone, Debug)]
pub struct RunnerArgs {
    /// How many runs [example: cargo sim --seeds 2000]
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub seeds: u64,
    /// The number of the first run; drawn afresh and printed, if it is not given
    #[arg(long, value_name = "S")]
    pub from: Option<u64>,
    /// Go on for so many minutes, instead of counting runs
    #[arg(long, value_name = "M")]
    pub minutes: Option<u64>,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = default_threads())]
    pub threads: usize,
    /// Print what happens in the run
    #[arg(long)]
    pub tell: bool,
    /// Print the marks that were reached, and fail when one of the listed ones was not
    #[arg(long)]
    pub marks: bool,
    /// Print the number and the digest of each run, in the order of the numbers: two programs that print the same
    /// behave the same
    #[arg(long)]
    pub digests: bool,
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What all runs came to.
#[derive(Debug, Default)]
pub struct Total {
    report: RunReport,
    digests: BTreeMap<u64, u64>,
    seconds: f64,
}

impl Total {
    fn add(&mut self, number: u64, report: &RunReport) {
        self.digests.insert(number, report.digest);
        self.report.simulated += report.simulated;
        self.report.events += report.events;
        self.report.steps += report.steps;
        self.report.marks.merge(&report.marks);
    }

    /// Prints it; fails where a mark was not reached that must be.
    pub fn show(&self, args: &RunnerArgs, marks_wanted: &[&'static str]) -> Result<(), Failure> {
        let RunReport { simulated, events, steps, marks, .. } = &self.report;
        print(format_args!(
            "{} runs kept every promise: {:.0} simulated seconds in {:.1} s, {events} events ({:.0}/s), {steps} steps of cores",
            self.digests.len(),
            simulated.as_secs_f64(),
            self.seconds,
            *events as f64 / self.seconds,
        ));
        if args.digests {
            self.digests.iter().for_each(|(number, digest)| print(format_args!("{number} {digest:016x}")));
        }
        if args.marks {
            marks.iter().for_each(|(mark, times)| print(format_args!("  {mark} {times}")));
            check_marks(marks, marks_wanted)?;
        }
        Ok(())
    }
}

fn check_marks(marks: &Marks, wanted: &[&'static str]) -> Result<(), Failure> {
    let missing = marks.missing(wanted);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::running(format!("marks that no run reached: {}", missing.join(", ")))),
    }
}

/// Runs them, each by `run_one`, until one fails, of which `explain` makes the failure. `program` is what repeats it.
pub fn run_all(
    args: &RunnerArgs,
    program: &str,
    run_one: impl Fn(u64) -> Result<RunReport, Violation> + Sync,
    explain: impl Fn(u64, &Violation) -> Failure,
) -> Result<Total, Failure> {
    let fresh = || u64::from_le_bytes(entropy()[..8].try_into().unwrap_or_default()) >> 24;
    let from = args.from.unwrap_or_else(fresh);
    print(format_args!("runs from {from}: {program} --from {from} --seeds {}", args.seeds));
    let clock = Clock::start();
    let limit = args.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let count = if limit.is_some() { u64::MAX - from } else { args.seeds };
    let is_over = || limit.is_some_and(|limit| clock.now() - Instant::START >= limit);
    // A run that panics has failed; what it would print is shown once, at the end.
    if !args.tell {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let next = AtomicU64::new(0);
    let (done, results) = mpsc::channel();
    let total = std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            let (done, next, run_one, is_over) = (done.clone(), &next, &run_one, &is_over);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || is_over() {
                        return;
                    }
                    if done.send((from + number, run_one(from + number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let total = collect(&results, &explain);
        next.store(u64::MAX / 2, Ordering::Relaxed);
        total
    });
    drop(std::panic::take_hook());
    let seconds = (clock.now() - Instant::START).as_secs_f64();
    total.map(|total| Total { seconds, ..total })
}

fn collect(
    results: &mpsc::Receiver<(u64, Result<RunReport, Violation>)>,
    explain: impl Fn(u64, &Violation) -> Failure,
) -> Result<Total, Failure> {
    let mut total = Total::default();
    for (number, result) in results {
        match result {
            Ok(report) => total.add(number, &report),
            Err(violation) => return Err(explain(number, &violation)),
        }
    }
    Ok(total)
}

/// Prints a line. A reader that has gone has read what it wanted: that is no failure of the run.
pub fn print(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

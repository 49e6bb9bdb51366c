//! `coterie sim`: runs of the simulation, as many as one likes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use coterie_common::clock::{Clock, entropy};
use coterie_common::net::options::parse_duration;
use coterie_common::net::process::Failure;

use super::marks::{MARKS, MARKS_OF_NODES, Marks};
use super::plan::{Plan, Restriction};
use super::run::{Report, Violation, run};
use super::sabotage::Sabotage;
use super::scenario::Scenario;
use super::shrink::shrink;
use super::tell::tell;

/// The options of `coterie sim`, as typed.
#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    /// How many runs [example: coterie sim --seeds 2000]
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// The number of the first run; drawn afresh and printed, if it is not given
    #[arg(long, value_name = "S")]
    from: Option<u64>,
    /// Go on for so many minutes, instead of counting runs
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = default_threads())]
    threads: usize,
    /// Print what happens in the run
    #[arg(long)]
    tell: bool,
    /// Plant a bug
    #[arg(long, value_name = "BUG")]
    plant: Option<Sabotage>,
    /// Print the marks that were reached, and fail when one of the listed ones was not
    #[arg(long)]
    marks: bool,
    /// Put one of the faults to a cluster by which papers measure such systems, and count what comes of it
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// Worlds of so many peers, instead of 5 to 30; 1,000 in a scenario
    #[arg(long, value_name = "N")]
    large: Option<usize>,
    /// Only so many peers: what a shrunk run is repeated with, as the next two
    #[arg(long, value_name = "N")]
    peers: Option<usize>,
    /// Only these faults of the plan, by their places; `none` for none
    #[arg(long, value_name = "LIST", value_parser = parse_places)]
    keep: Option<Places>,
    /// Real nodes with real logs, on simulated time, network and disks, instead of cores on models
    #[cfg(coterie_simulated)]
    #[arg(long)]
    nodes: bool,
    /// Plant a bug in real nodes' disks: they say that they have synced, and have not
    #[cfg(coterie_simulated)]
    #[arg(long, requires = "nodes")]
    lying_disks: bool,
    /// One run, whose outcome is for the process that started this one
    #[cfg(coterie_simulated)]
    #[arg(long, requires = "nodes", hide = true)]
    apart: bool,
    /// Chaos ends after this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    until: Option<Duration>,
}

impl SimArgs {
    /// Whether runs are of real nodes: only a simulated build has them.
    fn runs_nodes(&self) -> bool {
        #[cfg(coterie_simulated)]
        let runs_nodes = self.nodes;
        #[cfg(not(coterie_simulated))]
        let runs_nodes = false;
        runs_nodes
    }
}

/// Places of faults in a plan.
#[derive(Clone, Debug)]
struct Places(Vec<usize>);

fn parse_places(text: &str) -> Result<Places, String> {
    if text == "none" {
        return Ok(Places(Vec::new()));
    }
    let place = |part: &str| part.parse().map_err(|_| format!("{part:?} is no place of a fault"));
    text.split(',').map(place).collect::<Result<_, _>>().map(Places)
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What all runs came to.
#[derive(Debug, Default)]
struct Total {
    runs: u64,
    report: Report,
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.report.simulated += report.simulated;
        self.report.events += report.events;
        self.report.steps += report.steps;
        self.report.marks.merge(&report.marks);
    }
}

/// Runs them, and fails at the first that fails, after it was shrunk.
pub fn execute(args: &SimArgs) -> Result<(), Failure> {
    #[cfg(coterie_simulated)]
    if args.apart {
        super::nodes::run_and_tell(args.from.unwrap_or_default(), args.lying_disks);
        return Ok(());
    }
    if let Some(scenario) = args.scenario {
        return measure(scenario, args.from.unwrap_or(1), args.large.unwrap_or(1_000));
    }
    let fresh = || u64::from_le_bytes(entropy()[..8].try_into().unwrap_or_default()) >> 24;
    let from = args.from.unwrap_or_else(fresh);
    tell(format_args!("runs from {from}: coterie sim --from {from} --seeds {}", args.seeds));
    let clock = Clock::start();
    let limit = args.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let count = if limit.is_some() { u64::MAX - from } else { args.seeds };
    let next = AtomicU64::new(0);
    let (done, results) = mpsc::channel();
    // A run that panics has failed; what it would print is shown once, at the end.
    if !args.tell {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let total = std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let over =
                        limit.is_some_and(|limit| clock.now() - coterie_common::Instant::START >= limit);
                    if number >= count || over {
                        return;
                    }
                    let result = run_one(args, from + number);
                    if done.send((from + number, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let total = collect(args, &results);
        next.store(u64::MAX / 2, Ordering::Relaxed);
        total
    });
    drop(std::panic::take_hook());
    let total = total?;
    summarise(args, &total, (clock.now() - coterie_common::Instant::START).as_secs_f64())
}

fn run_one(args: &SimArgs, number: u64) -> Result<Report, Violation> {
    #[cfg(coterie_simulated)]
    if args.nodes {
        use super::nodes::{Manner, run, run_apart};
        return match args.tell {
            true => run(number, Manner { is_told: true, disks_lie: args.lying_disks }),
            false => run_apart(number, args.lying_disks),
        };
    }
    run(&plan(args, number), None)
}

/// A scenario's table, a row as soon as it is there.
fn measure(scenario: Scenario, number: u64, peers: usize) -> Result<(), Failure> {
    tell(format_args!(
        "{:>6} {:>7} {:>8} {:>9} {:>8} {:>6} {:>6} {:>10} {:>10} {:>8}",
        "peers",
        "faulty",
        "removed",
        "removals",
        "healthy",
        "views",
        "sizes",
        "confirmed",
        "one again",
        "reached"
    ));
    let time = |time: Option<Duration>| {
        time.map_or("-".to_owned(), |time| format!("{:.0} ms", time.as_secs_f64() * 1e3))
    };
    let result = scenario.run(number, peers, |peers, row| {
        tell(format_args!(
            "{peers:>6} {:>7} {:>8} {:>9} {:>8} {:>6} {:>6} {:>10} {:>10} {:>8}",
            row.faulty,
            row.faulty_removed,
            row.removals,
            row.healthy_removed,
            row.views,
            row.sizes,
            time(row.last_confirmation),
            time(row.one_again),
            row.reached.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0)),
        ));
    });
    result.map_err(|violation| Failure::running(format!("the scenario violates {violation}")))
}

fn plan(args: &SimArgs, number: u64) -> Plan {
    let restriction = Restriction {
        peers: args.peers,
        keep: args.keep.clone().map(|places| places.0),
        until: args.until.map(|until| until.as_millis() as u64),
    };
    let plan = args.large.map_or_else(|| Plan::draw(number), |peers| Plan::large(number, peers));
    let mut plan = plan.restricted(&restriction);
    plan.sabotage = args.plant;
    plan.is_told = args.tell;
    plan
}

fn collect(
    args: &SimArgs,
    results: &mpsc::Receiver<(u64, Result<Report, Violation>)>,
) -> Result<Total, Failure> {
    let mut total = Total::default();
    for (number, result) in results {
        match result {
            Ok(report) => total.add(&report),
            Err(violation) => return Err(fail(args, number, &violation)),
        }
    }
    Ok(total)
}

/// Shrinks the run, and says how to see it again.
fn fail(args: &SimArgs, number: u64, violation: &Violation) -> Failure {
    #[cfg(coterie_simulated)]
    if args.nodes {
        tell(format_args!("run {number} violates {violation}"));
        let planted = if args.lying_disks { " --lying-disks" } else { "" };
        tell(format_args!(
            "again: coterie sim --nodes --seeds 1 --threads 1 --tell --from {number}{planted}"
        ));
        return Failure::running(format!("run {number} violates {}", violation.invariant));
    }
    let mut plan = plan(args, number);
    tell(format_args!("run {number} violates {violation}"));
    tell(format_args!("  {} faults, {}", plan.faults.len(), plan.swarm));
    let planted = args.plant.map_or(String::new(), |bug| format!(" --plant {bug}"));
    plan.is_told = false;
    let is_whole = args.peers.is_none() && args.keep.is_none() && args.until.is_none();
    if is_whole {
        let (restriction, violation) = shrink(&plan, violation);
        let shrunk = plan.restricted(&restriction);
        tell(format_args!(
            "shrunk to {} faults, {} peers: {violation}",
            shrunk.faults.len(),
            shrunk.swarm.peers
        ));
        shrunk.faults.iter().for_each(|(at, fault)| tell(format_args!("  {at:>6} ms {fault:?}")));
        let large = args.large.map_or(String::new(), |peers| format!(" --large {peers}"));
        tell(format_args!(
            "again: coterie sim --seeds 1 --tell --from {number}{large}{restriction}{planted}"
        ));
    }
    Failure::running(format!("run {number} violates {}", violation.invariant))
}

fn summarise(args: &SimArgs, total: &Total, seconds: f64) -> Result<(), Failure> {
    let Report { simulated, events, steps, marks, .. } = &total.report;
    tell(format_args!(
        "{} runs kept every promise: {:.0} simulated seconds in {seconds:.1} s, {events} events ({:.0}/s), {steps} steps of cores",
        total.runs,
        simulated.as_secs_f64(),
        *events as f64 / seconds,
    ));
    if let Some(bug) = args.plant {
        return Err(Failure::running(format!("no run found the planted bug {bug}")));
    }
    if args.marks {
        marks.iter().for_each(|(mark, times)| tell(format_args!("  {mark} {times}")));
        check_marks(marks, if args.runs_nodes() { &MARKS_OF_NODES } else { &MARKS })?;
    }
    Ok(())
}

fn check_marks(marks: &Marks, wanted: &[&'static str]) -> Result<(), Failure> {
    let missing = marks.missing(wanted);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::running(format!("marks that no run reached: {}", missing.join(", ")))),
    }
}

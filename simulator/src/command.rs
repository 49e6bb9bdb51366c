//! The program `simulate`: runs of models, as many as one likes.

use std::time::Duration;

use clap::Parser;
use coterie_common::net::options::parse_duration;
use coterie_common::net::process::Failure;

use crate::check::marks::MARKS;
use crate::check::report::{RunReport, Violation};
use crate::plan::planted_bug::PlantedBug;
use crate::plan::{Plan, Restriction};
use crate::run;
use crate::runner::{self, RunnerArgs, print};
use crate::scenario::Scenario;
use crate::shrink::shrink;
use crate::sink::Sink;

/// What repeats a run.
const PROGRAM: &str = "cargo sim";

/// Run simulated clusters through faults, and check that they keep every promise
#[derive(Parser, Clone, Debug)]
#[command(name = "simulate", version)]
pub struct SimulateArgs {
    #[command(flatten)]
    runner: RunnerArgs,
    /// Plant a bug, which is to be found
    #[arg(long, value_name = "BUG")]
    plant: Option<PlantedBug>,
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
    /// Chaos ends after this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    until: Option<Duration>,
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

/// Runs them, and fails at the first that fails, after it was shrunk.
pub fn execute(args: &SimulateArgs) -> Result<(), Failure> {
    if let Some(scenario) = args.scenario {
        return measure(scenario, args.runner.from.unwrap_or(1), args.large.unwrap_or(1_000));
    }
    let run_one = |number| run_one(args, number);
    let total = runner::run_all(&args.runner, PROGRAM, run_one, |number, what| fail(args, number, what))?;
    total.show(&args.runner, &MARKS)?;
    match args.plant {
        Some(bug) => Err(Failure::running(format!("no run found the planted bug {bug}"))),
        None => Ok(()),
    }
}

fn run_one(args: &SimulateArgs, number: u64) -> Result<RunReport, Violation> {
    let sink = if args.runner.tell { Sink::to(|line| print(line)) } else { Sink::nobody() };
    run::tell(&plan(args, number), None, sink)
}

/// A scenario's table, a row as soon as it is there.
fn measure(scenario: Scenario, number: u64, peers: usize) -> Result<(), Failure> {
    print(format_args!(
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
        print(format_args!(
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

fn plan(args: &SimulateArgs, number: u64) -> Plan {
    let restriction = Restriction {
        peers: args.peers,
        keep: args.keep.clone().map(|places| places.0),
        until: args.until.map(|until| until.as_millis() as u64),
    };
    let plan = args.large.map_or_else(|| Plan::draw(number), |peers| Plan::large(number, peers));
    let mut plan = plan.restricted(&restriction);
    plan.planted_bug = args.plant;
    plan
}

/// Shrinks the run, and says how to see it again.
fn fail(args: &SimulateArgs, number: u64, violation: &Violation) -> Failure {
    let plan = plan(args, number);
    print(format_args!("run {number} violates {violation}"));
    print(format_args!("  {} faults, {}", plan.faults.len(), plan.swarm));
    let planted = args.plant.map_or(String::new(), |bug| format!(" --plant {bug}"));
    let is_whole = args.peers.is_none() && args.keep.is_none() && args.until.is_none();
    if is_whole {
        let (restriction, violation) = shrink(&plan, violation);
        let shrunk = plan.restricted(&restriction);
        print(format_args!(
            "shrunk to {} faults, {} peers: {violation}",
            shrunk.faults.len(),
            shrunk.swarm.peers
        ));
        shrunk.faults.iter().for_each(|(at, fault)| print(format_args!("  {at:>6} ms {fault:?}")));
        let large = args.large.map_or(String::new(), |peers| format!(" --large {peers}"));
        print(format_args!("again: {PROGRAM} --seeds 1 --tell --from {number}{large}{restriction}{planted}"));
    }
    Failure::running(format!("run {number} violates {}", violation.invariant))
}

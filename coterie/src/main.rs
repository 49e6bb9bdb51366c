//! The program `coterie`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use coterie::ask::{self, AnySeed, SeedAddress};
use coterie::bench::{BenchArgs, run as run_bench};
use coterie::sim::command::{SimArgs, execute as run_sim};
use coterie::up::{UpArgs, run as run_up};
use coterie_common::message::SeedChange;
use coterie_common::net::options::parse;
use coterie_common::net::process::{self, Failure, exit};
use coterie_peer::shell::PeerArgs;
use coterie_seed::shell::SeedArgs;

/// Knows who is in the cluster now
#[derive(Parser, Debug)]
#[command(name = "coterie", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a seed [example: coterie seed 127.0.0.1 5011]
    Seed(SeedArgs),
    /// Run a peer [example: coterie peer 127.0.0.1 6001]
    Peer(PeerArgs),
    /// Run a whole cluster of processes on this machine [example: coterie up --peers 9]
    Up(UpArgs),
    /// Show the members [example: coterie members --seed 127.0.0.1:5011]
    Members {
        #[command(flatten)]
        seed: SeedAddress,
        /// Wait for everything that was answered anywhere before, by way of the leader
        #[arg(long)]
        linearizable: bool,
    },
    /// Show changes of the view as they come [example: coterie watch --seed 127.0.0.1:5011 --for 1m]
    Watch {
        #[command(flatten)]
        seed: SeedAddress,
        /// End after this time
        #[arg(long = "for", value_name = "TIME", value_parser = coterie_common::net::options::parse_duration)]
        limit: Option<Duration>,
    },
    /// Have a peer broadcast a message [example: coterie send --seed 127.0.0.1:5011 hello]
    Send {
        #[command(flatten)]
        seed: SeedAddress,
        /// What is said
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Show how a seed is: leader, term, epoch, counters [example: coterie status --seed 127.0.0.1:5011]
    Status {
        #[command(flatten)]
        seed: SeedAddress,
    },
    /// Have a running cluster take one more seed [example: coterie seed-add 127.0.0.1:5014]
    SeedAdd {
        /// The new seed; start it with a list that has all seeds and itself
        address: String,
        #[command(flatten)]
        seed: AnySeed,
    },
    /// Have a running cluster do without a seed [example: coterie seed-remove 127.0.0.1:5013]
    SeedRemove {
        /// The seed that goes; it stops when it hears of it
        address: String,
        #[command(flatten)]
        seed: AnySeed,
    },
    /// Give the place of a seed that lost its data directory to a new one at the same address [example: coterie
    /// seed-replace 127.0.0.1:5013]
    SeedReplace {
        /// The seed that lost its directory; start it again afterwards, with an empty one
        address: String,
        #[command(flatten)]
        seed: AnySeed,
    },
    /// Let everybody write into a directory, such as that of the logs of containers [example: coterie share logs]
    Share {
        /// The directory; made if it is not there
        directory: PathBuf,
    },
    /// Run simulated clusters through faults, and check that they keep every promise [example: coterie sim --seeds 500]
    Sim(SimArgs),
    /// Measure [example: coterie bench detect]
    Bench(BenchArgs),
}

fn main() -> ExitCode {
    if let Err(problem) = coterie::cluster::process::die_with_parent() {
        return exit("coterie", Err(Failure::running(problem)));
    }
    // The processes that `up` starts die with this thread, which lives as long as this process.
    let command = match parse::<Cli>() {
        Ok(cli) => cli.command,
        Err(failure) => return exit("coterie", Err(failure)),
    };
    match command {
        Command::Seed(args) => exit("seed", args.execute()),
        Command::Peer(args) => exit("peer", args.execute()),
        Command::Up(args) => exit("coterie", process::block_on(run_up(args))),
        Command::Members { seed, linearizable } => {
            exit("coterie", process::block_on(ask::members(seed, linearizable)))
        }
        Command::Watch { seed, limit } => exit("coterie", process::block_on(ask::watch(seed, limit))),
        Command::Send { seed, words } => exit("coterie", process::block_on(ask::send(seed, words.join(" ")))),
        Command::Status { seed } => exit("coterie", process::block_on(ask::status(seed))),
        Command::SeedAdd { address, seed } => {
            exit("coterie", process::block_on(ask::change_seeds(seed, SeedChange::Add(address))))
        }
        Command::SeedRemove { address, seed } => {
            exit("coterie", process::block_on(ask::change_seeds(seed, SeedChange::Remove(address))))
        }
        Command::SeedReplace { address, seed } => {
            exit("coterie", process::block_on(ask::change_seeds(seed, SeedChange::Replace(address))))
        }
        Command::Share { directory } => exit("coterie", coterie::share::run(&directory)),
        Command::Sim(args) => exit("coterie", run_sim(&args)),
        Command::Bench(args) => exit("coterie", run_bench(args)),
    }
}

//! What the program can do: its commands, as they are typed and run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use coterie_common::message::SeedChange;
use coterie_common::net::options::parse_duration;
use coterie_common::net::process::{Failure, block_on, exit};
use coterie_common::seed_list::canonical;
use coterie_peer::shell::PeerArgs;
use coterie_seed::shell::SeedArgs;

use crate::ask::{self, AnySeed};
use crate::bench::{self, BenchArgs};
use crate::share;
use crate::up::{self, UpArgs};

/// One command, parsed.
#[derive(Subcommand, Debug)]
#[allow(missing_docs, reason = "which seed a command asks is told by the options themselves")]
pub enum Command {
    /// Run a seed [example: coterie seed 127.0.0.1 5011]
    Seed(SeedArgs),
    /// Run a peer [example: coterie peer 127.0.0.1 6001]
    Peer(PeerArgs),
    /// Run a whole cluster of processes on this machine [example: coterie up --peers 9]
    Up(UpArgs),
    /// Show the members [example: coterie members]
    Members {
        #[command(flatten)]
        seed: AnySeed,
        /// Wait for everything that was answered anywhere before, by way of the leader
        #[arg(long)]
        linearizable: bool,
    },
    /// Show changes of the view as they come [example: coterie watch --seed 127.0.0.1:5011 --for 1m]
    Watch {
        #[command(flatten)]
        seed: AnySeed,
        /// End after this time
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        limit: Option<Duration>,
    },
    /// Have a peer broadcast a message [example: coterie send hello]
    Send {
        #[command(flatten)]
        seed: AnySeed,
        /// What is said
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Show how a seed is: leader, term, epoch, what is wrong, counters [example: coterie status --seed 127.0.0.1:5011]
    Status {
        #[command(flatten)]
        seed: AnySeed,
        /// Tell under each counter what it counts
        #[arg(long)]
        explain: bool,
    },
    /// Have a running cluster take one more seed [example: coterie seed-add 127.0.0.1:5014]
    SeedAdd {
        /// The new seed; start it with a list that has all seeds and itself
        #[arg(value_name = "IP:PORT", value_parser = canonical)]
        address: String,
        #[command(flatten)]
        seed: AnySeed,
    },
    /// Have a running cluster do without a seed [example: coterie seed-remove 127.0.0.1:5013]
    SeedRemove {
        /// The seed that goes; it stops when it hears of it
        #[arg(value_name = "IP:PORT", value_parser = canonical)]
        address: String,
        #[command(flatten)]
        seed: AnySeed,
    },
    /// Give the place of a seed that lost its data directory to a new one at the same address [example: coterie
    /// seed-replace 127.0.0.1:5013]
    SeedReplace {
        /// The seed that lost its directory; start it again afterwards, with an empty one
        #[arg(value_name = "IP:PORT", value_parser = canonical)]
        address: String,
        /// Also where that seed has its directory and takes part: it ends
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        seed: AnySeed,
    },
    /// Let everybody write into a directory, such as that of the logs of containers [example: coterie share logs]
    Share {
        /// The directory; made if it is not there
        directory: PathBuf,
    },
    /// Measure [example: coterie bench detect]
    Bench(BenchArgs),
}

impl Command {
    /// Runs it to its end.
    pub fn execute(self) -> ExitCode {
        let (name, result) = match self {
            Command::Seed(args) => ("seed", args.execute()),
            Command::Peer(args) => ("peer", args.execute()),
            Command::Up(args) => ("coterie", block_on(up::run(args))),
            Command::Members { seed, linearizable } => {
                ("coterie", block_on(ask::members(seed, linearizable)))
            }
            Command::Watch { seed, limit } => ("coterie", block_on(ask::watch(seed, limit))),
            Command::Send { seed, words } => ("coterie", block_on(ask::send(seed, words.join(" ")))),
            Command::Status { seed, explain } => ("coterie", block_on(ask::status(seed, explain))),
            Command::SeedAdd { address, seed } => ("coterie", change(seed, SeedChange::Add(address))),
            Command::SeedRemove { address, seed } => ("coterie", change(seed, SeedChange::Remove(address))),
            Command::SeedReplace { address, force, seed } => {
                ("coterie", change(seed, SeedChange::Replace { address, force }))
            }
            Command::Share { directory } => ("coterie", share::run(&directory)),
            Command::Bench(args) => ("coterie", bench::run(args)),
        };
        exit(name, result)
    }
}

fn change(seed: AnySeed, change: SeedChange) -> Result<(), Failure> {
    block_on(ask::change_seeds(seed, change))
}

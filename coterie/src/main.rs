//! The program `coterie`.

use std::process::ExitCode;

use clap::Parser;
use coterie::cluster::process::die_with_parent;
use coterie::command::Command;
use coterie_common::net::options::parse;
use coterie_common::net::process::{Failure, exit};

/// Knows who is in the cluster now
#[derive(Parser, Debug)]
#[command(name = "coterie", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // The processes that `up` starts die with this thread, which lives as long as this process.
    if let Err(problem) = die_with_parent() {
        return exit("coterie", Err(Failure::running(problem)));
    }
    match parse::<Cli>() {
        Ok(cli) => cli.command.execute(),
        Err(failure) => exit("coterie", Err(failure)),
    }
}

//! The program `lab`: the operator's program, and what measures clusters whose nodes are hosts of their own.
//!
//! It is the operator's program too because a network namespace is entered by running one program in it: seeds, peers,
//! and questions to them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use coterie::cluster::process::die_with_parent;
use coterie_common::net::options::parse;
use coterie_common::net::process::{self, Failure, exit};
use coterie_lab::bench::{self, HostsArgs};

/// Clusters on hosts of their own, containers or network namespaces
#[derive(Parser, Debug)]
#[command(name = "lab", version)]
struct LabCli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// From the death of a host (killed, paused, disconnected) to the last DEAD_CONFIRMED [example: lab hosts
    /// --deaths 5]
    Hosts(HostsArgs),
    #[command(flatten)]
    Operator(coterie::command::Command),
}

fn main() -> ExitCode {
    if let Err(problem) = die_with_parent() {
        return exit("lab", Err(Failure::running(problem)));
    }
    match parse::<LabCli>().map(|cli| cli.command) {
        Ok(Command::Hosts(args)) => {
            let result = process::prepare().and_then(|()| bench::run(&args));
            exit("lab", result)
        }
        Ok(Command::Operator(command)) => command.execute(),
        Err(failure) => exit("lab", Err(failure)),
    }
}

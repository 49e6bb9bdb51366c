//! Measurements, of real processes and real sockets.

mod detect;
mod figures;
mod hosts;
mod logs;
mod register;

use clap::{Args, Subcommand};
use coterie_common::net::process::{self, Failure};

pub use figures::Figures;

/// What is to be measured.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// From kill -9 of a peer to DEAD_CONFIRMED at the last survivor and the last seed
    Detect(detect::DetectArgs),
    /// From the death of a host (killed, paused, disconnected) to the last DEAD_CONFIRMED
    Hosts(hosts::HostsArgs),
    /// Registrations a second: the commit path alone, and complete
    Register(register::RegisterArgs),
}

/// Measures.
pub fn run(args: BenchArgs) -> Result<(), Failure> {
    process::prepare();
    match args.what {
        What::Detect(args) => detect::run(&args),
        What::Hosts(args) => hosts::run(&args),
        What::Register(args) => register::run(&args),
    }
}

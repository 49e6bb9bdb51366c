//! Measurements, of real processes and real sockets.

mod crowd;
mod detect;
mod figures;
mod floor;
mod form;
pub mod logs;
mod processes;
mod register;
mod sessions;
pub mod stub_peer;

use std::path::Path;

use clap::{Args, Subcommand};
use coterie_common::net::process::{self, Failure};

pub use figures::Figures;

/// What is to be measured.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: Benchmark,
}

#[derive(Subcommand, Clone, Debug)]
enum Benchmark {
    /// From kill -9 of a peer to DEAD_CONFIRMED at the last survivor and the last seed
    Detect(detect::DetectArgs),
    /// A crowd of peers on this machine: how it forms, and what it does when the machine is taken away from it
    Crowd(crowd::CrowdArgs),
    /// Thousands of peers in this process beside 3 seeds: how they form, a newcomer, and a mass death
    Form(form::FormArgs),
    /// What is killed to measure the floor
    #[command(hide = true)]
    Hold(floor::HoldArgs),
    /// Registrations a second: the commit path alone, and complete
    Register(register::RegisterArgs),
    /// What idle sessions cost a seed, and what a join costs it that has to tell all of them
    Sessions(sessions::SessionsArgs),
}

/// Measures something whose files are in the directory that is wished, or in a temporary one. That goes with the
/// measurement, unless something went wrong that is to be looked up.
fn in_directory<T>(
    wished: Option<&Path>,
    measure: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let temporary = || std::env::temp_dir().join(format!("coterie-bench-{}", std::process::id()));
    let directory = wished.map_or_else(temporary, Path::to_owned);
    let result = measure(&directory);
    if wished.is_none() && result.is_ok() {
        let _ = std::fs::remove_dir_all(&directory);
    }
    result
}

/// Measures.
pub fn run(args: BenchArgs) -> Result<(), Failure> {
    process::prepare()?;
    match args.what {
        Benchmark::Detect(args) => detect::run(&args),
        Benchmark::Crowd(args) => crowd::run(&args),
        Benchmark::Form(args) => form::run(&args),
        Benchmark::Hold(args) => floor::hold(&args),
        Benchmark::Register(args) => register::run(&args),
        Benchmark::Sessions(args) => sessions::run(&args),
    }
}

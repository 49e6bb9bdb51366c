//! The program `simulate`.

use std::process::ExitCode;

use coterie_common::net::options::parse;
use coterie_common::net::process::exit;
use coterie_simulator::command::{SimulateArgs, execute};

fn main() -> ExitCode {
    exit("simulate", parse::<SimulateArgs>().and_then(|args| execute(&args)))
}

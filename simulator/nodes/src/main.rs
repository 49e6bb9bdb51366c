//! The program `simulate-nodes`.

use std::process::ExitCode;

#[cfg(coterie_simulated)]
fn main() -> ExitCode {
    use coterie_common::net::options::parse;
    use coterie_common::net::process::exit;
    use coterie_simulator_nodes::command::{SimulateNodesArgs, execute};

    exit("simulate-nodes", parse::<SimulateNodesArgs>().and_then(|args| execute(&args)))
}

#[cfg(not(coterie_simulated))]
fn main() -> ExitCode {
    eprintln!("simulate-nodes: built for real time; run `cargo sim` in the directory simulator/nodes");
    ExitCode::from(2)
}

//! The program `peer`.

fn main() -> std::process::ExitCode {
    coterie_peer::shell::main()
}

//! The program `seed`.

fn main() -> std::process::ExitCode {
    coterie_seed::shell::main()
}

//! The `tilld` program: arguments → command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tilld::cli::main()
}

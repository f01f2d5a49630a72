//! The `tilld` program: arguments → command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tilld::app::cli::main()
}

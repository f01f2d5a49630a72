//! The `tilld` program: arguments → command. The only user of anyhow.

use std::process::ExitCode;

fn main() -> ExitCode {
    tilld::cli::main()
}

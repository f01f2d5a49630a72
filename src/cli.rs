//! The command line: arguments → command. Commands print, the rest of the program does not.

pub mod init;
pub mod post;
pub mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Flags;

/// Billing infrastructure in one binary and one SQLite file.
#[derive(Parser)]
#[command(name = "tilld", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::Arguments),
}

/// Runs the program and returns its exit status: 0 done, 1 failed, 2 wrong use or wrong configuration.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments, &Flags::default()),
    }
}

//! `tilld serve`: the daemon in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Flags, Purpose, Surroundings};
use crate::daemon;

/// Flags of `tilld serve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the daemon until a signal ends it.
#[must_use]
pub fn run(arguments: &Arguments, flags: &Flags) -> ExitCode {
    let flags = Flags { config: arguments.config.clone(), ..flags.clone() };
    let config = match config::load(&flags, &Surroundings::of_process(), Purpose::Serve) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    daemon::start_logging(&config);
    match daemon::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

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
    let config = match Surroundings::of_process()
        .map_err(|e| e.to_string())
        .and_then(|around| config::load(&flags, &around, Purpose::Serve).map_err(|e| e.to_string()))
    {
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

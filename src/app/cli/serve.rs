//! `tilld serve`: the daemon in the foreground. Called by the command line; its flags also by `dev`. It must never run with a
//! configuration that has a fault.

use crate::app::cli::CommandError;
use crate::app::config::{self, ConfigSources, Flags, Purpose};
use crate::app::daemon;
use crate::app::logging;

/// Flags of `tilld serve` and `tilld dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArguments {
    /// What is logged: error, warn, info, debug, trace, or levels by module
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Address for Stripe's webhooks: host:port or unix:/path; with port 0 the system chooses one
    #[arg(long, value_name = "ADDRESS")]
    public_listen: Option<String>,
    /// Address for the application and operators
    #[arg(long, value_name = "ADDRESS")]
    private_listen: Option<String>,
}

impl ServeArguments {
    /// These flags on top of the global ones.
    #[must_use]
    pub(crate) fn onto(self, flags: &Flags) -> Flags {
        Flags { log: self.log, public_listen: self.public_listen, private_listen: self.private_listen, ..flags.clone() }
    }
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// A wrong configuration; or it did not start, or ended badly.
pub(crate) fn run(arguments: ServeArguments, flags: &Flags) -> Result<(), CommandError> {
    let config = config::load(&arguments.onto(flags), &ConfigSources::of_process(), Purpose::Serve)?;
    logging::start(&config);
    Ok(daemon::run(&config)?)
}

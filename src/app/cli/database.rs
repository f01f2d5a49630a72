//! The configured database, open for one command. Works beside a running daemon: SQLite lets both in. It must never
//! create or migrate a file: the daemon and `tilld migrate` do. Called by the commands.

use crate::app::cli::CommandError;
use crate::app::config::{self, Config, ConfigSources, Flags, Purpose};
use crate::base::clock::{Clock, SystemClock};
use crate::base::thread::Threads;
use crate::jobs::operator::Operator;
use crate::store::Store;

/// The configuration for a command that is not the daemon.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn config(flags: &Flags) -> Result<Config, CommandError> {
    Ok(config::load(flags, &ConfigSources::of_process(), Purpose::Tool)?)
}

/// Opens the database, works, and closes it again.
///
/// # Errors
/// When there is none or it cannot be used; and those of `work`.
pub(crate) fn with_store<T>(
    config: &Config,
    work: impl FnOnce(&Store) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let path = &config.database;
    if !path.exists() {
        let message = format!(
            "the database {} does not exist: name another one with --database, or start `tilld serve`, which creates it",
            path.display()
        );
        return Err(CommandError::failed(message));
    }
    let (store, writer) = Store::open(path, &Threads::default())?;
    let outcome = work(&store);
    drop(store);
    writer.join();
    outcome
}

/// The person at the command line, now.
#[must_use]
pub(crate) fn operator() -> Operator {
    Operator { actor: "cli", now_ms: SystemClock.now_ms() }
}

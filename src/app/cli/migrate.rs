//! `tilld migrate`: shows the schema of the database, and moves it up and down. It must never change a file without a copy
//! beside it, nor one that a daemon works on. Called by the command line.

use std::io::Write;
use std::path::Path;

use crate::app::cli::{CommandError, database, table};
use crate::app::config::Flags;
use crate::base::clock::{Clock, SystemClock};
use crate::store::engine::damage;
use crate::store::engine::lock::{self, Lock};
use crate::store::engine::schema::{self, CURRENT, Migrated};

/// What to do with the schema.
#[derive(clap::Subcommand)]
pub(crate) enum MigrateCommand {
    /// List the migrations and whether each is applied
    #[command(after_help = "Example: tilld migrate status --database tilld.db")]
    Status,
    /// Migrate to the newest schema, after copying the file; `tilld serve` does it, too
    #[command(after_help = "Example: tilld migrate up")]
    Up,
    /// Migrate down to an older schema, after copying the file; refused while a daemon runs
    #[command(after_help = "Example: tilld migrate down --to 3")]
    Down {
        /// The schema to migrate down to; 0 removes everything
        #[arg(long, value_name = "N")]
        to: u32,
    },
}

/// Runs one of them.
///
/// # Errors
/// When the database cannot be used, or a step fails; then the file is unchanged.
pub(crate) fn run(command: MigrateCommand, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let path = database::config(flags)?.database;
    let now_ms = SystemClock.now_ms();
    match command {
        MigrateCommand::Status => {
            let steps = schema::status(&path)?;
            let row = |step: &schema::StepStatus| {
                let state = if step.applied { "applied" } else { "not applied" };
                vec![step.version.to_string(), step.name.to_owned(), state.to_owned()]
            };
            Ok(table::columns(out, &["SCHEMA", "STEP", "STATE"], &steps.iter().map(row).collect::<Vec<_>>())?)
        }
        MigrateCommand::Up => {
            let _lock = if schema::version_of(&path)? < CURRENT { Some(alone_with(&path)?) } else { None };
            report(&schema::up(&path, now_ms)?, out)
        }
        MigrateCommand::Down { to } => {
            let from = schema::version_of(&path)?;
            if to > from {
                let message = format!("--to {to}: the database has schema {from}; `tilld migrate up` brings it up");
                return Err(CommandError::wrong_use(message));
            }
            let _lock = if schema::version_of(&path)? > to { Some(alone_with(&path)?) } else { None };
            report(&schema::down(&path, to, now_ms)?, out)
        }
    }
}

/// The file may be changed: no daemon works on it, and it is whole. Where nothing is to be done, a running daemon
/// does not matter.
fn alone_with(path: &Path) -> Result<Lock, CommandError> {
    let lock = lock::take(path)?;
    damage::look(path)?;
    Ok(lock)
}

fn report(migrated: &Migrated, out: &mut dyn Write) -> Result<(), CommandError> {
    if migrated.from == migrated.to {
        writeln!(out, "schema {}: nothing to do", migrated.to)?;
        return Ok(());
    }
    writeln!(out, "schema {} -> {}", migrated.from, migrated.to)?;
    if let Some(copy) = &migrated.copy {
        writeln!(out, "copy of the file as it was: {}", copy.display())?;
    }
    Ok(())
}

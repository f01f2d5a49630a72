//! `tilld retries list`: events that failed and wait for their next attempt. It must never change them. Called by the command
//! line.

use std::io::Write;

use crate::app::cli::table::{ListOptions, PageOptions};
use crate::app::cli::{CommandError, database};
use crate::app::config::Flags;
use crate::http::admin;
use crate::store::retries::{self, Retry};

/// What to do with the queue.
#[derive(clap::Subcommand)]
pub(crate) enum RetriesCommand {
    /// List them, the next due first
    #[command(after_help = "Example: tilld retries list --json")]
    List(PageOptions),
}

const LIST: ListOptions<Retry> = ListOptions {
    what: "retries",
    head: &["ID", "TYPE", "ATTEMPTS", "NEXT", "ERROR"],
    cells: |row, times| {
        let attempts = format!("{} of {}", row.retry_count, row.max_retries);
        vec![row.event_id.clone(), row.event_type.clone(), attempts, times.ms(row.due_ms), row.last_error.clone()]
    },
    json: |retry| serde_json::json!(admin::retry(retry)),
    id: |row| &row.event_id,
};

/// Prints the queue.
///
/// # Errors
/// When the database cannot be read.
pub(crate) fn list(page: &PageOptions, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    let rows = database::with_store(&config, |store| {
        Ok(store.read(|reader| retries::list(reader, page.starting_after.as_deref(), page.fetch()))?)
    })?;
    page.print(&rows, &LIST, out)
}

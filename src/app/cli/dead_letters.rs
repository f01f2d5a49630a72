//! `tilld dead-letters`: lists, shows, replays and discards events that failed too often. Works on the file, whether or not a
//! daemon runs. It must never project. Called by the command line.

use std::io::Write;

use serde_json::json;

use crate::app::cli::events::EventSelection;
use crate::app::cli::table::{self, ListOptions, PageOptions, time_ms};
use crate::app::cli::{CommandError, database, reach};
use crate::app::config::Flags;
use crate::http::admin;
use crate::jobs::operator;
use crate::store::dead_letters::{self, DeadLetter};
use crate::store::{Store, StoreError, StoreReader};

/// What to do with them.
#[derive(clap::Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, newest first
    #[command(after_help = "Example: tilld dead-letters list --type invoice.paid")]
    List {
        /// Only events of this type
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// How many, and how they are printed
        #[command(flatten)]
        page: PageOptions,
    },
    /// Show one dead letter; `tilld events show` has its attempts and its payload
    #[command(after_help = "Example: tilld dead-letters show evt_1")]
    Show {
        /// The event's id
        id: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Process dead letters again
    #[command(after_help = "Example: tilld dead-letters replay --type invoice.paid")]
    Replay(EventSelection),
    /// Discard one for good; the event stays in the log as ignored
    #[command(after_help = "Example: tilld dead-letters discard evt_1 --reason 'test data'")]
    Discard {
        /// The event's id
        id: String,
        /// The reason, for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

const LIST: ListOptions<DeadLetter> = ListOptions {
    what: "dead letters",
    head: &["ID", "TYPE", "ATTEMPTS", "RECEIVED", "GIVEN UP", "ERROR"],
    cells: |row, times| {
        vec![
            row.event_id.clone(),
            row.event_type.clone(),
            row.retry_count.to_string(),
            times.ms(row.received_ms),
            times.ms(row.created_at_ms),
            row.error.clone(),
        ]
    },
    json: |letter| json!(admin::dead_letter(letter)),
    id: |row| &row.event_id,
};

/// Runs one of them.
///
/// # Errors
/// An event that is not a dead letter, or a database that cannot be used.
pub(crate) fn run(command: DeadLettersCommand, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    match command {
        DeadLettersCommand::List { event_type, page } => {
            let (kind, after) = (event_type.as_deref(), page.starting_after.as_deref());
            let rows = database::with_store(&config, |store| {
                Ok(store.read(|reader| dead_letters::list(reader, kind, after, page.fetch()))?)
            })?;
            page.print(&rows, &LIST, out)
        }
        DeadLettersCommand::Show { id, json } => {
            let found =
                database::with_store(&config, |store| Ok(store.read(|reader| dead_letters::find(reader, &id))?))?;
            print(&found.ok_or_else(|| unknown(&[id]))?, json, out)
        }
        DeadLettersCommand::Replay(which) => {
            let count = database::with_store(&config, |store| replay(store, which))?;
            writeln!(out, "replayed: {count}")?;
            if count > 0 {
                writeln!(out, "{}", reach::projected_when(&config))?;
            }
            Ok(())
        }
        DeadLettersCommand::Discard { id, reason } => {
            let (event, operator) = (id.clone(), database::operator());
            let discarded = database::with_store(&config, |store| {
                Ok(store.write(move |tx| operator::discard(tx, &event, reason.as_deref(), operator))?)
            })?;
            if !discarded {
                return Err(unknown(&[id]));
            }
            Ok(writeln!(out, "discarded: {id}")?)
        }
    }
}

fn print(letter: &DeadLetter, json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    if json {
        return Ok(writeln!(out, "{}", json!(admin::dead_letter(letter)))?);
    }
    let pairs = [
        ("id", letter.event_id.clone()),
        ("type", letter.event_type.clone()),
        ("attempts", letter.retry_count.to_string()),
        ("received", time_ms(letter.received_ms)),
        ("given up", time_ms(letter.created_at_ms)),
        ("error", letter.error.clone()),
    ];
    Ok(table::pairs(out, &pairs)?)
}

fn unknown(ids: &[String]) -> CommandError {
    let line = |id: &String| format!("event {id:?} is not a dead letter: `tilld dead-letters list` shows them");
    CommandError::failed(ids.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn missing(reader: &StoreReader, ids: &[String]) -> Result<Vec<String>, StoreError> {
    let mut missing = Vec::new();
    for id in ids {
        if dead_letters::find(reader, id)?.is_none() {
            missing.push(id.clone());
        }
    }
    Ok(missing)
}

fn replay(store: &Store, which: EventSelection) -> Result<usize, CommandError> {
    let operator = database::operator();
    if which.ids.is_empty() {
        let kind = which.event_type;
        let replayed = store.write(move |tx| operator::replay_dead_letters(tx, kind.as_deref(), u32::MAX, operator))?;
        return Ok(replayed.len());
    }
    let missing = store.read(|reader| missing(reader, &which.ids))?;
    if !missing.is_empty() {
        return Err(unknown(&missing));
    }
    Ok(store.write(move |tx| {
        which.ids.iter().try_for_each(|id| operator::replay(tx, id, operator).map(|_| ()))?;
        Ok(which.ids.len())
    })?)
}

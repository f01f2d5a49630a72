//! `tilld dead-letters`: events that were given up, listed, shown, replayed, discarded.

use std::io::Write;

use crate::app::cli::events::Which;
use crate::app::cli::table::{self, List, Page, time_ms};
use crate::app::cli::{Failure, database, reach};
use crate::app::config::Flags;
use crate::http::admin;
use crate::jobs::operator;
use crate::store::dead_letters::{self, DeadLetter};
use crate::store::{Reader, Store, StoreError};

/// What to do with them.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List dead letters, newest first
    #[command(after_help = "Example: tilld dead-letters list --type invoice.paid")]
    List {
        /// Only events of this type
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// How much, and how it is printed
        #[command(flatten)]
        page: Page,
    },
    /// Show one dead letter; `tilld events show` has its attempts and its body
    #[command(after_help = "Example: tilld dead-letters show evt_1")]
    Show {
        /// The event's id
        id: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Project dead letters again
    #[command(after_help = "Example: tilld dead-letters replay --type invoice.paid")]
    Replay(Which),
    /// Give one up for good; the event stays in the log as ignored
    #[command(after_help = "Example: tilld dead-letters discard evt_1 --reason 'test data'")]
    Discard {
        /// The event's id
        id: String,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

const LIST: List<DeadLetter> = List {
    what: "dead letters",
    head: &["ID", "TYPE", "ATTEMPTS", "RECEIVED", "GIVEN UP", "ERROR"],
    cells: |row| {
        vec![
            row.event_id.clone(),
            row.event_type.clone(),
            row.retry_count.to_string(),
            time_ms(row.received_ms),
            time_ms(row.created_at_ms),
            row.error.clone(),
        ]
    },
    json: admin::dead_letter,
    id: |row| &row.event_id,
};

/// Runs one of them.
///
/// # Errors
/// An event that is no dead letter, or a database that cannot be used.
pub(crate) fn run(command: Command, flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let config = database::config(flags)?;
    match command {
        Command::List { event_type, page } => {
            let (kind, after) = (event_type.as_deref(), page.starting_after.as_deref());
            let rows = database::with_store(&config, |store| {
                Ok(store.read(|reader| dead_letters::list(reader, kind, after, page.fetch()))?)
            })?;
            page.print(&rows, &LIST, out)
        }
        Command::Show { id, json } => {
            let found =
                database::with_store(&config, |store| Ok(store.read(|reader| dead_letters::find(reader, &id))?))?;
            print(&found.ok_or_else(|| unknown(&[id]))?, json, out)
        }
        Command::Replay(which) => {
            let count = database::with_store(&config, |store| replay(store, which))?;
            writeln!(out, "replayed: {count}")?;
            if count > 0 {
                writeln!(out, "{}", reach::projected_when(&config))?;
            }
            Ok(())
        }
        Command::Discard { id, reason } => {
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

fn print(letter: &DeadLetter, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return Ok(writeln!(out, "{}", admin::dead_letter(letter))?);
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

fn unknown(ids: &[String]) -> Failure {
    let line = |id: &String| format!("event {id:?} is no dead letter; `tilld dead-letters list` shows them");
    Failure::failed(ids.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn missing(reader: &Reader, ids: &[String]) -> Result<Vec<String>, StoreError> {
    let mut missing = Vec::new();
    for id in ids {
        if dead_letters::find(reader, id)?.is_none() {
            missing.push(id.clone());
        }
    }
    Ok(missing)
}

fn replay(store: &Store, which: Which) -> Result<usize, Failure> {
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

//! `tilld events`: lists, shows and replays the events in the log. Works on the file, whether or not a daemon runs. It must
//! never project. Called by the command line.

use std::io::Write;

use serde_json::json;

use crate::app::cli::table::{self, ListOptions, PageOptions, cell, time_ms, time_s};
use crate::app::cli::{CommandError, database, reach};
use crate::app::config::Flags;
use crate::http::admin;
use crate::jobs::operator;
use crate::store::Store;
use crate::store::inbox::{self, EventEntry, EventFilter, EventStatus, FailedAttempt};

/// What to do with the log.
#[derive(clap::Subcommand)]
pub(crate) enum EventsCommand {
    /// List events, newest first
    #[command(after_help = "Example: tilld events list --type invoice.paid --limit 5")]
    List {
        /// Only events of this type
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// Only events in this state: pending, processed, ignored, retrying, dead
        #[arg(long, value_parser = operator::parse_status)]
        status: Option<EventStatus>,
        /// How many, and how they are printed
        #[command(flatten)]
        page: PageOptions,
    },
    /// Show one event with its failed attempts
    #[command(after_help = "Example: tilld events show evt_1 --payload")]
    Show {
        /// The event's id
        id: String,
        /// Also print the payload as it was received
        #[arg(long)]
        payload: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Process events again, whatever their state
    #[command(after_help = "Example: tilld events replay evt_1 evt_2")]
    Replay(EventSelection),
}

/// Which events.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct EventSelection {
    /// The ids of events
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// All events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// All events
    #[arg(long)]
    pub(crate) all: bool,
}

const LIST: ListOptions<EventEntry> = ListOptions {
    what: "events",
    head: &["ID", "TYPE", "STATUS", "CREATED", "RECEIVED", "ATTEMPTS", "ERROR"],
    cells: |row, times| {
        vec![
            row.event_id.clone(),
            row.event_type.clone(),
            row.status.clone(),
            times.s(row.event_created),
            times.ms(row.received_ms),
            row.attempts.to_string(),
            cell(row.error.as_deref()),
        ]
    },
    json: |entry| json!(admin::event(entry)),
    id: |row| &row.event_id,
};

/// Runs one of them.
///
/// # Errors
/// An unknown id, or a database that cannot be used.
pub(crate) fn run(command: EventsCommand, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    match command {
        EventsCommand::List { event_type, status, page } => {
            let filter = EventFilter { event_type, status, before: page.starting_after.clone() };
            let rows = database::with_store(&config, |store| {
                require(store, page.starting_after.as_slice())?;
                Ok(store.read(|reader| inbox::list(reader, &filter, page.fetch()))?)
            })?;
            page.print(&rows, &LIST, out)
        }
        EventsCommand::Show { id, payload, json } => {
            let shown = database::with_store(&config, |store| find(store, &id))?;
            let body = payload.then_some(shown.payload.as_str());
            if json { print_json(&shown, body, out) } else { print(&shown, body, out) }
        }
        EventsCommand::Replay(which) => {
            let count = database::with_store(&config, |store| replay(store, which))?;
            writeln!(out, "replayed: {count}")?;
            if count > 0 {
                writeln!(out, "{}", reach::projected_when(&config))?;
            }
            Ok(())
        }
    }
}

struct EventDetails {
    entry: EventEntry,
    attempts: Vec<FailedAttempt>,
    payload: String,
}

fn find(store: &Store, id: &str) -> Result<EventDetails, CommandError> {
    let found = store.read(|reader| {
        let (entry, payload) = (inbox::find(reader, id)?, inbox::find_payload(reader, id)?);
        Ok((entry, payload, inbox::list_attempts(reader, id)?))
    })?;
    let (Some(entry), Some(payload), attempts) = found else { return Err(unknown(&[id])) };
    Ok(EventDetails { entry, attempts, payload })
}

fn unknown(ids: &[&str]) -> CommandError {
    let line = |id: &&str| format!("event {id:?} is not in the log: `tilld events list` shows which are");
    CommandError::failed(ids.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// Refuses ids that are not in the log, all at once and before anything is done.
fn require(store: &Store, ids: &[String]) -> Result<(), CommandError> {
    let missing = store.read(|reader| {
        let mut missing = Vec::new();
        for id in ids {
            if inbox::find(reader, id)?.is_none() {
                missing.push(id.as_str());
            }
        }
        Ok(missing)
    })?;
    if missing.is_empty() { Ok(()) } else { Err(unknown(&missing)) }
}

fn replay(store: &Store, which: EventSelection) -> Result<usize, CommandError> {
    let operator = database::operator();
    if which.ids.is_empty() {
        return Ok(store.write(move |tx| operator::replay_all(tx, which.event_type.as_deref(), operator))?);
    }
    require(store, &which.ids)?;
    Ok(store.write(move |tx| {
        which.ids.iter().try_for_each(|id| operator::replay(tx, id, operator).map(|_| ()))?;
        Ok(which.ids.len())
    })?)
}

fn print_json(shown: &EventDetails, payload: Option<&str>, out: &mut dyn Write) -> Result<(), CommandError> {
    let mut event = json!(admin::event(&shown.entry));
    event["failed_attempts"] = json!(shown.attempts.iter().map(admin::attempt).collect::<Vec<_>>());
    if let Some(body) = payload {
        event["payload"] = admin::payload(body);
    }
    Ok(writeln!(out, "{event}")?)
}

fn print(shown: &EventDetails, payload: Option<&str>, out: &mut dyn Write) -> Result<(), CommandError> {
    let entry = &shown.entry;
    let mode = entry.livemode.map(|live| if live { "live" } else { "test" });
    let pairs = [
        ("id", entry.event_id.clone()),
        ("type", entry.event_type.clone()),
        ("status", entry.status.clone()),
        ("created", time_s(entry.event_created)),
        ("received", time_ms(entry.received_ms)),
        ("mode", cell(mode)),
        ("account", cell(entry.account.as_deref())),
        ("api version", cell(entry.api_version.as_deref())),
        ("attempts", entry.attempts.to_string()),
        ("error", cell(entry.error.as_deref())),
    ];
    table::pairs(out, &pairs)?;
    let row = |(number, at_ms, error): &FailedAttempt| vec![number.to_string(), time_ms(*at_ms), error.clone()];
    if !shown.attempts.is_empty() {
        writeln!(out)?;
        let rows: Vec<_> = shown.attempts.iter().map(row).collect();
        table::columns(out, &["FAILED ATTEMPT", "AT", "ERROR"], &rows)?;
    }
    if let Some(body) = payload {
        writeln!(out, "\n{body}")?;
    }
    Ok(())
}

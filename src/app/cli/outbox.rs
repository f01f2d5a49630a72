//! `tilld outbox`: lists, shows, delivers again and discards mails and events for the application. Works on the file, whether
//! or not a daemon runs. It must never deliver: the daemon does. Called by the command line.

use std::io::Write;

use serde_json::{Value, json};

use crate::app::cli::table::{self, ListOptions, PageOptions, cell, time_ms};
use crate::app::cli::{CommandError, database, reach};
use crate::app::config::Flags;
use crate::app::daemon;
use crate::jobs::operator;
use crate::notify::resync;
use crate::store::outbox::rows::{self, OutboxFilter, OutboxRow};
use crate::store::webhook_endpoints::{self, EndpointState};
use crate::store::{Store, StoreReader};

/// What to do with them.
#[derive(clap::Subcommand)]
pub(crate) enum OutboxCommand {
    /// List the outbox, newest first
    #[command(after_help = "Example: tilld outbox list --kind webhook --status failed")]
    List {
        /// Only rows of this kind
        #[arg(long, value_name = "KIND", value_parser = ["mail", "webhook", "stripe_call"])]
        kind: Option<String>,
        /// Only rows in this state
        #[arg(long, value_name = "STATUS", value_parser = ["pending", "claimed", "done", "skipped", "failed", "discarded"])]
        status: Option<String>,
        /// How many, and how they are printed
        #[command(flatten)]
        page: PageOptions,
    },
    /// Show one row with its payload and the state of its endpoint
    #[command(after_help = "Example: tilld outbox show 17")]
    Show {
        /// The row's number
        id: i64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Deliver rows again, with all attempts; a disabled endpoint is enabled again
    #[command(after_help = "Example: tilld outbox retry 17 18")]
    Retry {
        /// The numbers of rows
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
    },
    /// Send every user's current entitlement to an endpoint; an endpoint that was away gets it by itself
    #[command(after_help = "Example: tilld outbox resync https://app.example.com/hooks/tilld")]
    Resync {
        /// URL of a [[notify.webhook]] that gets entitlement.changed
        url: String,
    },
    /// Discard a row for good; the rows that wait behind it go on
    #[command(after_help = "Example: tilld outbox discard 17 --reason 'test data'")]
    Discard {
        /// The row's number
        id: i64,
        /// The reason, for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

const LIST: ListOptions<OutboxRow> = ListOptions {
    what: "rows",
    head: &["ID", "KIND", "STATUS", "ATTEMPTS", "DUE", "TARGET", "USER", "WHAT", "NOTE"],
    cells: |row, times| {
        vec![
            row.id.clone(),
            row.kind.clone(),
            row.status.clone(),
            row.attempts.to_string(),
            times.ms(row.due_ms),
            cell(row.shown_target().as_deref()),
            cell(row.user_id.as_deref()),
            what(row),
            cell(row.error.as_deref()),
        ]
    },
    json: |row| view(row, None),
    id: |row| &row.id,
};

/// The type of an event, or the kind of a notice.
fn what(row: &OutboxRow) -> String {
    cell(row.what().as_deref())
}

fn view(row: &OutboxRow, endpoint: Option<&EndpointState>) -> Value {
    let mut shown = json!({
        "id": row.id, "kind": row.kind, "status": row.status, "what": what(row), "target": row.shown_target(),
        "user_id": row.user_id, "attempts": row.attempts, "due_ms": row.due_ms, "note": row.error,
        "created_at_ms": row.created_at_ms, "finished_at_ms": row.finished_at_ms, "dedupe_key": row.shown_key(),
    });
    if let Some(endpoint) = endpoint {
        shown["endpoint"] = json!({
            "first_failure_ms": endpoint.first_failure_ms, "last_success_ms": endpoint.last_success_ms,
            "disabled_at_ms": endpoint.disabled_at_ms, "disabled_reason": endpoint.disabled_reason,
            "probe_at_ms": endpoint.probe_at_ms,
        });
    }
    shown
}

/// Runs one of them.
///
/// # Errors
/// A row that does not exist or does not allow it, or a database that cannot be used.
pub(crate) fn run(command: OutboxCommand, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    match command {
        OutboxCommand::List { kind, status, page } => {
            let before = page.starting_after.as_deref().map(str::parse).transpose();
            let before = before.map_err(|_| CommandError::wrong_use("--starting-after takes the number of a row"))?;
            let filter =
                OutboxFilter { kind: kind.as_deref(), status: status.as_deref(), target: None, user_id: None, before };
            let found = database::with_store(&config, |store| {
                Ok(store.read(|reader| rows::list(reader, filter, page.fetch()))?)
            })?;
            page.print(&found, &LIST, out)
        }
        OutboxCommand::Show { id, json } => {
            let found = database::with_store(&config, |store| {
                Ok(store.read(|reader| Ok((rows::find(reader, id)?, endpoint_of(reader, id)?)))?)
            })?;
            let (Some(row), endpoint) = found else { return Err(unknown(id)) };
            print(&row, endpoint.as_ref(), json, out)
        }
        OutboxCommand::Retry { ids } => {
            let count = ids.len();
            database::with_store(&config, |store| retry(store, ids))?;
            writeln!(out, "to be delivered again: {count}")?;
            Ok(writeln!(out, "{}", delivered_when(&config))?)
        }
        OutboxCommand::Resync { url } => {
            let count = resync(&config, &url)?;
            writeln!(out, "users whose current entitlement is sent: {count}")?;
            Ok(writeln!(out, "{}", delivered_when(&config))?)
        }
        OutboxCommand::Discard { id, reason } => {
            let operator = database::operator();
            database::with_store(&config, |store| {
                known(store, id)?;
                if store.write(move |tx| operator::discard_delivery(tx, id, reason.as_deref(), operator))? {
                    return Ok(());
                }
                let message = format!(
                    "row {id} cannot be discarded: it was delivered, is being delivered now, or was discarded before"
                );
                Err(CommandError::failed(message))
            })?;
            Ok(writeln!(out, "discarded: {id}")?)
        }
    }
}

fn endpoint_of(reader: &StoreReader, id: i64) -> Result<Option<EndpointState>, crate::store::StoreError> {
    let target = rows::find(reader, id)?.and_then(|row| row.target);
    target.map_or(Ok(None), |target| webhook_endpoints::find(reader, &target))
}

fn resync(config: &crate::app::config::Config, url: &str) -> Result<usize, CommandError> {
    let context = daemon::context(config);
    if !resync::wants_answers(&context.notices, url) {
        return Err(CommandError::wrong_use(format!(
            "{url:?} is not the URL of a [[notify.webhook]] that gets entitlement.changed"
        )));
    }
    let operator = database::operator();
    database::with_store(config, |store| {
        let count = resync::resync(store, &context, (url, operator.now_ms), None)?;
        store.write(move |tx| operator::note_resync(tx, count, operator))?;
        Ok(count)
    })
}

/// All of them, or none.
fn retry(store: &Store, ids: Vec<i64>) -> Result<(), CommandError> {
    ids.iter().try_for_each(|id| known(store, *id))?;
    let operator = database::operator();
    let busy = store.write(move |tx| {
        let mut busy = Vec::new();
        for id in ids {
            if !operator::deliver_again(tx, id, operator)? {
                busy.push(format!("row {id} is being delivered now: wait for its result"));
            }
        }
        Ok(busy)
    })?;
    if busy.is_empty() { Ok(()) } else { Err(CommandError::failed(busy.join("\n"))) }
}

/// Refuses a row that does not exist, or that is neither a mail nor an event.
fn known(store: &Store, id: i64) -> Result<(), CommandError> {
    let row = store.read(|reader| rows::find(reader, id))?.ok_or_else(|| unknown(id))?;
    if row.kind == "stripe_call" {
        return Err(CommandError::failed(format!("row {id} is a call to Stripe, which the daemon repeats by itself")));
    }
    Ok(())
}

fn unknown(id: i64) -> CommandError {
    CommandError::failed(format!("row {id} does not exist: `tilld outbox list` shows which do"))
}

fn delivered_when(config: &crate::app::config::Config) -> &'static str {
    match reach::of(&config.listen.private) {
        reach::DaemonReach::Daemon => "the daemon delivers now",
        _ => "the running daemon delivers, or the next one that starts",
    }
}

fn print(
    row: &OutboxRow,
    endpoint: Option<&EndpointState>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    if json {
        let mut shown = view(row, endpoint);
        shown["payload"] = serde_json::from_str(&row.payload).unwrap_or(Value::Null);
        return Ok(writeln!(out, "{shown}")?);
    }
    let time = |ms: Option<i64>| cell(ms.map(time_ms).as_deref());
    let mut pairs = vec![
        ("id", row.id.clone()),
        ("kind", row.kind.clone()),
        ("what", what(row)),
        ("status", row.status.clone()),
        ("target", cell(row.shown_target().as_deref())),
        ("user", cell(row.user_id.as_deref())),
        ("attempts", row.attempts.to_string()),
        ("written", time_ms(row.created_at_ms)),
        ("due", time_ms(row.due_ms)),
        ("ended", time(row.finished_at_ms)),
        ("note", cell(row.error.as_deref())),
    ];
    if let Some(endpoint) = endpoint {
        pairs.push(("failing since", time(endpoint.first_failure_ms)));
        pairs.push(("last success", time(endpoint.last_success_ms)));
        pairs.push(("disabled", time(endpoint.disabled_at_ms)));
        pairs.push(("because", cell(endpoint.disabled_reason.as_deref())));
        pairs.push(("tried again", time(endpoint.probe_at_ms)));
    }
    pairs.push(("payload", row.payload.clone()));
    Ok(table::pairs(out, &pairs)?)
}

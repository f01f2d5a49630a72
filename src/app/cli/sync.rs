//! `tilld sync`: copies every object from Stripe's lists into the tables. A sync of all types first reads the events that did
//! not arrive as webhooks, since objects do not show their history. Works on the file, whether or not a daemon runs. It must
//! never change anything at Stripe. Called by the command line.

use std::io::Write;
use std::sync::Mutex;

use crate::app::cli::{CommandError, database, outward, table};
use crate::app::config::Flags;
use crate::app::logging;
use crate::base::object_kind::ObjectKind;
use crate::objects::kinds;
use crate::outward::sync::backfill::{self, BackfillOrder};
use crate::outward::sync::{SyncError, SyncTools, catch_up};
use crate::store::sync_runs::SyncProgress;

/// What to read.
#[derive(clap::Args)]
pub(crate) struct SyncArguments {
    /// Only these types [default: all but payment_methods]
    #[arg(value_name = "TYPE", value_parser = parse_kind)]
    types: Vec<&'static ObjectKind>,
    /// Start again instead of resuming an unfinished run
    #[arg(long)]
    restart: bool,
}

/// The type of that name.
///
/// # Errors
/// An unknown name; the message lists the known ones.
pub(crate) fn parse_kind(name: &str) -> Result<&'static ObjectKind, String> {
    let names = || kinds::all().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    kinds::named(name).ok_or_else(|| format!("it is not a type that can be read: choose from {}", names()))
}

/// Reads, and prints what was read.
///
/// # Errors
/// When Stripe or the database cannot be used; the next call resumes there.
pub(crate) fn run(arguments: &SyncArguments, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    let client = outward::client(&config)?;
    logging::start(&config);
    let order = BackfillOrder::of(&arguments.types, arguments.restart);
    let done = database::with_store(&config, |store| {
        let (means, _stopper) = outward::means(&config, store, client);
        if order.is_whole() {
            events_first(&means)?;
        }
        let shown = outward::WorkProgress::new(None);
        let counts: Mutex<Vec<(String, u32)>> = Mutex::default();
        let done = backfill::run(&means, &order, &|progress| report(&shown, &counts, progress));
        shown.finish();
        Ok(done?)
    })?;
    let row = |progress: &SyncProgress| {
        vec![
            progress.kind.clone(),
            progress.pages.to_string(),
            progress.objects.to_string(),
            progress.failed.to_string(),
        ]
    };
    let rows: Vec<_> = done.progress.iter().map(row).collect();
    table::columns(out, &["TYPE", "PAGES", "OBJECTS", "FAILED"], &rows)?;
    let objects: u64 = done.progress.iter().map(|progress| u64::from(progress.objects)).sum();
    writeln!(out, "complete: {objects} objects{}", if done.whole { "" } else { ", only of these types" })?;
    Ok(())
}

/// A key without permission to read events may still read objects.
fn events_first(means: &SyncTools) -> Result<(), SyncError> {
    match catch_up::events(means, &|| ()) {
        Ok(caught) => {
            if caught.new > 0 {
                log::info!("events that did not arrive as webhooks were added to the log: {}", caught.new);
            }
            Ok(())
        }
        Err(SyncError::Stripe(error)) if error.api().is_some_and(|error| error.status == 403) => {
            log::warn!("the events could not be read, `tilld catch-up` tries again: {error}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A page is done; how many objects it had follows from the last report.
fn report(shown: &outward::WorkProgress, counts: &Mutex<Vec<(String, u32)>>, progress: &SyncProgress) {
    // Nothing panics while holding it.
    let Ok(mut counts) = counts.lock() else { return };
    let before = match counts.iter_mut().find(|(kind, _)| *kind == progress.kind) {
        Some((_, count)) => std::mem::replace(count, progress.objects),
        None => {
            counts.push((progress.kind.clone(), progress.objects));
            0
        }
    };
    drop(counts);
    let objects = u64::from(progress.objects.saturating_sub(before));
    shown.page(&progress.kind, objects, (progress.pages.into(), progress.objects.into()));
}

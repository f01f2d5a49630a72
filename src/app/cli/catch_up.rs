//! `tilld catch-up`: asks Stripe now for events that did not arrive as webhooks, and adds them to the log. Works on the file,
//! whether or not a daemon runs. It must never project: the daemon does. Called by the command line.

use std::io::Write;

use crate::app::cli::{CommandError, database, outward, reach, table};
use crate::app::config::Flags;
use crate::app::logging;
use crate::outward::sync::catch_up;

/// Asks Stripe for events and prints what came.
///
/// # Errors
/// When Stripe or the database does not allow it.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    let client = outward::client(&config)?;
    logging::start(&config);
    let caught = database::with_store(&config, |store| {
        let (means, _stopper) = outward::means(&config, store, client);
        Ok(catch_up::run(&means, &|| ())?)
    })?;
    let read = match (caught.resynced, caught.refused) {
        (false, _) => "no".to_owned(),
        (true, 0) => "yes, to close a gap".to_owned(),
        (true, refused) => format!("yes, to close a gap, without {refused} types that Stripe refused"),
    };
    let pairs = [
        ("pages", caught.pages.to_string()),
        ("new events", caught.new.to_string()),
        ("known events", caught.known.to_string()),
        ("conflicting events", caught.conflicting.to_string()),
        ("unreadable events", caught.unreadable.to_string()),
        ("all objects read", read),
    ];
    table::pairs(out, &pairs)?;
    if caught.new > 0 {
        writeln!(out, "{}", reach::projected_when(&config))?;
    }
    Ok(())
}

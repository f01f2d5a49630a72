//! `tilld catch-up`: events that no webhook brought, now. Works on the file, whether or not a daemon runs; projecting is
//! the daemon's.

use std::io::Write;

use crate::cli::{Failure, database, outward, reach, table};
use crate::config::Flags;
use crate::daemon;
use crate::sync::catch_up;

/// Asks Stripe for events and prints what came.
///
/// # Errors
/// When Stripe or the database does not allow it.
pub fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let config = database::config(flags)?;
    let client = outward::client(&config)?;
    daemon::start_logging(&config);
    let caught = database::with_store(&config, |store| {
        let (means, _stopper) = outward::means(&config, store, client);
        Ok(catch_up::run(&means, &|| ())?)
    })?;
    let pairs = [
        ("pages", caught.pages.to_string()),
        ("new events", caught.new.to_string()),
        ("known events", caught.known.to_string()),
        ("conflicting events", caught.conflicting.to_string()),
        ("unreadable events", caught.unreadable.to_string()),
        ("all objects read", if caught.resynced { "yes, to close a gap" } else { "no" }.to_owned()),
    ];
    table::pairs(out, &pairs)?;
    if caught.new > 0 {
        writeln!(out, "{}", reach::projected_when(&config))?;
    }
    Ok(())
}

//! The check of rows in the outbox that wait for a target that is not configured. Must never change them. Called by
//! `check::database`.

use std::path::Path;

use super::{CheckLine, warn};
use crate::app::config::Config;
use crate::app::daemon;
use crate::base::thread::Threads;
use crate::store::Store;

/// A line for each such target. A database that cannot be read is reported by its own check.
pub(super) fn lines(path: &Path, config: &Config) -> Vec<CheckLine> {
    let Ok((store, writer)) = Store::open(path, &Threads::default()) else { return Vec::new() };
    let waiting = daemon::waiting_for_nobody(&store, config);
    drop(store);
    writer.join();
    let line = |(target, count)| {
        let message = format!(
            "{count} rows wait for {target}, which is not configured: put it back into the configuration, or run `tilld outbox resync URL` for the endpoint that replaces it and discard the rows (`tilld outbox list --status pending`)"
        );
        warn("outbox", message)
    };
    waiting.unwrap_or_default().into_iter().map(line).collect()
}

//! The check of what waits in the outbox for somebody who is not configured.

use std::path::Path;

use super::{CheckLine, warn};
use crate::app::config::Config;
use crate::app::daemon;
use crate::base::thread::Threads;
use crate::store::Store;

/// A line per target that nobody serves. Where the database cannot be read, its own check says so.
pub(super) fn lines(path: &Path, config: &Config) -> Vec<CheckLine> {
    let Ok((store, writer)) = Store::open(path, &Threads::default()) else { return Vec::new() };
    let waiting = daemon::waiting_for_nobody(&store, config);
    drop(store);
    writer.join();
    let line = |(target, count)| {
        let message = format!(
            "{count} rows wait for {target}, which is not configured: put it back, or bring what stands in its place up to date by `tilld outbox resync URL` and discard them, see `tilld outbox list --status pending`"
        );
        warn("outbox", message)
    };
    waiting.unwrap_or_default().into_iter().map(line).collect()
}

//! What an operator should see to: events that wait or are dead letters, mails and events that were not delivered, disabled
//! endpoints, a sync that never completed, and the size of the files. Must never ask anything but the database. Called by
//! `jobs::findings`.

use std::path::Path;

use super::checks::{DEAD_LETTERS, ENDPOINT, EVENTS, OUTBOX, SYNC};
use crate::base::ago::utc_s;
use crate::base::finding::{Finding, fail, ok, warn};
use crate::notify::endpoints::origin;
use crate::store::engine::damage;
use crate::store::inbox::{self, Health};
use crate::store::outbox::rows;
use crate::store::{StoreError, StoreReader, sync_runs, webhook_endpoints};

/// An event that waits longer than this, in seconds, shows that no daemon works on it.
const STUCK_AFTER_S: i64 = 60;
/// A write-ahead log longer than this, in bytes, is kept from being reset by some reader.
const LONG_LOG_BYTES: u64 = 64 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;

/// What is read of the database.
pub(super) struct UrgentFindings {
    health: Health,
    failed: Vec<(String, i64)>,
    disabled: Vec<(String, Option<String>)>,
    synced: bool,
}

pub(super) fn read(reader: &StoreReader) -> Result<UrgentFindings, StoreError> {
    Ok(UrgentFindings {
        health: inbox::health(reader)?,
        failed: rows::count_failed(reader)?,
        disabled: webhook_endpoints::list_disabled(reader)?,
        synced: sync_runs::is_any_complete(reader)?,
    })
}

impl UrgentFindings {
    /// When the newest event came, unix seconds.
    pub(super) fn last_event_s(&self) -> Option<i64> {
        let newest = self.health.last_event_ms.max(self.health.last_asked_ms);
        newest.map(|ms| ms.div_euclid(1000))
    }

    /// `has_key`: Stripe's objects could have been read.
    pub(super) fn findings(&self, has_key: bool, now_s: i64) -> Vec<Finding> {
        let mut findings = vec![self.events(now_s), self.dead_letters(), self.outbox()];
        findings.extend(self.endpoints());
        if has_key && !self.synced {
            findings.push(warn(
                SYNC,
                "none was completed yet: what happened before the first webhook is not known; run `tilld sync`",
            ));
        }
        findings
    }

    fn events(&self, now_s: i64) -> Finding {
        let time =
            |ms: Option<i64>| ms.map_or_else(|| "never".to_owned(), |ms| format!("{} UTC", utc_s(ms.div_euclid(1000))));
        let health = &self.health;
        let (waiting, retries) = (health.pending, health.pending_retries);
        let said = format!(
            "waiting: {waiting}, to be retried: {retries}; last webhook: {}, last found by asking Stripe: {}",
            time(health.last_event_ms),
            time(health.last_asked_ms)
        );
        let oldest_s = health.oldest_pending_ms.map_or(0, |ms| now_s.saturating_sub(ms.div_euclid(1000)));
        if oldest_s > STUCK_AFTER_S {
            return fail(
                EVENTS,
                format!(
                    "{said}; the oldest has been waiting for {oldest_s} s: does the daemon run, and what does its log say?"
                ),
            );
        }
        if health.last_asked_ms > health.last_event_ms {
            return warn(EVENTS, format!("{said}: the newest was found by asking Stripe; check that webhooks arrive"));
        }
        ok(EVENTS, said)
    }

    fn dead_letters(&self) -> Finding {
        match self.health.dead_letters {
            0 => ok(DEAD_LETTERS, "none"),
            count => {
                let remedy = "`tilld dead-letters list` shows them, `tilld dead-letters replay` tries them again";
                fail(DEAD_LETTERS, format!("{count}: their content is not in the tables; {remedy}"))
            }
        }
    }

    fn outbox(&self) -> Finding {
        if self.failed.is_empty() {
            return ok(OUTBOX, "nothing was given up");
        }
        let counts: Vec<String> = self.failed.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        let said = format!("failed for good: {}", counts.join(", "));
        warn(
            OUTBOX,
            format!("{said}; `tilld outbox list --status failed` shows them, `tilld outbox retry ID` delivers again"),
        )
    }

    fn endpoints(&self) -> Vec<Finding> {
        let disabled = |(url, reason): &(String, Option<String>)| {
            let (url, reason) = (origin(url), reason.as_deref().unwrap_or("no reason is known"));
            fail(
                ENDPOINT,
                format!("{url} gets no events: {reason}; fix it, then `tilld outbox retry` one of its events"),
            )
        };
        self.disabled.iter().map(disabled).collect()
    }
}

/// The size of the file and of its write-ahead log.
pub(super) fn size(path: &Path) -> Finding {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let (file, log) = (bytes(path), bytes(&damage::beside(path, "-wal")));
    let said = format!("{} MiB, its log {} MiB", file.div_ceil(MIB), log.div_ceil(MIB));
    if log > LONG_LOG_BYTES {
        let cause = "a reader that does not end, or a replicator, keeps it from being reset";
        return warn("database size", format!("{said}: {cause}"));
    }
    ok("database size", said)
}

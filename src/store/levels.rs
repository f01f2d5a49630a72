//! What waits, failed and is in doubt at the moment, for `/metrics`: each counted by an index that holds nothing else. It
//! must never scan a table, however many rows it has. Called by `http::metrics`.

use crate::base::metrics::DatabaseFileKind;
use crate::store::engine::row::{columns, select};
use crate::store::{Store, StoreError, StoreReader};

columns! {
    /// The counts.
    pub(crate) struct WaitingRows {
        events_pending: i64 = "(SELECT count(*) FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed')",
        oldest_pending_ms: Option<i64> = "(SELECT created_at_ms FROM stripe_webhooks_log
            WHERE status = 'pending' AND status <> 'processed' ORDER BY id LIMIT 1)",
        retries: i64 = "(SELECT count(*) FROM stripe_webhooks_log WHERE status = 'retrying' AND status <> 'processed')",
        dead_letters: i64 = "(SELECT count(*) FROM stripe_webhooks_log WHERE status = 'dead' AND status <> 'processed')",
        mails: i64 = "(SELECT count(*) FROM outbox WHERE status = 'pending' AND kind = 'mail')",
        webhooks: i64 = "(SELECT count(*) FROM outbox WHERE status = 'pending' AND kind = 'webhook')",
        stripe_calls: i64 = "(SELECT count(*) FROM outbox WHERE status = 'pending' AND kind = 'stripe_call')",
        in_doubt: i64 = "(SELECT count(*) FROM stripe_operations INDEXED BY stripe_operations_open
            WHERE status IN ('sending', 'in_doubt') AND status = 'in_doubt' AND next_attempt_at_ms >= 0)",
        last_webhook_ms: Option<i64> = "(SELECT created_at_ms FROM stripe_webhooks_log WHERE source = 'webhook'
            AND id > (SELECT max(id) FROM stripe_webhooks_log) - 1000 ORDER BY id DESC LIMIT 1)",
        drift_left: Option<String> = "(SELECT value FROM settings WHERE name = 'drift_left')",
    }
}

/// The statement that reads them all.
pub const WAITING: &str = select!(WaitingRows, "");

/// The counts of now.
pub(crate) fn get_waiting(reader: &StoreReader) -> Result<WaitingRows, StoreError> {
    reader.get(WAITING, [], WaitingRows::read)
}

/// The sizes of the database's files, in bytes; a file that is not there has none.
#[must_use]
pub(crate) fn file_bytes(store: &Store) -> Vec<(DatabaseFileKind, i64)> {
    let bytes = |ending: &str| {
        let mut path = store.path().as_os_str().to_owned();
        path.push(ending);
        std::fs::metadata(path).map_or(0, |file| i64::try_from(file.len()).unwrap_or(i64::MAX))
    };
    vec![(DatabaseFileKind::Main, bytes("")), (DatabaseFileKind::Wal, bytes("-wal"))]
}

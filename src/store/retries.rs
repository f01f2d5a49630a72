//! `webhook_retry_queue`: which failed events are due when. The table is the truth; tickets in memory only ring.

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{self, columns, select};

columns! {
    /// A failed event that waits.
    pub struct Retry {
        /// Stripe's event id.
        event_id: String = "stripe_event_id",
        /// `resource.verb`.
        event_type: String,
        /// Attempts that failed.
        retry_count: u32,
        /// Attempts after which it is a dead letter.
        max_retries: u32,
        /// Due time, unix milliseconds.
        due_ms: i64 = "next_retry_at_ms",
        /// Why the newest attempt failed.
        last_error: String,
        /// First failure, unix milliseconds.
        created_at_ms: i64,
    }
}

const PUT: &str = "INSERT INTO webhook_retry_queue
    (stripe_event_id, event_type, retry_count, max_retries, next_retry_at_ms, last_error, created_at_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, coalesce((SELECT min(at_ms) FROM webhook_attempts WHERE stripe_event_id = ?1), ?7))
    ON CONFLICT (stripe_event_id) DO UPDATE SET retry_count = excluded.retry_count, max_retries = excluded.max_retries,
        next_retry_at_ms = excluded.next_retry_at_ms, last_error = excluded.last_error";

/// Queues an event; its first failure is taken from its attempts where there are any.
pub fn put(tx: &Tx, retry: &Retry) -> Result<(), StoreError> {
    let params = (
        &retry.event_id,
        &retry.event_type,
        retry.retry_count,
        retry.max_retries,
        retry.due_ms,
        &retry.last_error,
        retry.created_at_ms,
    );
    tx.execute(PUT, params).map(|_| ())
}

/// Takes an event out of the queue.
pub fn remove(tx: &Tx, event_id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM webhook_retry_queue WHERE stripe_event_id = ?1", [event_id])? == 1)
}

/// Events due at `now_ms`, earliest first.
pub(crate) fn list_due(reader: &StoreReader, now_ms: i64, limit: u32) -> Result<Vec<Retry>, StoreError> {
    const SQL: &str =
        select!(Retry, "FROM webhook_retry_queue WHERE next_retry_at_ms <= ?1 ORDER BY next_retry_at_ms, id LIMIT ?2");
    reader.list(SQL, (now_ms, limit), Retry::read)
}

/// Events due after `due_ms`, in the order of their ids, from the one after `after` on.
pub(crate) fn list_due_after(
    reader: &StoreReader,
    due_ms: i64,
    after: &str,
    limit: u32,
) -> Result<Vec<Retry>, StoreError> {
    const SQL: &str = select!(
        Retry,
        "FROM webhook_retry_queue WHERE next_retry_at_ms > ?1 AND stripe_event_id > ?2
         ORDER BY stripe_event_id LIMIT ?3"
    );
    reader.list(SQL, (due_ms, after, limit), Retry::read)
}

/// The row of one event.
pub(crate) fn find(reader: &StoreReader, event_id: &str) -> Result<Option<Retry>, StoreError> {
    const SQL: &str = select!(Retry, "FROM webhook_retry_queue WHERE stripe_event_id = ?1");
    reader.find(SQL, [event_id], Retry::read)
}

/// How many events wait for a retry; counting ends at `most`.
pub(crate) fn count(reader: &StoreReader, most: u32) -> Result<u32, StoreError> {
    reader.get("SELECT count(*) FROM (SELECT 1 FROM webhook_retry_queue LIMIT ?1)", [most], row::only)
}

/// The earliest due time in the queue.
pub fn next_due_ms(reader: &StoreReader) -> Result<Option<i64>, StoreError> {
    reader.get("SELECT min(next_retry_at_ms) FROM webhook_retry_queue", [], row::only)
}

/// The queue, earliest due first, after the event `after`.
pub fn list(reader: &StoreReader, after: Option<&str>, limit: u32) -> Result<Vec<Retry>, StoreError> {
    const SQL: &str = select!(
        Retry,
        "FROM webhook_retry_queue
         WHERE ?1 IS NULL OR (next_retry_at_ms, id) > (SELECT next_retry_at_ms, id FROM webhook_retry_queue WHERE stripe_event_id = ?1)
         ORDER BY next_retry_at_ms, id LIMIT ?2"
    );
    reader.list(SQL, (after, limit), Retry::read)
}

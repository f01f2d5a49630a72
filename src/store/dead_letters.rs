//! `webhook_dead_letter_queue`: events that were given up, until an operator replays or discards them.

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{columns, select};

columns! {
    /// An event that was given up.
    pub struct DeadLetter {
        /// Stripe's event id.
        event_id: String = "stripe_event_id",
        /// `resource.verb`.
        event_type: String,
        /// Attempts made.
        retry_count: u32,
        /// Why the last one failed.
        error: String,
        /// When the event was received, unix milliseconds.
        received_ms: i64 = "original_timestamp_ms",
        /// When it was given up, unix milliseconds.
        created_at_ms: i64,
    }
}

const PUT: &str = "INSERT INTO webhook_dead_letter_queue
    (stripe_event_id, event_type, retry_count, error, original_timestamp_ms, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (stripe_event_id) DO UPDATE SET retry_count = excluded.retry_count, error = excluded.error,
        created_at_ms = excluded.created_at_ms";

/// Keeps an event as a dead letter.
pub fn put(tx: &Tx, letter: &DeadLetter) -> Result<(), StoreError> {
    let params = (
        &letter.event_id,
        &letter.event_type,
        letter.retry_count,
        &letter.error,
        letter.received_ms,
        letter.created_at_ms,
    );
    tx.execute(PUT, params).map(|_| ())
}

/// Takes an event out; `false` when it was not there.
pub fn remove(tx: &Tx, event_id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM webhook_dead_letter_queue WHERE stripe_event_id = ?1", [event_id])? == 1)
}

/// One dead letter.
pub fn find(reader: &StoreReader, event_id: &str) -> Result<Option<DeadLetter>, StoreError> {
    const SQL: &str = select!(DeadLetter, "FROM webhook_dead_letter_queue WHERE stripe_event_id = ?1");
    reader.find(SQL, [event_id], DeadLetter::read)
}

/// Dead letters, newest first, given up before the event `after`, of one type or of all.
pub fn list(
    reader: &StoreReader,
    event_type: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    const SQL: &str = select!(
        DeadLetter,
        "FROM webhook_dead_letter_queue
         WHERE (?1 IS NULL OR event_type = ?1)
           AND (?2 IS NULL OR id < (SELECT id FROM webhook_dead_letter_queue WHERE stripe_event_id = ?2))
         ORDER BY id DESC LIMIT ?3"
    );
    reader.list(SQL, (event_type, after, limit), DeadLetter::read)
}

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

// Always under a new number: whoever said yes to all up to a number has not seen this one.
const PUT: &str = "INSERT OR REPLACE INTO webhook_dead_letter_queue
    (stripe_event_id, event_type, retry_count, error, original_timestamp_ms, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

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

/// Which dead letters.
#[derive(Debug, Clone, Default)]
pub(crate) struct LetterFilter {
    /// Only of this type.
    pub(crate) event_type: Option<String>,
    /// Only those whose error has these words.
    pub(crate) error: Option<String>,
}

columns! {
    /// How many there are, at most so many as were asked for, and the newest one's row number.
    #[derive(Copy)]
    pub(crate) struct LetterCount {
        count: u32 = "count(*)",
        newest: Option<i64> = "max(id)",
    }
}

columns! {
    /// A dead letter and its row number, by which lists go on.
    pub(crate) struct NumberedLetter {
        number: i64 = "id",
        letter: DeadLetter = DeadLetter::COLUMNS => DeadLetter::take,
    }
}

/// Dead letters that match, newest first, with row numbers below `below`.
pub(crate) fn list_matching(
    reader: &StoreReader,
    filter: &LetterFilter,
    below: i64,
    limit: u32,
) -> Result<Vec<NumberedLetter>, StoreError> {
    const SQL: &str = select!(
        NumberedLetter,
        "FROM webhook_dead_letter_queue WHERE (?1 IS NULL OR event_type = ?1) AND (?2 IS NULL OR instr(error, ?2) > 0)
           AND id < ?3 ORDER BY id DESC LIMIT ?4"
    );
    reader.list(SQL, (&filter.event_type, &filter.error, below, limit), NumberedLetter::read)
}

/// How many match. The table is small; where it is not, counting ends at `most`.
pub(crate) fn count_matching(
    reader: &StoreReader,
    filter: &LetterFilter,
    most: u32,
) -> Result<LetterCount, StoreError> {
    const SQL: &str = select!(
        LetterCount,
        "FROM (SELECT id FROM webhook_dead_letter_queue
            WHERE (?1 IS NULL OR event_type = ?1) AND (?2 IS NULL OR instr(error, ?2) > 0) ORDER BY id DESC LIMIT ?3)"
    );
    reader.get(SQL, (&filter.event_type, &filter.error, most), LetterCount::read)
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

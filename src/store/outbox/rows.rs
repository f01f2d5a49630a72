//! The outbox as an operator sees it: listed, shown, tried again, discarded.

use super::deliveries::let_go;
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};

columns! {
    /// A row, whatever its state.
    pub struct OutboxRow {
        /// Row number, as text.
        id: String = "CAST(id AS TEXT)",
        /// What is to be performed.
        kind: String,
        /// Its key.
        dedupe_key: String,
        /// Whom it concerns.
        user_id: Option<String>,
        /// Where it goes.
        target: Option<String>,
        /// Its state.
        status: String,
        /// Attempts made.
        attempts: u32,
        /// When it is due, unix milliseconds.
        due_ms: i64 = "next_attempt_at_ms",
        /// Why the newest attempt failed, or a note.
        error: Option<String> = "last_error",
        /// When it was written, unix milliseconds.
        created_at_ms: i64,
        /// When it ended, unix milliseconds.
        finished_at_ms: Option<i64>,
        /// What it consists of, JSON.
        payload: String,
    }
}

/// Which rows are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutboxFilter<'a> {
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// In this state.
    pub status: Option<&'a str>,
    /// Written before this one.
    pub before: Option<i64>,
}

/// Rows, newest first.
pub fn list(reader: &StoreReader, filter: OutboxFilter, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
    const SQL: &str = select!(
        OutboxRow,
        "FROM outbox
         WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR id < ?3)
         ORDER BY id DESC LIMIT ?4"
    );
    reader.list(SQL, (filter.kind, filter.status, filter.before, limit), OutboxRow::read)
}

columns! {
    /// A row of a user, without its payload.
    pub(crate) struct OutboxRowOfUser {
        id: i64,
        kind: String,
        dedupe_key: String,
        target: Option<String>,
        status: String,
        attempts: u32,
        /// Why the newest attempt failed, or a note.
        error: Option<String> = "last_error",
        /// The event that brought it about.
        cause: Option<String> = "cause_event_id",
        /// Unix milliseconds.
        created_at_ms: i64,
        /// Unix milliseconds.
        finished_at_ms: Option<i64>,
        /// Of a changed answer: old and new, JSON.
        change: Option<String> = "CASE WHEN sequence IS NOT NULL THEN json_extract(payload, '$.data') END",
        /// Of a fetch: the path.
        path: Option<String> = "CASE WHEN kind = 'stripe_call' THEN json_extract(payload, '$.object_path') END",
    }
}

/// Rows of a user, newest first, before a place: time, then number of a row.
pub(crate) fn list_of_user_before(
    reader: &StoreReader,
    user_id: &str,
    (at_ms, id): (i64, i64),
    limit: u32,
) -> Result<Vec<OutboxRowOfUser>, StoreError> {
    const SQL: &str = select!(
        OutboxRowOfUser,
        "FROM outbox INDEXED BY outbox_user WHERE user_id = ?1 AND (created_at_ms, id) < (?2, ?3)
         ORDER BY created_at_ms DESC, id DESC LIMIT ?4"
    );
    reader.list(SQL, (user_id, at_ms, id, limit), OutboxRowOfUser::read)
}

/// How many effects were given up, by kind.
pub(crate) fn count_failed(reader: &StoreReader) -> Result<Vec<(String, i64)>, StoreError> {
    const SQL: &str = "SELECT kind, count(*) FROM outbox WHERE status = 'failed' GROUP BY kind ORDER BY kind";
    reader.list(SQL, [], row::tuple)
}

/// One row.
pub fn find(reader: &StoreReader, id: i64) -> Result<Option<OutboxRow>, StoreError> {
    const SQL: &str = select!(OutboxRow, "FROM outbox WHERE id = ?1");
    reader.find(SQL, [id], OutboxRow::read)
}

const AGAIN: &str = "UPDATE outbox SET status = 'pending', attempts = 0, next_attempt_at_ms = ?2, claimed_at_ms = NULL,
    last_error = NULL, finished_at_ms = NULL, waits_for = NULL WHERE id = ?1 AND status <> 'claimed'";

/// Lets an effect be performed from the beginning, now. `false`: it is being performed, or there is none.
pub fn again(tx: &Tx, id: i64, now_ms: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(AGAIN, (id, now_ms))? == 1)
}

const DISCARD: &str =
    "UPDATE outbox SET status = 'discarded', finished_at_ms = ?2, claimed_at_ms = NULL, waits_for = NULL
    WHERE id = ?1 AND status IN ('pending', 'failed', 'skipped')";

/// Gives an effect up for good and lets go what waits for it. `false`: it is performed, being performed, or discarded.
pub fn discard(tx: &Tx, id: i64, now_ms: i64) -> Result<bool, StoreError> {
    let discarded = tx.execute(DISCARD, (id, now_ms))? == 1;
    if discarded {
        let_go(tx, id)?;
    }
    Ok(discarded)
}

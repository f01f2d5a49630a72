//! The outbox as an operator sees it: listed, shown, tried again, discarded.

use rusqlite::Row;

use super::deliveries::let_go;
use crate::store::{Reader, StoreError, Tx};

/// A row, whatever its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Row number, as text.
    pub id: String,
    /// What is to be performed.
    pub kind: String,
    /// Its key.
    pub dedupe_key: String,
    /// Whom it concerns.
    pub user_id: Option<String>,
    /// Where it goes.
    pub target: Option<String>,
    /// Where it stands.
    pub status: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it is due, unix milliseconds.
    pub due_ms: i64,
    /// Why the newest attempt failed, or a note.
    pub error: Option<String>,
    /// When it was written, unix milliseconds.
    pub created_at_ms: i64,
    /// When it ended, unix milliseconds.
    pub finished_at_ms: Option<i64>,
    /// What it consists of, JSON.
    pub payload: String,
}

const COLUMNS: &str = "CAST(id AS TEXT), kind, dedupe_key, user_id, target, status, attempts, next_attempt_at_ms,
    last_error, created_at_ms, finished_at_ms, payload";

fn outbox_row(row: &Row) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        dedupe_key: row.get(2)?,
        user_id: row.get(3)?,
        target: row.get(4)?,
        status: row.get(5)?,
        attempts: row.get(6)?,
        due_ms: row.get(7)?,
        error: row.get(8)?,
        created_at_ms: row.get(9)?,
        finished_at_ms: row.get(10)?,
        payload: row.get(11)?,
    })
}

/// Which rows are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// In this state.
    pub status: Option<&'a str>,
    /// Written before this one.
    pub before: Option<i64>,
}

/// Rows, newest first.
///
/// # Errors
/// When the database cannot be read.
pub fn list(reader: &Reader, filter: Filter, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox
         WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR id < ?3)
         ORDER BY id DESC LIMIT ?4"
    );
    reader.list(&sql, (filter.kind, filter.status, filter.before, limit), outbox_row)
}

/// How many effects were given up, by kind.
///
/// # Errors
/// When the database cannot be read.
pub fn count_failed(reader: &Reader) -> Result<Vec<(String, i64)>, StoreError> {
    const SQL: &str = "SELECT kind, count(*) FROM outbox WHERE status = 'failed' GROUP BY kind ORDER BY kind";
    reader.list(SQL, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// One row.
///
/// # Errors
/// When the database cannot be read.
pub fn find(reader: &Reader, id: i64) -> Result<Option<OutboxRow>, StoreError> {
    reader.find(&format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1"), [id], outbox_row)
}

const AGAIN: &str = "UPDATE outbox SET status = 'pending', attempts = 0, next_attempt_at_ms = ?2, claimed_at_ms = NULL,
    last_error = NULL, finished_at_ms = NULL, waits_for = NULL WHERE id = ?1 AND status <> 'claimed'";

/// Lets an effect be performed from the beginning, now. `false`: it is being performed, or there is none.
///
/// # Errors
/// When the database cannot take it.
pub fn again(tx: &Tx, id: i64, now_ms: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(AGAIN, (id, now_ms))? == 1)
}

const DISCARD: &str =
    "UPDATE outbox SET status = 'discarded', finished_at_ms = ?2, claimed_at_ms = NULL, waits_for = NULL
    WHERE id = ?1 AND status IN ('pending', 'failed', 'skipped')";

/// Gives an effect up for good and lets go what waits for it. `false`: it is performed, being performed, or discarded.
///
/// # Errors
/// When the database cannot take it.
pub fn discard(tx: &Tx, id: i64, now_ms: i64) -> Result<bool, StoreError> {
    let discarded = tx.execute(DISCARD, (id, now_ms))? == 1;
    if discarded {
        let_go(tx, id)?;
    }
    Ok(discarded)
}

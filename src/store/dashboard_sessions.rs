//! `dashboard_sessions`: who is logged in to the dashboard. It must never see a session's token, only its hash. Called by
//! `http::dashboard`.

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{self, columns, select};

columns! {
    /// A session that has not expired.
    pub(crate) struct SessionRow {
        /// Of its token, hex.
        token_hash: String,
        /// It opens nothing from then on, unix milliseconds.
        expires_at_ms: i64,
        /// What the next page tells, once.
        said: Option<String>,
    }
}

/// Adds a session, and removes those that have expired.
pub(crate) fn add(tx: &Tx, token_hash: &str, (now_ms, expires_at_ms): (i64, i64)) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO dashboard_sessions (token_hash, created_at_ms, expires_at_ms) VALUES (?1, ?2, ?3)";
    tx.execute("DELETE FROM dashboard_sessions WHERE expires_at_ms <= ?1", [now_ms])?;
    tx.execute(SQL, (token_hash, now_ms, expires_at_ms)).map(|_| ())
}

/// The session with that hash, unless it has expired.
pub(crate) fn find(reader: &StoreReader, token_hash: &str, now_ms: i64) -> Result<Option<SessionRow>, StoreError> {
    const SQL: &str = select!(SessionRow, "FROM dashboard_sessions WHERE token_hash = ?1 AND expires_at_ms > ?2");
    reader.find(SQL, (token_hash, now_ms), SessionRow::read)
}

/// Ends a session. `false`: there is none.
pub(crate) fn remove(tx: &Tx, token_hash: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM dashboard_sessions WHERE token_hash = ?1", [token_hash])? == 1)
}

/// Keeps what the next page of a session tells.
pub(crate) fn say(tx: &Tx, token_hash: &str, said: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE dashboard_sessions SET said = ?2 WHERE token_hash = ?1", (token_hash, said)).map(|_| ())
}

/// What a session's next page tells; afterwards it is told no more.
pub(crate) fn take_said(tx: &Tx, token_hash: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT said FROM dashboard_sessions WHERE token_hash = ?1";
    let said: Option<Option<String>> = tx.find(SQL, [token_hash], row::only)?;
    tx.execute("UPDATE dashboard_sessions SET said = NULL WHERE token_hash = ?1", [token_hash])?;
    Ok(said.flatten())
}

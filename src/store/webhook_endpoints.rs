//! `webhook_endpoints`: how the application's endpoints fare. A disabled one gets nothing; its events wait.

use rusqlite::Row;

use super::{Reader, StoreError, Tx};

/// How an endpoint fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// First of the failures since its last success, unix milliseconds.
    pub first_failure_ms: Option<i64>,
    /// Unix milliseconds.
    pub last_success_ms: Option<i64>,
    /// Since when it gets nothing, unix milliseconds.
    pub disabled_at_ms: Option<i64>,
    /// Why.
    pub disabled_reason: Option<String>,
}

fn endpoint(row: &Row) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint {
        first_failure_ms: row.get(0)?,
        last_success_ms: row.get(1)?,
        disabled_at_ms: row.get(2)?,
        disabled_reason: row.get(3)?,
    })
}

/// One endpoint; `None`: it was never configured.
///
/// # Errors
/// When the database cannot be read.
pub fn find(reader: &Reader, url: &str) -> Result<Option<Endpoint>, StoreError> {
    const SQL: &str = "SELECT first_failure_ms, last_success_ms, disabled_at_ms, disabled_reason
        FROM webhook_endpoints WHERE url = ?1";
    reader.find(SQL, [url], endpoint)
}

/// Endpoints that get nothing, and why.
///
/// # Errors
/// When the database cannot be read.
pub fn list_disabled(reader: &Reader) -> Result<Vec<(String, Option<String>)>, StoreError> {
    const SQL: &str =
        "SELECT url, disabled_reason FROM webhook_endpoints WHERE disabled_at_ms IS NOT NULL ORDER BY url";
    reader.list(SQL, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

const CONFIGURE: &str = "INSERT INTO webhook_endpoints (url, fingerprint) VALUES (?1, ?2)
    ON CONFLICT (url) DO UPDATE SET fingerprint = excluded.fingerprint, first_failure_ms = NULL, disabled_at_ms = NULL,
        disabled_reason = NULL WHERE fingerprint <> excluded.fingerprint";

/// Notes that it is configured so. Where it was configured otherwise, it is enabled and begins anew.
///
/// # Errors
/// When the database cannot take it.
pub fn configure(tx: &Tx, url: &str, fingerprint: &str) -> Result<(), StoreError> {
    tx.execute(CONFIGURE, (url, fingerprint)).map(|_| ())
}

/// It took an event.
///
/// # Errors
/// When the database cannot take it.
pub fn succeed(tx: &Tx, url: &str, now_ms: i64) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE webhook_endpoints SET first_failure_ms = NULL, last_success_ms = ?2 WHERE url = ?1";
    tx.execute(SQL, (url, now_ms)).map(|_| ())
}

const FAIL: &str = "UPDATE webhook_endpoints SET first_failure_ms = min(coalesce(first_failure_ms, ?2), ?2)
    WHERE url = ?1 RETURNING first_failure_ms";

/// It did not take an event. Since when it takes none, unix milliseconds.
///
/// # Errors
/// When the database cannot take it.
pub fn fail(tx: &Tx, url: &str, now_ms: i64) -> Result<Option<i64>, StoreError> {
    tx.find(FAIL, (url, now_ms), |row| row.get(0))
}

const DISABLE: &str = "UPDATE webhook_endpoints SET disabled_at_ms = ?2, disabled_reason = ?3
    WHERE url = ?1 AND disabled_at_ms IS NULL";

/// Sends it nothing more. `false`: it was so already.
///
/// # Errors
/// When the database cannot take it.
pub fn disable(tx: &Tx, url: &str, reason: &str, now_ms: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(DISABLE, (url, now_ms, reason))? == 1)
}

const ENABLE: &str =
    "UPDATE webhook_endpoints SET first_failure_ms = NULL, disabled_at_ms = NULL, disabled_reason = NULL
    WHERE url = ?1 AND disabled_at_ms IS NOT NULL";

/// Sends it its events again. `false`: it was not disabled.
///
/// # Errors
/// When the database cannot take it.
pub fn enable(tx: &Tx, url: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(ENABLE, [url])? == 1)
}

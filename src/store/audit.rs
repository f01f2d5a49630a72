//! `audit_log`: who did what to what. Rows of events are written once per event, whatever is replayed.

use rusqlite::{Row, named_params};

use super::{Reader, StoreError, Tx};

/// A row to be written.
pub struct NewEntry<'a> {
    /// When, unix milliseconds; for an event the time Stripe gives.
    pub at_ms: i64,
    /// `stripe`, `api`, `cli` or `tilld`.
    pub actor: &'a str,
    /// What was done.
    pub action: &'a str,
    /// Whom it concerns, where known.
    pub user_id: Option<&'a str>,
    /// By which the user is found later.
    pub customer_id: Option<&'a str>,
    /// To what.
    pub subject: Option<&'a str>,
    /// The event that caused it.
    pub event_id: Option<&'a str>,
    /// A JSON object without personal data.
    pub detail: &'a str,
}

/// A row as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub id: i64,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// Whom it concerns.
    pub user_id: Option<String>,
    /// To what.
    pub subject: Option<String>,
    /// The event that caused it.
    pub event_id: Option<String>,
    /// JSON object.
    pub detail: String,
}

const ADD: &str = "INSERT INTO audit_log
    (at_ms, actor, action, user_id, stripe_customer_id, subject, stripe_event_id, detail)
    VALUES (:at_ms, :actor, :action, :user_id, :customer_id, :subject, :event_id, :detail)
    ON CONFLICT (stripe_event_id, action) DO NOTHING";

/// Writes a row.
///
/// # Errors
/// When the database cannot take it.
pub fn add(tx: &Tx, entry: &NewEntry) -> Result<(), StoreError> {
    let params = named_params! {
        ":at_ms": entry.at_ms, ":actor": entry.actor, ":action": entry.action, ":user_id": entry.user_id,
        ":customer_id": entry.customer_id, ":subject": entry.subject, ":event_id": entry.event_id,
        ":detail": entry.detail,
    };
    tx.execute_named(ADD, params).map(|_| ())
}

const LINK: &str = "UPDATE audit_log SET user_id = ?2 WHERE stripe_customer_id = ?1 AND user_id IS NOT ?2";

/// The user of a customer became known, or another one.
///
/// # Errors
/// When the database cannot take it.
pub fn link(tx: &Tx, customer_id: &str, user_id: Option<&str>) -> Result<(), StoreError> {
    tx.execute(LINK, (customer_id, user_id)).map(|_| ())
}

const LIST: &str = "SELECT id, at_ms, actor, action, user_id, subject, stripe_event_id, detail FROM audit_log
    WHERE user_id = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3";

/// What concerns a user, newest first, before the row `before`.
///
/// # Errors
/// When the database cannot be read.
pub fn list_of_user(reader: &Reader, user_id: &str, before: Option<i64>, limit: u32) -> Result<Vec<Entry>, StoreError> {
    reader.list(LIST, (user_id, before, limit), entry)
}

fn entry(row: &Row) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        actor: row.get(2)?,
        action: row.get(3)?,
        user_id: row.get(4)?,
        subject: row.get(5)?,
        event_id: row.get(6)?,
        detail: row.get(7)?,
    })
}

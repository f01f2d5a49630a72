//! `audit_log`: who did what to what. Rows of events are written once per event, whatever is replayed.

pub mod list;

use rusqlite::named_params;

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{self, columns, select};

/// A row to be written.
pub struct NewEntry<'a> {
    /// When, unix milliseconds; for an event the time Stripe gives.
    pub at_ms: i64,
    /// `stripe`, `api`, `cli`, `dashboard` or `tilld`.
    pub actor: &'a str,
    /// What was done.
    pub action: &'a str,
    /// Whom it concerns, where known.
    pub user_id: Option<&'a str>,
    /// By which the user is found later.
    pub customer_id: Option<&'a str>,
    /// The same, and before the customer.
    pub subscription_id: Option<&'a str>,
    /// To what.
    pub subject: Option<&'a str>,
    /// The event that caused it.
    pub event_id: Option<&'a str>,
    /// A JSON object without personal data.
    pub detail: &'a str,
}

impl<'a> NewEntry<'a> {
    /// An entry about nothing in particular; `detail` is a JSON object.
    #[must_use]
    pub fn new(actor: &'a str, action: &'a str, at_ms: i64, detail: &'a str) -> Self {
        Self {
            at_ms,
            actor,
            action,
            user_id: None,
            customer_id: None,
            subscription_id: None,
            subject: None,
            event_id: None,
            detail,
        }
    }
}

columns! {
    /// A row as read.
    pub struct AuditEntry {
        /// Its place.
        id: i64,
        /// Unix milliseconds.
        at_ms: i64,
        /// Who.
        actor: String,
        /// What.
        action: String,
        /// Whom it concerns.
        user_id: Option<String>,
        /// To what.
        subject: Option<String>,
        /// The event that caused it.
        event_id: Option<String> = "stripe_event_id",
        /// JSON object.
        detail: String,
    }
}

const ADD: &str = "INSERT INTO audit_log
    (at_ms, actor, action, user_id, stripe_customer_id, stripe_subscription_id, subject, stripe_event_id, detail)
    VALUES (:at_ms, :actor, :action, :user_id, :customer_id, :subscription_id, :subject, :event_id, :detail)
    ON CONFLICT (stripe_event_id, action) DO NOTHING";

/// Writes a row.
pub fn add(tx: &Tx, entry: &NewEntry) -> Result<(), StoreError> {
    let params = named_params! {
        ":at_ms": entry.at_ms, ":actor": entry.actor, ":action": entry.action, ":user_id": entry.user_id,
        ":customer_id": entry.customer_id, ":subscription_id": entry.subscription_id, ":subject": entry.subject,
        ":event_id": entry.event_id, ":detail": entry.detail,
    };
    tx.execute_named(ADD, params).map(|_| ())
}

/// The user of a customer became known, or another one. What is about a subscription follows that one.
pub(crate) fn link_customer(tx: &Tx, customer_id: &str, user_id: Option<&str>) -> Result<(), StoreError> {
    // Opening every index for writing costs more than looking first, and mostly there is nothing yet.
    const ANY: &str = "SELECT 1 FROM audit_log
        WHERE stripe_customer_id = ?1 AND stripe_subscription_id IS NULL LIMIT 1";
    const LINK: &str = "UPDATE audit_log SET user_id = ?2
        WHERE stripe_customer_id = ?1 AND stripe_subscription_id IS NULL AND user_id IS NOT ?2";
    if tx.find(ANY, [customer_id], |_| Ok(()))?.is_none() {
        return Ok(());
    }
    tx.execute(LINK, (customer_id, user_id)).map(|_| ())
}

/// The user of a subscription became known, or another one.
pub(crate) fn link_subscription(tx: &Tx, subscription_id: &str, user_id: Option<&str>) -> Result<(), StoreError> {
    const ANY: &str = "SELECT 1 FROM audit_log WHERE stripe_subscription_id = ?1 LIMIT 1";
    const LINK: &str = "UPDATE audit_log SET user_id = ?2 WHERE stripe_subscription_id = ?1 AND user_id IS NOT ?2";
    if tx.find(ANY, [subscription_id], |_| Ok(()))?.is_none() {
        return Ok(());
    }
    tx.execute(LINK, (subscription_id, user_id)).map(|_| ())
}

/// What concerns a user, newest first, after the row `before` in this order.
pub(crate) fn list_of_user(
    reader: &StoreReader,
    user_id: &str,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    // Of a row that is gone the time is about that of the row written before it.
    const TIME: &str = "SELECT at_ms FROM audit_log WHERE id <= ?1 ORDER BY id DESC LIMIT 1";
    let place = match before {
        Some(id) => (reader.find(TIME, [id], row::only)?.unwrap_or(i64::MIN), id),
        None => (i64::MAX, i64::MAX),
    };
    list_of_user_before(reader, user_id, place, limit)
}

/// What concerns a user, newest first, before a place: time, then number of a row.
pub(crate) fn list_of_user_before(
    reader: &StoreReader,
    user_id: &str,
    (at_ms, id): (i64, i64),
    limit: u32,
) -> Result<Vec<AuditEntry>, StoreError> {
    const SQL: &str = select!(
        AuditEntry,
        "FROM audit_log WHERE user_id = ?1 AND (at_ms, id) < (?2, ?3) ORDER BY at_ms DESC, id DESC LIMIT ?4"
    );
    reader.list(SQL, (user_id, at_ms, id, limit), AuditEntry::read)
}

//! `subscription_events`: the history of each subscription, one row per event, whether it was applied or came late.

use super::{Reader, StoreError, Tx};

/// One thing that happened to a subscription.
pub struct Entry<'a> {
    /// `sub_…`.
    pub subscription_id: &'a str,
    /// `resource.verb`.
    pub event_type: &'a str,
    /// Stripe's event id.
    pub event_id: &'a str,
    /// The subscription's status in it; `None` for invoice events.
    pub status: Option<&'a str>,
    /// When it happened, unix seconds.
    pub event_created: i64,
}

const ADD: &str = "INSERT INTO subscription_events
    (stripe_subscription_id, event_type, stripe_event_id, status, event_created, created_at_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (stripe_event_id) DO NOTHING";

/// Adds an event to its subscription's history, once.
///
/// # Errors
/// When the database cannot take it.
pub fn add(tx: &Tx, entry: &Entry, now_ms: i64) -> Result<(), StoreError> {
    let params = (entry.subscription_id, entry.event_type, entry.event_id, entry.status, entry.event_created, now_ms);
    tx.execute(ADD, params).map(|_| ())
}

const LAST_GOOD: &str = "SELECT max(event_created) FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND status IN ('active', 'trialing')";

/// The newest time at which the subscription was known to be in good standing, unix seconds.
///
/// # Errors
/// When the database cannot be read.
pub fn last_good_standing(reader: &Reader, subscription_id: &str) -> Result<Option<i64>, StoreError> {
    reader.get(LAST_GOOD, [subscription_id], |row| row.get(0))
}

const FIRST_DELINQUENT: &str = "SELECT min(event_created) FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND status IN ('past_due', 'unpaid') AND event_created > ?2";

/// The first time after `after` at which it was known to be past due or unpaid, unix seconds.
///
/// # Errors
/// When the database cannot be read.
pub fn first_delinquent_after(reader: &Reader, subscription_id: &str, after: i64) -> Result<Option<i64>, StoreError> {
    reader.get(FIRST_DELINQUENT, (subscription_id, after), |row| row.get(0))
}

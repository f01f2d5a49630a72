//! `subscriptions`: of every user the effective subscription, with the tier and the answer as last computed. A
//! convenience for people and reports; the entitlement call computes afresh and never reads it.

use rusqlite::named_params;

use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};

/// A user's effective subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveRow<'a> {
    /// Whose.
    pub user_id: &'a str,
    /// `cus_…`.
    pub customer_id: &'a str,
    /// `sub_…`.
    pub subscription_id: &'a str,
    /// The price that gives the tier.
    pub price_id: Option<&'a str>,
    /// Stripe's word.
    pub status: &'a str,
    /// Ours.
    pub tier: &'a str,
    /// The answer.
    pub entitled: bool,
    /// Why.
    pub reason: &'a str,
    /// Unix seconds.
    pub period: (Option<i64>, Option<i64>),
    /// Ends with the period.
    pub cancel_at_period_end: bool,
    /// Unix seconds.
    pub canceled_at: Option<i64>,
    /// Unix seconds.
    pub trial: (Option<i64>, Option<i64>),
    /// Unix seconds.
    pub grace_period_end: Option<i64>,
    /// Unix seconds.
    pub valid_until: Option<i64>,
    /// Unix seconds.
    pub ends_at: Option<i64>,
    /// When the answer changes by time alone, unix seconds.
    pub changes_at: Option<i64>,
}

const PUT: &str = "INSERT INTO subscriptions
    (user_id, stripe_customer_id, stripe_subscription_id, stripe_price_id, status, tier, entitled, reason,
     current_period_start, current_period_end, cancel_at_period_end, canceled_at, trial_start, trial_end,
     grace_period_end, valid_until, ends_at, changes_at, updated_at_ms)
    VALUES (:user, :customer, :subscription, :price, :status, :tier, :entitled, :reason, :period_start, :period_end,
     :at_period_end, :canceled_at, :trial_start, :trial_end, :grace_period_end, :valid_until, :ends_at, :changes_at,
     :now_ms)
    ON CONFLICT (user_id) DO UPDATE SET stripe_customer_id = :customer, stripe_subscription_id = :subscription,
     stripe_price_id = :price, status = :status, tier = :tier, entitled = :entitled, reason = :reason,
     current_period_start = :period_start, current_period_end = :period_end, cancel_at_period_end = :at_period_end,
     canceled_at = :canceled_at, trial_start = :trial_start, trial_end = :trial_end,
     grace_period_end = :grace_period_end, valid_until = :valid_until, ends_at = :ends_at, changes_at = :changes_at,
     updated_at_ms = :now_ms";

/// Replaces a user's row.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, row: &EffectiveRow, now_ms: i64) -> Result<(), StoreError> {
    let params = named_params! {
        ":user": row.user_id, ":customer": row.customer_id, ":subscription": row.subscription_id,
        ":price": row.price_id, ":status": row.status, ":tier": row.tier, ":entitled": row.entitled,
        ":reason": row.reason, ":period_start": row.period.0, ":period_end": row.period.1,
        ":at_period_end": row.cancel_at_period_end, ":canceled_at": row.canceled_at, ":trial_start": row.trial.0,
        ":trial_end": row.trial.1, ":grace_period_end": row.grace_period_end,
        ":valid_until": row.valid_until, ":ends_at": row.ends_at, ":changes_at": row.changes_at, ":now_ms": now_ms,
    };
    tx.execute_named(PUT, params).map(|_| ())
}

/// The user has no subscription any more.
///
/// # Errors
/// When the database cannot take it.
pub fn remove(tx: &Tx, user_id: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM subscriptions WHERE user_id = ?1", [user_id]).map(|_| ())
}

columns! {
    /// The answer that a row holds.
    pub struct StoredAnswer {
        entitled: bool,
        tier: String,
        reason: String,
        status: String,
        subscription_id: String = "stripe_subscription_id",
        price_id: Option<String> = "stripe_price_id",
        valid_until: Option<i64>,
        grace_period_end: Option<i64>,
        ends_at: Option<i64>,
    }
}

/// The answer as it was last computed for a user; `None`: the user had no subscription.
///
/// # Errors
/// When the database cannot be read.
pub fn find_answered(reader: &StoreReader, user_id: &str) -> Result<Option<StoredAnswer>, StoreError> {
    const SQL: &str = select!(StoredAnswer, "FROM subscriptions WHERE user_id = ?1");
    reader.find(SQL, [user_id], StoredAnswer::read)
}

/// The same from the file that is attached as `old`.
pub(crate) fn find_answered_before(reader: &StoreReader, user_id: &str) -> Result<Option<StoredAnswer>, StoreError> {
    const SQL: &str = select!(StoredAnswer, "FROM old.subscriptions WHERE user_id = ?1");
    reader.find(SQL, [user_id], StoredAnswer::read)
}

const LIST_FUTURE: &str = "SELECT user_id FROM subscriptions WHERE updated_at_ms > ?1 ORDER BY id LIMIT ?2";

/// Users whose answer was computed at a time that has not come yet.
///
/// # Errors
/// When the database cannot be read.
pub fn list_future(reader: &StoreReader, latest_ms: i64, limit: u32) -> Result<Vec<String>, StoreError> {
    reader.list(LIST_FUTURE, (latest_ms, limit), row::only)
}

const LIST_DUE: &str = "SELECT user_id FROM subscriptions WHERE changes_at <= ?1 ORDER BY changes_at, user_id LIMIT ?2";

/// Users whose answer has changed by time alone, those of longest ago first.
///
/// # Errors
/// When the database cannot be read.
pub fn list_due(reader: &StoreReader, now_s: i64, limit: u32) -> Result<Vec<String>, StoreError> {
    reader.list(LIST_DUE, (now_s, limit), row::only)
}

//! What grace, dunning and the tier need to know of a subscription besides its state: how it stands, and what its history
//! says of it. Called by `projection::standing` and `derived`.

use crate::store::{Reader, StoreError, Tx};

/// How a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its customer.
    pub customer_id: String,
    /// Stripe's status.
    pub status: String,
    /// Why it is paused, where it is.
    pub paused_reason: Option<String>,
    /// Stripe does not collect.
    pub collection_paused: bool,
    /// Whether it is over for good.
    pub deleted: bool,
    /// When it ended, where Stripe says so.
    pub ended_at: Option<i64>,
    /// Created of the event it rests on.
    pub event_created: i64,
    /// What its history says.
    pub past: Past,
}

/// What the history of a subscription says of it; all empty while it is paid and collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// First failure of the present delinquency, unix seconds.
    pub grace_started_at: Option<i64>,
    /// While a payment is missing: the prices of its newest state that was active or trialing, a JSON array.
    pub good_price_ids: Option<String>,
    /// While collection is paused: the end of the period in which that began, unix seconds.
    pub pause_period_end: Option<i64>,
}

const FIND: &str = "SELECT stripe_customer_id, status, paused_reason, pause_collection IS NOT NULL, deleted, ended_at,
    event_created, grace_started_at, good_price_ids, pause_period_end
    FROM stripe_subscriptions WHERE stripe_subscription_id = ?1";

/// The standing of a subscription.
///
/// # Errors
/// When the database cannot be read.
pub fn find_standing(reader: &Reader, subscription_id: &str) -> Result<Option<Standing>, StoreError> {
    reader.find(FIND, [subscription_id], |row| {
        Ok(Standing {
            customer_id: row.get(0)?,
            status: row.get(1)?,
            paused_reason: row.get(2)?,
            collection_paused: row.get(3)?,
            deleted: row.get(4)?,
            ended_at: row.get(5)?,
            event_created: row.get(6)?,
            past: Past { grace_started_at: row.get(7)?, good_price_ids: row.get(8)?, pause_period_end: row.get(9)? },
        })
    })
}

/// Notes what the history of a subscription says of it.
///
/// # Errors
/// When the database cannot take it.
pub fn set_past(tx: &Tx, subscription_id: &str, past: &Past) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE stripe_subscriptions
        SET grace_started_at = ?2, good_price_ids = ?3, pause_period_end = ?4 WHERE stripe_subscription_id = ?1";
    let params = (subscription_id, past.grace_started_at, past.good_price_ids.as_deref(), past.pause_period_end);
    tx.execute(SQL, params).map(|_| ())
}

/// Subscriptions that run and are not paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// Stripe does not collect for them (`pause_collection`).
    pub collection: i64,
    /// Their status is `paused`.
    pub status: i64,
}

const COUNT_PAUSED: &str = "SELECT
    count(*) FILTER (WHERE pause_collection IS NOT NULL AND status NOT IN ('paused', 'canceled', 'incomplete_expired')),
    count(*) FILTER (WHERE status = 'paused')
    FROM stripe_subscriptions WHERE deleted = 0";

/// How many subscriptions are paused, in either of Stripe's two ways.
///
/// # Errors
/// When the database cannot be read.
pub fn count_paused(reader: &Reader) -> Result<Paused, StoreError> {
    reader.get(COUNT_PAUSED, [], |row| Ok(Paused { collection: row.get(0)?, status: row.get(1)? }))
}

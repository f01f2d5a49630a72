//! `subscription_events`: the history of each subscription, one row per event or reading, whether it was applied or came
//! late. Those that show the subscription itself keep what of that state may count later.

use rusqlite::named_params;

use super::row::{self, columns, select};
use super::{Reader, StoreError, Tx};

/// One thing that happened to a subscription.
pub struct Entry<'a> {
    /// `sub_…`.
    pub subscription_id: &'a str,
    /// `resource.verb`.
    pub event_type: &'a str,
    /// Stripe's event id.
    pub event_id: &'a str,
    /// The subscription as it shows it; `None` for invoice events.
    pub state: Option<&'a State<'a>>,
    /// When it happened, unix seconds.
    pub event_created: i64,
}

/// A subscription at one time, as far as it may count later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State<'a> {
    /// Stripe's word.
    pub status: &'a str,
    /// A payment is missing: it is past due, unpaid, or paused because one failed.
    pub delinquent: bool,
    /// Stripe does not collect.
    pub collection_paused: bool,
    /// Prices of its items, a JSON array.
    pub price_ids: String,
    /// Latest end of its items, unix seconds.
    pub period_end: Option<i64>,
}

const ADD: &str = "INSERT INTO subscription_events
    (stripe_subscription_id, event_type, stripe_event_id, status, delinquent, collection_paused, price_ids, period_end,
     event_created, created_at_ms)
    VALUES (:subscription, :type, :event, :status, :delinquent, :paused, :prices, :period_end, :created, :now_ms)
    ON CONFLICT (stripe_event_id) DO NOTHING";

/// Adds an event to its subscription's history, once.
///
/// # Errors
/// When the database cannot take it.
pub fn add(tx: &Tx, entry: &Entry, now_ms: i64) -> Result<(), StoreError> {
    let state = entry.state;
    let params = named_params! {
        ":subscription": entry.subscription_id, ":type": entry.event_type, ":event": entry.event_id,
        ":status": state.map(|state| state.status), ":delinquent": state.map(|state| state.delinquent),
        ":paused": state.map(|state| state.collection_paused),
        ":prices": state.map(|state| state.price_ids.as_str()),
        ":period_end": state.and_then(|state| state.period_end), ":created": entry.event_created, ":now_ms": now_ms,
    };
    tx.execute_named(ADD, params).map(|_| ())
}

const LAST_GOOD: &str = "SELECT max(event_created) FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND status IN ('active', 'trialing')";

/// The newest time at which the subscription was known to be in good standing, unix seconds.
///
/// # Errors
/// When the database cannot be read.
pub fn last_good_standing(reader: &Reader, subscription_id: &str) -> Result<Option<i64>, StoreError> {
    reader.get(LAST_GOOD, [subscription_id], row::only)
}

const FIRST_DELINQUENT: &str = "SELECT min(event_created) FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND delinquent = 1 AND event_created > ?2";

/// The first time after `after` at which a payment was known to be missing, unix seconds.
///
/// # Errors
/// When the database cannot be read.
pub fn first_delinquent_after(reader: &Reader, subscription_id: &str, after: i64) -> Result<Option<i64>, StoreError> {
    reader.get(FIRST_DELINQUENT, (subscription_id, after), row::only)
}

columns! {
    /// What a subscription showed in one row of its history.
    pub struct Past {
        /// The event, or the reading.
        event_id: String = "stripe_event_id",
        /// `resource.verb`.
        event_type: String,
        /// Unix seconds.
        event_created: i64,
        /// Prices of its items, a JSON array.
        price_ids: Option<String>,
        /// Latest end of its items, unix seconds.
        period_end: Option<i64>,
    }
}

/// Which states are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that were `active` or `trialing`.
    Good,
    /// Those in which Stripe collected.
    Collecting,
}

const NEWEST_GOOD: &str = select!(
    Past,
    "FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND status IN ('active', 'trialing') AND event_created =
        (SELECT max(event_created) FROM subscription_events
         WHERE stripe_subscription_id = ?1 AND status IN ('active', 'trialing'))
    ORDER BY id"
);
const NEWEST_COLLECTING: &str = select!(
    Past,
    "FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND collection_paused = 0 AND event_created =
        (SELECT max(event_created) FROM subscription_events
         WHERE stripe_subscription_id = ?1 AND collection_paused = 0)
    ORDER BY id"
);

/// The newest states of this kind: several if they are of one second. In the order of their arrival.
///
/// # Errors
/// When the database cannot be read.
pub fn list_newest(reader: &Reader, subscription_id: &str, which: Which) -> Result<Vec<Past>, StoreError> {
    let sql = match which {
        Which::Good => NEWEST_GOOD,
        Which::Collecting => NEWEST_COLLECTING,
    };
    reader.list(sql, [subscription_id], Past::read)
}

// Of several of one second the earliest end: a period only ever moves on.
const OLDEST_PERIOD_END: &str = "SELECT min(period_end) FROM subscription_events
    WHERE stripe_subscription_id = ?1 AND status IS NOT NULL AND event_created =
        (SELECT min(event_created) FROM subscription_events
         WHERE stripe_subscription_id = ?1 AND status IS NOT NULL)";

/// The end of the period in the oldest state that is known of a subscription, unix seconds.
///
/// # Errors
/// When the database cannot be read.
pub fn oldest_period_end(reader: &Reader, subscription_id: &str) -> Result<Option<i64>, StoreError> {
    reader.get(OLDEST_PERIOD_END, [subscription_id], row::only)
}

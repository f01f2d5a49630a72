//! `stripe_subscriptions` and `stripe_subscription_items`: subscriptions as Stripe has them.

mod standing;

use rusqlite::{Row, named_params};

use super::{Reader, StoreError, Tx};
use crate::entitlement;
use crate::ownership::LinkedBy;
use crate::stripe::object;
pub use standing::{Past, Paused, Standing, count_paused, find_standing, set_past};

/// A subscription as its newest event has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// `sub_…`.
    pub stripe_subscription_id: String,
    /// `cus_…`.
    pub stripe_customer_id: String,
    /// Price of the first item.
    pub stripe_price_id: Option<String>,
    /// As Stripe said it.
    pub status: String,
    /// Earliest start of its items, unix seconds.
    pub current_period_start: Option<i64>,
    /// Latest end of its items, unix seconds.
    pub current_period_end: Option<i64>,
    /// Ends with the period.
    pub cancel_at_period_end: bool,
    /// Ends then, unix seconds.
    pub cancel_at: Option<i64>,
    /// When canceling was asked for.
    pub canceled_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Unix seconds.
    pub trial_start: Option<i64>,
    /// Unix seconds.
    pub trial_end: Option<i64>,
    /// Unix seconds.
    pub start_date: Option<i64>,
    /// Made at Stripe, unix seconds.
    pub created: Option<i64>,
    /// `charge_automatically` or `send_invoice`.
    pub collection_method: Option<String>,
    /// Behavior, where collecting is paused.
    pub pause_collection: Option<String>,
    /// Why it is paused, where it is.
    pub paused_reason: Option<String>,
    /// `cancellation_details.reason`.
    pub cancellation_reason: Option<String>,
    /// Lower-case ISO code.
    pub currency: Option<String>,
    /// `in_…`.
    pub latest_invoice: Option<String>,
    /// Stripe sent only the first items.
    pub items_partial: bool,
    /// `customer.subscription.deleted` came.
    pub deleted: bool,
    /// JSON object.
    pub metadata: String,
    /// Mode.
    pub livemode: bool,
    /// Created of the event it rests on.
    pub event_created: i64,
    /// That event.
    pub event_id: String,
    /// Its metadata name a user; read back as `false`.
    pub named: bool,
    /// Its items, in Stripe's order.
    pub items: Vec<Item>,
}

/// One item of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// `si_…`.
    pub stripe_item_id: String,
    /// `price_…`, or an old plan's id.
    pub stripe_price_id: Option<String>,
    /// `prod_…`.
    pub stripe_product_id: Option<String>,
    /// `None` for metered prices.
    pub quantity: Option<i64>,
    /// Unix seconds.
    pub current_period_start: Option<i64>,
    /// Unix seconds.
    pub current_period_end: Option<i64>,
    /// Minor units.
    pub unit_amount: Option<i64>,
    /// Lower-case ISO code.
    pub currency: Option<String>,
    /// `day`, `week`, `month`, `year`.
    pub recurring_interval: Option<String>,
    /// Every how many of them.
    pub interval_count: Option<i64>,
}

const PUT: &str = "INSERT INTO stripe_subscriptions
    (stripe_subscription_id, stripe_customer_id, stripe_price_id, status, current_period_start, current_period_end,
     cancel_at_period_end, cancel_at, canceled_at, ended_at, trial_start, trial_end, start_date, created,
     collection_method, pause_collection, paused_reason, cancellation_reason, currency, latest_invoice, items_partial,
     deleted, metadata, livemode, event_created, event_id)
    VALUES (:id, :customer, :price, :status, :period_start, :period_end, :at_period_end, :cancel_at, :canceled_at,
     :ended_at, :trial_start, :trial_end, :start_date, :created, :collection_method, :pause_collection,
     :paused_reason, :cancellation_reason, :currency, :latest_invoice, :items_partial, :deleted, :metadata, :livemode,
     :event_created, :event_id)
    ON CONFLICT (stripe_subscription_id) DO UPDATE SET stripe_customer_id = :customer, stripe_price_id = :price,
     status = :status, current_period_start = :period_start, current_period_end = :period_end,
     cancel_at_period_end = :at_period_end, cancel_at = :cancel_at, canceled_at = :canceled_at, ended_at = :ended_at,
     trial_start = :trial_start, trial_end = :trial_end, start_date = :start_date, created = :created,
     collection_method = :collection_method, pause_collection = :pause_collection, paused_reason = :paused_reason,
     cancellation_reason = :cancellation_reason, currency = :currency, latest_invoice = :latest_invoice,
     items_partial = :items_partial, deleted = :deleted, metadata = :metadata, livemode = :livemode,
     event_created = :event_created, event_id = :event_id,
     last_named = CASE WHEN :named THEN NULL ELSE last_named END";

/// Prices of subscriptions that have not ended.
///
/// # Errors
/// When the database cannot be read.
pub fn list_running_prices(reader: &Reader) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT DISTINCT i.stripe_price_id FROM stripe_subscription_items i
        JOIN stripe_subscriptions s ON s.stripe_subscription_id = i.stripe_subscription_id
        WHERE i.stripe_price_id IS NOT NULL AND s.deleted = 0 AND s.status IN ('active', 'trialing', 'past_due', 'unpaid')
        ORDER BY 1 LIMIT 20";
    reader.list(SQL, [], |row| row.get(0))
}

/// Subscriptions of a customer that are not known to have been deleted.
///
/// # Errors
/// When the database cannot be read.
pub fn list_ids_of_customer(reader: &Reader, customer_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_subscription_id FROM stripe_subscriptions
        WHERE stripe_customer_id = ?1 AND deleted = 0 ORDER BY id";
    reader.list(SQL, [customer_id], |row| row.get(0))
}

/// Replaces what is known of a subscription, its items with it. Our own policy on the row stays.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, row: &Subscription) -> Result<(), StoreError> {
    let params = named_params! {
        ":id": row.stripe_subscription_id, ":customer": row.stripe_customer_id, ":price": row.stripe_price_id,
        ":status": row.status, ":period_start": row.current_period_start, ":period_end": row.current_period_end,
        ":at_period_end": row.cancel_at_period_end, ":cancel_at": row.cancel_at, ":canceled_at": row.canceled_at,
        ":ended_at": row.ended_at, ":trial_start": row.trial_start, ":trial_end": row.trial_end,
        ":start_date": row.start_date, ":created": row.created, ":collection_method": row.collection_method,
        ":pause_collection": row.pause_collection, ":paused_reason": row.paused_reason,
        ":cancellation_reason": row.cancellation_reason,
        ":currency": row.currency, ":latest_invoice": row.latest_invoice, ":items_partial": row.items_partial,
        ":deleted": row.deleted, ":metadata": row.metadata, ":livemode": row.livemode,
        ":event_created": row.event_created, ":event_id": row.event_id, ":named": row.named,
    };
    tx.execute_named(PUT, params)?;
    put_items(tx, &row.stripe_subscription_id, &row.items)
}

/// Mostly they are the same ones again: then one row changes, and no index.
fn put_items(tx: &Tx, subscription_id: &str, items: &[Item]) -> Result<(), StoreError> {
    const IDS: &str = "SELECT stripe_item_id FROM stripe_subscription_items WHERE stripe_subscription_id = ?1";
    const DELETE: &str =
        "DELETE FROM stripe_subscription_items WHERE stripe_subscription_id = ?1 AND stripe_item_id = ?2";
    let known: Vec<String> = tx.list(IDS, [subscription_id], |row| row.get(0))?;
    for gone in known.iter().filter(|id| !items.iter().any(|item| item.stripe_item_id == **id)) {
        tx.execute(DELETE, (subscription_id, gone))?;
    }
    for (position, item) in items.iter().enumerate() {
        // Of two with one id, which Stripe does not send, the first counts.
        if !items[..position].iter().any(|before| before.stripe_item_id == item.stripe_item_id) {
            put_item(tx, subscription_id, position, item)?;
        }
    }
    Ok(())
}

const PUT_ITEM: &str = "INSERT INTO stripe_subscription_items
    (stripe_subscription_id, stripe_item_id, position, stripe_price_id, stripe_product_id, quantity,
     current_period_start, current_period_end, unit_amount, currency, recurring_interval, interval_count)
    VALUES (:subscription, :item, :position, :price, :product, :quantity, :period_start, :period_end, :unit_amount,
     :currency, :interval, :interval_count)
    ON CONFLICT (stripe_subscription_id, stripe_item_id) DO UPDATE SET position = :position, stripe_price_id = :price,
     stripe_product_id = :product, quantity = :quantity, current_period_start = :period_start,
     current_period_end = :period_end, unit_amount = :unit_amount, currency = :currency,
     recurring_interval = :interval, interval_count = :interval_count";

fn put_item(tx: &Tx, subscription_id: &str, position: usize, item: &Item) -> Result<(), StoreError> {
    let params = named_params! {
        ":subscription": subscription_id, ":item": item.stripe_item_id,
        ":position": i64::try_from(position).unwrap_or(i64::MAX), ":price": item.stripe_price_id,
        ":product": item.stripe_product_id, ":quantity": item.quantity, ":period_start": item.current_period_start,
        ":period_end": item.current_period_end, ":unit_amount": item.unit_amount, ":currency": item.currency,
        ":interval": item.recurring_interval, ":interval_count": item.interval_count,
    };
    tx.execute_named(PUT_ITEM, params).map(|_| ())
}

/// The user of a subscription.
///
/// # Errors
/// When the database cannot be read.
pub fn find_user(reader: &Reader, subscription_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT user_id FROM stripe_subscriptions WHERE stripe_subscription_id = ?1";
    Ok(reader.find(SQL, [subscription_id], |row| row.get(0))?.flatten())
}

/// The users of a customer's subscriptions.
///
/// # Errors
/// When the database cannot be read.
pub fn list_users_of_customer(reader: &Reader, customer_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT user_id FROM stripe_subscriptions
        WHERE stripe_customer_id = ?1 AND user_id IS NOT NULL";
    reader.list(SQL, [customer_id], |row| row.get(0))
}

/// The customer of a subscription.
///
/// # Errors
/// When the database cannot be read.
pub fn find_customer(reader: &Reader, subscription_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id FROM stripe_subscriptions WHERE stripe_subscription_id = ?1";
    reader.find(SQL, [subscription_id], |row| row.get(0))
}

/// A subscription as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The row without its items.
    pub subscription: Subscription,
    /// What its history says of it.
    pub past: Past,
    /// Whether its customer was deleted.
    pub customer_deleted: bool,
    /// Whose it is.
    pub user_id: Option<String>,
    /// Why.
    pub linked_by: Option<LinkedBy>,
    /// Whose its customer is.
    pub customers_user: Option<String>,
}

impl Shown {
    /// What entitlement needs to know of it. A deleted customer's subscriptions are over.
    #[must_use]
    pub fn facts(&self) -> entitlement::Subscription {
        let row = &self.subscription;
        entitlement::Subscription {
            id: row.stripe_subscription_id.clone(),
            status: row.status.clone(),
            price_ids: row.items.iter().filter_map(|item| item.stripe_price_id.clone()).collect(),
            period_end: row.current_period_end,
            cancel_at: row.cancel_at,
            cancel_at_period_end: row.cancel_at_period_end,
            items_partial: row.items_partial,
            paused_by_failure: object::is_payment_failure(row.paused_reason.as_deref()),
            pause_period_end: self.past.pause_period_end,
            good_price_ids: self.past.good_price_ids.as_deref().and_then(|ids| serde_json::from_str(ids).ok()),
            deleted: row.deleted || self.customer_deleted,
            by_reference: self.linked_by == Some(LinkedBy::Reference),
            created: row.created.unwrap_or(row.event_created),
            grace_started_at: self.past.grace_started_at,
            as_of: row.event_created,
        }
    }
}

macro_rules! show {
    ($which:literal) => {
        concat!(
            "SELECT s.stripe_subscription_id, s.stripe_customer_id, s.stripe_price_id, s.status,
             s.current_period_start, s.current_period_end, s.cancel_at_period_end, s.cancel_at, s.canceled_at, s.ended_at,
             s.trial_start, s.trial_end, s.start_date, s.created, s.collection_method, s.pause_collection,
             s.cancellation_reason, s.currency, s.latest_invoice, s.items_partial, s.deleted, s.metadata, s.livemode,
             s.event_created, s.event_id, s.paused_reason, s.grace_started_at, s.good_price_ids, s.pause_period_end,
             coalesce(c.deleted, 0), s.user_id, s.linked_by, c.owner_user_id ",
            $which
        )
    };
}

const OF_USER: &str = show!(
    "FROM stripe_subscriptions s LEFT JOIN stripe_customers c ON c.stripe_customer_id = s.stripe_customer_id
    WHERE s.user_id = ?1 ORDER BY s.created DESC, s.stripe_subscription_id DESC"
);
const BY_ID: &str = show!(
    "FROM stripe_subscriptions s LEFT JOIN stripe_customers c ON c.stripe_customer_id = s.stripe_customer_id
    WHERE s.stripe_subscription_id = ?1"
);

/// Every subscription of a user with its items, newest first.
///
/// # Errors
/// When the database cannot be read.
pub fn list_of_user(reader: &Reader, user_id: &str) -> Result<Vec<Shown>, StoreError> {
    list_shown(reader, OF_USER, user_id)
}

/// A subscription with its items.
///
/// # Errors
/// When the database cannot be read.
pub fn find(reader: &Reader, subscription_id: &str) -> Result<Option<Shown>, StoreError> {
    Ok(list_shown(reader, BY_ID, subscription_id)?.into_iter().next())
}

fn list_shown(reader: &Reader, sql: &str, id: &str) -> Result<Vec<Shown>, StoreError> {
    let mut shown = reader.list(sql, [id], show)?;
    for one in &mut shown {
        one.subscription.items = list_items(reader, &one.subscription.stripe_subscription_id)?;
    }
    Ok(shown)
}

fn show(row: &Row) -> rusqlite::Result<Shown> {
    Ok(Shown {
        subscription: Subscription {
            stripe_subscription_id: row.get(0)?,
            stripe_customer_id: row.get(1)?,
            stripe_price_id: row.get(2)?,
            status: row.get(3)?,
            current_period_start: row.get(4)?,
            current_period_end: row.get(5)?,
            cancel_at_period_end: row.get(6)?,
            cancel_at: row.get(7)?,
            canceled_at: row.get(8)?,
            ended_at: row.get(9)?,
            trial_start: row.get(10)?,
            trial_end: row.get(11)?,
            start_date: row.get(12)?,
            created: row.get(13)?,
            collection_method: row.get(14)?,
            pause_collection: row.get(15)?,
            cancellation_reason: row.get(16)?,
            currency: row.get(17)?,
            latest_invoice: row.get(18)?,
            items_partial: row.get(19)?,
            deleted: row.get(20)?,
            metadata: row.get(21)?,
            livemode: row.get(22)?,
            event_created: row.get(23)?,
            event_id: row.get(24)?,
            paused_reason: row.get(25)?,
            named: false,
            items: Vec::new(),
        },
        past: Past { grace_started_at: row.get(26)?, good_price_ids: row.get(27)?, pause_period_end: row.get(28)? },
        customer_deleted: row.get(29)?,
        user_id: row.get(30)?,
        linked_by: row.get::<_, Option<String>>(31)?.as_deref().and_then(LinkedBy::parse),
        customers_user: row.get(32)?,
    })
}

const ITEMS: &str = "SELECT stripe_item_id, stripe_price_id, stripe_product_id, quantity, current_period_start,
    current_period_end, unit_amount, currency, recurring_interval, interval_count
    FROM stripe_subscription_items WHERE stripe_subscription_id = ?1 ORDER BY position";

fn list_items(reader: &Reader, subscription_id: &str) -> Result<Vec<Item>, StoreError> {
    reader.list(ITEMS, [subscription_id], |row| {
        Ok(Item {
            stripe_item_id: row.get(0)?,
            stripe_price_id: row.get(1)?,
            stripe_product_id: row.get(2)?,
            quantity: row.get(3)?,
            current_period_start: row.get(4)?,
            current_period_end: row.get(5)?,
            unit_amount: row.get(6)?,
            currency: row.get(7)?,
            recurring_interval: row.get(8)?,
            interval_count: row.get(9)?,
        })
    })
}

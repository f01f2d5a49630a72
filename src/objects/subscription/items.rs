//! The items of a subscription. They have no events of their own: they are those of the event that the subscription's row
//! rests on. It must never keep an item that this event does not show. Called by `subscription` alone.

use serde_json::Value;

use crate::store::engine::row::{self, select, table};
use crate::store::{StoreError, StoreReader, Tx};
use crate::stripe::object::{self, ObjectError};

table! {
    /// One item of a subscription. Amounts in minor units, times in unix seconds.
    pub(crate) struct ItemRow in "stripe_subscription_items" {
        key stripe_subscription_id: String,
        key stripe_item_id: String,
        /// In Stripe's order.
        position: i64,
        /// `price_…`, or an old plan's id.
        stripe_price_id: Option<String>,
        stripe_product_id: Option<String>,
        /// `None` for metered prices.
        quantity: Option<i64>,
        current_period_start: Option<i64>,
        current_period_end: Option<i64>,
        unit_amount: Option<i64>,
        currency: Option<String>,
        /// `day`, `week`, `month`, `year`.
        recurring_interval: Option<String>,
        /// Every how many of them.
        interval_count: Option<i64>,
    }
}

/// What the items are read from. A subscription of an old API version that has only a `plan` counts as one item.
pub(super) fn sources(subscription: &Value) -> &[Value] {
    let (list, _) = object::list(subscription, "items");
    let has_plan_only = list.is_empty() && object::price(subscription).is_some();
    if has_plan_only { std::slice::from_ref(subscription) } else { list }
}

/// The price of the first item.
pub(super) fn first_price(subscription: &Value) -> Option<&str> {
    object::price(sources(subscription).first()?).and_then(object::id_of)
}

/// The items that a subscription shows; Stripe may have sent only the first.
pub(super) fn of(subscription: &Value) -> Result<Vec<ItemRow>, ObjectError> {
    (0..).zip(sources(subscription)).map(|(position, item)| item_row(subscription, item, position)).collect()
}

fn item_row(subscription: &Value, item: &Value, position: i64) -> Result<ItemRow, ObjectError> {
    let period = object::item_period(subscription, item)?;
    let price = object::price(item).unwrap_or(&Value::Null);
    let recurring = price.get("recurring").filter(|recurring| recurring.is_object()).unwrap_or(price);
    Ok(ItemRow {
        stripe_subscription_id: object::required_reference(subscription, "id")?.to_owned(),
        stripe_item_id: object::required_reference(item, "id")?.to_owned(),
        position,
        stripe_price_id: object::id_of(price).map(str::to_owned),
        stripe_product_id: object::reference(price, "product").map(str::to_owned),
        quantity: object::lenient_integer(item, "quantity"),
        current_period_start: period.0,
        current_period_end: period.1,
        // A plan calls the amount `amount`.
        unit_amount: object::lenient_integer(price, "unit_amount").or(object::lenient_integer(price, "amount")),
        currency: object::lenient_text(price, "currency"),
        recurring_interval: object::lenient_text(recurring, "interval"),
        interval_count: object::lenient_integer(recurring, "interval_count"),
    })
}

/// Replaces the items of a subscription. Mostly they are the same ones again; then only their rows change, and no index.
pub(super) fn put(tx: &Tx, subscription_id: &str, items: &[ItemRow]) -> Result<(), StoreError> {
    const IDS: &str = "SELECT stripe_item_id FROM stripe_subscription_items WHERE stripe_subscription_id = ?1";
    const DELETE: &str =
        "DELETE FROM stripe_subscription_items WHERE stripe_subscription_id = ?1 AND stripe_item_id = ?2";
    let known: Vec<String> = tx.list(IDS, [subscription_id], row::only)?;
    for gone in known.iter().filter(|id| !items.iter().any(|item| item.stripe_item_id == **id)) {
        tx.execute(DELETE, (subscription_id, gone))?;
    }
    for (index, item) in items.iter().enumerate() {
        // Stripe does not send two items with one id; if it does, the first counts.
        if !items[..index].iter().any(|before| before.stripe_item_id == item.stripe_item_id) {
            item.put(tx)?;
        }
    }
    Ok(())
}

/// The items of a subscription, in Stripe's order.
pub(super) fn list(reader: &StoreReader, subscription_id: &str) -> Result<Vec<ItemRow>, StoreError> {
    const SQL: &str =
        select!(ItemRow, "FROM stripe_subscription_items WHERE stripe_subscription_id = ?1 ORDER BY position");
    reader.list(SQL, [subscription_id], ItemRow::read)
}

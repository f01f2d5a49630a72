//! Subscriptions and their items as the API shows them. It must never read the database. Used by the API and the command
//! line.

use schemars::JsonSchema;
use serde::Serialize;

use super::{JsonObject, example_metadata, parsed};
use crate::base::ownership::LinkedBy;
use crate::objects::subscription::{FoundSubscription, ItemRow};

/// An item of a subscription: a price and how often it is paid.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubscriptionItem")]
struct ItemView {
    /// Stripe's id of the item.
    #[schemars(example = &"si_NcLYdDxLHxlFo7")]
    id: String,
    /// Stripe's id of its price; null: Stripe did not say.
    #[schemars(example = &"price_1MowQULkdIwHu7ixraBm864M")]
    price_id: Option<String>,
    /// Stripe's id of its product; null: Stripe did not say.
    #[schemars(example = &"prod_NcLYgsEHy7yPXX")]
    product_id: Option<String>,
    /// How often the price is paid; null: it is metered.
    #[schemars(example = 1)]
    quantity: Option<i64>,
    /// When its present period began, unix seconds; null: not known.
    #[schemars(example = 1_767_225_600)]
    current_period_start: Option<i64>,
    /// When its present period ends, unix seconds; null: not known.
    #[schemars(example = 1_769_904_000)]
    current_period_end: Option<i64>,
    /// Amount of one period, in the smallest unit of the currency; null: the price has tiers.
    #[schemars(example = 2000)]
    unit_amount: Option<i64>,
    /// Currency of the price, three small letters (ISO 4217); null: not known.
    #[schemars(example = &"eur")]
    currency: Option<String>,
    /// Unit of the period: `day`, `week`, `month` or `year`; null: not known.
    #[schemars(example = &"month")]
    interval: Option<String>,
    /// How many of these make a period; null: not known.
    #[schemars(example = 1)]
    interval_count: Option<i64>,
}

/// A subscription, as the newest event or reading shows it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Subscription")]
pub(crate) struct SubscriptionView {
    /// Stripe's id.
    #[schemars(example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    id: String,
    /// Stripe's id of the customer who pays.
    #[schemars(example = &"cus_NffrFeUfNV2Hib")]
    customer_id: String,
    /// Price of its first item; null: it has no items.
    #[schemars(example = &"price_1MowQULkdIwHu7ixraBm864M")]
    price_id: Option<String>,
    /// Stripe's status: `active`, `trialing`, `past_due`, `unpaid`, `canceled`, `incomplete`, `incomplete_expired` or
    /// `paused`; Stripe may add one.
    #[schemars(example = &"active")]
    status: String,
    /// Earliest start of the present periods of its items, unix seconds; null: not known.
    #[schemars(example = 1_767_225_600)]
    current_period_start: Option<i64>,
    /// Latest end of the present periods of its items, unix seconds; null: not known.
    #[schemars(example = 1_769_904_000)]
    current_period_end: Option<i64>,
    /// Whether it ends with its period.
    #[schemars(example = false)]
    cancel_at_period_end: bool,
    /// When Stripe will cancel it, unix seconds; null: no time is set.
    #[schemars(example = 1_769_904_000)]
    cancel_at: Option<i64>,
    /// When canceling was asked for, unix seconds; null: it was not.
    #[schemars(example = 1_768_000_000)]
    canceled_at: Option<i64>,
    /// When it ended, unix seconds; null: it has not.
    #[schemars(example = 1_769_904_000)]
    ended_at: Option<i64>,
    /// When it will end or has ended by its own terms, unix seconds: `cancel_at`, or the end of its period; null: it goes
    /// on.
    #[schemars(example = 1_769_904_000)]
    ends_at: Option<i64>,
    /// When its trial began, unix seconds; null: it has none.
    #[schemars(example = 1_767_225_600)]
    trial_start: Option<i64>,
    /// When its trial ends or ended, unix seconds; null: it has none.
    #[schemars(example = 1_768_435_200)]
    trial_end: Option<i64>,
    /// `charge_automatically` or `send_invoice`; null: not known.
    #[schemars(example = &"charge_automatically")]
    collection_method: Option<String>,
    /// What Stripe does with invoices while collecting is paused: `keep_as_draft`, `mark_uncollectible` or `void`; null:
    /// it is not paused.
    #[schemars(example = &"void")]
    pause_collection: Option<String>,
    /// Why it is paused, if its status is `paused`; null: Stripe gave no reason.
    #[schemars(example = &"final_payment_failure")]
    paused_reason: Option<String>,
    /// Currency, three small letters (ISO 4217); null: not known.
    #[schemars(example = &"eur")]
    currency: Option<String>,
    /// Stripe's id of its newest invoice; null: it has none.
    #[schemars(example = &"in_1MowQWLkdIwHu7ixuzkSPfKd")]
    latest_invoice: Option<String>,
    /// Its items.
    items: Vec<ItemView>,
    /// The user that it belongs to; null: nobody that is known.
    #[schemars(example = &"alice")]
    user_id: Option<String>,
    /// What says that it is this user's: `said`, `metadata`, `customer` or `reference`; a `reference` gives access and
    /// nothing else; null: it is nobody's.
    #[schemars(example = &"metadata")]
    linked_by: Option<&'static str>,
    /// Whether Stripe sent only the first of its items.
    #[schemars(example = false)]
    items_partial: bool,
    /// Its metadata at Stripe.
    #[schemars(example = example_metadata())]
    metadata: JsonObject,
    /// Whether it is of Stripe's live mode, where real money moves.
    #[schemars(example = false)]
    livemode: bool,
    /// When Stripe made it, unix seconds; null: not known.
    #[schemars(example = 1_767_225_600)]
    created: Option<i64>,
    /// Time of the event or reading that this rests on, unix seconds.
    #[schemars(example = 1_767_225_600)]
    as_of: i64,
}

fn item(row: &ItemRow) -> ItemView {
    ItemView {
        id: row.stripe_item_id.clone(),
        price_id: row.stripe_price_id.clone(),
        product_id: row.stripe_product_id.clone(),
        quantity: row.quantity,
        current_period_start: row.current_period_start,
        current_period_end: row.current_period_end,
        unit_amount: row.unit_amount,
        currency: row.currency.clone(),
        interval: row.recurring_interval.clone(),
        interval_count: row.interval_count,
    }
}

/// A subscription with its items.
#[must_use]
pub(crate) fn subscription(found: &FoundSubscription) -> SubscriptionView {
    let row = &found.subscription;
    SubscriptionView {
        id: row.stripe_subscription_id.clone(),
        customer_id: row.stripe_customer_id.clone(),
        price_id: row.stripe_price_id.clone(),
        status: row.status.clone(),
        current_period_start: row.current_period_start,
        current_period_end: row.current_period_end,
        cancel_at_period_end: row.cancel_at_period_end,
        cancel_at: row.cancel_at,
        canceled_at: row.canceled_at,
        ended_at: row.ended_at,
        ends_at: found.facts().ends_at(),
        trial_start: row.trial_start,
        trial_end: row.trial_end,
        collection_method: row.collection_method.clone(),
        pause_collection: row.pause_collection.clone(),
        paused_reason: row.paused_reason.clone(),
        currency: row.currency.clone(),
        latest_invoice: row.latest_invoice.clone(),
        items: found.items.iter().map(item).collect(),
        user_id: found.user_id.clone(),
        linked_by: found.linked_by.map(LinkedBy::as_str),
        items_partial: row.items_partial,
        metadata: parsed(&row.metadata),
        livemode: row.livemode,
        created: row.created,
        as_of: row.event_created,
    }
}

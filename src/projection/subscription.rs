//! Subscriptions and their items. The items follow their parent's guard: they are those of the event that won.

use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, announce, derived, notices, occasions, owner, standing};
use crate::entitlement;
use crate::kind::{self, NestedList, NestedListAt, ObjectKind};
use crate::store::owners::{self, Named};
use crate::store::payment_failures;
use crate::store::subscription_events::State;
use crate::store::subscriptions::{self, Item, Subscription};
use crate::stripe::object::{self, ObjectError};
use serde_json::Value;

/// The kind. Its list leaves the canceled ones out unless a status is asked for.
pub(super) const KIND: ObjectKind = ObjectKind {
    object: "subscription",
    name: "subscriptions",
    event_prefix: Some("customer.subscription"),
    table: Some(("stripe_subscriptions", "stripe_subscription_id")),
    events: &[
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.trial_will_end",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.deleted",
    ],
    path: "/v1/subscriptions",
    always: &[("status", "all")],
    permission: "Subscriptions",
    nested: Some(NestedList { key: "items", whole: NestedListAt::Filtered("/v1/subscription_items", "subscription") }),
    decides: true,
    terminal: |object| matches!(kind::word(object, "status"), "canceled" | "incomplete_expired"),
    example: include_str!("shapes/subscription.json"),
    ..ObjectKind::PLAIN
};

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let id = object::required_reference(shown, "id")?;
    object::payer(shown)?;
    let concern = Concern {
        // An account that pays is no customer.
        customer_id: object::reference(shown, "customer"),
        user_id: object::named_user(shown, &step.context.link.metadata_keys),
        subscription_id: Some(id),
        state: Some(state(shown)?),
    };
    history::record(step, &concern)?;
    let former_customer = subscriptions::find_customer(step.tx, id)?;
    if let Some(winner) = winner {
        let object = (Named::Subscription, id);
        let lost = owner::lost_name(step.tx, winner, object, &step.context.link)?;
        let row = Subscription { named: owner::is_named(winner, &step.context.link), ..row(winner)? };
        let before = announce::before(step, id)?;
        subscriptions::put(step.tx, &row)?;
        owner::keep_name(step, Some(winner), object, lost)?;
        for invoice_id in payment_failures::list_invoices_of(step.tx, id)? {
            derived::refresh_case(step.tx, &invoice_id)?;
        }
        standing::refresh(step.tx, id)?;
        has_its_owner(step, id, Some(&row.stripe_customer_id), former_customer.as_deref())?;
        announce::subscription(step, before.as_ref(), &row)?;
    } else {
        owner::keep_name(step, None, (Named::Subscription, id), None)?;
        // A late event, too, can tell when a delinquency or a pause began.
        standing::refresh(step.tx, id)?;
        let present = former_customer.as_deref();
        has_its_owner(step, id, present, present)?;
    }
    notices::review_subscription(step.tx, id, step.basis())?;
    if step.event.event_type == "customer.subscription.trial_will_end" {
        occasions::trial_will_end(step, id)?;
    }
    history::audit(step, &concern)
}

/// Whether the event says that the subscription's status is another one now.
fn begins_or_ends(step: &Step) -> bool {
    let previous = step.snapshot.previous_attributes.as_ref();
    step.event.event_type == "customer.subscription.created" || previous.is_some_and(|was| was.get("status").is_some())
}

/// The owner of the customer may follow from the subscription, and then the other way round.
fn has_its_owner(
    step: &Step,
    id: &str,
    customer_id: Option<&str>,
    former_customer: Option<&str>,
) -> Result<(), ProjectionError> {
    let (tx, basis) = (step.tx, step.basis());
    let former = former_customer.filter(|former| Some(*former) != customer_id);
    for customer_id in customer_id.into_iter().chain(former) {
        owner::refresh_customer(tx, customer_id, basis)?;
    }
    let moved = owner::refresh_subscription(tx, id, basis)?;
    if moved || begins_or_ends(step) {
        owner::warn_of_second(tx, id)?;
    }
    if moved {
        return Ok(());
    }
    if former_customer.is_none() {
        // Until now its invoices belonged to whom their own words name.
        let owner = owners::find_subscription(tx, id)?.and_then(|row| row.owner);
        owners::set_billed(tx, id, owner.as_ref())?;
    }
    Ok(derived::refresh_effective_of(tx, id, basis)?)
}

/// What of this state may count later.
fn state(shown: &Value) -> Result<State<'_>, ObjectError> {
    let status = object::required_text(shown, "status")?;
    let paused_by_failure = object::is_payment_failure(object::paused_reason(shown));
    Ok(State {
        status,
        delinquent: entitlement::is_payment_missing(status, paused_by_failure),
        collection_paused: object::paused_collection(shown).is_some(),
        price_ids: Value::from(object::subscription_prices(shown)).to_string(),
        period_end: object::subscription_period(shown)?.1,
    })
}

fn row(winner: &Winner) -> Result<Subscription, ObjectError> {
    let shown = winner.object.as_ref();
    let owned = |key: &str| object::told_text(shown, key);
    let told = |key: &str| object::told_integer(shown, key);
    let (items, complete) = items(shown)?;
    let period = object::subscription_period(shown)?;
    let nested = |outer: &str, inner: &str| shown.get(outer)?.get(inner)?.as_str().map(str::to_owned);
    Ok(Subscription {
        stripe_subscription_id: object::required_reference(shown, "id")?.to_owned(),
        stripe_customer_id: object::payer(shown)?.to_owned(),
        stripe_price_id: items.first().and_then(|item| item.stripe_price_id.clone()),
        status: object::required_text(shown, "status")?.to_owned(),
        current_period_start: period.0,
        current_period_end: period.1,
        cancel_at_period_end: object::flag(shown, "cancel_at_period_end")?,
        cancel_at: object::integer(shown, "cancel_at")?,
        canceled_at: told("canceled_at"),
        ended_at: object::integer(shown, "ended_at")?,
        trial_start: told("trial_start"),
        trial_end: told("trial_end"),
        start_date: told("start_date"),
        created: told("created"),
        collection_method: owned("collection_method"),
        pause_collection: object::paused_collection(shown).map(str::to_owned),
        paused_reason: object::paused_reason(shown).map(str::to_owned),
        cancellation_reason: nested("cancellation_details", "reason"),
        currency: owned("currency"),
        latest_invoice: object::reference(shown, "latest_invoice").map(str::to_owned),
        items_partial: !complete,
        deleted: winner.deleted,
        metadata: object::metadata(shown),
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
        named: false,
        items,
    })
}

/// The items, and whether Stripe sent all. A subscription of old that has only a `plan` counts as one item.
fn items(shown: &Value) -> Result<(Vec<Item>, bool), ObjectError> {
    let (list, complete) = object::list(shown, "items");
    let mut items = list.iter().map(|one| item(shown, one)).collect::<Result<Vec<_>, _>>()?;
    if items.is_empty() && object::price(shown).is_some() {
        items.push(item(shown, shown)?);
    }
    Ok((items, complete))
}

fn item(subscription: &Value, item: &Value) -> Result<Item, ObjectError> {
    let period = object::item_period(subscription, item)?;
    let price = object::price(item).cloned().unwrap_or(Value::Null);
    let recurring = price.get("recurring").filter(|recurring| recurring.is_object()).unwrap_or(&price);
    // A plan calls the amount `amount`.
    let amount = object::told_integer(&price, "unit_amount").or(object::told_integer(&price, "amount"));
    Ok(Item {
        stripe_item_id: object::required_reference(item, "id")?.to_owned(),
        stripe_price_id: object::id_of(&price).map(str::to_owned),
        stripe_product_id: object::reference(&price, "product").map(str::to_owned),
        quantity: object::told_integer(item, "quantity"),
        current_period_start: period.0,
        current_period_end: period.1,
        unit_amount: amount,
        currency: object::told_text(&price, "currency"),
        recurring_interval: object::told_text(recurring, "interval"),
        interval_count: object::told_integer(recurring, "interval_count"),
    })
}

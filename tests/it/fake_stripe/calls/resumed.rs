//! What waits for a payment: changes under `pending_if_incomplete`, and subscriptions that are resumed.

use serde_json::{Value, json};

use super::super::params::{Answer, Params, Refusal};
use super::super::state::State;
use super::invoices::{self, Bill};
use super::{items, payments, subscriptions};

/// Pending updates end by themselves.
const PENDING_S: i64 = 23 * 3600;
/// What `pending_if_incomplete` may come with.
const SUPPORTED: [&str; 8] = [
    "payment_behavior",
    "proration_behavior",
    "proration_date",
    "billing_cycle_anchor",
    "items",
    "trial_end",
    "add_invoice_items",
    "expand",
];

/// Refuses what Stripe refuses with `pending_if_incomplete`.
pub fn check_pending(state: &mut State, subscription: &Value, params: &Params) -> Result<(), Refusal> {
    if params.text("payment_behavior") != Some("pending_if_incomplete") {
        return Ok(());
    }
    let wrong = |message: &str| Refusal::invalid("", "payment_behavior", message);
    if !params.only(&SUPPORTED) {
        return Err(wrong(
            "When `payment_behavior` is set to `pending_if_incomplete`, only these can be passed: items, …",
        ));
    }
    if subscription["collection_method"] == "send_invoice" {
        return Err(wrong("`pending_if_incomplete` needs `collection_method` to be `charge_automatically`."));
    }
    let card = subscription["default_payment_method"].as_str().and_then(|id| state.objects.get("payment_method", id));
    if card.is_some_and(|card| card["fake_card"] == "pm_usBankAccount") {
        return Err(wrong("Pending updates are not supported with this payment method."));
    }
    Ok(())
}

/// The change of items waits: the old ones stay.
pub fn wait(old: &Value, new: &mut Value, now_s: i64) {
    new["pending_update"] = json!({
        "billing_cycle_anchor": null, "expires_at": now_s + PENDING_S, "trial_end": null, "trial_from_plan": null,
        "subscription_items": new["items"]["data"],
    });
    new["items"] = old["items"].clone();
}

pub fn resume(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow("billing_cycle_anchor[type] proration_behavior proration_date payment_behavior")?;
    let anchor = params.word("billing_cycle_anchor[type]", "now|unchanged")?.unwrap_or("now").to_owned();
    params.word("proration_behavior", "create_prorations|always_invoice|none")?;
    let behavior = params.word("payment_behavior", "resume_on_payment_attempt|resume_on_payment_success")?;
    let old = state.named("subscription", id, "id")?;
    if old["status"] != "paused" {
        return Err(Refusal::state("", "Only paused subscriptions can be resumed."));
    }
    if anchor == "unchanged" {
        return Ok(run_again(state, &old));
    }
    let mut new = old.clone();
    let now_s = state.now_s();
    for item in new["items"]["data"].as_array_mut().into_iter().flatten() {
        let end = items::period_end(now_s, &item["price"]);
        (item["current_period_start"], item["current_period_end"]) = (json!(now_s), json!(end));
    }
    let customer = state.named("customer", old["customer"].as_str().unwrap_or_default(), "customer")?;
    let card = subscriptions::card_of(state, old["default_payment_method"].as_str(), &customer)?;
    let charges = behavior == Some("resume_on_payment_success");
    if charges && card.is_none() {
        return Err(Refusal::state("resource_missing", "This customer has no default payment method."));
    }
    let lines = invoices::lines_of(state, &new, false);
    let bill = Bill { reason: "subscription_update", lines, card: card.filter(|_| charges) };
    let (invoice, _) = invoices::bill(state, &new, bill);
    if invoice["status"] == "paid" {
        new["latest_invoice"] = invoice["id"].clone();
        return Ok(run_again(state, &new));
    }
    // Paid later, it runs then.
    Ok(state.change(&old, "customer.subscription.updated", |subscription| {
        wait(&old, &mut new, now_s);
        subscription["latest_invoice"] = invoice["id"].clone();
        subscription["pending_update"] = new["pending_update"].clone();
    }))
}

fn run_again(state: &mut State, subscription: &Value) -> Value {
    let new = subscription.clone();
    let running = state.change(subscription, "customer.subscription.resumed", |old| {
        *old = new;
        old["status"] = json!("active");
        old["pending_update"] = Value::Null;
    });
    state.emit("customer.subscription.updated", &running, Some(json!({ "status": "paused" })));
    running
}

/// The customer pays what a pending update waits for.
pub fn pay_pending(state: &mut State, subscription: &Value, card: &Value) -> Value {
    let invoice = state.objects.get("invoice", subscription["latest_invoice"].as_str().unwrap()).unwrap();
    let intent = payments::draft(state, invoice["amount_due"].as_i64().unwrap(), "usd", invoice["customer"].as_str());
    let intent = state.create("payment_intent", intent);
    payments::pay(state, &intent, card, false).unwrap();
    let now_s = state.now_s();
    invoices::paid(state, &invoice, now_s);
    let items = subscription["pending_update"]["subscription_items"].clone();
    let mut new = subscription.clone();
    new["items"]["data"] = items;
    if subscription["status"] == "paused" {
        return run_again(state, &new);
    }
    state.change(subscription, "customer.subscription.updated", |old| {
        *old = new;
        old["pending_update"] = Value::Null;
    })
}

/// Refuses to change what a schedule manages.
pub fn check_schedule(subscription: &Value, params: &Params) -> Result<(), Refusal> {
    let Some(schedule) = subscription["schedule"].as_str() else { return Ok(()) };
    let given = |names: &[&str]| names.iter().any(|name| params.has(name));
    let what = if given(&["cancel_at", "cancel_at_period_end"]) {
        "any cancelation behavior"
    } else if given(&["items", "pause_collection", "billing_cycle_anchor", "trial_end"]) {
        "its items and its collection"
    } else {
        return Ok(());
    };
    let message = format!(
        "The subscription is managed by the subscription schedule `{schedule}`, and updating {what} directly is not \
         allowed. Please update the schedule instead."
    );
    Err(Refusal::state("", &message))
}

/// The subscription goes on by itself.
pub fn release(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow("preserve_cancel_date")?;
    let schedule = state.named("subscription_schedule", id, "id")?;
    if !["active", "not_started"].iter().any(|status| schedule["status"] == *status) {
        return Err(Refusal::state("", "Only a schedule that is active or not started can be released."));
    }
    let subscription = state.named("subscription", schedule["subscription"].as_str().unwrap_or_default(), "id")?;
    state.change(&subscription, "customer.subscription.updated", |subscription| subscription["schedule"] = Value::Null);
    let now_s = state.now_s();
    Ok(state.change(&schedule, "subscription_schedule.released", |schedule| {
        schedule["status"] = json!("released");
        schedule["released_at"] = json!(now_s);
        schedule["released_subscription"] = schedule["subscription"].take();
    }))
}

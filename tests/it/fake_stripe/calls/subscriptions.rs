//! Subscriptions: made, changed, renewed and ended, each with its invoices.

use serde_json::{Value, json};

use super::super::params::{Answer, Params, Refusal};
use super::super::state::State;
use super::invoices::{self, Bill};
use super::items::{change_items, item, items, total, turn};
use super::{payments, resumed};

const COMMON: &str = "items[#][price] items[#][quantity] items[#][metadata][*] metadata[*] default_payment_method \
    payment_behavior proration_behavior cancel_at cancel_at_period_end collection_method days_until_due description \
    discounts[#][coupon] discounts[#][promotion_code] trial_end off_session automatic_tax[enabled] \
    payment_settings[save_default_payment_method] trial_settings[end_behavior][missing_payment_method]";
const PAYMENT: &str = "allow_incomplete|default_incomplete|error_if_incomplete|pending_if_incomplete";
const PRORATION: &str = "create_prorations|always_invoice|none";

/// What a new subscription is made of.
pub struct Start {
    pub customer: String,
    /// Price and quantity.
    pub items: Vec<(Value, i64)>,
    pub card: Option<Value>,
    pub trial_end: Option<i64>,
    pub metadata: Value,
    /// Coupons.
    pub coupons: Vec<Value>,
}

pub fn create(state: &mut State, params: &Params) -> Answer {
    params.allow(&format!("customer trial_period_days billing_cycle_anchor {COMMON}"))?;
    params.require(&["customer", "items"])?;
    common(params)?;
    params.exclusive(&["trial_period_days", "trial_end"])?;
    let id = params.text("customer").unwrap_or_default().to_owned();
    let customer = state.live("customer", &id, "customer")?;
    let now_s = state.now_s();
    let trial_end = match params.int("trial_period_days")? {
        Some(days) => Some(now_s + days * 86_400),
        None => params.int("trial_end")?,
    };
    let mut metadata = json!({});
    params.metadata("metadata", &mut metadata)?;
    let start = Start {
        items: items(state, params)?,
        card: card_of(state, params.text("default_payment_method"), &customer)?,
        coupons: coupons(state, params)?,
        customer: id,
        trial_end,
        metadata,
    };
    let behavior = params.word("payment_behavior", PAYMENT)?.unwrap_or("allow_incomplete");
    if start.card.is_none() && trial_end.is_none() && behavior != "default_incomplete" && total(&start.items) > 0 {
        let message = "This customer has no attached payment source or default payment method.";
        return Err(Refusal::state("resource_missing", message));
    }
    let (subscription, paid) = begin(state, start, behavior == "default_incomplete");
    match (paid, behavior) {
        (Err(refusal), "error_if_incomplete") => {
            state.undo(&subscription);
            Err(refusal)
        }
        _ => {
            state.emit("customer.subscription.created", &subscription, None);
            Ok(apply_end(state, &subscription, params)?)
        }
    }
}

fn common(params: &Params) -> Result<(), Refusal> {
    params.exclusive(&["cancel_at", "cancel_at_period_end"])?;
    params.word("payment_behavior", PAYMENT)?;
    params.word("proration_behavior", PRORATION)?;
    params.word("collection_method", "charge_automatically|send_invoice")?;
    params.bool("off_session")?;
    if params.list("items").len() > 100 {
        return Err(Refusal::invalid("parameter_invalid", "items", "At most 100 items"));
    }
    Ok(())
}

/// The coupons that `discounts` names.
pub fn coupons(state: &mut State, params: &Params) -> Result<Vec<Value>, Refusal> {
    let mut found = Vec::new();
    for discount in params.list("discounts") {
        discount.exclusive(&["coupon", "promotion_code"])?;
        let coupon = match discount.text("promotion_code") {
            Some(id) => {
                let code = state.named("promotion_code", id, "discounts[0][promotion_code]")?;
                if code["active"] != true {
                    return Err(Refusal::state("promotion_code_inactive", "This promotion code is not active."));
                }
                code["promotion"]["coupon"].as_str().unwrap_or_default().to_owned()
            }
            None => discount.text("coupon").unwrap_or_default().to_owned(),
        };
        found.push(state.named("coupon", &coupon, "discounts[0][coupon]")?);
    }
    Ok(found)
}

pub fn card_of(state: &mut State, given: Option<&str>, customer: &Value) -> Result<Option<Value>, Refusal> {
    let id = given.or(customer["invoice_settings"]["default_payment_method"].as_str());
    id.map(|id| payments::method(state, id, customer["id"].as_str())).transpose()
}

/// Makes the subscription and its first invoice; tells nothing of the subscription yet.
pub fn begin(state: &mut State, start: Start, wait: bool) -> (Value, Result<(), Refusal>) {
    let mut new = state.draft("subscription");
    let id = new["id"].as_str().unwrap_or_default().to_owned();
    let now_s = state.now_s();
    let coupons: Vec<_> = start.coupons.iter().map(|coupon| discount(state, coupon, &start.customer, &id)).collect();
    let items = start.items.iter().map(|(price, quantity)| item(state, &id, price, *quantity));
    let mut items: Vec<Value> = items.collect();
    if let Some(end) = start.trial_end {
        items.iter_mut().for_each(|item| item["current_period_end"] = json!(end));
    }
    new["customer"] = json!(start.customer);
    new["metadata"] = start.metadata;
    new["items"] = super::super::view::list_of(items, &format!("/v1/subscription_items?subscription={id}"));
    new["discounts"] = json!(coupons);
    new["currency"] = start.items.first().map(|(price, _)| price["currency"].clone()).unwrap_or_default();
    new["default_payment_method"] = start.card.as_ref().map(|card| card["id"].clone()).unwrap_or_default();
    for name in ["billing_cycle_anchor", "start_date"] {
        new[name] = json!(now_s);
    }
    new["billing_mode"]["updated_at"] = json!(now_s);
    new["latest_invoice"] = Value::Null;
    if start.trial_end.is_some() {
        (new["trial_start"], new["trial_end"]) = (json!(now_s), json!(start.trial_end));
    }
    new["status"] = json!(if start.trial_end.is_some() { "trialing" } else { "incomplete" });
    state.create_quietly("subscription", &new);
    let lines = invoices::lines_of(state, &new, start.trial_end.is_some());
    let bill = Bill { reason: "subscription_create", lines, card: start.card.filter(|_| !wait) };
    let (invoice, paid) = invoices::bill(state, &new, bill);
    new["latest_invoice"] = invoice["id"].clone();
    if invoice["status"] == "paid" && start.trial_end.is_none() {
        new["status"] = json!("active");
    }
    state.objects.insert("subscription", new.clone());
    (new, paid)
}

fn discount(state: &mut State, coupon: &Value, customer: &str, subscription: &str) -> Value {
    let mut discount = state.draft("discount");
    discount["source"] = json!({ "type": "coupon", "coupon": coupon["id"] });
    discount["start"] = json!(state.now_s());
    for (name, value) in [("customer", json!(customer)), ("subscription", json!(subscription)), ("end", Value::Null)] {
        discount[name] = value;
    }
    state.create_quietly("discount", &discount);
    discount["id"].clone()
}

pub fn update(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow(&format!(
        "items[#][id] items[#][deleted] proration_date billing_cycle_anchor[type] pause_collection[behavior] \
         pause_collection[resumes_at] cancellation_details[comment] cancellation_details[feedback] {COMMON}"
    ))?;
    common(params)?;
    params.word("pause_collection[behavior]", "void|keep_as_draft|mark_uncollectible")?;
    let old = state.named("subscription", id, "id")?;
    let ended = ["canceled", "incomplete_expired"].iter().any(|status| old["status"] == *status);
    if ended && !params.only(&["metadata", "cancellation_details", "expand"]) {
        return Err(Refusal::state(
            "",
            "A canceled subscription can only update its metadata and cancellation_details",
        ));
    }
    resumed::check_schedule(&old, params)?;
    resumed::check_pending(state, &old, params)?;
    let mut new = old.clone();
    if params.has("metadata") {
        params.metadata("metadata", &mut new["metadata"])?;
    }
    if let Some(card) = params.text("default_payment_method") {
        new["default_payment_method"] = payments::method(state, card, old["customer"].as_str())?["id"].clone();
    }
    if params.has("discounts") {
        let coupons = coupons(state, params)?;
        let customer = old["customer"].as_str().unwrap_or_default();
        let ids: Vec<_> = coupons.iter().map(|coupon| discount(state, coupon, customer, id)).collect();
        new["discounts"] = json!(ids);
    }
    for name in ["description", "collection_method"].iter().filter(|name| params.has(name)) {
        new[*name] = json!(params.text(name));
    }
    for name in ["comment", "feedback"] {
        if let Some(text) = params.text(&format!("cancellation_details[{name}]")) {
            new["cancellation_details"][name] = json!(text);
        }
    }
    if let Some(behavior) = params.text("pause_collection[behavior]") {
        new["pause_collection"] =
            json!({ "behavior": behavior, "resumes_at": params.int("pause_collection[resumes_at]")? });
    } else if params.unset("pause_collection") {
        new["pause_collection"] = Value::Null;
    }
    end_of(params, &mut new, state.now_s())?;
    let behavior = params.text("proration_behavior").unwrap_or("create_prorations");
    let at_s = params.int("proration_date")?.unwrap_or(state.now_s());
    let prorations = change_items(state, params, &mut new, at_s)?;
    if behavior == "create_prorations" && !prorations.is_empty() {
        let mut pending = take_pending(&mut new);
        pending.extend(prorations);
        new["fake_pending"] = json!(pending);
    } else if behavior == "always_invoice" && !prorations.is_empty() {
        let customer = state.named("customer", old["customer"].as_str().unwrap_or_default(), "customer")?;
        let card = card_of(state, new["default_payment_method"].as_str(), &customer)?;
        let bill = Bill { reason: "subscription_update", lines: prorations, card };
        let (invoice, paid) = invoices::bill(state, &new, bill);
        match (params.text("payment_behavior"), paid) {
            (Some("error_if_incomplete"), Err(refusal)) => return Err(refusal),
            (Some("pending_if_incomplete"), _) if invoice["status"] != "paid" => {
                resumed::wait(&old, &mut new, state.now_s());
            }
            (_, Err(_)) => new["status"] = json!("past_due"),
            _ => {}
        }
        new["latest_invoice"] = invoice["id"].clone();
    }
    Ok(state.change(&old, "customer.subscription.updated", |subscription| *subscription = new))
}

/// `cancel_at` and `cancel_at_period_end`.
fn end_of(params: &Params, new: &mut Value, now_s: i64) -> Result<(), Refusal> {
    let ends = new["items"]["data"].as_array().into_iter().flatten();
    let ends: Vec<i64> = ends.filter_map(|item| item["current_period_end"].as_i64()).collect();
    let (first, last) = (ends.iter().min().copied(), ends.iter().max().copied());
    let at = match (params.bool("cancel_at_period_end")?, params.text("cancel_at")) {
        (Some(true), _) => last,
        (_, Some("min_period_end")) => first,
        (_, Some("max_period_end" | "max_billed_until")) => last,
        (_, Some(_)) => params.int("cancel_at")?,
        (Some(false), _) => None,
        (None, None) if params.unset("cancel_at") => None,
        (None, None) => return Ok(()),
    };
    new["cancel_at_period_end"] = json!(params.bool("cancel_at_period_end")? == Some(true));
    new["cancel_at"] = json!(at);
    new["canceled_at"] = json!(at.map(|_| now_s));
    new["cancellation_details"]["reason"] = json!(at.map(|_| "cancellation_requested"));
    Ok(())
}

fn apply_end(state: &mut State, subscription: &Value, params: &Params) -> Answer {
    let mut new = subscription.clone();
    end_of(params, &mut new, state.now_s())?;
    Ok(state.change(subscription, "customer.subscription.updated", |old| *old = new))
}

pub fn delete(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow("invoice_now prorate cancellation_details[comment] cancellation_details[feedback]")?;
    let (invoice_now, prorate) = (params.bool("invoice_now")? == Some(true), params.bool("prorate")? == Some(true));
    let subscription = state.named("subscription", id, "id")?;
    if subscription["status"] == "canceled" {
        return Err(Refusal::missing("subscription", id, "id"));
    }
    let mut lines = take_pending(&mut subscription.clone());
    if prorate {
        let (items, at_s) = (subscription["items"]["data"].clone(), state.now_s());
        let items = items.as_array().into_iter().flatten();
        lines.extend(items.map(|item| invoices::proration(state, id, item, at_s, -1)));
    }
    if invoice_now && !lines.is_empty() {
        invoices::bill(state, &subscription, Bill { reason: "subscription_update", lines, card: None }).1?;
    }
    Ok(end(state, &subscription, Some("cancellation_requested")))
}

/// Ends it now.
pub fn end(state: &mut State, subscription: &Value, reason: Option<&str>) -> Value {
    let now_s = state.now_s();
    if let Some(schedule) = subscription["schedule"].as_str().and_then(|id| {
        // It ends with what it manages.
        state.objects.get("subscription_schedule", id)
    }) {
        state.change(&schedule, "subscription_schedule.canceled", |schedule| {
            (schedule["status"], schedule["canceled_at"]) = (json!("canceled"), json!(now_s));
        });
    }
    state.change(subscription, "customer.subscription.deleted", |subscription| {
        subscription["status"] = json!("canceled");
        subscription["ended_at"] = json!(now_s);
        if subscription["canceled_at"].is_null() {
            subscription["canceled_at"] = json!(now_s);
        }
        subscription["cancellation_details"]["reason"] = json!(reason);
    })
}

/// Of this customer, not ended.
pub fn of(state: &mut State, customer: &str) -> Vec<Value> {
    let places: Vec<u64> = state.objects.places("subscription", None, false).collect();
    let all = places.into_iter().map(|place| state.objects.at("subscription", place));
    all.filter(|subscription| subscription["customer"] == customer && subscription["status"] != "canceled").collect()
}

/// The next period begins: an invoice, paid by the card or not; the status follows.
pub fn renew(state: &mut State, subscription: &Value, card: Option<Value>) -> Value {
    let mut new = subscription.clone();
    turn(&mut new);
    let mut lines = take_pending(&mut new);
    lines.extend(invoices::lines_of(state, &new, false));
    let (invoice, paid) = invoices::bill(state, &new, Bill { reason: "subscription_cycle", lines, card });
    new["latest_invoice"] = invoice["id"].clone();
    new["status"] = json!(if paid.is_ok() && invoice["status"] == "paid" { "active" } else { "past_due" });
    state.change(subscription, "customer.subscription.updated", |old| *old = new)
}

/// The prorations that wait for the next invoice; they wait no longer.
pub fn take_pending(subscription: &mut Value) -> Vec<Value> {
    let pending = subscription.as_object_mut().and_then(|subscription| subscription.remove("fake_pending"));
    pending.and_then(|pending| pending.as_array().cloned()).unwrap_or_default()
}

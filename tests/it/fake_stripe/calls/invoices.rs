//! Invoices of subscriptions: made, finalized and paid at once, with their payment; previews.

use serde_json::{Value, json};

use super::super::params::{Answer, Params, Refusal};
use super::super::state::State;
use super::{items, payments, subscriptions};

/// What an invoice is made of.
pub struct Bill {
    pub reason: &'static str,
    pub lines: Vec<Value>,
    /// Without a card the invoice stays open.
    pub card: Option<Value>,
}

/// A line for each item of a subscription, for its present period.
pub fn lines_of(state: &mut State, subscription: &Value, free: bool) -> Vec<Value> {
    let id = subscription["id"].as_str().unwrap_or_default();
    let items: Vec<Value> = subscription["items"]["data"].as_array().cloned().unwrap_or_default();
    let amount = |item: &Value| {
        let each = item["price"]["unit_amount"].as_i64().unwrap_or_default();
        if free { 0 } else { each * item["quantity"].as_i64().unwrap_or(1) }
    };
    items.iter().map(|item| line(state, id, item, amount(item), false)).collect()
}

/// The unused (`sign` −1) or newly used (+1) part of an item's period.
pub fn proration(state: &mut State, subscription: &str, item: &Value, at_s: i64, sign: i64) -> Value {
    let time = |name: &str| item[name].as_i64().unwrap_or_default();
    let (start, end) = (time("current_period_start"), time("current_period_end"));
    let left = (end - at_s.max(start)).max(0);
    let whole = item["price"]["unit_amount"].as_i64().unwrap_or_default() * item["quantity"].as_i64().unwrap_or(1);
    line(state, subscription, item, sign * whole * left / (end - start).max(1), true)
}

fn line(state: &mut State, subscription: &str, item: &Value, amount: i64, proration: bool) -> Value {
    let mut line = state.objects.template("invoice")["lines"]["data"][0].take();
    line["id"] = json!(state.objects.new_id("invoice").replacen("in_", "il_", 1));
    line["amount"] = json!(amount);
    line["subtotal"] = json!(amount);
    line["currency"] = item["price"]["currency"].clone();
    line["quantity"] = item["quantity"].clone();
    line["metadata"] = json!({});
    line["subscription"] = json!(subscription);
    line["description"] = json!(if proration { "Proration" } else { "Subscription" });
    let details = &mut line["parent"]["subscription_item_details"];
    details["subscription"] = json!(subscription);
    details["subscription_item"] = item["id"].clone();
    details["proration"] = json!(proration);
    line["period"] = json!({ "start": item["current_period_start"], "end": item["current_period_end"] });
    let price = &item["price"];
    line["pricing"]["price_details"] = json!({ "price": price["id"], "product": price["product"] });
    line["pricing"]["unit_amount_decimal"] = json!(price["unit_amount"].to_string());
    line
}

/// A draft of the sum, not stored.
fn draft(state: &mut State, subscription: &Value, bill: &Bill) -> Value {
    let mut invoice = state.draft("invoice");
    let id = invoice["id"].as_str().unwrap_or_default().to_owned();
    let subtotal: i64 = bill.lines.iter().filter_map(|line| line["amount"].as_i64()).sum();
    let total = subtotal - off(state, subscription, subtotal);
    let now_s = state.now_s();
    for name in ["total", "total_excluding_tax"] {
        invoice[name] = json!(total);
    }
    for name in ["subtotal", "subtotal_excluding_tax"] {
        invoice[name] = json!(subtotal);
    }
    for name in ["amount_due", "amount_remaining"] {
        invoice[name] = json!(total.max(0));
    }
    let lines = bill.lines.iter().cloned().map(|mut line| {
        line["invoice"] = json!(id);
        line
    });
    invoice["lines"] = super::super::view::list_of(lines.collect(), &format!("/v1/invoices/{id}/lines"));
    invoice["parent"]["subscription_details"] =
        json!({ "metadata": subscription["metadata"], "subscription": subscription["id"] });
    let customer = subscription["customer"].as_str().unwrap_or_default();
    let customer = state.objects.get("customer", customer).unwrap_or_default();
    for (name, value) in [
        ("customer", subscription["customer"].clone()),
        ("customer_email", customer["email"].clone()),
        ("customer_name", customer["name"].clone()),
        ("customer_address", customer["address"].clone()),
        ("currency", subscription["currency"].clone()),
        ("discounts", subscription["discounts"].clone()),
        ("billing_reason", json!(bill.reason)),
        ("period_start", json!(now_s)),
        ("period_end", json!(now_s)),
        ("status", json!("draft")),
        ("number", Value::Null),
        ("effective_at", Value::Null),
        ("hosted_invoice_url", Value::Null),
        ("invoice_pdf", Value::Null),
        ("payments", super::super::view::list_of(Vec::new(), "/v1/invoice_payments")),
    ] {
        invoice[name] = value;
    }
    invoice["status_transitions"]["finalized_at"] = Value::Null;
    invoice
}

/// What the subscription's discounts take off.
fn off(state: &mut State, subscription: &Value, subtotal: i64) -> i64 {
    let mut off = 0;
    for id in subscription["discounts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let discount = state.objects.get("discount", id).unwrap_or_default();
        let coupon = discount["source"]["coupon"].as_str().unwrap_or_default();
        let coupon = state.objects.get("coupon", coupon).unwrap_or_default();
        let percent = coupon["percent_off"].as_f64().unwrap_or_default();
        // Rounded to the next unit, as Stripe does.
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let part = (subtotal as f64 * percent / 100.0).round() as i64;
        off += part + coupon["amount_off"].as_i64().unwrap_or_default();
    }
    off.clamp(0, subtotal.max(0))
}

/// The invoice from draft to its end, with all its events; `Err` when the card was declined.
pub fn bill(state: &mut State, subscription: &Value, bill: Bill) -> (Value, Result<(), Refusal>) {
    let invoice = draft(state, subscription, &bill);
    let id = invoice["id"].as_str().unwrap_or_default().to_owned();
    let invoice = state.create("invoice", invoice);
    let now_s = state.now_s();
    let open = state.change(&invoice, "invoice.finalized", |invoice| {
        invoice["status"] = json!("open");
        invoice["number"] = json!(format!("FAKE-{}", &id[4..]));
        invoice["effective_at"] = json!(now_s);
        invoice["status_transitions"]["finalized_at"] = json!(now_s);
        invoice["hosted_invoice_url"] = json!(format!("https://invoice.stripe.com/i/{id}"));
        invoice["invoice_pdf"] = json!(format!("https://pay.stripe.com/invoice/{id}/pdf"));
    });
    let due = open["amount_due"].as_i64().unwrap_or_default();
    if due == 0 {
        return (paid(state, &open, now_s), Ok(()));
    }
    let intent = intent(state, &open, due);
    let mut payment = state.draft("invoice_payment");
    for (name, value) in [
        ("amount_requested", json!(due)),
        ("amount_paid", Value::Null),
        ("invoice", json!(id)),
        ("status", json!("open")),
        ("payment", json!({ "type": "payment_intent", "payment_intent": intent["id"] })),
        ("currency", open["currency"].clone()),
        ("status_transitions", json!({ "canceled_at": null, "paid_at": null })),
    ] {
        payment[name] = value;
    }
    state.create_quietly("invoice_payment", &payment);
    let Some(card) = bill.card else { return (open, Ok(())) };
    match payments::pay(state, &intent, &card, true) {
        Ok(intent) if intent["status"] == "succeeded" => {
            state.change(&payment, "invoice_payment.paid", |payment| {
                payment["status"] = json!("paid");
                payment["amount_paid"] = json!(due);
                payment["status_transitions"]["paid_at"] = json!(now_s);
            });
            (paid(state, &open, now_s), Ok(()))
        }
        Ok(_) => (open, Ok(())),
        Err(refusal) => {
            let failed = state.change(&open, "invoice.payment_failed", |invoice| {
                invoice["attempted"] = json!(true);
                invoice["attempt_count"] = json!(1);
                invoice["next_payment_attempt"] = json!(now_s + 3 * 86_400);
            });
            (failed, Err(refusal))
        }
    }
}

fn intent(state: &mut State, invoice: &Value, due: i64) -> Value {
    let currency = invoice["currency"].as_str().unwrap_or_default().to_owned();
    let mut intent = payments::draft(state, due, &currency, invoice["customer"].as_str());
    intent["invoice"] = invoice["id"].clone();
    state.create("payment_intent", intent)
}

/// Paid by a payment (two events) or because nothing is due (also two).
pub fn paid(state: &mut State, invoice: &Value, now_s: i64) -> Value {
    let done = state.change(invoice, "invoice.paid", |invoice| {
        let due = invoice["amount_due"].clone();
        invoice["status"] = json!("paid");
        invoice["attempted"] = json!(true);
        invoice["attempt_count"] = json!(u8::from(due != 0));
        invoice["amount_paid"] = due;
        invoice["amount_remaining"] = json!(0);
        invoice["auto_advance"] = json!(false);
        invoice["status_transitions"]["paid_at"] = json!(now_s);
    });
    state.emit("invoice.payment_succeeded", &done, None);
    done
}

/// `POST /v1/invoices/create_preview`: what would be billed; nothing is made.
pub fn preview(state: &mut State, params: &Params) -> Answer {
    params.allow(
        "customer subscription preview_mode subscription_details[items][#][id] subscription_details[items][#][price] \
         subscription_details[items][#][quantity] subscription_details[items][#][deleted] \
         subscription_details[proration_behavior] subscription_details[proration_date] \
         subscription_details[cancel_at_period_end] subscription_details[cancel_now] discounts[#][coupon]",
    )?;
    params.word("preview_mode", "next|recurring")?;
    let details = params.inner("subscription_details");
    let subscription = match (params.text("subscription"), params.text("customer")) {
        (Some(id), customer) => {
            let subscription = state.named("subscription", id, "subscription")?;
            if customer.is_some_and(|customer| subscription["customer"] != customer) {
                return Err(Refusal::invalid("resource_missing", "subscription", "It is another customer's."));
            }
            subscription
        }
        (None, Some(_)) => return Err(Refusal::state("invoice_upcoming_none", "No upcoming invoices for customer")),
        (None, None) => return Err(Refusal::invalid("parameter_missing", "customer", "Missing required param.")),
    };
    if subscription["status"] == "canceled" {
        return Err(Refusal::state("invoice_upcoming_none", "No upcoming invoices for customer"));
    }
    let mut changed = subscription.clone();
    let at_s = details.int("proration_date")?.unwrap_or(state.now_s());
    let mut lines = items::change_items(state, &details, &mut changed, at_s)?;
    let behavior = details.word("proration_behavior", "create_prorations|always_invoice|none")?;
    if behavior == Some("none") {
        lines.clear();
    }
    match behavior {
        Some("always_invoice") if !lines.is_empty() => {}
        _ => lines.extend(next_period(state, &changed)),
    }
    let mut invoice = draft(state, &changed, &Bill { reason: "upcoming", lines, card: None });
    let id = invoice["id"].as_str().unwrap_or_default().replacen("in_", "upcoming_in_", 1);
    invoice["id"] = json!(id);
    Ok(invoice)
}

fn next_period(state: &mut State, subscription: &Value) -> Vec<Value> {
    let mut next = subscription.clone();
    let mut lines = subscriptions::take_pending(&mut next);
    items::turn(&mut next);
    lines.extend(lines_of(state, &next, false));
    lines
}

//! The same history in the shapes of every API version ends in the same typed rows.

use serde_json::{Value, json};
use tilld::app::trigger::ApiVersion;

use crate::harness::{DAY_S, Till};
use crate::histories::{SUB_CREATED, SUB_DELETED, SUB_UPDATED};
use crate::story::{Step, Story, T0, event, intent_failed, intent_succeeded, invoice_failed, invoice_paid};

/// A subscription of two items from checkout to deletion: a renewal fails, is paid, refunded in part and disputed;
/// the next one fails for good.
pub fn life() -> Story {
    let mut story = Story::of(Some("alice"));
    let second_item = json!({
        "id": "si_second", "object": "subscription_item", "quantity": 3, "metadata": {}, "created": T0,
        "current_period_start": T0, "current_period_end": T0 + 30 * DAY_S, "subscription": "sub_1",
        "price": {"id": "price_team", "object": "price", "product": "prod_2", "unit_amount": 5000,
            "currency": "usd", "recurring": {"interval": "month", "interval_count": 1}},
    });
    story.make("customer.created", "customer", json!({})).make(SUB_CREATED, "sub", json!({"status": "incomplete"}));
    let first_item = story.steps[1].object["items"]["data"][0].clone();
    story.then(SUB_UPDATED, "sub", json!({"status": "active"})).make(
        "checkout.session.completed",
        "session",
        json!({}),
    );
    story.at(60).then(SUB_UPDATED, "sub", json!({"items": {"data": [first_item, second_item], "total_count": 2}}));
    story
        .at(DAY_S)
        .make("invoice.created", "invoice", json!({}))
        .make("invoice.finalized", "invoice", json!({}))
        .make("payment_intent.created", "intent", json!({"metadata": {"order": "7"}}))
        .then("payment_intent.payment_failed", "intent", intent_failed(1, "insufficient_funds"))
        .then("invoice.payment_failed", "invoice", invoice_failed(1, Some(T0 + 2 * DAY_S)))
        .then(SUB_UPDATED, "sub", json!({"status": "past_due"}));
    story
        .at(2 * DAY_S)
        .make("charge.succeeded", "charge", json!({"id": "ch_1"}))
        .then("payment_intent.succeeded", "intent", intent_succeeded("ch_1"))
        .then("invoice.paid", "invoice", invoice_paid(2, "ch_1", T0 + 2 * DAY_S))
        .then("invoice.payment_succeeded", "invoice", json!({}))
        .make("invoice_payment.paid", "invoice_payment", json!({}))
        .then(SUB_UPDATED, "sub", json!({"status": "active"}));
    story
        .at(3 * DAY_S)
        .then("charge.refunded", "charge", json!({"amount_refunded": 500}))
        .make("refund.created", "refund", json!({"charge": "ch_1", "amount": 500}))
        .make("charge.dispute.created", "dispute", json!({"charge": "ch_1"}));
    story.at(4 * DAY_S).then("charge.dispute.closed", "dispute", json!({"status": "lost"}));
    let next = |patch: Value| {
        let mut ids = json!({
            "id": "in_2", "number": "B-2",
            "payments": {"data": {"0": {"id": "inpay_2", "invoice": "in_2", "payment": {"payment_intent": {"id": "pi_2"}}}}},
        });
        ids.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        ids
    };
    story
        .at(8 * DAY_S)
        .make("payment_intent.created", "next_intent", json!({"id": "pi_2", "invoice": "in_2"}))
        .make("invoice.finalized", "next", next(json!({})))
        .then("invoice.payment_failed", "next", invoice_failed(1, None))
        .then(SUB_UPDATED, "sub", json!({"status": "past_due", "latest_invoice": "in_2"}));
    story.at(9 * DAY_S).then(
        SUB_DELETED,
        "sub",
        json!({"status": "canceled", "canceled_at": T0 + 9 * DAY_S, "ended_at": T0 + 9 * DAY_S,
            "cancellation_details": {"reason": "payment_failed"}}),
    );
    story
}

/// How an event of the history reaches an endpoint of `version`.
///
/// From basil on a webhook's invoice does not say by what it is paid; `invoice_payment.paid` does, which older versions
/// do not have. Nothing tells it of an invoice that is never paid, so its failing event carries `payments` here, as an
/// API read with `expand[]=payments` shows it.
pub fn delivered(step: &Step, version: ApiVersion) -> Option<Value> {
    let older = version < ApiVersion::Basil;
    if older && step.event_type.starts_with("invoice_payment.") {
        return None;
    }
    let mut event = event(step, version);
    if !older && step.event_type == "invoice.payment_failed" {
        let mut payments = step.object["payments"].clone();
        let intent = &mut payments["data"][0]["payment"]["payment_intent"];
        *intent = intent["id"].clone();
        event["data"]["object"]["payments"] = payments;
    }
    Some(event)
}

/// Every typed row after the history. Left out: the mirror, which keeps Stripe's own JSON, and what `invoice_payment`
/// events alone leave behind.
fn typed_rows(version: ApiVersion) -> Vec<String> {
    let mut till = Till::new();
    let events: Vec<Value> = life().steps.iter().filter_map(|step| delivered(step, version)).collect();
    till.feed(&events);
    assert_eq!(till.value("SELECT group_concat(error) FROM webhook_attempts"), Value::Null);
    let left_out = |line: &str| {
        line.starts_with("stripe_objects:")
            || line.starts_with("stripe_invoice_payments:")
            || line.contains("invoice_payment.paid")
    };
    till.dump().lines().filter(|line| !left_out(line)).map(str::to_owned).collect()
}

#[test]
fn the_same_history_in_every_api_version_ends_in_the_same_typed_rows() {
    let newest = typed_rows(ApiVersion::CURRENT);
    for table in ["stripe_subscription_items", "stripe_disputes", "stripe_charges", "payment_failures", "subscriptions"]
    {
        assert!(newest.iter().any(|row| row.starts_with(&format!("{table}:"))), "{table} has rows");
    }
    for version in ApiVersion::ALL {
        let rows = typed_rows(version);
        let only = |one: &[String], other: &[String]| {
            one.iter().filter(|row| !other.contains(row)).cloned().collect::<Vec<_>>().join("\n  ")
        };
        assert!(
            rows == newest,
            "{}:\n  {}\n{}:\n  {}",
            version.as_str(),
            only(&rows, &newest),
            ApiVersion::CURRENT.as_str(),
            only(&newest, &rows)
        );
    }
}

#[test]
fn every_version_tells_what_the_newest_row_says() {
    for version in ApiVersion::ALL {
        let rows = typed_rows(version).join("\n");
        for told in
            ["stripe_payment_intent_id=\"pi_2\"", "failure_reason=\"insufficient_funds\"", "resolution=\"paid\""]
        {
            assert!(rows.contains(told), "{}: {told}", version.as_str());
        }
    }
}

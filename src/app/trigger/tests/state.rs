//! The state each event brings its object into.

use serde_json::{Value, json};

use super::super::shape;
use super::{NOW_S, made, types};

#[test]
fn every_event_carries_the_state_it_speaks_of() {
    for (event_type, status) in [
        ("customer.subscription.created", "active"),
        ("customer.subscription.updated", "active"),
        ("customer.subscription.trial_will_end", "trialing"),
        ("customer.subscription.paused", "paused"),
        ("customer.subscription.resumed", "active"),
        ("customer.subscription.deleted", "canceled"),
        ("invoice.created", "draft"),
        ("invoice.updated", "open"),
        ("invoice.finalized", "open"),
        ("invoice.paid", "paid"),
        ("invoice.payment_succeeded", "paid"),
        ("invoice.payment_failed", "open"),
        ("invoice.payment_action_required", "open"),
        ("invoice.voided", "void"),
        ("invoice.marked_uncollectible", "uncollectible"),
        ("invoice_payment.paid", "paid"),
        ("payment_intent.created", "requires_payment_method"),
        ("payment_intent.processing", "processing"),
        ("payment_intent.requires_action", "requires_action"),
        ("payment_intent.succeeded", "succeeded"),
        ("payment_intent.payment_failed", "requires_payment_method"),
        ("payment_intent.canceled", "canceled"),
        ("charge.succeeded", "succeeded"),
        ("charge.dispute.created", "needs_response"),
        ("charge.dispute.closed", "lost"),
        ("refund.created", "succeeded"),
        ("checkout.session.completed", "complete"),
        ("checkout.session.expired", "expired"),
        ("checkout.session.async_payment_succeeded", "complete"),
        ("checkout.session.async_payment_failed", "complete"),
    ] {
        assert_eq!(made(event_type)["data"]["object"]["status"], status, "{event_type}");
    }
}

#[test]
fn details_follow_the_state() {
    let object = |event_type: &str| made(event_type)["data"]["object"].clone();
    assert_eq!(object("customer.subscription.deleted")["ended_at"], NOW_S);
    assert_eq!(object("customer.subscription.trial_will_end")["trial_end"], NOW_S + 3 * 86_400);
    let failed = object("invoice.payment_failed");
    assert_eq!(failed["next_payment_attempt"], NOW_S + 3 * 86_400);
    assert_eq!((&failed["attempt_count"], &failed["attempted"]), (&json!(1), &json!(true)));
    let error = &object("payment_intent.payment_failed")["last_payment_error"];
    assert_eq!((&error["code"], &error["decline_code"]), (&json!("card_declined"), &json!("insufficient_funds")));
    assert_eq!(object("charge.refunded")["amount_refunded"], 2000);
    assert_eq!(object("charge.refunded")["refunded"], true);
    assert_eq!(object("checkout.session.async_payment_failed")["payment_status"], "unpaid");
    assert_eq!(object("checkout.session.expired")["subscription"], Value::Null);
}

#[test]
fn amounts_of_an_invoice_add_up() {
    for event_type in types().filter(|event_type| shape::kind_of(event_type).object == "invoice") {
        let invoice = &made(event_type)["data"]["object"];
        let amount = |key: &str| invoice[key].as_i64().unwrap();
        assert_eq!(amount("total"), 2000);
        assert_eq!(amount("amount_paid") + amount("amount_remaining"), amount("amount_due"));
        assert_eq!(invoice["lines"]["data"][0]["amount"], 2000);
    }
}

#[test]
fn only_updated_events_have_previous_attributes_and_they_differ_from_now() {
    for event_type in types() {
        let data = &made(event_type)["data"];
        let previous = data.get("previous_attributes");
        assert_eq!(previous.is_some(), event_type.ends_with(".updated"), "{event_type}");
        for (key, old) in previous.and_then(Value::as_object).into_iter().flatten() {
            assert_ne!(&data["object"][key], old, "{event_type} {key}");
        }
    }
}

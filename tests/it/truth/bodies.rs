//! Bodies that real systems have sent: none of them is a dead letter.

use serde_json::{Value, json};

use crate::harness::{START_S, Till};
use crate::samples::{event, raw};

fn no_failures(till: &Till) {
    assert_eq!(till.value("SELECT group_concat(error) FROM webhook_attempts"), Value::Null);
}

#[test]
fn a_charge_of_before_2015_has_no_status_and_was_paid_or_failed() {
    let mut till = Till::new();
    let charge = |id: &str, paid: bool| json!({"id": id, "object": "charge", "amount": 5, "currency": "usd", "paid": paid, "refunded": false});
    till.feed(&[
        raw("evt_1", "charge.succeeded", START_S, charge("ch_1", true)),
        raw("evt_2", "charge.failed", START_S, charge("ch_2", false)),
    ]);
    no_failures(&till);
    let states =
        till.value("SELECT group_concat(status) FROM (SELECT status FROM stripe_charges ORDER BY stripe_charge_id)");
    assert_eq!(states, "succeeded,failed");
}

#[test]
fn a_subscription_may_be_paid_by_an_account_in_the_place_of_a_customer() {
    let mut till = Till::new();
    let mut made = event("customer.subscription.created", "alice", START_S, &[]);
    made["data"]["object"]["customer"] = Value::Null;
    made["data"]["object"]["customer_account"] = json!("acct_payer");
    till.feed(&[made]);
    no_failures(&till);
    assert_eq!(till.entitlement("alice")["entitled"], true);
    assert_eq!(till.value("SELECT stripe_customer_id FROM stripe_subscriptions"), "acct_payer");
    assert_eq!(till.value("SELECT count(*) FROM stripe_customers"), 0, "an account is no customer");
}

#[test]
fn half_a_character_in_a_text_keeps_nobody_entitled() {
    let mut till = Till::new();
    till.feed(&[event("customer.subscription.created", "alice", START_S, &[])]);
    let gone = event(
        "customer.subscription.deleted",
        "alice",
        START_S + 9,
        &[("cancellation_details.comment", json!("HALF"))],
    );
    let body = gone.to_string().replace("HALF", "no more \\ud83d");
    assert_eq!(till.post_bytes(body.as_bytes()).0, 200);
    till.settle();
    no_failures(&till);
    assert_eq!(till.entitlement("alice")["reason"], "canceled");
}

#[test]
fn what_decides_nothing_may_be_anything() {
    let mut till = Till::new();
    let odd = [("currency", json!(7)), ("trial_start", json!("soon")), ("collection_method", json!([]))];
    let odd_customer = [("name", json!({"first": "A"})), ("email", json!(false))];
    till.feed(&[
        event("customer.created", "alice", START_S, &odd_customer),
        event("customer.subscription.created", "alice", START_S, &odd),
    ]);
    no_failures(&till);
    assert_eq!(till.entitlement("alice")["entitled"], true);
}

#[test]
fn of_a_customer_that_is_deleted_without_a_word_what_was_known_stays_in_any_order() {
    let made = event("customer.created", "alice", START_S, &[("email", json!("alice@example.com"))]);
    let moved = event("customer.updated", "alice", START_S + 1, &[("email", json!("alice@example.org"))]);
    let stub = json!({"id": made["data"]["object"]["id"], "object": "customer", "deleted": true});
    let gone = raw("evt_gone", "customer.deleted", START_S + 2, stub);
    let orders = [[&made, &moved, &gone], [&gone, &moved, &made], [&moved, &gone, &made], [&gone, &made, &moved]];
    for order in orders {
        let mut till = Till::new();
        till.feed(&order.map(Clone::clone));
        no_failures(&till);
        let row = till.value("SELECT email || ' ' || deleted FROM stripe_customers");
        assert_eq!(row, "alice@example.org 1");
    }
}

#[test]
fn a_sample_event_of_the_dashboard_is_kept_once_for_each_type() {
    let mut till = Till::new();
    let sample = |event_type: &str| {
        let mut event = event(event_type, "alice", START_S, &[]);
        event["id"] = json!("evt_00000000000000");
        event
    };
    till.feed(&[sample("customer.created"), sample("invoice.paid"), sample("invoice.paid")]);
    let ids = till.value("SELECT group_concat(event_id) FROM (SELECT event_id FROM stripe_webhooks_log ORDER BY id)");
    assert_eq!(ids, "evt_00000000000000:customer.created,evt_00000000000000:invoice.paid");
    no_failures(&till);
}

#[test]
fn a_summary_of_entitlements_is_kept_by_its_customer_and_an_older_one_never_replaces_it() {
    let summary = |id: &str, at_s: i64, keys: &[&str]| {
        let data: Vec<Value> = keys.iter().map(|key| json!({"lookup_key": key})).collect();
        let object = json!({"object": "entitlements.active_entitlement_summary", "customer": "cus_1",
            "livemode": false, "entitlements": {"object": "list", "data": data}});
        raw(id, "entitlements.active_entitlement_summary.updated", at_s, object)
    };
    let (older, newer) = (summary("evt_1", START_S, &["a"]), summary("evt_2", START_S + 9, &["a", "b"]));
    for order in [[&older, &newer], [&newer, &older]] {
        let mut till = Till::new();
        till.feed(&order.map(Clone::clone));
        let kept = "SELECT id || json_extract(data, '$.entitlements.data[1].lookup_key') FROM stripe_objects";
        assert_eq!(till.value(kept), "cus_1b");
    }
}

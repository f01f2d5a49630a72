//! How a customer's facts find their user, in whatever order they come.

use serde_json::{Value, json};
use tilld::app::trigger;
use tilld::http::request::Method;

use super::ids;
use crate::harness::{DAY_S, START_S, Till};
use crate::samples::event;

const CREATED: &str = "customer.subscription.created";
const CUSTOMER: &str = "customer.created";
const SESSION: &str = "checkout.session.completed";

/// Takes the user's name off an object.
fn nameless() -> (&'static str, Value) {
    ("metadata", json!({}))
}

fn customer_of(user: &str) -> (&'static str, Value) {
    ("customer", json!(trigger::ids(user).customer))
}

#[test]
fn each_of_customer_subscription_and_session_links_even_long_after() {
    let silent = event(CREATED, "alice", START_S, &[nameless()]);
    let later = START_S + 90 * DAY_S;
    let nobody = ("client_reference_id", Value::Null);
    for naming in [
        event(CUSTOMER, "alice", later, &[]),
        event("customer.subscription.updated", "alice", later, &[]),
        event(SESSION, "alice", later, &[nobody]),
    ] {
        let mut till = Till::new();
        till.feed(std::slice::from_ref(&silent));
        assert_eq!(till.get("/api/v1/users/alice/entitlement").0, 404, "nobody is named yet");
        assert_eq!(till.value("SELECT user_id FROM audit_log"), Value::Null);
        till.feed(std::slice::from_ref(&naming));
        assert_eq!(till.entitlement("alice")["entitled"], true, "{naming}");
        assert_eq!(till.get("/api/v1/users/alice").1["stripe_customer_id"], trigger::ids("alice").customer);
        let strangers = "SELECT count(*) FROM audit_log WHERE user_id IS NOT 'alice'";
        assert_eq!(till.value(strangers), json!(0), "what was recorded before belongs to alice, too");
        let mut reversed = Till::new();
        reversed.feed(&[naming, silent.clone()]);
        assert_eq!(reversed.dump(), till.dump());
    }
}

#[test]
fn a_reference_gives_access_even_long_after_and_no_customer() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[nameless()])]);
    assert_eq!(till.get("/api/v1/users/alice/entitlement").0, 404, "nobody is named yet");
    till.feed(&[event(SESSION, "alice", START_S + 90 * DAY_S, &[nameless()])]);
    assert_eq!(till.entitlement("alice")["entitled"], true);
    assert_eq!(till.get("/api/v1/users/alice").1["stripe_customer_id"], Value::Null);
}

#[test]
fn a_guest_payment_belongs_to_nobody_until_it_names_someone() {
    let mut till = Till::new();
    let guest = ("customer", Value::Null);
    let created = event("payment_intent.created", "guest", START_S, std::slice::from_ref(&guest));
    let paid = event("payment_intent.succeeded", "guest", START_S + 1, std::slice::from_ref(&guest));
    till.feed(&[created, paid, event("charge.succeeded", "guest", START_S + 1, &[guest])]);
    let row =
        "SELECT status || coalesce(user_id, '-') || coalesce(stripe_customer_id, '-') FROM stripe_payment_intents";
    assert_eq!(till.value(row), "succeeded--");
    assert_eq!(till.value("SELECT count(*) FROM users"), json!(0));
    assert_eq!(till.value("SELECT count(*) FROM stripe_webhooks_log WHERE status <> 'processed'"), json!(0));
    let named = [("customer", Value::Null), ("metadata.user_id", json!("zoe"))];
    till.feed(&[event("payment_intent.created", "zoe", START_S + 2, &named)]);
    assert_eq!(ids(&till.get("/api/v1/users/zoe/payment-intents").1), [trigger::ids("zoe").payment_intent]);
}

#[test]
fn a_user_with_two_customers_sees_the_subscriptions_of_both() {
    let mut till = Till::new();
    let of_alice = ("metadata.user_id", json!("alice"));
    till.feed(&[
        event(CUSTOMER, "alice", START_S, &[]),
        event(CUSTOMER, "second", START_S + 9, std::slice::from_ref(&of_alice)),
        event(CREATED, "second", START_S + 10, &[of_alice]),
    ]);
    assert_eq!(till.get("/api/v1/users/alice").1["stripe_customer_id"], trigger::ids("alice").customer, "the older");
    assert_eq!(ids(&till.get("/api/v1/users/alice/subscriptions").1), [trigger::ids("second").subscription]);
    assert_eq!(till.entitlement("alice")["entitled"], true);
    till.feed(&[event("customer.deleted", "alice", START_S + 20, &[])]);
    let main = till.get("/api/v1/users/alice").1["stripe_customer_id"].clone();
    assert_eq!(main, trigger::ids("second").customer, "the one that is left");
    assert_eq!(till.entitlement("alice")["entitled"], true);
}

#[test]
fn a_customer_that_changes_owner_takes_along_what_names_nobody_else() {
    let mut till = Till::new();
    till.feed(&[
        event(CUSTOMER, "alice", START_S, &[]),
        event(CREATED, "alice", START_S, &[nameless()]),
        event("payment_intent.created", "alice", START_S, &[nameless()]),
        event("invoice.payment_failed", "alice", START_S, &[]),
    ]);
    assert_eq!(till.entitlement("alice")["entitled"], true);
    till.feed(&[event("customer.updated", "alice", START_S + 1, &[("metadata.user_id", json!("bob"))])]);
    assert_eq!(till.entitlement("alice")["reason"], "no_subscription");
    assert_eq!(till.entitlement("bob")["entitled"], true);
    for of in ["subscriptions", "payment-intents", "payment-failures", "audit"] {
        let count = |user: &str| till.get(&format!("/api/v1/users/{user}/{of}")).1["data"].as_array().unwrap().len();
        assert!(count("alice") == 0 && count("bob") > 0, "{of}");
    }
    assert_eq!(till.get("/api/v1/users/alice").1["stripe_customer_id"], Value::Null);
    assert_eq!(till.value("SELECT group_concat(user_id) FROM subscriptions"), "bob");
}

#[test]
fn a_user_put_after_its_events_keeps_its_entitlement() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[])]);
    let before = till.entitlement("alice");
    assert_eq!(till.call(Method::Put, "/api/v1/users/alice", &json!({"name": "Alice"})).0, 200);
    assert_eq!(till.entitlement("alice"), before);
}

#[test]
fn a_user_put_before_its_events_gets_its_entitlement() {
    let mut till = Till::new();
    assert_eq!(till.call(Method::Put, "/api/v1/users/alice", &json!({"name": "Alice"})).0, 201);
    till.feed(&[event(CREATED, "alice", START_S, &[])]);
    assert_eq!(till.entitlement("alice")["entitled"], true);
    assert_eq!(till.get("/api/v1/users/alice").1["name"], "Alice");
}

#[test]
fn a_deleted_customers_subscriptions_are_over() {
    let mut till = Till::new();
    till.feed(&[event(CUSTOMER, "alice", START_S, &[]), event(CREATED, "alice", START_S, &[])]);
    till.feed(&[event("customer.deleted", "alice", START_S + 5, &[])]);
    assert_eq!(till.entitlement("alice")["reason"], "canceled");
}

#[test]
fn a_subscription_that_moves_to_another_customer_moves_its_user() {
    let mut till = Till::new();
    till.feed(&[event(CUSTOMER, "bob", START_S, &[]), event(CREATED, "alice", START_S, &[nameless()])]);
    till.feed(&[event("customer.subscription.updated", "alice", START_S + 1, &[nameless(), customer_of("bob")])]);
    assert_eq!(till.entitlement("bob")["entitled"], true);
}

//! Several events and readings of one second: what is proved counts, and what is not is fetched, as often as need be.

use serde_json::{Value, json};

use crate::harness::{START_S, Setup, Till};
use crate::reads::read_now;
use crate::samples::{event, raw};

const UPDATED: &str = "customer.subscription.updated";

/// A subscription whose quantity went from one number to another, in the second of [`START_S`].
fn change(from: i64, to: i64) -> Value {
    let mut event = event(UPDATED, "alice", START_S, &[("quantity", json!(to))]);
    event["id"] = json!(format!("evt_{from}_{to}"));
    event["data"]["previous_attributes"] = json!({"quantity": from});
    event
}

fn till() -> Till {
    Till::with(Setup { fetches: true, ..Setup::default() })
}

fn quantity(till: &Till) -> Value {
    till.value("SELECT json_extract(data, '$.quantity') FROM stripe_objects WHERE object = 'subscription'")
}

fn ambiguous(till: &Till) -> Value {
    till.value("SELECT ambiguous FROM stripe_objects WHERE object = 'subscription'")
}

fn to_fetch(till: &Till) -> Value {
    till.value("SELECT count(*) FROM outbox WHERE kind = 'stripe_call' AND status = 'pending'")
}

/// What `fetch` does, with this answer.
fn fetched(till: &Till, shown: &Value) {
    till.connection()
        .execute("UPDATE outbox SET status = 'done', finished_at_ms = 1 WHERE kind = 'stripe_call'", [])
        .unwrap();
    read_now(till, &shown["data"]["object"], START_S);
}

#[test]
fn a_late_event_of_the_second_of_a_reading_does_not_undo_it() {
    let mut till = till();
    till.feed(&[event("customer.subscription.created", "alice", START_S - 60, &[])]);
    let mut failed = event(UPDATED, "alice", START_S, &[("status", json!("past_due"))]);
    failed["data"]["previous_attributes"] = json!({"status": "active"});
    let mut paid = event(UPDATED, "alice", START_S, &[("status", json!("active"))]);
    paid["data"]["previous_attributes"] = json!({"status": "past_due"});
    till.feed(&[paid.clone()]);
    read_now(&till, &paid["data"]["object"], START_S);
    till.feed(&[failed]);
    assert_eq!(till.value("SELECT status FROM stripe_subscriptions"), "active");
    assert_eq!(ambiguous(&till), 0);
}

#[test]
fn a_late_change_that_leads_to_what_was_read_is_before_it() {
    let mut till = till();
    till.feed(&[change(3, 4), change(2, 3)]);
    fetched(&till, &change(3, 4));
    till.feed(&[change(1, 2)]);
    assert_eq!((quantity(&till), ambiguous(&till)), (json!(4), json!(0)));
    till.feed(&[change(4, 5)]);
    assert_eq!((quantity(&till), ambiguous(&till)), (json!(5), json!(0)), "and what follows on it is after it");
    till.feed(&[change(0, 1)]);
    assert_eq!((quantity(&till), ambiguous(&till)), (json!(5), json!(0)));
}

#[test]
fn what_becomes_ambiguous_again_is_fetched_again() {
    let mut till = till();
    till.feed(&[change(1, 2), change(2, 1)]);
    assert_eq!((ambiguous(&till), to_fetch(&till)), (json!(1), json!(1)));
    fetched(&till, &change(2, 1));
    assert_eq!((ambiguous(&till), to_fetch(&till)), (json!(0), json!(0)));
    // Was that before or after what was read? It does not say what stood there.
    let mut other = change(1, 7);
    other["data"]["previous_attributes"].take();
    till.feed(&[other.clone()]);
    assert_eq!((ambiguous(&till), to_fetch(&till)), (json!(1), json!(1)));
    assert_eq!(quantity(&till), 1, "until it is fetched, what was read stands");
    fetched(&till, &other);
    assert_eq!((quantity(&till), ambiguous(&till)), (json!(7), json!(0)));
}

#[test]
fn an_update_after_the_deletion_in_its_second_is_not_lost() {
    for backwards in [false, true] {
        let mut till = till();
        let mut deleted = event("customer.subscription.deleted", "alice", START_S, &[]);
        deleted["data"]["object"]["metadata"] = json!({"user_id": "alice"});
        let mut noted = event(UPDATED, "alice", START_S, &[]);
        noted["data"]["object"] = deleted["data"]["object"].clone();
        noted["data"]["object"]["metadata"]["why"] = json!("moved");
        noted["data"]["previous_attributes"] = json!({"metadata": {"why": null}});
        let mut events = [deleted, noted];
        if backwards {
            events.reverse();
        }
        till.feed(&events);
        assert_eq!(till.value("SELECT json_extract(metadata, '$.why') FROM stripe_subscriptions"), "moved");
        assert_eq!((till.entitlement("alice")["reason"].clone(), ambiguous(&till)), (json!("canceled"), json!(0)));
        assert_eq!(till.value("SELECT deleted FROM stripe_subscriptions"), 1);
    }
}

#[test]
fn a_payment_that_failed_and_was_challenged_in_one_second_is_fetched() {
    let intent = |status: &str| json!({"id": "pi_1", "object": "payment_intent", "amount": 5, "currency": "usd", "status": status, "metadata": {}});
    let failed = raw("evt_1", "payment_intent.payment_failed", START_S, intent("requires_payment_method"));
    let asked = raw("evt_2", "payment_intent.requires_action", START_S, intent("requires_action"));
    let mut till = till();
    till.feed(&[failed, asked]);
    assert_eq!(till.value("SELECT ambiguous FROM stripe_objects WHERE object = 'payment_intent'"), 1);
    assert_eq!(to_fetch(&till), 1);
}

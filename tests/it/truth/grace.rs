//! A grace period belongs to one delinquency: what was paid never starts another one's.

use serde_json::{Value, json};

use crate::harness::{DAY_S, START_S, Till};
use crate::samples::event;

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";
const FAILED: &str = "invoice.payment_failed";
const PAID: &str = "invoice.paid";
/// The second invoice's failure.
const LATER_S: i64 = START_S + 20 * DAY_S;

fn invoice(event_type: &str, id: &str, at_s: i64, more: &[(&str, Value)]) -> Value {
    let mut set = vec![("id", json!(id))];
    if event_type == PAID {
        set.extend([("status", json!("paid")), ("status_transitions.paid_at", json!(at_s))]);
    }
    set.extend(more.iter().cloned());
    event(event_type, "alice", at_s, &set)
}

/// Everything in the order told, and backwards: both end in this answer.
fn grace_ends(events: &[Value], now_s: i64, end_s: i64) {
    let backwards: Vec<Value> = events.iter().rev().cloned().collect();
    for events in [events, &backwards] {
        let mut till = Till::new();
        till.clock.set(now_s * 1000);
        till.feed(events);
        let answer = till.entitlement("alice");
        assert_eq!(
            (&answer["reason"], &answer["grace_period_end"]),
            (&json!("grace_period"), &json!(end_s)),
            "{answer}"
        );
    }
}

#[test]
fn a_failure_that_was_paid_in_its_second_does_not_start_the_grace_period_of_the_next_one() {
    let past_due = [("status", json!("past_due"))];
    let events = [
        event(CREATED, "alice", START_S - 9 * DAY_S, &[]),
        invoice(FAILED, "in_1", START_S, &[]),
        invoice(PAID, "in_1", START_S, &[("attempt_count", json!(2))]),
        invoice(FAILED, "in_2", LATER_S, &[]),
        event(UPDATED, "alice", LATER_S, &past_due),
    ];
    grace_ends(&events, LATER_S + 60, LATER_S + 7 * DAY_S);
}

#[test]
fn nor_does_the_past_due_of_a_delinquency_that_ended_by_a_payment_whose_active_was_never_heard() {
    let past_due = [("status", json!("past_due"))];
    let events = [
        event(CREATED, "alice", START_S - 9 * DAY_S, &[]),
        invoice(FAILED, "in_1", START_S, &[]),
        event(UPDATED, "alice", START_S, &past_due),
        invoice(PAID, "in_1", START_S + DAY_S, &[("attempt_count", json!(2))]),
        invoice(FAILED, "in_2", LATER_S, &[]),
        event(UPDATED, "alice", LATER_S, &past_due),
    ];
    grace_ends(&events, LATER_S + 60, LATER_S + 7 * DAY_S);
}

#[test]
fn a_payment_does_not_extend_the_grace_period_while_another_invoice_is_owed() {
    let past_due = [("status", json!("past_due"))];
    let events = [
        event(CREATED, "alice", START_S - 9 * DAY_S, &[]),
        invoice(FAILED, "in_1", START_S, &[]),
        event(UPDATED, "alice", START_S, &past_due),
        invoice(FAILED, "in_2", START_S + DAY_S, &[]),
        invoice(PAID, "in_1", START_S + 2 * DAY_S, &[("attempt_count", json!(2))]),
    ];
    grace_ends(&events, START_S + 3 * DAY_S, START_S + 7 * DAY_S);
}

//! Objects read from the API beside events: a late older event does not undo what was read, a newer one does, and what
//! was read does not undo what is newer.

use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::objects::reading::{ApiObject, ReadingOutcome, RequestSent};

use crate::harness::{DAY_S, START_S, Till};
use crate::samples::event;

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";
const DELETED: &str = "customer.subscription.deleted";

/// What the API answers when the state is that of `event`, asked after the events of now, at `at_s` of Stripe's clock.
pub fn read_now(till: &Till, object: &Value, at_s: i64) -> ReadingOutcome {
    let sent = till.store.read(|reader| RequestSent::now(reader, at_s * 1000)).unwrap();
    absorb(till, object, sent, at_s)
}

pub fn absorb(till: &Till, object: &Value, sent: RequestSent, at_s: i64) -> ReadingOutcome {
    absorb_after(till, object, sent, at_s, 0)
}

/// As `absorb`, of an answer that took so long.
fn absorb_after(till: &Till, object: &Value, sent: RequestSent, at_s: i64, took_ms: i64) -> ReadingOutcome {
    let reading = sent.reading(Some(at_s), sent.at_ms + took_ms);
    let shown = ApiObject::new(&object.to_string(), reading).unwrap();
    let (context, now_ms) = (till.context.clone(), till.clock.now_ms());
    till.store.write(move |tx| Ok(tilld::notify::absorb(tx, &shown, &context, now_ms).unwrap())).unwrap()
}

fn object(event: &Value) -> Value {
    event["data"]["object"].clone()
}

fn status(till: &Till) -> Value {
    till.value("SELECT status FROM stripe_subscriptions")
}

#[test]
fn an_object_that_no_event_showed_is_known_after_reading_it() {
    let till = Till::new();
    assert_eq!(read_now(&till, &object(&event(CREATED, "alice", START_S, &[])), START_S), ReadingOutcome::Taken);
    let answer = till.entitlement("alice");
    assert_eq!((&answer["entitled"], &answer["as_of"]), (&json!(true), &json!(START_S)), "{answer}");
}

#[test]
fn a_late_older_event_does_not_undo_what_was_read_and_a_newer_one_does() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[])]);
    let canceled = event(UPDATED, "alice", START_S + 50, &[("cancel_at_period_end", json!(true))]);
    assert_eq!(read_now(&till, &object(&canceled), START_S + 100), ReadingOutcome::Taken);
    assert_eq!(till.entitlement("alice")["reason"], "ending");
    till.feed(&[event(UPDATED, "alice", START_S + 99, &[("status", json!("past_due"))])]);
    assert_eq!(till.entitlement("alice")["reason"], "ending");
    assert_eq!(till.value("SELECT count(*) FROM subscription_events"), json!(3), "it is history all the same");
    till.feed(&[event(UPDATED, "alice", START_S + 101, &[("status", json!("past_due"))])]);
    assert_eq!(till.entitlement("alice")["reason"], "grace_period");
}

#[test]
fn what_was_read_contains_every_event_that_was_there_before_even_of_a_later_second() {
    let mut till = Till::new();
    let late = event(UPDATED, "alice", START_S + 3, &[("status", json!("past_due"))]);
    till.feed(&[event(CREATED, "alice", START_S, &[]), late.clone()]);
    // Stripe's clock is rounded down, so what was read is dated before the event that it contains.
    let active = object(&event(UPDATED, "alice", START_S + 3, &[]));
    assert_eq!(read_now(&till, &active, START_S + 2), ReadingOutcome::Taken);
    assert_eq!(status(&till), "active");
    till.feed(&[late]);
    assert_eq!(status(&till), "active");
}

#[test]
fn an_answer_that_was_under_way_does_not_undo_an_event_that_came_meanwhile() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[])]);
    let sent = till.store.read(|reader| RequestSent::now(reader, START_S * 1000)).unwrap();
    till.feed(&[event(UPDATED, "alice", START_S + 1, &[("status", json!("past_due"))])]);
    let before = object(&event(CREATED, "alice", START_S, &[]));
    assert_eq!(absorb(&till, &before, sent, START_S), ReadingOutcome::Late);
    assert_eq!(status(&till), "past_due");
}

#[test]
fn a_creation_that_arrives_in_the_second_of_the_reading_is_older_and_an_update_is_news() {
    let mut till = Till::new();
    assert_eq!(read_now(&till, &object(&event(UPDATED, "alice", START_S, &[])), START_S), ReadingOutcome::Taken);
    till.feed(&[event(CREATED, "alice", START_S, &[("status", json!("incomplete"))])]);
    assert_eq!(status(&till), "active");
    let mut failed = event(UPDATED, "alice", START_S, &[("status", json!("past_due"))]);
    failed["data"]["previous_attributes"] = json!({"status": "active"});
    till.feed(&[failed]);
    assert_eq!(status(&till), "past_due");
    assert_eq!(till.value("SELECT ambiguous FROM stripe_objects WHERE object = 'subscription'"), 0);
}

#[test]
fn a_status_that_cannot_be_left_is_left_neither_by_reading_nor_after_it() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[]), event(DELETED, "alice", START_S + 10, &[])]);
    let active = object(&event(CREATED, "alice", START_S, &[]));
    assert_eq!(read_now(&till, &active, START_S + 20), ReadingOutcome::Late);
    assert_eq!(till.entitlement("alice")["reason"], "canceled");

    let mut other = Till::new();
    let canceled = object(&event(DELETED, "alice", START_S + 10, &[]));
    assert_eq!(read_now(&other, &canceled, START_S + 20), ReadingOutcome::Taken);
    other.feed(&[event(UPDATED, "alice", START_S + 30, &[])]);
    assert_eq!(other.entitlement("alice")["reason"], "canceled");
}

#[test]
fn reading_the_same_twice_changes_nothing_and_an_older_reading_is_late() {
    let till = Till::new();
    let active = object(&event(CREATED, "alice", START_S, &[]));
    let past_due = object(&event(UPDATED, "alice", START_S + 9, &[("status", json!("past_due"))]));
    read_now(&till, &active, START_S + 10);
    let before = till.dump();
    read_now(&till, &active, START_S + 10);
    assert_eq!(till.dump(), before);
    assert_eq!(read_now(&till, &past_due, START_S + 9), ReadingOutcome::Late);
    assert_eq!(till.dump(), before);
}

#[test]
fn a_reading_that_was_sent_after_more_events_is_the_newer_one_whatever_its_rounded_time_says() {
    let mut till = Till::new();
    read_now(&till, &object(&event(CREATED, "alice", START_S, &[])), START_S + 10);
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let past_due = object(&event(UPDATED, "alice", START_S + 9, &[("status", json!("past_due"))]));
    assert_eq!(read_now(&till, &past_due, START_S + 9), ReadingOutcome::Taken);
    assert_eq!(status(&till), "past_due");
}

#[test]
fn a_customer_that_is_read_as_deleted_keeps_what_was_known_of_it_and_ends_its_subscriptions() {
    let mut till = Till::new();
    let customer = event("customer.created", "alice", START_S, &[]);
    till.feed(&[customer.clone(), event(CREATED, "alice", START_S + 1, &[])]);
    assert_eq!(till.entitlement("alice")["entitled"], true);
    let gone = json!({"id": customer["data"]["object"]["id"], "object": "customer", "deleted": true});
    assert_eq!(read_now(&till, &gone, START_S + 5), ReadingOutcome::Taken);
    assert_eq!(till.entitlement("alice")["reason"], "canceled");
    assert_eq!(till.value("SELECT deleted FROM stripe_customers"), 1);
    assert_ne!(till.value("SELECT email FROM stripe_customers"), Value::Null);
}

#[test]
fn a_good_standing_that_was_only_read_ends_a_delinquency() {
    let mut till = Till::new();
    let failed = [("status", json!("past_due"))];
    till.feed(&[event(CREATED, "alice", START_S, &[]), event(UPDATED, "alice", START_S + DAY_S, &failed)]);
    read_now(&till, &object(&event(UPDATED, "alice", START_S, &[])), START_S + 2 * DAY_S);
    till.feed(&[event(UPDATED, "alice", START_S + 20 * DAY_S, &failed)]);
    till.clock.set((START_S + 20 * DAY_S + 60) * 1000);
    let answer = till.entitlement("alice");
    assert_eq!(answer["grace_period_end"], json!(START_S + 27 * DAY_S), "{answer}");
}

#[test]
fn of_two_answers_in_one_second_the_one_that_was_asked_for_later_counts() {
    let mut till = Till::new();
    let created = event(CREATED, "alice", START_S, &[]);
    till.feed(std::slice::from_ref(&created));
    let ending = event(UPDATED, "alice", START_S, &[("cancel_at_period_end", json!(true))]);
    // Both took a while, so that they are dated before the event that they contain.
    let ask = |after_ms: i64| {
        let sent = till.store.read(|reader| RequestSent::now(reader, START_S * 1000 + after_ms)).unwrap();
        (sent, sent.reading(Some(START_S), sent.at_ms + 300))
    };
    let (first, second) = (ask(100), ask(500));
    assert_eq!(first.1.at_s, START_S - 1);
    let take = |event: &Value, (sent, _): (RequestSent, _)| absorb_after(&till, &object(event), sent, START_S, 300);
    assert_eq!(take(&ending, first), ReadingOutcome::Taken);
    assert_eq!(till.entitlement("alice")["reason"], "ending");
    assert_eq!(take(&created, second), ReadingOutcome::Taken);
    assert_eq!(till.entitlement("alice")["reason"], "active");
    // The first one's answer again, as a repeated request gets it.
    assert_eq!(take(&ending, first), ReadingOutcome::Late);
    assert_eq!(till.entitlement("alice")["reason"], "active");
}

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::objects::kinds;

fn event(id: &str, event_type: &str, created: i64, object: Value, previous: Option<Value>) -> OrderCandidate {
    let (event_id, event_type) = (id.to_owned(), event_type.to_owned());
    OrderCandidate { event_id, event_type, created, object, previous, read: false, contained: false }
}

fn subscription(status: &str, plan: &str) -> Value {
    json!({"object": "subscription", "id": "sub_1", "status": status, "metadata": {"plan": plan}})
}

/// Decides by the kind that the objects are of.
fn decide(candidates: &[OrderCandidate]) -> Option<OrderDecision> {
    super::decide(kinds::of_shown(&candidates[0].object), candidates)
}

fn winner_of(candidates: &[OrderCandidate]) -> (&str, bool) {
    let decision = decide(candidates).unwrap();
    (candidates[decision.winner].event_id.as_str(), decision.ambiguous)
}

/// Every order of arrival must come to the same.
fn check(candidates: &[OrderCandidate], winner: &str, ambiguous: bool) {
    let mut turned = candidates.to_vec();
    for _ in 0..candidates.len() {
        turned.rotate_left(1);
        assert_eq!(winner_of(&turned), (winner, ambiguous));
        let backwards: Vec<OrderCandidate> = turned.iter().rev().cloned().collect();
        assert_eq!(winner_of(&backwards), (winner, ambiguous));
    }
}

const UPDATED: &str = "customer.subscription.updated";

#[test]
fn lesson_01_created_incomplete_and_updated_active_in_one_second_is_active() {
    check(
        &[
            event("evt_z", "customer.subscription.created", 5, subscription("incomplete", "a"), None),
            event("evt_a", UPDATED, 5, subscription("active", "a"), Some(json!({"status": "incomplete"}))),
        ],
        "evt_a",
        false,
    );
}

#[test]
fn three_updates_in_one_second_are_chained_by_what_they_changed() {
    let object = |a: i64, b: i64, c: i64| json!({"object": "subscription", "a": a, "b": b, "c": c, "status": "active"});
    check(
        &[
            event("evt_3", UPDATED, 5, object(2, 1, 1), Some(json!({"a": 1}))),
            event("evt_1", UPDATED, 5, object(2, 2, 1), Some(json!({"b": 1}))),
            event("evt_2", UPDATED, 5, object(2, 2, 2), Some(json!({"c": 1}))),
        ],
        "evt_2",
        false,
    );
}

#[test]
fn a_change_and_its_undoing_in_one_second_are_told_apart_by_the_state_before() {
    let there = event("evt_b", UPDATED, 5, subscription("active", "b"), Some(json!({"metadata": {"plan": "a"}})));
    let back = event("evt_a", UPDATED, 5, subscription("active", "a"), Some(json!({"metadata": {"plan": "b"}})));
    let before = event("evt_0", "customer.subscription.created", 4, subscription("active", "a"), None);
    check(&[before, there.clone(), back.clone()], "evt_a", false);
    check(&[there, back], "evt_a", true);
}

#[test]
fn lesson_02_a_deletion_stays_whatever_comes_late_or_later() {
    let deleted = event("evt_d", "customer.subscription.deleted", 5, subscription("canceled", "a"), None);
    let late = event("evt_l", UPDATED, 4, subscription("active", "a"), Some(json!({"status": "past_due"})));
    let later = event("evt_n", UPDATED, 6, subscription("active", "a"), None);
    let same = event("evt_s", UPDATED, 5, subscription("active", "a"), None);
    check(&[deleted.clone(), late, later, same], "evt_d", false);
    let note = event("evt_m", UPDATED, 7, subscription("canceled", "b"), Some(json!({"metadata": {"plan": "a"}})));
    check(&[deleted.clone(), note.clone()], "evt_m", false);
    assert!(decide(&[deleted, note]).unwrap().deleted);
}

#[test]
fn a_deleted_object_is_revived_only_by_a_newer_created_event() {
    let coupon = |name: &str| json!({"object": "coupon", "id": "SAVE10", "name": name});
    let deleted = event("evt_1", "coupon.deleted", 5, coupon("old"), None);
    let updated = event("evt_2", "coupon.updated", 6, coupon("late"), Some(json!({"name": "old"})));
    let made = event("evt_3", "coupon.created", 7, coupon("new"), None);
    check(&[deleted.clone(), updated.clone()], "evt_1", false);
    check(&[deleted, updated, made], "evt_3", false);
}

#[test]
fn an_invoice_goes_from_draft_to_paid_within_one_second() {
    let invoice =
        |status: &str, attempts: i64| json!({"object": "invoice", "status": status, "attempt_count": attempts});
    check(
        &[
            event("evt_4", "invoice.created", 5, invoice("draft", 0), None),
            event("evt_3", "invoice.finalized", 5, invoice("open", 0), None),
            event("evt_2", "invoice.payment_failed", 5, invoice("open", 1), None),
            event("evt_1", "invoice.paid", 5, invoice("paid", 2), None),
        ],
        "evt_1",
        false,
    );
}

#[test]
fn equal_snapshots_of_one_second_are_not_called_ambiguous() {
    let paid = json!({"object": "invoice", "status": "paid"});
    let other = event("evt_2", "invoice.payment_succeeded", 5, paid.clone(), None);
    check(&[event("evt_1", "invoice.paid", 5, paid, None), other], "evt_1", false);
}

#[test]
fn an_update_after_a_deletion_in_its_second_is_the_last_word_and_revives_nothing() {
    let before = event("evt_0", "customer.subscription.created", 4, subscription("active", "a"), None);
    let deleted = event("evt_a", "customer.subscription.deleted", 5, subscription("canceled", "a"), None);
    let noted = event("evt_b", UPDATED, 5, subscription("canceled", "b"), Some(json!({"metadata": {"plan": "a"}})));
    check(&[before.clone(), deleted.clone(), noted.clone()], "evt_b", false);
    check(&[deleted.clone(), noted.clone()], "evt_b", false);
    assert!(decide(&[deleted.clone(), noted]).unwrap().deleted);
    // The other way round the deletion is the last.
    let first = event("evt_b", UPDATED, 5, subscription("active", "b"), Some(json!({"metadata": {"plan": "a"}})));
    let after = event("evt_a", "customer.subscription.deleted", 5, subscription("canceled", "b"), None);
    check(&[before, first, after], "evt_a", false);
}

#[test]
fn a_challenge_and_a_failure_of_a_payment_in_one_second_are_in_no_certain_order() {
    let intent = |status: &str| json!({"object": "payment_intent", "id": "pi_1", "status": status});
    let failed = event("evt_a", "payment_intent.payment_failed", 5, intent("requires_payment_method"), None);
    let asked = event("evt_b", "payment_intent.requires_action", 5, intent("requires_action"), None);
    let made = event("evt_c", "payment_intent.created", 5, intent("requires_payment_method"), None);
    check(&[made.clone(), failed.clone(), asked.clone()], "evt_a", true);
    let paid = event("evt_d", "payment_intent.succeeded", 5, intent("succeeded"), None);
    check(&[made, failed, asked, paid], "evt_d", false);
}

#[test]
fn old_values_tell_that_an_update_came_after_what_names_none() {
    let charge = |text: Value| json!({"object": "charge", "id": "ch_1", "status": "succeeded", "balance": text});
    let made = event("evt_b", "charge.succeeded", 5, charge(Value::Null), None);
    let updated = event("evt_a", "charge.updated", 5, charge(json!("txn_1")), Some(json!({"balance": null})));
    check(&[made, updated], "evt_a", false);
}

#[test]
fn what_changed_without_an_event_before_a_second_does_not_hide_the_order_within_it() {
    let object = |name: &str, quantity: i64| {
        json!({"object": "subscription", "status": "active", "quantity": quantity,
            "items": {"data": [{"quantity": quantity, "price": {"nickname": name}}]}})
    };
    let change = |id: &str, from: i64, to: i64| {
        let was = json!({"quantity": from, "items": {"data": [{"quantity": from, "price": {"nickname": "new"}}]}});
        event(id, UPDATED, 9, object("new", to), Some(was))
    };
    let before = event("evt_0", "customer.subscription.created", 4, object("old", 2), None);
    check(&[before, change("evt_a", 3, 2), change("evt_b", 2, 3), change("evt_c", 2, 4)], "evt_c", false);
}

fn reading(object: Value, created: i64) -> OrderCandidate {
    let read = event("read:sub_1:1", "customer.subscription.read", created, object, None);
    OrderCandidate { read: true, ..read }
}

fn contained(candidate: OrderCandidate) -> OrderCandidate {
    OrderCandidate { contained: true, ..candidate }
}

#[test]
fn a_reading_is_the_end_of_what_it_contains_and_of_what_is_proved_to_be_before_it() {
    let object = |quantity: i64| json!({"object": "subscription", "status": "active", "quantity": quantity});
    let change = |id: &str, from: i64| event(id, UPDATED, 5, object(from + 1), Some(json!({"quantity": from})));
    let set = [contained(change("evt_3", 3)), contained(change("evt_2", 2)), change("evt_1", 1), reading(object(4), 5)];
    check(&set, "read:sub_1:1", false);
    // One more change follows on what was read.
    let [three, two, one, read] = set;
    check(&[three, two, one, read, change("evt_4", 4)], "evt_4", false);
}

#[test]
fn what_cannot_be_placed_beside_a_reading_is_called_ambiguous() {
    let there = event("evt_b", UPDATED, 5, subscription("past_due", "a"), Some(json!({"status": "active"})));
    let back = event("evt_a", UPDATED, 5, subscription("active", "a"), Some(json!({"status": "past_due"})));
    let read = reading(subscription("active", "a"), 5);
    check(&[there.clone(), contained(back.clone()), read.clone()], "read:sub_1:1", true);
    // The state before that second proves it.
    let before = event("evt_0", "customer.subscription.created", 4, subscription("active", "a"), None);
    check(&[before, there, contained(back), read], "read:sub_1:1", false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A walk through states, several steps a second: the last step wins in any order, or it is called ambiguous.
    #[test]
    fn the_decision_is_a_function_of_the_set(
        steps in prop::collection::vec((0..3_usize, 0..3_i64, prop::bool::ANY), 1..9),
        seed in prop::collection::vec(any::<prop::sample::Index>(), 9),
    ) {
        let keys = ["a", "b", "c"];
        let mut object = json!({"object": "subscription", "status": "active", "a": 0, "b": 0, "c": 0});
        let mut at = 0;
        let mut events = vec![event("evt_created", "customer.subscription.created", 0, object.clone(), None)];
        for (number, (key, value, new_second)) in steps.iter().enumerate() {
            let old = object[keys[*key]].clone();
            if old == json!(value) { continue; }
            at += i64::from(*new_second);
            object[keys[*key]] = json!(value);
            let id = format!("evt_{}", (number * 7) % 10);
            events.push(event(&id, UPDATED, at, object.clone(), Some(json!({keys[*key]: old}))));
        }
        let decision = decide(&events).unwrap();
        if !decision.ambiguous {
            prop_assert_eq!(&events[decision.winner].object, &object);
        }
        let mut shuffled = events.clone();
        for (place, index) in seed.iter().enumerate() {
            let other = index.index(shuffled.len());
            let place = place % shuffled.len();
            shuffled.swap(place, other);
        }
        let again = decide(&shuffled).unwrap();
        prop_assert_eq!(&shuffled[again.winner], &events[decision.winner]);
        prop_assert_eq!(again.ambiguous, decision.ambiguous);
    }
}

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn event(id: &str, event_type: &str, created: i64, object: Value, previous: Option<Value>) -> Candidate {
    Candidate { event_id: id.to_owned(), event_type: event_type.to_owned(), created, object, previous, read: false }
}

fn subscription(status: &str, plan: &str) -> Value {
    json!({"object": "subscription", "id": "sub_1", "status": status, "metadata": {"plan": plan}})
}

fn winner_of(candidates: &[Candidate]) -> (&str, bool) {
    let decision = decide(candidates).unwrap();
    (candidates[decision.winner].event_id.as_str(), decision.ambiguous)
}

/// Every order of arrival must come to the same.
fn check(candidates: &[Candidate], winner: &str, ambiguous: bool) {
    let mut turned = candidates.to_vec();
    for _ in 0..candidates.len() {
        turned.rotate_left(1);
        assert_eq!(winner_of(&turned), (winner, ambiguous));
        let backwards: Vec<Candidate> = turned.iter().rev().cloned().collect();
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

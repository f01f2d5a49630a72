//! Rows of the contract's table that rest on more than the newest event: what was paid for before, when a pause began,
//! why Stripe paused.

use serde_json::{Value, json};
use tilld::base::entitlement::PausedCollection;
use tilld::jobs::at_start::recompute;

use super::entitlement::says;
use crate::dunning::{at, beginning, reasons, wishes};
use crate::harness::{DAY_S, START_S, Setup, Till};
use crate::reads::read_now;
use crate::samples::event;

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";
const PAUSED: &str = "customer.subscription.paused";
const MONTH_S: i64 = 30 * DAY_S;

fn changed(at: i64, set: &[(&str, Value)]) -> Value {
    event(UPDATED, "alice", at, set)
}

fn of_team(at: i64, status: &str) -> Value {
    changed(at, &[("status", json!(status)), ("items.data.0.price.id", json!("price_team"))])
}

fn failed_upgrade(at: i64) -> Vec<Value> {
    let failed = event("invoice.payment_failed", "alice", at, &[("billing_reason", json!("subscription_update"))]);
    vec![event(CREATED, "alice", START_S, &[]), failed, of_team(at, "past_due")]
}

#[test]
fn an_upgrade_gives_its_tier_when_it_is_paid_and_the_one_before_until_then() {
    let mut till = Till::new();
    let at = START_S + DAY_S;
    till.feed(&failed_upgrade(at));
    let answer = till.entitlement("alice");
    says(&answer, true, "pro", "grace_period");
    assert_eq!((&answer["price_id"], &answer["valid_until"]), (&json!("price_pro"), &json!(at + 7 * DAY_S)));
    assert_eq!(till.value("SELECT tier || stripe_price_id FROM subscriptions"), "proprice_pro");
    // As long as nothing is paid the newest good state is that of before, whatever else changes.
    till.feed(&[of_team(at + 60, "unpaid")]);
    says(&till.entitlement("alice"), true, "pro", "grace_period");
    till.feed(&[of_team(at + 120, "active")]);
    let answer = till.entitlement("alice");
    says(&answer, true, "team", "active");
    assert_eq!(answer["price_id"], "price_team");
    assert_eq!(till.value("SELECT good_price_ids FROM stripe_subscriptions"), Value::Null);
}

#[test]
fn a_downgrade_that_is_not_paid_keeps_to_the_lower_tier() {
    let mut till = Till::new();
    till.feed(&[of_team(START_S, "active"), changed(START_S + 60, &[("status", json!("past_due"))])]);
    let answer = till.entitlement("alice");
    says(&answer, true, "pro", "grace_period");
    assert_eq!(answer["price_id"], "price_pro");
}

#[test]
fn of_what_was_paid_for_before_the_first_event_the_present_tier_is_believed() {
    let mut till = Till::new();
    till.feed(&[of_team(START_S, "past_due")]);
    says(&till.entitlement("alice"), true, "team", "grace_period");
    // What comes late counts all the same.
    till.feed(&[event(CREATED, "alice", START_S - 60, &[])]);
    says(&till.entitlement("alice"), true, "pro", "grace_period");
}

#[test]
fn the_last_of_several_paid_states_of_one_second_counts() {
    let first = changed(START_S, &[]);
    let mut second = of_team(START_S, "active");
    second["data"]["previous_attributes"] = json!({"items": first["data"]["object"]["items"]});
    let story = [first, second, of_team(START_S + 60, "past_due")];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut till = Till::new();
        till.feed(&order.map(|place| story[place].clone()));
        says(&till.entitlement("alice"), true, "team", "grace_period");
    }
}

#[test]
fn a_pause_for_want_of_payment_has_the_grace_period_of_past_due() {
    for reason in ["first_payment_failure", "final_payment_failure"] {
        let mut till = Till::new();
        let at = START_S + DAY_S;
        let why = [("status_details.paused.subscription.type", json!(reason))];
        till.feed(&[event(CREATED, "alice", START_S, &[]), event(PAUSED, "alice", at, &why)]);
        let (answer, end) = (till.entitlement("alice"), at + 7 * DAY_S);
        says(&answer, true, "pro", "grace_period");
        assert_eq!((&answer["status"], &answer["grace_period_end"]), (&json!("paused"), &json!(end)));
        till.clock.set(end * 1000);
        says(&till.entitlement("alice"), false, "free", "paused");
    }
    let mut till = Till::new();
    till.feed(&[event(PAUSED, "alice", START_S, &[])]);
    says(&till.entitlement("alice"), false, "free", "paused");
    assert_eq!(till.entitlement("alice")["grace_period_end"], Value::Null);
}

#[test]
fn an_end_within_the_grace_period_ends_it() {
    let mut till = Till::new();
    let end = START_S + 3 * DAY_S;
    till.feed(&[changed(START_S, &[("status", json!("past_due")), ("cancel_at", json!(end))])]);
    let answer = till.entitlement("alice");
    says(&answer, true, "pro", "grace_period");
    assert_eq!((&answer["valid_until"], &answer["grace_period_end"]), (&json!(end), &json!(START_S + 7 * DAY_S)));
    till.clock.set(end * 1000);
    says(&till.entitlement("alice"), false, "free", "canceled");
}

#[test]
fn prices_that_stripe_cut_away_are_not_called_unknown() {
    let item = |n: usize| {
        json!({"id": format!("si_{n}"), "object": "subscription_item", "quantity": 1,
            "price": {"id": format!("price_extra_{n}"), "object": "price"},
            "current_period_start": START_S, "current_period_end": START_S + MONTH_S})
    };
    let items = |has_more: bool| {
        json!({"object": "list", "data": (0..10).map(item).collect::<Vec<_>>(), "has_more": has_more,
            "url": "/v1/subscription_items"})
    };
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[("items", items(true))])]);
    says(&till.entitlement("alice"), false, "free", "partial");
    till.feed(&[changed(START_S + 1, &[("items", items(false))])]);
    says(&till.entitlement("alice"), false, "free", "unknown_price");
}

/// Alice's month begins; in it collection is paused; then two months go by of which nothing is paid.
fn two_voided_months() -> [Value; 4] {
    let of_month = |month: i64| {
        let start = START_S + month * MONTH_S;
        [
            ("items.data.0.current_period_start", json!(start)),
            ("items.data.0.current_period_end", json!(start + MONTH_S)),
        ]
    };
    let paused = |month: i64, at: i64| {
        let set = [&of_month(month)[..], &[("pause_collection.behavior", json!("void"))]].concat();
        changed(at, &set)
    };
    [
        event(CREATED, "alice", START_S, &of_month(0)),
        paused(0, START_S + 10 * DAY_S),
        paused(1, START_S + MONTH_S),
        paused(2, START_S + 2 * MONTH_S),
    ]
}

fn of_pauses(paused_collection: PausedCollection) -> Till {
    Till::with(Setup { paused_collection, notify: wishes(), ..Setup::default() })
}

#[test]
fn a_pause_of_collection_leaves_access_alone_unless_it_is_to_be_paid_for() {
    let mut till = of_pauses(PausedCollection::Keep);
    till.feed(&two_voided_months());
    at(&mut till, START_S + 2 * MONTH_S + DAY_S);
    let answer = till.entitlement("alice");
    says(&answer, true, "pro", "active");
    assert_eq!(answer["valid_until"], Value::Null);
}

#[test]
fn until_paid_ends_access_with_the_period_in_which_the_pause_began_and_gives_it_back_with_the_next() {
    let mut till = of_pauses(PausedCollection::UntilPaid);
    let [created, paused, second, third] = two_voided_months();
    let end = START_S + MONTH_S;
    till.clock.set((START_S + 10 * DAY_S) * 1000);
    till.feed(&[created, paused]);
    let answer = till.entitlement("alice");
    says(&answer, true, "pro", "active");
    assert_eq!(answer["valid_until"], end, "this period is paid");
    at(&mut till, end);
    says(&till.entitlement("alice"), false, "free", "paused");
    till.feed(&[second]);
    says(&till.entitlement("alice"), false, "free", "paused");
    at(&mut till, START_S + 2 * MONTH_S);
    till.feed(&[third]);
    let answer = till.entitlement("alice");
    says(&answer, false, "free", "paused");
    assert_eq!((&answer["status"], &answer["valid_until"]), (&json!("active"), &Value::Null));
    till.feed(&[changed(START_S + 2 * MONTH_S + 60, &[])]);
    says(&till.entitlement("alice"), true, "pro", "active");
    assert_eq!(till.value("SELECT pause_period_end FROM stripe_subscriptions"), Value::Null);
    assert_eq!(reasons(&till), ["no_subscription", "active", "active", "paused", "active"]);
}

#[test]
fn a_second_pause_begins_in_a_period_of_its_own() {
    let mut till = of_pauses(PausedCollection::UntilPaid);
    till.feed(&two_voided_months());
    let end = START_S + 3 * MONTH_S;
    let period = ("items.data.0.current_period_end", json!(end));
    let again = [period.clone(), ("pause_collection.behavior", json!("keep_as_draft"))];
    at(&mut till, end - 9);
    till.feed(&[changed(end - 10, &[period]), changed(end - 9, &again)]);
    assert_eq!(till.entitlement("alice")["valid_until"], end);
}

#[test]
fn of_a_pause_whose_beginning_was_not_heard_the_oldest_state_counts() {
    let mut till = of_pauses(PausedCollection::UntilPaid);
    let [_, first, second, third] = two_voided_months();
    // The first is read, the others are heard.
    read_now(&till, &first["data"]["object"], START_S + 11 * DAY_S);
    till.feed(&[third, second]);
    assert_eq!(till.entitlement("alice")["valid_until"], START_S + MONTH_S);
    at(&mut till, START_S + MONTH_S);
    says(&till.entitlement("alice"), false, "free", "paused");
}

#[test]
fn another_word_on_pauses_counts_at_once_for_everybody() {
    let mut till = of_pauses(PausedCollection::Keep);
    till.feed(&beginning("bob"));
    till.feed(&two_voided_months());
    let now_ms = (START_S + 2 * MONTH_S) * 1000;
    for (word, entitled) in [(PausedCollection::UntilPaid, 0), (PausedCollection::Keep, 1)] {
        till = Till::in_dir(till.close(), Setup { paused_collection: word, ..Setup::default() });
        recompute::if_policy_changed(&till.store, &till.context, now_ms).unwrap();
        assert_eq!(till.value("SELECT entitled FROM subscriptions WHERE user_id = 'alice'"), entitled);
        assert_eq!(till.value("SELECT entitled FROM subscriptions WHERE user_id = 'bob'"), 1);
    }
}

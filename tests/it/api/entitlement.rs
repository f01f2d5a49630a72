//! The contract's table of entitlement, from events to the answer.

use serde_json::{Value, json};
use tilld::app::trigger;
use tilld::base::entitlement::EntitlementPlan;
use tilld::http::request::Method;

use crate::harness::{DAY_S, START_S, Setup, TOKEN, Till, request};
use crate::samples::event;

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";

/// The answer after one subscription event with these values.
fn after(set: &[(&str, Value)]) -> (Till, Value) {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, set)]);
    let answer = till.entitlement("alice");
    (till, answer)
}

pub fn says(answer: &Value, entitled: bool, tier: &str, reason: &str) {
    let expected = (&json!(entitled), &json!(tier), &json!(reason));
    assert_eq!((&answer["entitled"], &answer["tier"], &answer["reason"]), expected, "{answer}");
}

#[test]
fn the_answer_has_every_field_in_the_contracts_order() {
    let (till, _) = after(&[]);
    let headers = vec![("Authorization".to_owned(), format!("Bearer {TOKEN}"))];
    let call = request(Method::Get, "/api/v1/users/alice/entitlement", headers, b"");
    let text = String::from_utf8(tilld::http::private::answer(&till.api, &call).body).unwrap();
    let subscription = trigger::ids("alice").subscription;
    let expected = format!(
        "{{\"user_id\":\"alice\",\"entitled\":true,\"tier\":\"pro\",\"reason\":\"active\",\"status\":\"active\",\
         \"subscription_id\":\"{subscription}\",\"price_id\":\"price_pro\",\"valid_until\":null,\
         \"grace_period_end\":null,\"ends_at\":null,\"as_of\":{START_S},\"stale\":false}}"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_user_without_a_subscription_is_free() {
    let till = Till::new();
    till.call(Method::Put, "/api/v1/users/zoe", &json!({}));
    let answer = till.entitlement("zoe");
    says(&answer, false, "free", "no_subscription");
    for field in ["status", "subscription_id", "price_id", "valid_until", "grace_period_end", "ends_at", "as_of"] {
        assert_eq!(answer.get(field), Some(&Value::Null), "{field}");
    }
    assert_eq!(answer["stale"], false);
}

#[test]
fn active_and_trialing_entitle_also_with_collection_paused() {
    says(&after(&[]).1, true, "pro", "active");
    says(&after(&[("status", json!("trialing")), ("trial_end", json!(START_S + DAY_S))]).1, true, "pro", "trialing");
    let paused = json!({"behavior": "keep_as_draft", "resumes_at": null});
    says(&after(&[("pause_collection", paused)]).1, true, "pro", "active");
}

#[test]
fn an_end_ahead_entitles_until_it_and_not_a_second_longer() {
    let end = START_S + DAY_S;
    let by_flag = [("cancel_at_period_end", json!(true)), ("items.data.0.current_period_end", json!(end))];
    for set in [&[("cancel_at", json!(end))][..], &by_flag] {
        let (till, answer) = after(set);
        says(&answer, true, "pro", "ending");
        assert_eq!((&answer["valid_until"], &answer["ends_at"]), (&json!(end), &json!(end)));
        till.clock.set(end * 1000 - 1);
        says(&till.entitlement("alice"), true, "pro", "ending");
        till.clock.set(end * 1000);
        let answer = till.entitlement("alice");
        says(&answer, false, "free", "canceled");
        assert_eq!((&answer["valid_until"], &answer["status"]), (&Value::Null, &json!("active")));
    }
}

#[test]
fn past_due_and_unpaid_entitle_within_the_grace_period_only() {
    for status in ["past_due", "unpaid"] {
        let (till, answer) = after(&[("status", json!(status))]);
        let end = START_S + 7 * DAY_S;
        says(&answer, true, "pro", "grace_period");
        assert_eq!((&answer["valid_until"], &answer["grace_period_end"]), (&json!(end), &json!(end)));
        till.clock.set(end * 1000);
        let answer = till.entitlement("alice");
        says(&answer, false, "free", status);
        assert_eq!((&answer["valid_until"], &answer["grace_period_end"]), (&Value::Null, &json!(end)));
    }
}

#[test]
fn grace_starts_with_the_first_failed_payment_and_is_not_extended() {
    let mut till = Till::new();
    let failed = START_S + DAY_S;
    till.feed(&[
        event(CREATED, "alice", START_S, &[]),
        event("invoice.payment_failed", "alice", failed, &[]),
        event(UPDATED, "alice", failed + 60, &[("status", json!("past_due"))]),
        event("invoice.payment_failed", "alice", failed + 3 * DAY_S, &[("attempt_count", json!(2))]),
        event(UPDATED, "alice", failed + 5 * DAY_S, &[("status", json!("unpaid"))]),
    ]);
    assert_eq!(till.entitlement("alice")["grace_period_end"], failed + 7 * DAY_S);
    till.feed(&[event(UPDATED, "alice", failed + 6 * DAY_S, &[])]);
    says(&till.entitlement("alice"), true, "pro", "active");
    let again = failed + 30 * DAY_S;
    till.feed(&[event(UPDATED, "alice", again, &[("status", json!("past_due"))])]);
    assert_eq!(till.entitlement("alice")["grace_period_end"], again + 7 * DAY_S, "a new trouble has its own grace");
}

#[test]
fn what_is_not_paid_for_does_not_entitle() {
    for (status, reason) in [
        ("incomplete", "incomplete"),
        ("incomplete_expired", "incomplete"),
        ("paused", "paused"),
        ("canceled", "canceled"),
        ("a_status_of_2031", "unknown_status"),
    ] {
        let (_, answer) = after(&[("status", json!(status))]);
        says(&answer, false, "free", reason);
        assert_eq!((&answer["status"], &answer["valid_until"]), (&json!(status), &Value::Null));
    }
    let (mut till, _) = after(&[]);
    till.feed(&[event("customer.subscription.deleted", "alice", START_S + 1, &[])]);
    says(&till.entitlement("alice"), false, "free", "canceled");
}

#[test]
fn a_price_of_no_plan_does_not_entitle_and_without_plans_every_price_does() {
    let set = [("items.data.0.price.id", json!("price_other"))];
    let (_, answer) = after(&set);
    says(&answer, false, "free", "unknown_price");
    assert_eq!(answer["price_id"], "price_other");
    let mut till = Till::with(Setup { plans: Vec::<EntitlementPlan>::new(), ..Setup::default() });
    till.feed(&[event(CREATED, "alice", START_S, &set)]);
    says(&till.entitlement("alice"), true, "default", "active");
}

#[test]
fn an_answer_that_should_have_been_renewed_is_kept_and_called_stale() {
    let (mut till, _) = after(&[]);
    let end = START_S + 30 * DAY_S;
    till.clock.set((end + 3600) * 1000);
    assert_eq!(till.entitlement("alice")["stale"], false);
    till.clock.set((end + 3601) * 1000);
    let answer = till.entitlement("alice");
    says(&answer, true, "pro", "active");
    assert_eq!((&answer["stale"], &answer["as_of"]), (&json!(true), &json!(START_S)));
    till.feed(&[event(UPDATED, "alice", end, &[])]);
    assert_eq!(till.entitlement("alice")["stale"], false);
}

#[test]
fn the_entitled_subscription_of_the_highest_tier_counts_else_the_newest() {
    let mut till = Till::new();
    let owner = json!(trigger::ids("alice").customer);
    let of_alice = |price: &str, status: &str| {
        [
            ("customer", owner.clone()),
            ("metadata.user_id", json!("alice")),
            ("items.data.0.price.id", json!(price)),
            ("status", json!(status)),
        ]
    };
    till.feed(&[
        event(CREATED, "one", START_S, &of_alice("price_team", "active")),
        event(CREATED, "two", START_S + 1, &of_alice("price_pro", "active")),
        event(CREATED, "three", START_S + 2, &of_alice("price_team", "incomplete")),
    ]);
    let answer = till.entitlement("alice");
    says(&answer, true, "team", "active");
    assert_eq!(answer["subscription_id"], trigger::ids("one").subscription);
    till.feed(&[
        event("customer.subscription.deleted", "one", START_S + 9, &of_alice("price_team", "canceled")),
        event("customer.subscription.deleted", "two", START_S + 9, &of_alice("price_pro", "canceled")),
    ]);
    let answer = till.entitlement("alice");
    says(&answer, false, "free", "incomplete");
    assert_eq!(answer["subscription_id"], trigger::ids("three").subscription);
    assert_eq!(till.value("SELECT stripe_subscription_id FROM subscriptions"), answer["subscription_id"]);
}

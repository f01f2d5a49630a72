#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

fn done(kind: OperationKind, subject: &Value) -> bool {
    kind.was_done(subject, &OperationParameters::default())
}

fn price(id: &str) -> OperationParameters {
    OperationParameters::of_price(id)
}

#[test]
fn every_kind_is_found_by_its_word_and_by_no_other() {
    for kind in OperationKind::ALL {
        assert_eq!(OperationKind::parse(kind.word()), Some(*kind));
    }
    assert_eq!(OperationKind::parse("customer.delete"), None);
}

#[test]
fn what_is_posted_goes_under_a_key_and_its_path_can_be_called() {
    for kind in OperationKind::ALL.iter().filter(|kind| **kind != OperationKind::CheckoutSessionAgain) {
        let row = kind.row();
        assert_eq!(row.repeat == KeyRepeat::UnderKey, row.verb == Verb::Post, "{}", row.word);
        for path in [Some(kind.path(Some("x_1"))), kind.subject_path(Some("x_1"))].into_iter().flatten() {
            let call = crate::stripe::call::Call {
                verb: Verb::Get,
                path: &path,
                form: "",
                idempotency_key: None,
                priority: crate::stripe::call::Priority::Interactive,
                context: None,
            };
            assert_eq!(call.check(), Ok(()), "{path}");
        }
        assert_eq!(row.mirrored, !matches!(row.without_key, WithoutKey::NotDone), "{}", row.word);
    }
}

#[test]
fn an_id_in_a_path_stays_one_segment() {
    let path = OperationKind::PaymentIntentCancel.path(Some("pi/1?x"));
    assert_eq!(path, "/v1/payment_intents/pi%2F1%3Fx/cancel");
    let read = OperationKind::PaymentIntentCancel.subject_path(Some("pi/1?x"));
    assert_eq!(read.as_deref(), Some("/v1/payment_intents/pi%2F1%3Fx"));
}

#[test]
fn only_what_changes_a_subscription_s_own_values_is_an_update() {
    let updates: Vec<_> = OperationKind::ALL.iter().filter(|kind| kind.is_update()).map(|kind| kind.word()).collect();
    let expected = [
        "subscription.change_plan",
        "subscription.cancel_at_period_end",
        "subscription.reactivate",
        "subscription.resume_collection",
    ];
    assert_eq!(updates, expected);
}

#[test]
fn parameters_of_a_newer_program_are_not_understood_in_part() {
    let read = |text: &str| serde_json::from_str::<OperationParameters>(text).ok();
    assert_eq!(read(r#"{"price_id":"price_1"}"#), Some(price("price_1")));
    assert_eq!(read("{}"), Some(OperationParameters::default()));
    assert_eq!(read(r#"{"price_id":"price_1","quorum":3}"#), None);
    assert_eq!(serde_json::to_string(&OperationParameters::default()).unwrap(), "{}");
}

#[test]
fn an_answer_that_shows_something_else_is_none() {
    assert!(OperationKind::RefundCreate.is_shown_by(&json!({"object": "refund", "id": "re_1"})));
    for other in [json!({}), json!({"object": "refund", "id": ""}), json!({"object": "charge", "id": "ch_1"})] {
        assert!(!OperationKind::RefundCreate.is_shown_by(&other), "{other}");
    }
    assert!(OperationKind::SubscriptionPreview.is_shown_by(&json!({"object": "invoice"})));
}

#[test]
fn a_subject_shows_whether_it_was_done() {
    let live = json!({"status": "active", "cancel_at_period_end": false, "cancel_at": null,
        "items": {"data": [{"price": {"id": "price_team"}}]}});
    let ending = json!({"status": "active", "cancel_at_period_end": true, "cancel_at": 7, "items": {"data": []}});
    assert!(!done(OperationKind::SubscriptionCancel, &live));
    assert!(done(OperationKind::SubscriptionCancel, &json!({"status": "canceled"})));
    assert!(done(OperationKind::SubscriptionCancelAtPeriodEnd, &ending));
    assert!(!done(OperationKind::SubscriptionReactivate, &ending));
    assert!(done(OperationKind::SubscriptionReactivate, &live));
    let change = OperationKind::SubscriptionChangePlan;
    assert!(change.was_done(&live, &price("price_team")));
    assert!(!change.was_done(&live, &price("price_pro")));
    assert!(!done(change, &live), "what was wanted is not known");
    let pending = json!({"status": "active", "items": {"data": [{"price": {"id": "price_pro"}}]},
        "pending_update": {"subscription_items": [{"price": {"id": "price_team"}}]}});
    assert!(change.was_done(&pending, &price("price_team")));
    assert!(!change.was_done(&pending, &price("price_year")));
    assert!(done(OperationKind::PaymentIntentConfirm, &json!({"status": "succeeded"})));
    assert!(!done(OperationKind::PaymentIntentConfirm, &json!({"status": "requires_payment_method"})));
}

#[test]
fn a_resumed_subscription_runs_and_an_expired_session_is_expired() {
    let of = |status: &str, collecting: Value| json!({"status": status, "pause_collection": collecting});
    let void = || json!({"behavior": "void", "resumes_at": null});
    let resume = OperationKind::SubscriptionResume;
    assert!(done(resume, &of("active", Value::Null)));
    assert!(done(resume, &of("past_due", void())));
    assert!(!done(resume, &of("paused", Value::Null)));
    assert!(!done(resume, &of("canceled", Value::Null)));
    let collect = OperationKind::SubscriptionResumeCollection;
    assert!(done(collect, &of("active", Value::Null)));
    assert!(!done(collect, &of("active", void())));
    assert!(!done(collect, &of("canceled", Value::Null)));
    assert!(done(OperationKind::CheckoutSessionExpire, &json!({"status": "expired"})));
    for status in ["open", "complete"] {
        assert!(!done(OperationKind::CheckoutSessionExpire, &json!({"status": status})));
    }
}

//! Each cause moves its counter by exactly one, and no other.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tilld::jobs::lane::{DeliveryLane, LaneKind};
use tilld::jobs::operator::{self, Operator};
use tilld::notify::attempt::DeliveryOutcome;
use tilld::stripe::call::{Call, Priority, Verb};
use tilld::stripe::client::Client;
use tilld::stripe::settings::{ApiKey, StripeSettings};
use tilld::stripe::signature;

use super::{changes, moved_by};
use crate::delivery::{Stepper, put};
use crate::fake_stripe::FakeStripe;
use crate::harness::{PATH, SECRET, START_S, Setup, Till, request};
use crate::samples::{event, raw};

const CREATED: &str = "customer.subscription.created";

/// What moved when this request came, besides the time that it took.
fn hook(till: &mut Till, path: &str, signed: Option<&str>, body: &str) -> BTreeMap<String, f64> {
    let headers: Vec<(String, String)> =
        signed.map(|signed| ("Stripe-Signature".to_owned(), signed.to_owned())).into_iter().collect();
    let mut moved = moved_by(till, |till| {
        till.hook(&request(tilld::http::request::Method::Post, path, headers, body.as_bytes()));
    });
    if !moved.is_empty() {
        assert_eq!(moved.remove("webhook_duration_seconds_count"), Some(1.0), "{moved:?}");
    }
    moved
}

fn sign(till: &Till, seconds: i64, body: &str) -> String {
    signature::sign(SECRET, tilld::base::clock::Clock::now_s(&*till.clock) + seconds, body.as_bytes())
}

#[test]
fn every_outcome_of_a_webhook_is_counted_once() {
    let mut till = Till::new();
    let body = event(CREATED, "alice", START_S, &[]).to_string();
    let signed = sign(&till, 0, &body);
    let mut got = hook(&mut till, PATH, Some(&signed), &body);
    assert_eq!(got.remove("events_pending"), Some(1.0));
    assert_eq!(got, changes(&[("webhooks_received_total{outcome=\"accepted\"}", 1.0)]));
    till.settle();
    let conflicting = body.replace("customer.subscription.created", "customer.subscription.updated");
    let cases = [
        ("duplicate", Some(sign(&till, 0, &body)), body.as_str()),
        ("conflicting", Some(sign(&till, 0, &conflicting)), conflicting.as_str()),
        ("signature_missing", None, "{}"),
        ("signature_malformed", Some("nonsense".to_owned()), "{}"),
        ("signature_stale", Some(sign(&till, -1000, "{}")), "{}"),
        ("signature_future", Some(sign(&till, 1000, "{}")), "{}"),
        ("signature_mismatch", Some(sign(&till, 0, "other")), "{}"),
        ("invalid_payload", Some(sign(&till, 0, "no JSON")), "no JSON"),
    ];
    for (outcome, signed, body) in cases {
        let got = hook(&mut till, PATH, signed.as_deref(), body);
        assert_eq!(got, changes(&[(&format!("webhooks_received_total{{outcome=\"{outcome}\"}}"), 1.0)]));
    }
    let elsewhere = hook(&mut till, "/elsewhere", Some(&signed), &body);
    assert_eq!(elsewhere, changes(&[("webhooks_received_total{outcome=\"unknown_path\"}", 1.0)]));
    assert_eq!(hook(&mut till, "/elsewhere", None, "scan"), changes(&[]), "whoever scans the host is no webhook");
}

#[test]
fn an_attempt_at_an_event_is_counted_by_type_and_outcome_and_a_replay_has_no_lag() {
    let mut till = Till::new();
    let processed =
        |kind: &str, outcome: &str| format!("events_processed_total{{outcome=\"{outcome}\",type=\"{kind}\"}}");
    let created = event(CREATED, "alice", START_S, &[]);
    till.post(&created);
    let got = moved_by(&mut till, Till::settle);
    let expected = [
        (&*processed(CREATED, "processed"), 1.0),
        ("event_lag_seconds_count", 1.0),
        ("events_pending", -1.0),
        ("entitled_users{reason=\"active\",tier=\"pro\"}", 1.0),
    ];
    assert_eq!(got, changes(&expected));

    let id = created["id"].as_str().unwrap().to_owned();
    let replayed = moved_by(&mut till, |till| {
        let by = Operator { actor: "cli", now_ms: START_S * 1000 };
        assert!(till.store.write(move |tx| operator::replay(tx, &id, by)).unwrap());
        till.settle();
    });
    assert_eq!(replayed, changes(&[(&processed(CREATED, "processed"), 1.0)]));

    // Types of what is mirrored and no more have no series of their own.
    for (kind, outcome) in [("product.created", "mirrored"), ("invoice.upcoming", "ignored")] {
        till.post(&raw(&format!("evt_{outcome}"), kind, START_S, json!({"id": "prod_1", "object": "product"})));
        let got = moved_by(&mut till, Till::settle);
        let expected =
            [(&*processed("other", outcome), 1.0), ("event_lag_seconds_count", 1.0), ("events_pending", -1.0)];
        assert_eq!(got, changes(&expected), "{kind}");
    }

    till.post(&event("customer.subscription.updated", "bob", START_S, &[("status", json!(7))]));
    let dead = moved_by(&mut till, Till::settle);
    let expected =
        [(&*processed("customer.subscription.updated", "dead"), 1.0), ("dead_letters", 1.0), ("events_pending", -1.0)];
    assert_eq!(dead, changes(&expected));
}

#[test]
fn a_failure_that_is_tried_again_is_counted_as_such_and_waits() {
    let failing: tilld::jobs::worker::WorkerProject =
        |_, _, _, _| Err(tilld::objects::ProjectionError::Panicked("by the test".to_owned()));
    let mut till = Till::with(Setup { project: Some(failing), ..Setup::default() });
    till.post(&event("customer.created", "alice", START_S, &[]));
    let got = moved_by(&mut till, Till::settle);
    let failed = "events_processed_total{outcome=\"retried\",type=\"customer.created\"}";
    assert_eq!(got, changes(&[(failed, 1.0), ("retries_pending", 1.0), ("events_pending", -1.0)]));
}

#[test]
fn what_events_say_of_a_payment_is_counted_by_what_it_came_to() {
    let mut till = Till::new();
    for (kind, status) in [("succeeded", "succeeded"), ("payment_failed", "failed"), ("canceled", "canceled")] {
        till.post(&event(&format!("payment_intent.{kind}"), status, START_S, &[]));
        let got = moved_by(&mut till, Till::settle);
        let payments: Vec<_> = got.iter().filter(|(name, _)| name.starts_with("payment_intents_total")).collect();
        assert_eq!(payments, [(&format!("payment_intents_total{{status=\"{status}\"}}"), &1.0)]);
    }
    till.post(&event("payment_intent.created", "dora", START_S, &[]));
    let got = moved_by(&mut till, Till::settle);
    assert!(!got.keys().any(|name| name.starts_with("payment_intents_total")), "{got:?}");
}

#[test]
fn an_entitlement_is_timed_also_where_the_user_is_unknown() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[])]);
    for user in ["alice", "nobody"] {
        let got = moved_by(&mut till, |till| drop(till.get(&format!("/api/v1/users/{user}/entitlement"))));
        assert_eq!(got, changes(&[("entitlement_duration_seconds_count", 1.0)]));
    }
}

#[test]
fn an_attempt_at_a_row_of_the_outbox_is_counted_by_kind_and_outcome() {
    const URL: &str = "https://app.example/hook";
    let mut till = Till::new();
    let attempt =
        Box::new(|effect: &tilld::store::outbox::OutboxEffect, _| match effect.payload.split("\"n\":").nth(1) {
            Some("1}") => DeliveryOutcome::Done(None),
            Some("2}") => DeliveryOutcome::Skipped("by the test".to_owned()),
            Some("3}") => DeliveryOutcome::TryAgain { why: "by the test".to_owned(), after_s: None },
            _ => DeliveryOutcome::Refused("by the test".to_owned()),
        });
    let books = LaneKind::Endpoint(crate::delivery::endpoint(URL));
    let mut lane = Stepper::over(&till, DeliveryLane::new(till.store.clone(), URL, books, attempt));
    for (number, outcome, waits) in
        [(1, "delivered", 0.0), (2, "skipped", 0.0), (3, "failed", 1.0), (4, "given_up", 0.0)]
    {
        let got = moved_by(&mut till, |till| {
            put(&till.store, URL, None, number);
            lane.settle();
        });
        let counted = format!("outbox_deliveries_total{{kind=\"webhook\",outcome=\"{outcome}\"}}");
        let mut expected = changes(&[(&counted, 1.0)]);
        if waits > 0.0 {
            expected.insert("outbox_pending{kind=\"webhook\"}".to_owned(), waits);
        }
        assert_eq!(got, expected);
    }
}

#[test]
fn a_call_to_stripe_is_counted_by_operation_and_outcome_with_its_time() {
    let (mut till, fake) = (Till::new(), FakeStripe::start());
    let customer = fake.add_customer("alice@example.com", "pm_card_visa");
    let client = |url: &str| {
        let settings = StripeSettings::new(ApiKey::new(fake.key()), url, "2026-09-30.endive");
        let hasty = StripeSettings { max_attempts: 1, backoff_base: Duration::ZERO, ..settings };
        Client::new(hasty).unwrap().counted_by(till.store.metrics().clone())
    };
    let (there, nowhere) = (client(&fake.url()), client("http://127.0.0.1:1"));
    let get = |path| Call {
        verb: Verb::Get,
        path,
        form: "",
        idempotency_key: None,
        priority: Priority::Interactive,
        context: None,
    };
    let known = format!("/v1/customers/{customer}");
    let cases = [
        (&there, known.as_str(), "done"),
        (&there, "/v1/customers/cus_none", "refused"),
        (&nowhere, "/v1/x", "unreached"),
    ];
    for (client, path, outcome) in cases {
        let got = moved_by(&mut till, |_| drop(client.call(&get(path))));
        let counted = format!("stripe_calls_total{{operation=\"read\",outcome=\"{outcome}\"}}");
        assert_eq!(got, changes(&[(&counted, 1.0), ("stripe_call_duration_seconds_count", 1.0)]));
    }
}

//! The main job: a signed webhook becomes a durable row, a true copy, and an entitlement.

use serde_json::{Value, json};
use tilld::app::trigger::{self, ApiVersion, Spec};

use crate::harness::{START_S, Till};
use crate::live::Live;

pub fn sample(event_type: &str, user: &str, nonce: &str) -> Value {
    let spec = Spec {
        event_type,
        version: ApiVersion::CURRENT,
        user: Some(user),
        price_id: "price_pro",
        now_s: START_S,
        nonce,
        set: &[],
    };
    trigger::event(&spec).unwrap()
}

#[test]
fn a_signed_webhook_becomes_an_entitlement() {
    let mut till = Till::new();
    let event = sample("customer.subscription.created", "alice", "1");
    assert_eq!(till.post(&event), (200, json!({"received": true})));
    assert_eq!(till.post(&event), (200, json!({"received": true, "duplicate": true})));
    till.settle();
    let answer = till.entitlement("alice");
    assert_eq!(
        (&answer["entitled"], &answer["tier"], &answer["reason"]),
        (&json!(true), &json!("pro"), &json!("active"))
    );
    assert_eq!(till.value("SELECT data FROM stripe_webhooks_log"), json!(event.to_string()));
    assert_eq!(till.value("SELECT json_extract(data, '$.data.object.status') FROM stripe_webhooks_log"), "active");
    till.feed(&[sample("customer.subscription.deleted", "alice", "2")]);
    assert_eq!(till.entitlement("alice")["reason"], "canceled");
}

#[test]
fn the_real_binary_serves_the_main_job_and_stops_with_status_0() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    let event = sample("customer.subscription.created", "alice", "1").to_string();
    assert_eq!(live.post(event.as_bytes()).unwrap().status, 200);
    live.settle();
    let (status, answer) = live.get("/api/v1/users/alice/entitlement");
    assert_eq!((status, &answer["entitled"]), (200, &json!(true)), "{answer}");
    assert_eq!(live.get("/readyz").0, 200);
    assert_eq!(live.terminate(), Some(0));
}

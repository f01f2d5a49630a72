//! What operators see and do: the log, retries, dead letters.

use serde_json::{Value, json};
use tilld::base::retry::RetryPolicy;
use tilld::http::request::Method;
use tilld::notify::NotifyContext;
use tilld::objects::{ProjectedEvent, ProjectionError};
use tilld::store::Tx;
use tilld::store::inbox::EventCompletion;

use super::{bad_parameter, fault, ids, paged};
use crate::harness::{START_S, Setup, Till};
use crate::samples::{event, raw};

/// An event that no projection can read: it goes to the dead letters at once.
pub(super) fn unreadable(id: &str, created: i64) -> Value {
    raw(id, "customer.subscription.updated", created, json!({"object": "subscription", "id": "sub_x", "status": 7}))
}

fn failing(_: &Tx, _: &ProjectedEvent, _: &NotifyContext, _: i64) -> Result<EventCompletion, ProjectionError> {
    Err(ProjectionError::Panicked("as the test wants it".to_owned()))
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

fn post(till: &Till, path: &str, body: Value) -> (u16, Value) {
    till.call(Method::Post, &format!("/api/v1/admin/{path}"), &body)
}

const EVENTS: &str = "/api/v1/admin/events";
const DLQ: &str = "/api/v1/admin/webhooks/dlq";

#[test]
fn the_log_is_listed_newest_first_by_type_by_state_and_in_pages() {
    let mut till = Till::new();
    let first = event("customer.created", "alice", START_S, &[]);
    let second = event("customer.created", "bob", START_S, &[]);
    let ignored = event("invoice.upcoming", "alice", START_S, &[]);
    till.feed(&[first.clone(), second.clone(), ignored.clone()]);
    let waiting = event("customer.updated", "alice", START_S + 1, &[]);
    till.clock.advance(2_000);
    till.post(&waiting);
    let [first, second, ignored, waiting] = [first, second, ignored, waiting].map(|event| id_of(&event));
    let all = [&waiting, &ignored, &second, &first];
    assert_eq!(paged(&till, &format!("{EVENTS}?")), all.map(String::as_str));
    let listed = |query: &str| ids(&till.get(&format!("{EVENTS}?{query}")).1);
    assert_eq!(listed("type=customer.created"), [second.as_str(), &first]);
    assert_eq!(listed("status=pending"), [waiting.as_str()]);
    assert_eq!(listed("status=ignored"), [ignored]);
    assert_eq!(listed("status=processed&type=customer.created&limit=1"), [second.as_str()]);
    assert_eq!(listed(&format!("status=processed&starting_after={second}")), [first]);
    assert_eq!(listed("type=no.such"), [""; 0]);
    assert_eq!(fault(till.get(&format!("{EVENTS}?status=done"))), bad_parameter("status"));
}

#[test]
fn an_event_is_shown_with_every_field_and_its_payload() {
    let mut till = Till::new();
    let mut connected = event("customer.created", "alice", START_S - 9, &[]);
    connected["account"] = json!("acct_1");
    till.feed(std::slice::from_ref(&connected));
    let id = id_of(&connected);
    let mut shown = json!({"id": id, "type": "customer.created", "created": START_S - 9, "received": START_S,
        "livemode": false, "account": "acct_1", "api_version": "2026-09-30.endive", "source": "webhook", "status": "ignored",
        "attempts": 1, "error": null});
    assert_eq!(till.get(EVENTS).1["data"], json!([shown]));
    shown["payload"] = connected;
    assert_eq!(till.get(&format!("{EVENTS}/{id}")), (200, shown));
    let unknown = (404, "event_not_found".to_owned(), Some("event_id".to_owned()));
    assert_eq!(fault(till.get(&format!("{EVENTS}/evt_none"))), unknown);
    assert_eq!(fault(post(&till, "events/evt_none/replay", Value::Null)), unknown);
}

#[test]
fn a_replay_projects_again_and_changes_nothing_that_was_right() {
    let mut till = Till::new();
    let event = event("customer.subscription.created", "alice", START_S, &[]);
    till.feed(std::slice::from_ref(&event));
    let (before, id) = (till.entitlement("alice"), id_of(&event));
    let (status, shown) = post(&till, &format!("events/{id}/replay"), Value::Null);
    assert_eq!((status, &shown["status"], &shown["attempts"]), (200, &json!("pending"), &json!(0)));
    assert_eq!(till.bell.try_iter().count(), 1, "the worker is rung");
    till.settle();
    assert_eq!(till.get(&format!("{EVENTS}/{id}")).1["status"], "processed");
    assert_eq!(till.entitlement("alice"), before);
    let noted = "SELECT actor || ' ' || subject FROM audit_log WHERE action = 'event.replay'";
    assert_eq!(till.value(noted), format!("api {id}"));
    assert_eq!(till.value("SELECT count(*) FROM subscription_events"), json!(1));
}

#[test]
fn retries_are_listed_by_due_time_and_end_as_dead_letters() {
    let retry = RetryPolicy { max_attempts: 2, base_delay_s: 30, max_delay_s: 3600 };
    let mut till = Till::with(Setup { project: Some(failing), retry, ..Setup::default() });
    let one = event("customer.created", "alice", START_S, &[]);
    till.feed(std::slice::from_ref(&one));
    let (_, list) = till.get("/api/v1/admin/webhooks/retries");
    let row = &list["data"][0];
    let (id, due) = (id_of(&one), row["next_retry_at"].as_i64().unwrap());
    assert_eq!((&row["id"], &row["type"]), (&json!(id), &json!("customer.created")));
    assert_eq!((&row["retry_count"], &row["max_retries"], &row["created"]), (&json!(1), &json!(2), &json!(START_S)));
    assert!(due > START_S && row["last_error"].as_str().unwrap().contains("as the test wants it"), "{row}");
    assert_eq!(till.tickets.try_recv().unwrap().due_ms.div_euclid(1000), due, "the retry thread is told");
    assert_eq!(ids(&till.get(&format!("{EVENTS}?status=retrying")).1), [id.as_str()]);
    till.clock.set(due * 1000 + 1000);
    assert_eq!(till.retrier.step(due * 1000 + 1000).unwrap(), 1);
    till.settle();
    assert_eq!(till.get("/api/v1/admin/webhooks/retries").1["data"], json!([]));
    assert_eq!(ids(&till.get(&format!("{EVENTS}?status=dead")).1), [id.as_str()]);
    let letter = till.get(&format!("{DLQ}/{id}")).1;
    assert_eq!((&letter["retry_count"], letter["attempts"].as_array().unwrap().len()), (&json!(2), 2));
}

#[test]
fn a_dead_letter_is_shown_with_its_attempts_and_payload() {
    let mut till = Till::new();
    let bad = unreadable("evt_bad", START_S - 5);
    till.feed(std::slice::from_ref(&bad));
    let (_, list) = till.get(DLQ);
    let mut letter = json!({"id": "evt_bad", "type": "customer.subscription.updated", "retry_count": 1,
        "received": START_S, "created": START_S, "error": list["data"][0]["error"]});
    assert!(letter["error"].as_str().unwrap().contains("customer"), "{letter}");
    assert_eq!(list, json!({"object": "list", "data": [letter], "has_more": false}));
    letter["attempts"] = json!([{"attempt": 1, "at": START_S, "error": letter["error"]}]);
    letter["payload"] = bad;
    assert_eq!(till.get(&format!("{DLQ}/evt_bad")), (200, letter));
    let unknown = (404, "dead_letter_not_found".to_owned(), Some("event_id".to_owned()));
    assert_eq!(fault(till.get(&format!("{DLQ}/evt_none"))), unknown);
    assert_eq!(fault(till.call(Method::Delete, &format!("{DLQ}/evt_none"), &Value::Null)), unknown);
    assert_eq!(fault(post(&till, "webhooks/dlq/evt_none/replay", Value::Null)), unknown);
}

#[test]
fn a_dead_letter_whose_cause_is_gone_is_replayed_for_good() {
    let retry = RetryPolicy { max_attempts: 1, base_delay_s: 30, max_delay_s: 3600 };
    let mut till = Till::with(Setup { project: Some(failing), retry, ..Setup::default() });
    let one = event("customer.subscription.created", "alice", START_S, &[]);
    till.feed(std::slice::from_ref(&one));
    let mut till = Till::in_dir(till.close(), Setup::default());
    let (status, shown) = post(&till, &format!("webhooks/dlq/{}/replay", id_of(&one)), Value::Null);
    assert_eq!((status, &shown["status"]), (200, &json!("pending")));
    till.settle();
    assert_eq!(till.entitlement("alice")["entitled"], true);
    assert_eq!(till.get(DLQ).1["data"], json!([]));
}

#[test]
fn many_dead_letters_are_replayed_by_type_and_up_to_a_limit() {
    let mut till = Till::new();
    let other = raw("evt_3", "charge.succeeded", START_S, json!({"object": "charge", "id": "ch_1"}));
    till.feed(&[unreadable("evt_1", START_S), unreadable("evt_2", START_S), other]);
    assert_eq!(paged(&till, &format!("{DLQ}?")), ["evt_3", "evt_2", "evt_1"]);
    assert_eq!(ids(&till.get(&format!("{DLQ}?type=charge.succeeded")).1), ["evt_3"]);
    let replay = |body: Value| post(&till, "webhooks/dlq/replay", body);
    assert_eq!(fault(replay(json!({"limit": 0}))), bad_parameter("limit"));
    assert_eq!(fault(replay(json!({"limit": "1"}))), bad_parameter("limit"));
    assert_eq!(fault(replay(json!({"type": 1}))), bad_parameter("type"));
    let by_type = replay(json!({"type": "charge.succeeded"}));
    assert_eq!(by_type, (200, json!({"replayed": 1, "event_ids": ["evt_3"]})));
    assert_eq!(replay(json!({"limit": 1})).1["replayed"], 1);
    assert_eq!(replay(Value::Null).1["replayed"], 1);
    assert_eq!(replay(json!({})), (200, json!({"replayed": 0, "event_ids": []})));
    assert_eq!(till.value("SELECT count(*) FROM stripe_webhooks_log WHERE status = 'pending'"), json!(3));
    till.settle();
    assert_eq!(till.get(DLQ).1["data"].as_array().unwrap().len(), 3, "they still cannot be read");
}

#[test]
fn a_discarded_dead_letter_leaves_its_reason_in_the_audit_log() {
    let mut till = Till::new();
    till.feed(&[unreadable("evt_bad", START_S)]);
    let path = format!("{DLQ}/evt_bad");
    assert_eq!(fault(till.call(Method::Delete, &path, &json!({"reason": 7}))), bad_parameter("reason"));
    let discarded = till.call(Method::Delete, &path, &json!({"reason": "sent by a test"}));
    assert_eq!(discarded, (200, json!({"id": "evt_bad", "discarded": true})));
    assert_eq!(till.get(&path).0, 404);
    assert_eq!(till.get(&format!("{EVENTS}/evt_bad")).1["status"], "ignored");
    let noted = "SELECT actor || ' ' || subject || ' ' || json_extract(detail, '$.reason') FROM audit_log";
    assert_eq!(till.value(noted), "api evt_bad sent by a test");
    till.settle();
    assert_eq!(till.get(DLQ).1["data"], json!([]), "it stays discarded");
}

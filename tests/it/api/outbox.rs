//! What operators see and do of the outbox and of the calls to Stripe.

use serde_json::{Value, json};
use tilld::http::request::Method;

use super::{bad_parameter, fault, ids, paged};
use crate::harness::{START_S, Till};

const OUTBOX: &str = "/api/v1/admin/outbox";
const OPERATIONS: &str = "/api/v1/admin/operations";
const APP: &str = "https://app.example.com/hook";

fn row(till: &Till, kind: &str, target: Option<&str>, status: &str) -> String {
    let finished = (!["pending", "claimed"].contains(&status)).then_some(START_S * 1000);
    let connection = till.connection();
    let key = format!(
        "{kind}:{}",
        connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get::<_, i64>(0)).unwrap()
    );
    let sql = "INSERT INTO outbox (kind, dedupe_key, user_id, payload, status, attempts, next_attempt_at_ms, created_at_ms,
        finished_at_ms, target, last_error) VALUES (?1, ?2, 'alice', '{\"type\":\"entitlement.changed\"}', ?3, 4, ?4, ?4, ?5, ?6,
        CASE ?3 WHEN 'failed' THEN 'it answered 500' END)";
    connection.execute(sql, (kind, key, status, START_S * 1000, finished, target)).unwrap();
    connection.last_insert_rowid().to_string()
}

/// Rows of this kind for this target, as many as it takes for another plan.
fn many(till: &Till, kind: &str, target: &str, status: &str) {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
        INSERT INTO outbox (kind, dedupe_key, payload, status, next_attempt_at_ms, created_at_ms, finished_at_ms, target)
        SELECT ?1, 'many:' || ?2 || i, '{}', ?3, 1, 1, CASE WHEN ?3 IN ('pending', 'claimed') THEN NULL ELSE 1 END, ?2 FROM n";
    till.connection().execute(sql, (kind, target, status)).unwrap();
}

fn listed(till: &Till, query: &str) -> Vec<String> {
    let (status, list) = till.get(&format!("{OUTBOX}?{query}"));
    assert_eq!(status, 200, "{list}");
    ids(&list)
}

fn post(till: &Till, path: &str, body: Value) -> (u16, Value) {
    till.call(Method::Post, &format!("{OUTBOX}{path}"), &body)
}

#[test]
fn the_outbox_is_listed_newest_first_by_state_kind_and_target_and_in_pages() {
    let till = Till::new();
    let mail = row(&till, "mail", Some("mail"), "done");
    let call = row(&till, "stripe_call", None, "pending");
    let gone = row(&till, "webhook", Some(APP), "failed");
    let waiting = row(&till, "webhook", Some(APP), "pending");
    let other = row(&till, "webhook", Some("https://b.example.com/"), "skipped");
    assert_eq!(paged(&till, &format!("{OUTBOX}?")), [&other, &waiting, &gone, &call, &mail].map(String::as_str));
    let target = "target=https%3A%2F%2Fapp.example.com%2Fhook";
    for (query, expected) in [
        ("status=pending".to_owned(), vec![&waiting, &call]),
        ("status=pending&kind=webhook".to_owned(), vec![&waiting]),
        ("status=claimed".to_owned(), vec![]),
        ("status=failed".to_owned(), vec![&gone]),
        ("status=failed&kind=mail".to_owned(), vec![]),
        ("status=skipped".to_owned(), vec![&other]),
        ("status=done".to_owned(), vec![&mail]),
        ("kind=mail".to_owned(), vec![&mail]),
        ("kind=webhook".to_owned(), vec![&other, &waiting, &gone]),
        ("kind=stripe_call".to_owned(), vec![&call]),
        (target.to_owned(), vec![&waiting, &gone]),
        (format!("{target}&status=pending"), vec![&waiting]),
        (format!("{target}&status=failed"), vec![&gone]),
        (format!("{target}&kind=mail"), vec![]),
        ("target=mail".to_owned(), vec![&mail]),
        (format!("starting_after={waiting}&kind=webhook"), vec![&gone]),
    ] {
        assert_eq!(listed(&till, &query), expected.into_iter().cloned().collect::<Vec<_>>(), "{query}");
    }
    for wrong in ["status=lost", "kind=letter", "starting_after=x"] {
        let name = wrong.split('=').next().unwrap();
        assert_eq!(fault(till.get(&format!("{OUTBOX}?{wrong}"))), bad_parameter(name));
    }
}

#[test]
fn filters_find_the_same_where_many_rows_wait() {
    let till = Till::new();
    let (mail, call) = (row(&till, "mail", Some("mail"), "pending"), row(&till, "stripe_call", None, "pending"));
    many(&till, "webhook", APP, "pending");
    many(&till, "webhook", "https://b.example.com/", "done");
    let last = row(&till, "webhook", Some(APP), "pending");
    assert_eq!(listed(&till, "kind=mail"), [mail.as_str()]);
    assert_eq!(listed(&till, "kind=stripe_call"), [call.as_str()]);
    assert_eq!(listed(&till, "status=pending&kind=mail"), [mail.as_str()]);
    assert_eq!(listed(&till, "status=pending&target=mail"), [mail.as_str()]);
    for query in ["kind=webhook&limit=1", "status=pending&limit=1", &format!("status=pending&target={APP}&limit=1")] {
        assert_eq!(listed(&till, query), [last.as_str()], "{query}");
    }
    assert_eq!(listed(&till, "status=failed"), [""; 0]);
}

#[test]
fn a_row_is_shown_with_every_field_its_payload_and_its_endpoint() {
    let till = Till::new();
    let id = row(&till, "webhook", Some(APP), "failed");
    let mut shown = json!({"id": id, "kind": "webhook", "status": "failed", "what": "entitlement.changed", "target": APP,
        "user_id": "alice", "attempts": 4, "due": START_S, "error": "it answered 500", "created": START_S,
        "finished_at": START_S, "dedupe_key": "webhook:0"});
    assert_eq!(till.get(OUTBOX).1["data"], json!([shown]));
    shown["payload"] = json!({"type": "entitlement.changed"});
    shown["endpoint"] = Value::Null;
    assert_eq!(till.get(&format!("{OUTBOX}/{id}")), (200, shown.clone()));
    let sql = "INSERT INTO webhook_endpoints (url, fingerprint, first_failure_ms, disabled_at_ms, disabled_reason)
        VALUES (?1, 'f', 1000, 2000, 'gone')";
    till.connection().execute(sql, [APP]).unwrap();
    shown["endpoint"] = json!({"failing_since": 1, "last_success_at": null, "disabled_at": 2, "disabled_reason": "gone",
        "tried_again_at": null});
    assert_eq!(till.get(&format!("{OUTBOX}/{id}")), (200, shown));
    let unknown = (404, "outbox_row_not_found".to_owned(), Some("outbox_id".to_owned()));
    for id in ["0", "99", "x", "99999999999999999999"] {
        assert_eq!(fault(till.get(&format!("{OUTBOX}/{id}"))), unknown);
        assert_eq!(fault(post(&till, &format!("/{id}/retry"), Value::Null)), unknown);
        assert_eq!(fault(till.call(Method::Delete, &format!("{OUTBOX}/{id}"), &Value::Null)), unknown);
    }
}

#[test]
fn a_row_is_delivered_again_unless_it_is_in_hand_or_repeats_itself() {
    let till = Till::new();
    let id = row(&till, "webhook", Some(APP), "failed");
    till.connection()
        .execute("INSERT INTO webhook_endpoints (url, fingerprint, disabled_at_ms, disabled_reason) VALUES (?1, 'f', 1, 'gone')", [APP])
        .unwrap();
    till.clock.advance(5_000);
    let (status, shown) = post(&till, &format!("/{id}/retry"), Value::Null);
    assert_eq!((status, &shown["status"], &shown["attempts"]), (200, &json!("pending"), &json!(0)));
    assert_eq!((&shown["due"], &shown["error"]), (&json!(START_S + 5), &Value::Null));
    assert_eq!(till.value("SELECT disabled_at_ms FROM webhook_endpoints"), Value::Null);
    let noted = "SELECT actor || ' ' || subject FROM audit_log WHERE action = 'outbox.retry'";
    assert_eq!(till.value(noted), format!("api {id}"));
    let claimed = row(&till, "mail", Some("mail"), "pending");
    till.connection().execute("UPDATE outbox SET status = 'claimed' WHERE id = ?1", [&claimed]).unwrap();
    let call = row(&till, "stripe_call", None, "pending");
    let refused = |code: &str| (409, code.to_owned(), Some("outbox_id".to_owned()));
    assert_eq!(fault(post(&till, &format!("/{claimed}/retry"), Value::Null)), refused("outbox_row_busy"));
    assert_eq!(fault(post(&till, &format!("/{call}/retry"), Value::Null)), refused("outbox_row_repeats_itself"));
    let discard = |id: &str| till.call(Method::Delete, &format!("{OUTBOX}/{id}"), &json!({"reason": "a test"}));
    assert_eq!(fault(discard(&claimed)), refused("outbox_row_busy"));
    assert_eq!(fault(discard(&call)), refused("outbox_row_repeats_itself"));
    assert_eq!(discard(&id), (200, json!({"id": id, "discarded": true})));
    assert_eq!(fault(discard(&id)), refused("outbox_row_ended"));
    let noted = "SELECT json_extract(detail, '$.reason') FROM audit_log WHERE action = 'outbox.discard'";
    assert_eq!(till.value(noted), "a test");
}

#[test]
fn what_was_given_up_is_delivered_again_by_target_and_time() {
    let till = Till::new();
    let old = row(&till, "webhook", Some(APP), "failed");
    let new = row(&till, "webhook", Some(APP), "failed");
    let mail = row(&till, "mail", Some("mail"), "failed");
    row(&till, "stripe_call", None, "failed");
    row(&till, "webhook", Some(APP), "skipped");
    till.connection()
        .execute("UPDATE outbox SET finished_at_ms = finished_at_ms - 1000 WHERE id = ?1", [&old])
        .unwrap();
    let retry = |body: Value| post(&till, "/retry", body);
    for (body, name) in
        [(json!({"target": 1}), "target"), (json!({"since": "x"}), "since"), (json!({"since": -1}), "since")]
    {
        assert_eq!(fault(retry(body)), bad_parameter(name));
    }
    assert_eq!(fault(retry(json!({"targets": APP}))).1, "parameter_unknown", "a slip must not retry all");
    let done = |count: usize| (200, json!({"retried": count, "has_more": false}));
    assert_eq!(retry(json!({"target": APP, "since": START_S})), done(1));
    assert_eq!(listed(&till, "status=pending"), [new.as_str()]);
    assert_eq!(retry(json!({"target": "https://none.example.com/"})), done(0));
    assert_eq!(retry(json!({"target": null})), done(2));
    assert_eq!(listed(&till, "status=pending"), [mail.as_str(), &new, &old]);
    assert_eq!(listed(&till, "status=failed").len(), 1, "a call to Stripe is left alone");
    let noted = "SELECT group_concat(actor || ' ' || subject, ', ') FROM audit_log WHERE action = 'outbox.retry_all'";
    assert_eq!(till.value(noted), format!("api {APP}, api https://none.example.com/, api all"));
    many(&till, "webhook", APP, "failed");
    assert_eq!(retry(Value::Null), (200, json!({"retried": 1000, "has_more": true})));
}

fn operation(till: &Till, status: &str, user: &str) -> String {
    let open = ["sending", "in_doubt"].contains(&status);
    let connection = till.connection();
    let count: i64 = connection.query_row("SELECT count(*) FROM stripe_operations", [], |row| row.get(0)).unwrap();
    let sql =
        "INSERT INTO stripe_operations (idempotency_key, kind, user_id, fingerprint, verb, path, form, wanted, status,
        attempts, first_sent_ms, sent_log_id, next_attempt_at_ms, answer, created_at_ms, finished_at_ms)
        VALUES ('key-' || ?1, 'subscription.cancel', ?2, 'f', 'POST', '/v1/x', 'secret=form', '{}', ?3, 1, ?4, 0,
        CASE ?3 WHEN 'in_doubt' THEN ?4 + 60000 END, '{\"client_secret\":\"s\"}', ?4, ?5)";
    let finished = (!open).then_some(START_S * 1000 + 1000);
    connection.execute(sql, (count, user, status, START_S * 1000, finished)).unwrap();
    connection.last_insert_rowid().to_string()
}

#[test]
fn operations_are_listed_in_doubt_first_by_state_and_user_and_in_pages() {
    let till = Till::new();
    let states = [
        ("in_doubt", "alice"),
        ("done", "bob"),
        ("sending", "alice"),
        ("refused", "bob"),
        ("in_doubt", "bob"),
        ("not_done", "bob"),
    ];
    let [doubt, done, sending, refused, doubt_of_bob, not_done] =
        states.map(|(status, user)| operation(&till, status, user));
    let all = [&doubt_of_bob, &doubt, &not_done, &refused, &sending, &done];
    assert_eq!(paged(&till, &format!("{OPERATIONS}?")), all.map(String::as_str));
    let listed = |query: &str| ids(&till.get(&format!("{OPERATIONS}?{query}")).1);
    for (status, expected) in [
        ("in_doubt", vec![&doubt_of_bob, &doubt]),
        ("sending", vec![&sending]),
        ("done", vec![&done]),
        ("refused", vec![&refused]),
        ("not_done", vec![&not_done]),
    ] {
        assert_eq!(listed(&format!("status={status}")), expected.into_iter().cloned().collect::<Vec<_>>());
    }
    assert_eq!(listed("user_id=bob"), [doubt_of_bob.as_str(), &not_done, &refused, &done]);
    assert_eq!(listed("user_id=bob&status=done"), [done.as_str()]);
    assert_eq!(listed("user_id=bob&limit=1&starting_after=999"), [""; 0]);
    assert_eq!(fault(till.get(&format!("{OPERATIONS}?status=lost"))), bad_parameter("status"));
    let (_, list) = till.get(&format!("{OPERATIONS}?status=in_doubt&limit=1"));
    let shown = json!({"id": doubt_of_bob, "kind": "subscription.cancel", "status": "in_doubt", "user_id": "bob", "subject": null,
        "object_id": null, "idempotency_key": "key-4", "attempts": 1, "created": START_S, "next_attempt_at": START_S + 60,
        "finished_at": null, "request_id": null, "error": null});
    assert_eq!(list["data"], json!([shown]), "neither what was sent nor what was answered");
}

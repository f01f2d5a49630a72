//! What happened about a user: four tables as one list, and the event behind each row.

use serde_json::json;

use super::Visitor;
use crate::harness::{START_S, Setup, Till, notify};
use crate::samples::event;

/// `count` rows in each of the four tables, five of each at one time, so that every page ends among rows of one time.
fn fill(till: &Till, count: i64) {
    let connection = till.connection();
    connection.execute_batch("BEGIN").unwrap();
    connection.execute("INSERT INTO users (id, created_at_ms) VALUES ('alice', 0)", []).unwrap();
    let case = "INSERT INTO payment_failures (id, stripe_invoice_id, attempt_count, first_failed_at, last_failed_at,
        last_event_id, created_at_ms) VALUES (1, 'in_1', 1, 0, 0, 'evt_f', 0)";
    connection.execute(case, []).unwrap();
    for n in 0..count {
        let at = START_S * 1000 + n / 5 * 1000;
        let audit = "INSERT INTO audit_log (at_ms, actor, action, user_id) VALUES (?1, 'api', ?2, 'alice')";
        connection.execute(audit, (at, format!("mark-a{n}-"))).unwrap();
        let mail = "INSERT INTO outbox (kind, dedupe_key, user_id, target, payload, next_attempt_at_ms, created_at_ms)
            VALUES ('mail', ?2, 'alice', 'mail', '{}', 0, ?1)";
        connection.execute(mail, (at, format!("mail:mark-b{n}-:x"))).unwrap();
        let call =
            "INSERT INTO stripe_operations (idempotency_key, kind, user_id, fingerprint, verb, path, form, wanted,
            status, first_sent_ms, sent_log_id, created_at_ms, finished_at_ms)
            VALUES (?2, ?2, 'alice', '', 'POST', '', '', '{}', 'done', 0, 0, ?1, 0)";
        connection.execute(call, (at, format!("mark-c{n}-"))).unwrap();
        let unsent =
            "INSERT INTO dunning_attempts (payment_failure_id, user_id, attempt_number, notification_type, outcome,
            created_at_ms) VALUES (1, 'alice', ?2, ?3, 'skipped', ?1)";
        connection.execute(unsent, (at, n + 1, format!("mark-d{n}-"))).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

#[test]
fn over_all_pages_every_row_of_every_table_is_there_once_and_none_is_newer_than_the_one_before() {
    let till = Till::new();
    fill(&till, 47);
    let visitor = Visitor::of(&till);
    let (mut marks, mut times, mut next) = (Vec::new(), Vec::new(), Some("user?id=alice".to_owned()));
    while let Some(name) = next {
        let seen = visitor.page(&till, &name.replace("&#38;", "&").replace("&amp;", "&"));
        let list = seen.text.split("<ol class=\"timeline\">").nth(1).unwrap();
        let rows: Vec<&str> = list.split("<li>").skip(1).collect();
        assert!(rows.len() <= 50);
        for row in rows {
            marks.push(row.split("mark-").nth(1).unwrap().split('-').next().unwrap().to_owned());
            times.push(row.rsplit("datetime=\"").next().unwrap().split('"').next().unwrap().to_owned());
        }
        next = seen.follow("next");
        assert!(marks.len() < 1000, "the pages do not end");
    }
    assert_eq!(marks.len(), 4 * 47);
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "newest first: {times:?}");
    marks.sort();
    marks.dedup();
    assert_eq!(marks.len(), 4 * 47, "none twice");
}

#[test]
fn what_the_application_was_told_names_the_event_that_brought_it_about() {
    let endpoint = ("https://app.example/hooks", &["entitlement.changed", "stripe.*"][..]);
    let mut till = Till::with(Setup { notify: notify(&[endpoint]), ..Setup::default() });
    let created = event("customer.subscription.created", "alice", START_S, &[("status", json!("active"))]);
    till.feed(std::slice::from_ref(&created));
    let id = created["id"].as_str().unwrap();
    let caused = format!("SELECT count(*) FROM outbox WHERE cause_event_id = '{id}' AND user_id = 'alice'");
    assert_eq!(till.value(&caused), json!(2));
    let seen = Visitor::of(&till).page(&till, "user?id=alice");
    let link = format!("because of <a href=\"event?id={}\">", id.replace('_', "%5F"));
    seen.shows(&["Told the application", "entitlement.changed", "free, no_subscription → pro, active", &link]);
    assert_eq!(seen.text.matches(&link).count(), 2, "its own row is the event, and has no cause");
}

#[test]
fn a_notice_without_a_mail_names_the_event_that_asked_for_it() {
    let mut till = Till::new();
    let failed = event("invoice.payment_failed", "bob", START_S, &[]);
    till.feed(&[event("customer.created", "bob", START_S, &[]), failed.clone()]);
    let seen = Visitor::of(&till).page(&till, "user?id=bob");
    let link = format!("because of <a href=\"event?id={}\">", failed["id"].as_str().unwrap().replace('_', "%5F"));
    seen.shows(&["No mail", "skipped: mail is off", &link]);
}

#[test]
fn what_is_changed_by_hand_has_no_event_as_its_cause() {
    let endpoint = ("https://app.example/hooks", &["entitlement.changed"][..]);
    let mut till = Till::with(Setup { notify: notify(&[endpoint]), ..Setup::default() });
    till.feed(&[event("customer.subscription.created", "alice", START_S, &[("status", json!("active"))])]);
    let customer = tilld::app::trigger::ids("alice").customer;
    let (status, _) = till.call(
        tilld::http::request::Method::Delete,
        &format!("/api/v1/users/alice/customer?stripe_customer_id={customer}"),
        &serde_json::Value::Null,
    );
    assert_eq!(status, 200);
    let subscription = tilld::app::trigger::ids("alice").subscription;
    Visitor::of(&till).act(&till, &format!("user-unlink?id=alice&object={subscription}"));
    assert_eq!(till.value("SELECT count(*) FROM outbox WHERE cause_event_id IS NULL"), json!(1));
}

//! The story with the real program, which is killed after every event that it has taken.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{CREATED, FAILED, PAID, UPDATED};
use crate::harness::DAY_S;
use crate::live::{Live, database};
use crate::samples::event;

const WISHES: [(&str, &str); 8] = [
    ("TILLD_GRACE_PERIOD_DAYS", "2"),
    ("TILLD_WARNING_DAYS", "1"),
    ("TILLD_NOTIFY_MAIL", "true"),
    ("TILLD_NOTIFY_FROM", "billing@example.com"),
    ("TILLD_SMTP_HOST", "127.0.0.1"),
    ("TILLD_SMTP_SECURITY", "none"),
    ("TILLD_NOTIFY_WEBHOOK_URL", "http://127.0.0.1:9/"),
    ("TILLD_NOTIFY_WEBHOOK_SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
];

/// A failed payment and what follows at Stripe; `paid_at`: it is paid after all.
fn trouble(user: &str, failed_at: i64, paid_at: Option<i64>) -> Vec<Value> {
    let begun = failed_at - 30 * DAY_S;
    let made = ("created", json!(begun));
    let mut events = vec![
        event("customer.created", user, begun, &[]),
        event(CREATED, user, begun, std::slice::from_ref(&made)),
        event(FAILED, user, failed_at, &[("attempt_count", json!(1))]),
        event(UPDATED, user, failed_at, &[("status", json!("past_due")), made.clone()]),
    ];
    if let Some(at) = paid_at {
        let paid = [("status", json!("paid")), ("status_transitions.paid_at", json!(at)), ("attempt_count", json!(1))];
        events.push(event(PAID, user, at, &paid));
        events.push(event(UPDATED, user, at, &[made]));
    }
    events
}

fn now() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

fn texts(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Who was to be told what, and who was skipped, by user.
const RECORD: &str =
    "SELECT user_id || ' ' || notification_type || ' ' || CASE told WHEN 1 THEN 'told' ELSE outcome END
    FROM dunning_attempts ORDER BY user_id, notification_type";

#[test]
fn killed_after_every_event_it_tells_each_notice_and_each_change_once() {
    let dir = tempfile::tempdir().unwrap();
    let now_s = now();
    let mut events = trouble("alice", now_s - DAY_S * 3 / 2, Some(now_s - 60));
    events.extend(trouble("bob", now_s - DAY_S * 5 / 2, None));
    let mut live = Live::start_with(dir.path(), &WISHES);
    for event in events.iter().chain(events.iter().rev()) {
        assert_eq!(live.post(event.to_string().as_bytes()).unwrap().status, 200);
        live.kill();
        live = Live::start_with(dir.path(), &WISHES);
    }
    // A grace period that ends while nobody is there.
    let end_s = now() + 5;
    for event in trouble("carol", end_s - 2 * DAY_S, None) {
        assert_eq!(live.post(event.to_string().as_bytes()).unwrap().status, 200);
    }
    live.settle();
    live.kill();
    while now() < end_s {
        std::thread::sleep(Duration::from_millis(50));
    }
    Live::start_with(dir.path(), &WISHES).kill();
    let live = Live::start_with(dir.path(), &WISHES);
    live.settle();
    let connection = Connection::open(database(dir.path())).unwrap();
    let expected = [
        "alice grace_period_warning told",
        "alice payment_failed told",
        "alice payment_recovered told",
        "bob grace_period_warning skipped: the grace period was over",
        "bob payment_failed told",
        "bob subscription_downgraded told",
        "carol grace_period_warning told",
        "carol payment_failed told",
        "carol subscription_downgraded told",
    ];
    let began = Instant::now();
    while texts(&connection, RECORD) != expected {
        assert!(began.elapsed() < Duration::from_secs(40), "{:#?}", texts(&connection, RECORD));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(live.terminate(), Some(0));
    let told = texts(&connection, "SELECT dedupe_key FROM outbox WHERE kind = 'mail'");
    assert_eq!(told.len(), expected.iter().filter(|line| line.ends_with("told")).count());
    let changes = "SELECT user_id || ' ' || json_extract(payload, '$.data.old.reason') || ' ' ||
        json_extract(payload, '$.data.new.reason') FROM outbox WHERE kind = 'webhook' ORDER BY user_id, id";
    assert_eq!(
        texts(&connection, changes),
        [
            "alice no_subscription active",
            "alice active grace_period",
            "alice grace_period active",
            "bob no_subscription active",
            "bob active past_due",
            "carol no_subscription active",
            "carol active grace_period",
            "carol grace_period past_due",
        ]
    );
}

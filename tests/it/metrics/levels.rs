//! Gauges: read from what is kept, never by a scan; users by answer as the table of answers has them.

use rusqlite::Connection;
use serde_json::json;

use super::{changes, moved_by, scrape, text};
use crate::harness::{DAY_S, START_S, Till};
use crate::samples::{event, everything};

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";

#[test]
fn a_scrape_searches_indexes_and_scans_no_table_but_the_few_rows_of_kept_counts() {
    let till = Till::new();
    let connection = till.connection();
    let mut steps = 0;
    for sql in [tilld::store::levels::WAITING, tilld::objects::answer_counts::ALL] {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = plan.query_map([], |row| row.get::<_, String>(3)).unwrap().map(Result::unwrap);
        for line in lines {
            steps += 1;
            let is_scan = line.starts_with("SCAN") && line != "SCAN CONSTANT ROW" && line != "SCAN answer_counts";
            assert!(!is_scan, "{line} in {sql}");
        }
    }
    assert!(steps > 10, "only {steps} steps were looked at");
}

/// Answers counted one by one.
const COUNTED: &str =
    "SELECT group_concat(one, ', ') FROM (SELECT concat_ws(' ', tier, reason, entitled, count(*)) AS one
    FROM subscriptions GROUP BY tier, reason, entitled ORDER BY 1)";
/// And as the triggers keep them.
const KEPT: &str = "SELECT group_concat(one, ', ') FROM (SELECT concat_ws(' ', tier, reason, entitled, users) AS one
    FROM answer_counts ORDER BY 1)";

fn agree(connection: &Connection) -> String {
    let [counted, kept] = [COUNTED, KEPT].map(|sql| connection.query_row(sql, [], |row| row.get(0)).unwrap());
    assert_eq!(counted, kept);
    let counted: Option<String> = counted;
    counted.unwrap_or_default()
}

#[test]
fn kept_counts_are_those_of_the_rows_after_every_change_of_an_answer() {
    let mut till = Till::new();
    let connection = till.connection();
    let team = [("items.data.0.price.id", json!("price_team"))];
    let story = [
        event(CREATED, "alice", START_S, &[]),
        event(CREATED, "bob", START_S, &team),
        event(UPDATED, "alice", START_S + 1, &[("status", json!("past_due"))]),
        event(UPDATED, "alice", START_S + 2, &[]),
        event("customer.subscription.deleted", "bob", START_S + 3, &[]),
    ];
    for one in &story {
        till.feed(std::slice::from_ref(one));
        agree(&connection);
    }
    till.feed(&[event(UPDATED, "alice", START_S + 4, &[("status", json!("past_due"))])]);
    till.clock.advance(8 * DAY_S * 1000);
    till.tick.step(tilld::base::clock::Clock::now_ms(&*till.clock)).unwrap();
    assert_eq!(agree(&connection), "free canceled 0 1, free past_due 0 1", "the grace period has ended by time alone");
    till.feed(&everything("carol", START_S + 100));
    connection.execute_batch("DELETE FROM subscriptions WHERE user_id = 'alice'").unwrap();
    agree(&connection);
}

#[test]
fn users_move_from_one_answer_to_the_other_and_one_of_an_unknown_tier_is_other() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[])]);
    let canceled = event("customer.subscription.deleted", "alice", START_S + 3, &[]);
    let mut got = moved_by(&mut till, |till| till.feed(&[canceled]));
    got.retain(|name, _| name.contains("users"));
    let expected =
        [("entitled_users{reason=\"active\",tier=\"pro\"}", -1.0), ("users_without_access{reason=\"canceled\"}", 1.0)];
    assert_eq!(got, changes(&expected));
    let hostile = "UPDATE subscriptions SET tier = 'gone\"}\n1', reason = 'made up', entitled = 1";
    let got = moved_by(&mut till, |till| till.connection().execute_batch(hostile).unwrap());
    let expected =
        [("entitled_users{reason=\"other\",tier=\"other\"}", 1.0), ("users_without_access{reason=\"canceled\"}", -1.0)];
    assert_eq!(got, changes(&expected));
}

#[test]
fn the_oldest_pending_event_ages_and_the_newest_webhook_keeps_its_time() {
    let till = Till::new();
    till.post(&event(CREATED, "alice", START_S, &[]));
    till.clock.advance(90_000);
    let shown = scrape(&till);
    assert_eq!(shown["tilld_events_oldest_pending_seconds"], 90.0);
    assert_eq!(shown["tilld_last_webhook_timestamp_seconds"], START_S as f64);
    assert!(shown["tilld_database_bytes{file=\"main\"}"] > 4096.0, "{shown:?}");
}

#[test]
fn operations_in_doubt_are_counted_and_those_that_are_settled_are_not() {
    let mut till = Till::new();
    let sql = "INSERT INTO stripe_operations (idempotency_key, kind, fingerprint, verb, path, form, wanted, status,
            first_sent_ms, sent_log_id, next_attempt_at_ms, created_at_ms, finished_at_ms)
        VALUES ('a', 'refund.create', '', 'POST', '', '', '{}', 'in_doubt', 0, 0, 1, 0, NULL),
            ('b', 'refund.create', '', 'POST', '', '', '{}', 'sending', 0, 0, NULL, 0, NULL),
            ('c', 'refund.create', '', 'POST', '', '', '{}', 'done', 0, 0, NULL, 0, 1);
        INSERT INTO settings (name, value) VALUES ('drift_left', '3')";
    let got = moved_by(&mut till, |till| till.connection().execute_batch(sql).unwrap());
    assert_eq!(got, changes(&[("operations_in_doubt", 1.0), ("drift_differences", 3.0)]));
}

#[test]
fn where_the_database_cannot_be_read_the_counters_are_shown_and_say_so() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[])]);
    till.connection().execute_batch("DROP TABLE outbox").unwrap();
    let shown = text(&till, &[]).1;
    assert!(shown.contains("tilld_database_readable 0\n"), "{shown}");
    assert!(shown.contains("tilld_webhooks_received_total{outcome=\"accepted\"} 1\n"), "{shown}");
    assert!(!shown.contains("tilld_dead_letters "), "a level that is not known is not shown");
}

//! Figures: what is kept by the hour is what a slow query over everything finds, whatever happened; it outlives the log; and what
//! is shown of it is what it says.

mod answers;
mod levels;
mod mrr;

use rusqlite::Connection;
use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::base::retry::RetryPolicy;
use tilld::http::request::Method;
use tilld::jobs::rebuild::{self, RebuildTask};
use tilld::notify::{NotifyContext, project};
use tilld::objects::{ProjectedEvent, ProjectionError};
use tilld::store::Tx;
use tilld::store::inbox::EventCompletion;

use crate::harness::{DAY_S, START_S, Setup, Till};
use crate::histories;
use crate::live::{Live, database, witness};
use crate::main_job::sample;
use crate::samples::{event, everything, raw};
use crate::versions::delivered;

/// What is kept, and what it has to be; neither may have a row that the other has not.
const EXACT: [(&str, &str); 6] = [
    (
        "SELECT hour, event_type, status, events FROM webhook_hours",
        "SELECT created_at_ms / 3600000 * 3600, iif(length(event_type) > 100, 'other', event_type), status, count(*)
         FROM stripe_webhooks_log WHERE status IN ('processed', 'ignored', 'dead') GROUP BY 1, 2, 3",
    ),
    (
        "SELECT day, event_type, status, events FROM webhook_days",
        "SELECT created_at_ms / 86400000 * 86400, iif(length(event_type) > 100, 'other', event_type), status, count(*)
         FROM stripe_webhooks_log WHERE status IN ('processed', 'ignored', 'dead') GROUP BY 1, 2, 3",
    ),
    (
        "SELECT hour, sum(events) FROM webhook_lag_hours GROUP BY 1",
        "SELECT created_at_ms / 3600000 * 3600, count(*) FROM stripe_webhooks_log WHERE finished_at_ms IS NOT NULL GROUP BY 1",
    ),
    (
        "SELECT hour, currency, outcome, code, attempts, amount FROM payment_hours",
        // A replay that waits, failed or was discarded leaves its facts in the tables; what is of the other mode does not.
        "SELECT event_created / 3600 * 3600, json_extract(data, '$.data.object.currency'),
            iif(event_type = 'payment_intent.succeeded', 'succeeded', 'failed'),
            iif(event_type = 'payment_intent.succeeded', '',
                coalesce(json_extract(data, '$.data.object.last_payment_error.decline_code'),
                    json_extract(data, '$.data.object.last_payment_error.code'), 'none')),
            count(*), sum(iif(event_type = 'payment_intent.succeeded',
                json_extract(data, '$.data.object.amount_received'), json_extract(data, '$.data.object.amount')))
         FROM stripe_webhooks_log
         WHERE event_type IN ('payment_intent.succeeded', 'payment_intent.payment_failed') AND account IS NULL
            AND (processed = 1 OR (processed_at_ms IS NOT NULL AND status <> 'ignored')) GROUP BY 1, 2, 3, 4",
    ),
    (
        "SELECT day, currency, outcome, intents, amount FROM intent_days",
        "SELECT created / 86400 * 86400, currency,
            CASE WHEN status = 'succeeded' THEN 'succeeded'
                WHEN failed_at IS NULL AND status = 'canceled' THEN 'canceled'
                WHEN failed_at IS NULL THEN 'open'
                WHEN status = 'canceled' THEN 'failed'
                WHEN stripe_invoice_id IN (SELECT stripe_invoice_id FROM stripe_invoices WHERE status IN ('void', 'uncollectible'))
                    THEN 'failed'
                WHEN stripe_intent_id IN (SELECT stripe_payment_intent_id FROM stripe_invoices
                    WHERE status IN ('void', 'uncollectible')) THEN 'failed'
                ELSE 'open' END, count(*), sum(amount_cents)
         FROM stripe_payment_intents GROUP BY 1, 2, 3",
    ),
    (
        "SELECT currency, state, subscriptions, thousandths, tiered_items, metered_items, other_items, unknown_discounts
         FROM mrr_now",
        "SELECT mrr_currency, mrr_state, count(*), sum(mrr_thousandths), sum(mrr_tiered_items), sum(mrr_metered_items),
            sum(mrr_other_items), sum(mrr_unknown_discounts)
         FROM stripe_subscriptions WHERE mrr_state IS NOT NULL GROUP BY 1, 2",
    ),
];

fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let read = |row: &rusqlite::Row| {
        let cells = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
        Ok(format!("{:?}", cells.collect::<rusqlite::Result<Vec<_>>>()?))
    };
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

fn exact_in(connection: &Connection) {
    for (kept, counted) in EXACT {
        let only =
            |one: &str, other: &str| rows(connection, &format!("SELECT * FROM ({one}) EXCEPT SELECT * FROM ({other})"));
        let (too_much, missing) = (only(kept, counted), only(counted, kept));
        assert!(
            too_much.is_empty() && missing.is_empty(),
            "{kept}\nkept only: {too_much:#?}\ncounted only: {missing:#?}"
        );
    }
}

/// Everything that is kept is what a slow query finds.
fn exact(till: &Till) {
    exact_in(&till.connection());
}

fn kept(connection: &Connection) -> Vec<String> {
    let tables = [
        "webhook_hours",
        "webhook_days",
        "webhook_lag_hours",
        "level_hours",
        "payment_hours",
        "intent_days",
        "mrr_now",
    ];
    tables.iter().flat_map(|table| rows(connection, &format!("SELECT '{table}', * FROM {table}"))).collect()
}

fn replay(till: &Till, event_id: &str) {
    let path = format!("/api/v1/admin/events/{event_id}/replay");
    assert_eq!(till.call(Method::Post, &path, &Value::Null).0, 200);
}

fn ids(till: &Till) -> Vec<String> {
    let connection = till.connection();
    let mut statement = connection.prepare("SELECT event_id FROM stripe_webhooks_log ORDER BY id").unwrap();
    let ids = statement.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

#[test]
fn figures_are_those_of_a_slow_query_after_each_history_in_several_orders_and_after_replays() {
    let told = [
        histories::past_due(),
        histories::past_due_and_recovered(),
        histories::past_due_and_recovered_in_2020(),
        histories::whole_life(),
        histories::trial_to_active(),
        histories::collection_paused(),
        histories::paused_after_the_last_attempt(),
        histories::item_swapped(),
    ];
    for history in told {
        let events: Vec<Value> =
            history.story.steps.iter().filter_map(|step| delivered(step, history.version)).collect();
        let mut ends = Vec::new();
        for turn in [0, 1, events.len() / 2] {
            let mut till = Till::new();
            let mut events = events.clone();
            if turn == 1 {
                events.reverse()
            } else {
                events.rotate_left(turn)
            }
            for (number, event) in (0_i64..).zip(&events) {
                // Several hours of arrival, and all kinds of waiting.
                till.clock.set((START_S + number * 1700) * 1000);
                assert_eq!(till.post(event).0, 200);
                till.clock.advance(1 << (number % 30));
                if number % 3 != 1 {
                    till.settle();
                }
                exact(&till);
            }
            till.settle();
            let lags = "SELECT group_concat(up_to_ms || ':' || events) FROM webhook_lag_hours";
            let before = till.value(lags);
            for id in ids(&till) {
                replay(&till, &id);
            }
            exact(&till);
            till.settle();
            exact(&till);
            assert_eq!(till.value(lags), before, "a replay is no lag");
            till.witness();
            let connection = till.connection();
            let payments = ["payment_hours", "intent_days", "mrr_now"];
            ends.push(payments.map(|table| rows(&connection, &format!("SELECT * FROM {table}"))));
        }
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:#?}");
    }
}

const POISON: &str = "evt_poison";

fn failing(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    assert_ne!(event.id, POISON, "the poison works");
    project(tx, event, context, now_ms)
}

#[test]
fn dead_letters_are_counted_replayed_and_discarded() {
    let retry = RetryPolicy { max_attempts: 1, base_delay_s: 1, max_delay_s: 1 };
    let mut till = Till::with(Setup { project: Some(failing), retry, ..Setup::default() });
    let mut poison = sample("payment_intent.succeeded", "mallory", "1");
    poison["id"] = json!(POISON);
    till.feed(&[sample("payment_intent.succeeded", "alice", "1"), poison]);
    exact(&till);
    assert_eq!(till.value("SELECT events FROM webhook_hours WHERE status = 'dead'"), 1);
    assert_eq!(till.value("SELECT sum(attempts) FROM payment_hours"), 1, "what failed is not in the tables");
    assert_eq!(till.value("SELECT sum(events) FROM webhook_lag_hours"), 1, "nor was it ever finished");
    replay(&till, POISON);
    exact(&till);
    till.settle();
    exact(&till);
    let letter = format!("/api/v1/admin/webhooks/dlq/{POISON}");
    assert_eq!(till.call(Method::Delete, &letter, &Value::Null).0, 200);
    exact(&till);
    assert_eq!(till.value("SELECT events FROM webhook_hours WHERE status = 'ignored'"), 1);
    let now_ms = till.clock.now_ms();
    let mut till = Till::in_dir(till.close(), Setup::default());
    till.clock.set(now_ms + 7_200_000);
    replay(&till, POISON);
    till.settle();
    exact(&till);
    assert_eq!(till.value("SELECT sum(attempts) FROM payment_hours"), 2);
}

fn paid(user: &str, live: bool) -> [Value; 4] {
    ["customer.created", "customer.subscription.created", "payment_intent.payment_failed", "payment_intent.succeeded"]
        .map(|kind| {
            let mut event = sample(kind, user, if live { "live" } else { "test" });
            event["livemode"] = json!(live);
            event["data"]["object"]["livemode"] = json!(live);
            event
        })
}

#[test]
fn events_of_one_batch_in_which_the_mode_turns_are_counted_once_as_they_ended() {
    let mut till = Till::new();
    for event in paid("tester", false).iter().chain(&paid("payer", true)) {
        assert_eq!(till.post(event).0, 200);
    }
    till.settle();
    exact(&till);
    assert_eq!(till.value("SELECT sum(events) FROM webhook_hours WHERE status = 'ignored'"), 4);
    assert_eq!(till.value("SELECT count(*) FROM webhook_hours WHERE events <= 0"), 0);
}

#[test]
fn what_was_of_test_mode_is_no_payment_any_more_and_its_events_are_ignored() {
    let mut till = Till::new();
    till.feed(&paid("tester", false));
    exact(&till);
    assert_eq!(till.value("SELECT sum(attempts) FROM payment_hours"), 2);
    till.feed(&paid("payer", true));
    exact(&till);
    assert_eq!(till.value("SELECT sum(events) FROM webhook_hours WHERE status = 'ignored'"), 4);
    assert_eq!(till.value("SELECT sum(attempts) FROM payment_hours"), 2, "those of the payer");
    assert_eq!(till.value("SELECT sum(subscriptions) FROM mrr_now"), 1);
    till.witness();
}

#[test]
fn a_type_that_is_too_long_and_hostile_values_are_counted_without_harm() {
    let mut till = Till::new();
    let long = "x".repeat(101);
    till.feed(&[
        raw("evt_1", &long, START_S, json!({"id": "x_1", "object": "x"})),
        raw("evt_2", &"é".repeat(100), START_S, json!({"id": "x_2", "object": "x"})),
    ]);
    exact(&till);
    assert_eq!(till.value("SELECT count(*) FROM webhook_hours WHERE event_type = 'other'"), 1);
    for (number, amount) in (0_i64..).zip([i64::MAX, i64::MAX, i64::MIN, -1]) {
        let set = [
            ("id", json!(format!("pi_{number}"))),
            ("amount", json!(amount)),
            ("amount_received", json!(amount)),
            ("currency", json!("a currency of many letters")),
        ];
        till.feed(&[event("payment_intent.succeeded", "mallory", START_S + number, &set)]);
    }
    assert_eq!(till.value("SELECT count(*) FROM webhook_dead_letter_queue"), 0);
    let expected = json!("other:4:1999999999998");
    for (table, count) in [("payment_hours", "attempts"), ("intent_days", "intents")] {
        assert_eq!(till.value(&format!("SELECT currency || ':' || {count} || ':' || amount FROM {table}")), expected);
    }
    let failed = [("last_payment_error.decline_code", json!("y".repeat(65_536))), ("id", json!("pi_9"))];
    till.feed(&[event("payment_intent.payment_failed", "mallory", START_S, &failed)]);
    assert_eq!(till.value("SELECT code FROM payment_hours WHERE outcome = 'failed'"), "other");
}

#[test]
fn what_the_log_loses_stays_counted_and_a_rebuild_takes_it_over() {
    let mut till = Till::new();
    till.feed(&everything("alice", START_S - DAY_S));
    tilld::jobs::levels::look(&till.store, till.clock.now_ms()).unwrap();
    till.clock.advance(3 * 3_600_000);
    till.feed(&everything("bob", START_S));
    exact(&till);
    let before = kept(&till.connection());
    let answer = till.get("/api/v1/admin/analytics?bucket=hour");
    // What no row rests on may go.
    let gone = till
        .connection()
        .execute(
            "DELETE FROM stripe_webhooks_log WHERE created_at_ms < ?1 AND id NOT IN
                (SELECT log_id FROM mirror WHERE log_id IS NOT NULL)",
            [(START_S + 3600) * 1000],
        )
        .unwrap();
    assert!(gone > 10, "{gone}");
    assert_eq!(kept(&till.connection()), before);
    assert_eq!(till.get("/api/v1/admin/analytics?bucket=hour"), answer);

    let into = till.dir.path().join("again.db");
    let from = till.dir.path().join("tilld.db");
    let task = RebuildTask { from: &from, into: &into, context: &till.context, now_ms: till.clock.now_ms() };
    rebuild::rebuild(task, &|_, _| ()).unwrap();
    let again = kept(&Connection::open(&into).unwrap());
    let past = |rows: &[String]| {
        let mut rows = rows.to_vec();
        rows.retain(|row| row.contains("webhook") || row.contains("level") || row.contains("payment_hours"));
        rows
    };
    assert_eq!(past(&again), past(&before));
}

#[test]
fn a_killed_daemon_has_counted_what_it_has_committed() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    let types = ["customer.subscription.created", "payment_intent.payment_failed", "payment_intent.succeeded"];
    let bodies: Vec<String> =
        (0..60).flat_map(|user| types.map(|kind| sample(kind, &format!("user_{user}"), "1").to_string())).collect();
    for body in &bodies[..120] {
        assert_eq!(live.post(body.as_bytes()).unwrap().status, 200);
    }
    live.kill();
    exact_in(&Connection::open(database(dir.path())).unwrap());
    let live = Live::start(dir.path());
    for body in &bodies[60..] {
        assert_eq!(live.post(body.as_bytes()).unwrap().status, 200);
    }
    live.settle();
    let connection = Connection::open(database(dir.path())).unwrap();
    exact_in(&connection);
    assert_eq!(rows(&connection, "SELECT sum(attempts) FROM payment_hours"), ["[Integer(120)]"]);
    live.kill();
    witness(dir.path(), &[]);
}

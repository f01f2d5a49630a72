//! A rebuild while events wait, and readings that were taken over meanwhile: what was in the tables is in them afterwards, and
//! nothing that is kept can end it.

use serde_json::{Value, json};
use tilld::jobs::at_start::{recompute, relink};
use tilld::jobs::rebuild::{self, CheckOutcome, RebuildTask};
use tilld::notify::NotifyContext;
use tilld::store::inbox::{self, AttemptFailure, EventStatus};

use super::{CREATED, UPDATED, are_same, rebuilt, rows, texts};
use crate::harness::{DAY_S, START_S, Setup, Till, notify, plan};
use crate::live::database;
use crate::reads::read_now;
use crate::samples::{event, everything};

const STATES: &str =
    "SELECT id || status || processed || coalesce(processed_at_ms, '') || coalesce(processing_error, '') ||
    processing_attempts FROM stripe_webhooks_log ORDER BY id";

/// A user who pays, and an application that wants to be notified.
fn paying() -> Till {
    let setup = Setup { notify: notify(&[("http://127.0.0.1:1/a", &["*"])]), ..Setup::default() };
    let mut till = Till::with(setup);
    till.feed(&[event("customer.created", "alice", START_S, &[]), event(CREATED, "alice", START_S, &[])]);
    assert_eq!(till.entitlement("alice")["entitled"], true);
    till
}

fn replay_all(till: &Till) {
    till.store.write(|tx| inbox::replay_all(tx, None)).unwrap();
}

fn replay(till: &Till, event: &Value) {
    let event_id = event["id"].as_str().unwrap().to_owned();
    assert!(till.store.write(move |tx| inbox::replay(tx, &event_id)).unwrap());
}

fn checked(till: &Till, context: &NotifyContext) -> CheckOutcome {
    let dir = tempfile::tempdir().unwrap();
    let from = database(till.dir.path());
    let task = RebuildTask { from: &from, into: &dir.path().join("again.db"), context, now_ms: START_S * 1000 };
    rebuild::check(task, &|_, _| ()).unwrap()
}

/// Nobody's answer changes, every row is as it was, and each event is in the state that it was in.
fn is_rebuilt_as_it_is(till: &Till) {
    till.witness();
    let (dir, done) = rebuilt(till);
    assert_eq!((done.failed, done.changed), (0, 0), "{done:?}");
    let (old, new) = (database(till.dir.path()), database(dir.path()));
    are_same(&rows(&new), &rows(&old));
    for sql in
        [STATES, "SELECT user_id || entitled || tier FROM subscriptions", "SELECT payload FROM outbox ORDER BY id"]
    {
        assert_eq!(texts(&old, sql), texts(&new, sql), "{sql}");
    }
}

#[test]
fn replayed_events_that_wait_take_no_access_away_and_wait_on() {
    let mut till = paying();
    replay_all(&till);
    assert_eq!(till.value("SELECT count(*) FROM stripe_webhooks_log WHERE status = 'pending' AND processed = 0"), 2);
    is_rebuilt_as_it_is(&till);
    till.settle();
    is_rebuilt_as_it_is(&till);
}

#[test]
fn a_replayed_event_that_fails_is_given_up_or_discarded_stays_in_the_tables() {
    let till = paying();
    let id: String = till.value("SELECT event_id FROM stripe_webhooks_log WHERE id = 2").as_str().unwrap().to_owned();
    for status in [EventStatus::Retrying, EventStatus::Dead] {
        let id = id.clone();
        till.store
            .write(move |tx| {
                inbox::replay(tx, &id)?;
                let failure = AttemptFailure { event_id: &id, attempt: 1, error: "boom", at_ms: START_S * 1000 };
                inbox::fail(tx, &failure, status)
            })
            .unwrap();
        is_rebuilt_as_it_is(&till);
    }
    assert!(till.store.write(move |tx| inbox::discard(tx, &id)).unwrap());
    is_rebuilt_as_it_is(&till);
}

#[test]
fn events_that_were_never_projected_are_left_to_the_worker() {
    let till = paying();
    till.post(&event("customer.subscription.deleted", "alice", START_S + 9, &[("status", json!("canceled"))]));
    is_rebuilt_as_it_is(&till);
    let (dir, _) = rebuilt(&till);
    let waiting = "SELECT event_type FROM stripe_webhooks_log WHERE status = 'pending' AND processed_at_ms IS NULL";
    assert_eq!(texts(&database(dir.path()), waiting), ["customer.subscription.deleted"]);
}

#[test]
fn a_replayed_event_from_which_nothing_had_been_taken_counts_as_never_projected() {
    let mut till = paying();
    let ignored = event(UPDATED, "alice", START_S + 3, &[]);
    till.feed(std::slice::from_ref(&ignored));
    till.connection()
        .execute_batch(
            "UPDATE stripe_webhooks_log SET status = 'ignored', processed = 0, processing_error = 'x' WHERE id = 3",
        )
        .unwrap();
    replay(&till, &ignored);
    assert_eq!(till.value("SELECT processed_at_ms IS NULL FROM stripe_webhooks_log WHERE id = 3"), 1);
}

#[test]
fn a_reading_taken_over_while_an_old_event_waits_again_stands_after_what_it_rests_on() {
    let mut till = Till::new();
    let old = event("customer.created", "bob", START_S - DAY_S, &[]);
    let created = event(CREATED, "alice", START_S, &[]);
    till.feed(&[old.clone(), event("customer.created", "alice", START_S, &[]), created.clone()]);
    replay(&till, &old);
    // Of a deleted object the API shows only its id: the rest must be known.
    let gone = json!({"id": created["data"]["object"]["id"], "object": "subscription", "deleted": true});
    read_now(&till, &gone, START_S + 5);
    assert_eq!(till.value("SELECT before_log_id FROM api_readings"), 4);
    is_rebuilt_as_it_is(&till);
    till.settle();
    is_rebuilt_as_it_is(&till);
    replay_all(&till);
    is_rebuilt_as_it_is(&till);
}

#[test]
fn readings_come_out_in_the_order_in_which_they_were_taken_over_whatever_was_replayed_between() {
    let mut till = Till::new();
    till.feed(&everything("alice", START_S - DAY_S));
    let active = event(CREATED, "bob", START_S, &[]);
    till.feed(&[event("customer.created", "bob", START_S, &[]), active.clone()]);
    let state = |status: &str| event(UPDATED, "bob", START_S, &[("status", json!(status))])["data"]["object"].clone();
    for (at_s, status) in (1..).zip(["past_due", "active", "unpaid", "paused", "active", "past_due"]) {
        if at_s % 2 == 0 {
            replay(&till, &active);
        }
        read_now(&till, &state(status), START_S + at_s);
        if at_s % 3 == 0 {
            till.settle();
        }
    }
    let before: Vec<i64> =
        texts(&database(till.dir.path()), "SELECT cast(before_log_id AS TEXT) FROM api_readings ORDER BY id")
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
    assert!(before.len() == 6 && before.is_sorted(), "{before:?}");
    is_rebuilt_as_it_is(&till);
    till.settle();
    is_rebuilt_as_it_is(&till);
}

#[test]
fn positions_from_an_earlier_program_do_not_change_the_order_of_readings() {
    let till = paying();
    let state = |status: &str| event(UPDATED, "alice", START_S, &[("status", json!(status))])["data"]["object"].clone();
    read_now(&till, &state("past_due"), START_S + 5);
    let gone = json!({"id": state("active")["id"], "object": "subscription", "deleted": true});
    read_now(&till, &gone, START_S + 6);
    till.connection().execute_batch("UPDATE api_readings SET before_log_id = 1 WHERE id = 2").unwrap();
    is_rebuilt_as_it_is(&till);
}

#[test]
fn a_reading_that_cannot_be_projected_is_counted_kept_and_does_not_end_the_rebuild() {
    let till = paying();
    let state = |status: &str| event(UPDATED, "alice", START_S, &[("status", json!(status))])["data"]["object"].clone();
    read_now(&till, &json!({"id": "prod_1", "object": "product", "livemode": false, "name": "Pro"}), START_S + 4);
    read_now(&till, &state("past_due"), START_S + 5);
    for broken in ["{", "{\"id\": \"sub_lost\", \"object\": \"subscription\", \"deleted\": true}"] {
        till.connection().execute("UPDATE api_readings SET data = ?1 WHERE id = 1", [broken]).unwrap();
        let (dir, done) = rebuilt(&till);
        assert_eq!((done.failed_readings, done.readings), (1, 1), "{done:?}");
        let kept = texts(&database(dir.path()), "SELECT data FROM api_readings ORDER BY id");
        assert_eq!((kept.len(), kept[0].as_str()), (2, broken));
        assert_eq!(texts(&database(dir.path()), "SELECT status FROM stripe_subscriptions"), ["past_due"]);
    }
}

#[test]
fn readings_of_one_gap_are_taken_page_by_page_in_their_order() {
    let till = paying();
    for number in 0..250 {
        let product = json!({"id": format!("prod_{number}"), "object": "product", "livemode": false, "name": "Pro"});
        read_now(&till, &product, START_S + 5);
    }
    let (_, done) = rebuilt(&till);
    assert_eq!((done.readings, done.late), (250, 0));
    is_rebuilt_as_it_is(&till);
}

#[test]
fn the_position_of_a_reading_is_found_by_an_index() {
    let till = paying();
    let plan: String = till
        .connection()
        .query_row(
            "EXPLAIN QUERY PLAN SELECT id + 1 FROM stripe_webhooks_log WHERE processed_at_ms IS NOT NULL ORDER BY id DESC LIMIT 1",
            [],
            |row| row.get(3),
        )
        .unwrap();
    assert!(plan.contains("stripe_webhooks_log_projected"), "{plan}");
}

#[test]
fn a_check_says_what_it_cannot_compare() {
    let till = paying();
    recompute::if_policy_changed(&till.store, &till.context, START_S * 1000).unwrap();
    relink::if_rules_changed(&till.store, &till.context, START_S * 1000).unwrap();
    assert_eq!(checked(&till, &till.context).limits, Vec::<String>::new());
    replay_all(&till);
    till.post(&event(UPDATED, "alice", START_S + 9, &[]));
    let mut other = NotifyContext::clone(&till.context);
    other.projection.policy.plans = vec![plan("pro", "price_other")];
    other.projection.link.metadata_keys = vec!["account".to_owned()];
    let limits = checked(&till, &other).limits;
    let words = ["1 events wait", "2 replayed events", "plans or periods", "[link]"];
    assert_eq!(limits.len(), words.len(), "{limits:?}");
    for (limit, word) in limits.iter().zip(words) {
        assert!(limit.contains(word), "{limit}");
    }
}

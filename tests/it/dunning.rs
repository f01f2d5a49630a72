//! Failed payments, from the first failure to the late payment: each notice once and each change of the answer told once,
//! although every event comes twice and out of order, and the process dies at every step.

mod cases;
mod events;
mod live;
mod promises;

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::base::clock::Clock;
use tilld::notify::NotifyContext;
use tilld::notify::project;
use tilld::notify::settings::NoticeSettings;
use tilld::objects::{ProjectedEvent, ProjectionError};
use tilld::store::inbox::{self, EventCompletion};
use tilld::store::{StoreError, Tx};

use crate::harness::{DAY_S, START_S, Setup, Till, notify};
use crate::samples::event;

pub const CREATED: &str = "customer.subscription.created";
pub const UPDATED: &str = "customer.subscription.updated";
pub const DELETED: &str = "customer.subscription.deleted";
pub const FAILED: &str = "invoice.payment_failed";
pub const PAID: &str = "invoice.paid";
pub const APP: &str = "https://app.example.com/hook";
const OURS: &[&str] = &["entitlement.changed", "payment.*", "subscription.changed", "dispute.created"];

pub fn wishes() -> NoticeSettings {
    notify(&[(APP, OURS)])
}

pub fn told_till() -> Till {
    Till::with(Setup { notify: wishes(), ..Setup::default() })
}

/// A failed attempt to renew, at `at`.
pub fn failed(user: &str, at: i64, attempt: i64) -> Value {
    let set = [
        ("attempt_count", json!(attempt)),
        ("attempted", json!(true)),
        ("next_payment_attempt", json!(at + 3 * DAY_S)),
        ("created", json!(START_S)),
    ];
    event(FAILED, user, at, &set)
}

pub fn past_due(user: &str, at: i64) -> Value {
    event(UPDATED, user, at, &[("status", json!("past_due")), ("created", json!(START_S - 30 * DAY_S))])
}

pub fn active(user: &str, at: i64) -> Value {
    event(UPDATED, user, at, &[("status", json!("active")), ("created", json!(START_S - 30 * DAY_S))])
}

pub fn paid(user: &str, at: i64) -> Value {
    let set = [
        ("status", json!("paid")),
        ("status_transitions.paid_at", json!(at)),
        ("attempt_count", json!(3)),
        ("created", json!(START_S)),
    ];
    event(PAID, user, at, &set)
}

/// A customer and a subscription from before.
pub fn beginning(user: &str) -> Vec<Value> {
    let at = START_S - 30 * DAY_S;
    vec![event("customer.created", user, at, &[]), event(CREATED, user, at, &[("created", json!(at))])]
}

/// Moves the clock and lets time do its work.
pub fn at(till: &mut Till, now_s: i64) {
    till.clock.set(now_s * 1000);
    till.tick.step(now_s * 1000).unwrap();
}

pub fn rows(till: &Till, sql: &str) -> Vec<String> {
    let connection = till.connection();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Every notice on record, in order: kind, attempt, and what became of it.
pub fn record(till: &Till) -> Vec<String> {
    rows(
        till,
        "SELECT notification_type || ' ' || attempt_number || coalesce(' ' || outcome, '') FROM dunning_attempts ORDER BY id",
    )
}

pub fn mails(till: &Till) -> Vec<String> {
    let sql =
        "SELECT json_extract(payload, '$.notice') FROM outbox WHERE kind = 'mail' AND status = 'pending' ORDER BY id";
    rows(till, sql)
}

/// What the application is sent, of this type, in order.
pub fn told(till: &Till, event_type: &str) -> Vec<Value> {
    let payloads = rows(till, "SELECT payload FROM outbox WHERE kind = 'webhook' ORDER BY id");
    let parsed = payloads.iter().map(|payload| serde_json::from_str::<Value>(payload).unwrap());
    parsed.filter(|payload| payload["type"] == event_type).map(|payload| payload["data"].clone()).collect()
}

/// The reasons that the application was told of, the first answer's old one first. Fails where one does not follow on
/// the one before.
pub fn reasons(till: &Till) -> Vec<String> {
    let changes = told(till, "entitlement.changed");
    for (change, next) in changes.iter().zip(changes.iter().skip(1)) {
        assert_eq!(change["new"], next["old"], "no change is left out");
    }
    changes.iter().for_each(|change| assert_ne!(change["old"], change["new"], "nothing but changes"));
    let reason = |answer: &Value| answer["reason"].as_str().unwrap().to_owned();
    let first = changes.first().map(|change| reason(&change["old"]));
    first.into_iter().chain(changes.iter().map(|change| reason(&change["new"]))).collect()
}

/// What happens at Stripe from one day to another, and the day.
fn story() -> Vec<(i64, Vec<Value>)> {
    let day = |days: i64| START_S + days * DAY_S;
    let user = "alice";
    vec![
        (day(-30), beginning(user)),
        (day(0), vec![failed(user, day(0), 1), past_due(user, day(0))]),
        (day(3), vec![failed(user, day(3), 2)]),
        (day(5), vec![]),
        (day(7), vec![]),
        (day(9), vec![paid(user, day(9)), active(user, day(9))]),
        (day(10), vec![]),
    ]
}

const ALL_TOLD: [&str; 5] = [
    "payment_failed 1",
    "payment_retry 2",
    "grace_period_warning 1",
    "subscription_downgraded 1",
    "payment_recovered 1",
];

fn all_is_told_once(till: &Till) {
    assert_eq!(record(till), ALL_TOLD);
    assert_eq!(mails(till), ALL_TOLD.map(|notice| notice.split(' ').next().unwrap()));
    assert_eq!(reasons(till), ["no_subscription", "active", "grace_period", "past_due", "active"]);
    assert_eq!(told(till, "payment.failed").iter().map(|data| data["attempt"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(told(till, "payment.recovered").len(), 1);
    assert_eq!(till.value("SELECT count(*) FROM payment_failures WHERE dunning_due_at IS NOT NULL"), 0);
}

#[test]
fn a_failure_is_told_warned_about_enforced_and_forgiven_and_the_answer_follows() {
    let mut till = told_till();
    let end = START_S + 7 * DAY_S;
    let mut answers = Vec::new();
    for (now_s, events) in story() {
        till.clock.set(now_s * 1000 + 5_000);
        till.feed(&events);
        at(&mut till, now_s + 5);
        let answer = till.entitlement("alice");
        answers.push((answer["reason"].clone(), answer["tier"].clone(), answer["valid_until"].clone()));
        let row = till.value("SELECT status || ' ' || tier || ' ' || reason FROM subscriptions");
        let status = &answer["status"].as_str().unwrap();
        assert_eq!(
            row,
            format!("{status} {} {}", answer["tier"].as_str().unwrap(), answer["reason"].as_str().unwrap())
        );
    }
    let grace = (json!("grace_period"), json!("pro"), json!(end));
    let over = (json!("past_due"), json!("free"), Value::Null);
    let active = (json!("active"), json!("pro"), Value::Null);
    assert_eq!(
        answers,
        [active.clone(), grace.clone(), grace.clone(), grace, over, active.clone(), active],
        "Stripe said past_due from the first failure to the payment"
    );
    all_is_told_once(&till);
    let facts = |notice: &str| {
        let sql = format!("SELECT payload FROM outbox WHERE json_extract(payload, '$.notice') = '{notice}'");
        serde_json::from_str::<Value>(till.value(&sql).as_str().unwrap()).unwrap()
    };
    let retry = facts("payment_retry");
    assert_eq!((&retry["facts"]["attempt"], &retry["facts"]["amount"]), (&json!(2), &json!(2000)), "{retry}");
    assert_eq!((&retry["facts"]["grace_period_end"], &retry["facts"]["currency"]), (&json!(end), &json!("usd")));
    assert_eq!((&retry["user"]["id"], &retry["facts"]["tier"]), (&json!("alice"), &json!("pro")));
    for link in ["hosted_invoice_url", "invoice_pdf", "invoice_number"] {
        assert!(retry["facts"][link].is_string(), "{link}: {retry}");
    }
    assert!(retry["to"].as_str().unwrap().contains('@'), "{retry}");
    assert_eq!(facts("subscription_downgraded")["facts"]["tier_now"], "free");
    let recovered = facts("payment_recovered");
    assert_eq!((&recovered["facts"]["tier"], &recovered["facts"]["grace_period_end"]), (&json!("pro"), &Value::Null));
    let event = &told(&till, "payment.failed")[0];
    assert_eq!(
        (&event["user_id"], event.get("hosted_invoice_url")),
        (&json!("alice"), None),
        "links are the customer's"
    );
}

#[test]
fn the_whole_story_is_told_once_although_every_event_comes_twice_and_in_any_order() {
    let count: usize = story().iter().map(|(_, events)| events.len()).sum();
    let memory = std::path::Path::new("/dev/shm");
    let config = Config { cases: crate::harness::cases(24), failure_persistence: None, ..Config::default() };
    let orders = prop::collection::vec(prop::collection::vec(0..1000_usize, count * 2), 7);
    TestRunner::new(config)
        .run(&orders, |orders| {
            let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
            let mut till = Till::in_dir(dir, Setup { notify: wishes(), ..Setup::default() });
            let mut known: Vec<Value> = Vec::new();
            for ((now_s, events), order) in story().into_iter().zip(orders) {
                till.clock.set(now_s * 1000 + 5_000);
                known.extend(events.iter().cloned());
                // What is new in any order, each twice, among what is old, delivered or projected again.
                let mut arrivals: Vec<(usize, &Value)> =
                    order.iter().copied().zip(events.iter().chain(&known)).collect();
                arrivals.sort_by_key(|(place, _)| *place);
                for (place, arrival) in arrivals {
                    assert_eq!(till.post(arrival).0, 200);
                    if place % 3 == 0 {
                        let id = arrival["id"].as_str().unwrap().to_owned();
                        till.store.write(move |tx| inbox::replay(tx, &id)).unwrap();
                    }
                    if place % 2 == 0 {
                        till.settle();
                    }
                }
                till.settle();
                at(&mut till, now_s + 5);
                at(&mut till, now_s + 6);
            }
            all_is_told_once(&till);
            Ok(())
        })
        .unwrap();
}

/// The projection after which the process dies, its transaction undone; counted down.
static DIES: AtomicUsize = AtomicUsize::new(usize::MAX);

fn dying(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    let completion = project(tx, event, context, now_ms)?;
    if DIES.fetch_sub(1, Ordering::SeqCst) == 0 {
        return Err(StoreError::Unavailable("the process dies".to_owned()).into());
    }
    Ok(completion)
}

fn reopened(till: Till) -> Till {
    let now_ms = till.clock.now_ms();
    let till = Till::in_dir(till.close(), Setup { notify: wishes(), project: Some(dying), ..Setup::default() });
    till.clock.set(now_ms);
    till
}

/// Takes what is pending; where the process dies meanwhile, the next one goes on.
fn survive(mut till: Till) -> Till {
    loop {
        let now_ms = till.clock.now_ms();
        match till.worker.step(now_ms) {
            Ok(tilld::jobs::worker::WorkerStep::Idle) => return till,
            Ok(tilld::jobs::worker::WorkerStep::Worked) => {}
            Err(StoreError::Unavailable(_)) => {
                till = reopened(till);
                till.worker.recover(now_ms, &tilld::base::thread::Pulse::default()).unwrap();
            }
            Err(error) => unreachable!("{error}"),
        }
    }
}

/// Has the tick fail at the row that `refused` names, once, as if the process had died there; then another one goes on.
fn tick_dies_at(till: Till, refused: &str) -> Till {
    let trigger = format!("CREATE TRIGGER test_dies BEFORE {refused} BEGIN SELECT raise(ABORT, 'dies'); END");
    till.connection().execute_batch(&trigger).unwrap();
    let now_ms = till.clock.now_ms();
    let died = till.tick.step(now_ms).is_err();
    till.connection().execute_batch("DROP TRIGGER test_dies").unwrap();
    let till = if died { reopened(till) } else { till };
    till.tick.step(now_ms).unwrap();
    till
}

#[test]
fn the_whole_story_is_told_once_although_the_process_dies_at_every_step() {
    let count: usize = story().iter().map(|(_, events)| events.len()).sum();
    let refusals =
        ["INSERT ON outbox", "INSERT ON dunning_attempts", "UPDATE ON subscriptions", "UPDATE ON payment_failures"];
    for (dies, refused) in (0..count).zip(refusals.iter().cycle()) {
        let mut till = reopened(told_till());
        DIES.store(dies, Ordering::SeqCst);
        for (now_s, events) in story() {
            till.clock.set(now_s * 1000 + 5_000);
            for event in events.iter().chain(&events) {
                assert_eq!(till.post(event).0, 200);
                till = survive(till);
            }
            till = tick_dies_at(till, refused);
        }
        assert!(DIES.load(Ordering::SeqCst) > count, "it did die, at {dies}");
        all_is_told_once(&till);
    }
}

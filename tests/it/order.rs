//! Any order of arrival, duplicates, replays and batches end in the same tables.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::app::trigger::ApiVersion;
use tilld::store::inbox;
use tilld::stripe::event::{self, EventEnvelope};

use crate::harness::{DAY_S, Setup, Till, cases, dump_through};
use crate::histories::{History, SUB_CREATED, SUB_DELETED, SUB_UPDATED};
use crate::story::Story;
use crate::versions::delivered;

/// Permutations per history.
const PERMUTATIONS: u32 = 500;
/// One in so many arrivals is rebuilt, too: making a new file costs more than a history.
const WITNESSED: u32 = 40;
/// Random walks, each in several orders.
const WALKS: u32 = 150;

/// One thing that reaches the program.
#[derive(Debug, Clone)]
struct Arrival {
    /// Place of the event in its history.
    event: usize,
    /// A second time: project it again, instead of only delivering it again.
    replay: bool,
    /// The worker takes what is there before the next arrives.
    settle: bool,
}

/// Every event once, some twice, in any order and in batches of any size.
fn arrivals(count: usize) -> impl Strategy<Value = Vec<Arrival>> {
    let twice = prop::collection::vec(0..count, 0..=count / 2 + 1);
    let order = twice.prop_flat_map(move |twice| Just((0..count).chain(twice).collect::<Vec<_>>()).prop_shuffle());
    (order, any::<u64>(), any::<u64>()).prop_map(|(order, replays, settles)| {
        let bit = |bits: u64, place: usize| bits.rotate_right(u32::try_from(place % 64).unwrap()) & 1 == 1;
        let arrival = |(place, event)| Arrival {
            event,
            replay: bit(replays, place),
            settle: bit(settles, place) && bit(settles, place + 7),
        };
        order.into_iter().enumerate().map(arrival).collect()
    })
}

/// A till that is emptied and used again: migrating a new file costs more than a history.
pub struct Again {
    pub till: Till,
    direct: Connection,
    tables: Vec<String>,
    runs: u32,
}

impl Again {
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    fn with(setup: Setup) -> Self {
        // These tests are about order, not about what survives a power cut.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let till = Till::in_dir(dir, setup);
        let direct = Connection::open(till.dir.path().join("tilld.db")).unwrap();
        direct.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF").unwrap();
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'refinery_schema_history'
            AND name NOT LIKE 'sqlite_%'";
        let tables =
            direct.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        Self { till, direct, tables, runs: 0 }
    }

    pub fn empty(&self) {
        let deletes: String = self.tables.iter().map(|table| format!("DELETE FROM {table};")).collect();
        self.direct.execute_batch(&format!("BEGIN IMMEDIATE; {deletes} COMMIT")).unwrap();
    }

    /// The tables after these arrivals.
    fn after(&mut self, events: &Deliveries, arrivals: &[Arrival]) -> String {
        self.empty();
        for batch in arrivals.split_inclusive(|arrival| arrival.settle) {
            let batch: Vec<_> = batch.iter().map(|arrival| (events[arrival.event].clone(), arrival.replay)).collect();
            self.till
                .store
                .write(move |tx| {
                    for ((envelope, body), replay) in &batch {
                        if inbox::accept(tx, envelope, body, inbox::EventSource::Webhook, 0)?
                            == inbox::AcceptOutcome::Duplicate
                            && *replay
                        {
                            inbox::replay(tx, &envelope.id)?;
                        }
                    }
                    Ok(())
                })
                .unwrap();
            self.till.settle();
        }
        let failed = self.till.value("SELECT group_concat(error) FROM webhook_attempts");
        assert_eq!(failed, Value::Null, "every event can be projected");
        self.runs += 1;
        if self.runs % WITNESSED == 1 {
            self.till.witness();
        }
        dump_through(&self.direct)
    }
}

fn in_order(count: usize) -> Vec<Arrival> {
    (0..count).map(|event| Arrival { event, replay: false, settle: true }).collect()
}

/// What is delivered: envelope and body.
type Deliveries = Vec<(EventEnvelope, String)>;

fn prepared(story: &Story, version: ApiVersion) -> Deliveries {
    let events = story.steps.iter().filter_map(|step| delivered(step, version));
    let bodies = events.map(|mut event| {
        slim(&mut event["data"]["object"]);
        event.to_string()
    });
    bodies.map(|body| (event::envelope(body.as_bytes()).unwrap(), body)).collect()
}

/// Takes away what no table rests on: half of the time would go into reading it. `versions` feeds whole objects.
fn slim(value: &mut Value) {
    match value {
        Value::Object(object) => {
            const HEAVY: [&str; 8] = [
                "payment_settings",
                "evidence",
                "customer_address",
                "payment_method_details",
                "billing_details",
                "outcome",
                "customer_details",
                "payment_method_options",
            ];
            object.retain(|key, value| !value.is_null() && !HEAVY.contains(&key.as_str()));
            object.values_mut().for_each(slim);
        }
        Value::Array(list) => list.iter_mut().for_each(slim),
        _ => {}
    }
}

fn converges(history: &History) {
    let events = prepared(&history.story, history.version);
    let again = RefCell::new(Again::new());
    let expected = again.borrow_mut().after(&events, &in_order(events.len()));
    (history.holds)(&again.borrow().till);
    let config = Config { cases: cases(PERMUTATIONS), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&arrivals(events.len()), |arrivals| {
            let actual = again.borrow_mut().after(&events, &arrivals);
            same(&events, &arrivals, &expected, &actual)
        })
        .unwrap();
}

/// Fails with the rows that differ and the order of arrival.
fn same(events: &Deliveries, arrivals: &[Arrival], expected: &str, actual: &str) -> Result<(), TestCaseError> {
    if expected == actual {
        return Ok(());
    }
    let only_in = |one: &str, other: &str| {
        let lines = one.lines().filter(|line| !other.lines().any(|known| known == *line));
        lines.map(|line| line.chars().take(900).collect::<String>()).collect::<Vec<_>>().join("\n  ")
    };
    let order: Vec<String> = arrivals
        .iter()
        .map(|arrival| {
            let envelope = &events[arrival.event].0;
            format!("{} {} at {} {arrival:?}", envelope.id, envelope.event_type, envelope.created)
        })
        .collect();
    Err(TestCaseError::fail(format!(
        "expected only:\n  {}\nactual only:\n  {}\narrivals:\n  {}",
        only_in(expected, actual),
        only_in(actual, expected),
        order.join("\n  ")
    )))
}

macro_rules! every_order_ends_the_same {
    ($($history:ident)*) => {$(
        mod $history {
            #[test]
            fn ends_in_the_same_tables_in_any_order() {
                super::converges(&crate::histories::$history());
            }
        }
    )*};
}

every_order_ends_the_same! {
    trial_to_active
    incomplete_to_active_in_one_second
    three_updates_in_one_second
    upgrade
    scheduled_cancel_taken_back
    cancel_now
    past_due
    past_due_and_recovered
    past_due_and_recovered_in_2020
    whole_life
    item_swapped
    deleted_customer
    dispute
    refund
    two_subscriptions
    checkout_before_customer
    owner_changed
    upgrade_not_paid
    paused_after_the_last_attempt
    collection_paused
}

/// One change of a subscription, and whether a new second began before it.
#[derive(Debug, Clone)]
struct Change {
    event_type: &'static str,
    patch: Value,
    new_second: bool,
}

fn change() -> impl Strategy<Value = Change> {
    let patch = prop_oneof![
        4 => prop::sample::select(vec!["active", "past_due", "unpaid", "paused"]).prop_map(|to| json!({"status": to})),
        2 => prop::sample::select(vec!["price_pro", "price_team"])
            .prop_map(|to| json!({"items": {"data": {"0": {"price": {"id": to}}}}})),
        1 => prop::sample::select(vec!["pause_requested", "final_payment_failure"]).prop_map(|why| {
            json!({"status": "paused", "status_details": {"paused": {"subscription": {"type": why}}}})
        }),
        2 => prop::sample::select(vec![Value::Null, json!({"behavior": "void", "resumes_at": null})])
            .prop_map(|to| json!({"pause_collection": to})),
        2 => (1..4_i64).prop_map(|months| {
            json!({"items": {"data": {"0": {"current_period_end": PERIOD_END + months * 30 * DAY_S}}}})
        }),
        2 => any::<bool>().prop_map(|to| json!({"cancel_at_period_end": to})),
        2 => prop::sample::select(vec![Value::Null, json!(PERIOD_END)]).prop_map(|to| json!({"cancel_at": to})),
        2 => (0..3_i64).prop_map(|to| json!({"metadata": {"seats": to.to_string()}})),
        2 => prop::sample::select(vec!["alice", "bob"]).prop_map(|to| json!({"metadata": {"user_id": to}})),
    ];
    let ended = Just((SUB_DELETED, json!({"status": "canceled"})));
    let told = prop_oneof![12 => patch.prop_map(|patch| (SUB_UPDATED, patch)), 1 => ended];
    (told, prop::bool::weighted(0.4)).prop_map(|((event_type, patch), new_second)| Change {
        event_type,
        patch,
        new_second,
    })
}

/// When the period ends, and perhaps the subscription.
const PERIOD_END: i64 = crate::story::T0 + 30 * DAY_S;

/// A subscription that goes through these changes; what changes nothing is not told.
fn walk(changes: &[Change]) -> Story {
    let mut story = Story::of(Some("alice"));
    story.make("customer.created", "customer", json!({"metadata": {"user_id": null}})).make(
        SUB_CREATED,
        "sub",
        json!({}),
    );
    let mut offset_s = 0;
    for change in changes {
        offset_s += i64::from(change.new_second);
        story.at(offset_s).then(change.event_type, "sub", change.patch.clone());
        let told = story.steps.last().unwrap();
        if told.before.as_ref() == Some(&told.object) && change.event_type == SUB_UPDATED {
            story.steps.pop();
        }
        if change.event_type == SUB_DELETED {
            break;
        }
    }
    story
}

#[test]
fn any_walk_of_a_subscription_ends_in_the_same_tables_in_any_order() {
    let again = RefCell::new(Again::new());
    let walks = prop::collection::vec(change(), 1..8).prop_flat_map(|changes| {
        let count = walk(&changes).steps.len();
        (Just(changes), prop::collection::vec(arrivals(count), 3))
    });
    let config = Config { cases: cases(WALKS), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&walks, |(changes, orders)| {
            let story = walk(&changes);
            let events = prepared(&story, ApiVersion::CURRENT);
            let mut again = again.borrow_mut();
            let expected = again.after(&events, &in_order(events.len()));
            if again.till.value("SELECT ambiguous FROM stripe_objects WHERE object = 'subscription'") == 0 {
                let winner = again.till.value("SELECT event_id FROM stripe_subscriptions");
                let rests_on = story.steps.iter().find(|step| Some(step.id.as_str()) == winner.as_str());
                // There and back again within a second: equal states are told apart by nothing.
                prop_assert_eq!(
                    rests_on.map(|step| &step.object),
                    story.steps.last().map(|step| &step.object),
                    "the row rests on what happened last"
                );
            }
            for order in orders {
                let actual = again.after(&events, &order);
                same(&events, &order, &expected, &actual)?;
            }
            Ok(())
        })
        .unwrap();
}

/// A reading of the subscription: before which arrival it is made, and how many steps of the story after the newest that
/// has arrived by then.
#[derive(Debug, Clone, Copy)]
struct Look {
    before: usize,
    ahead: usize,
}

fn looks() -> impl Strategy<Value = Vec<Look>> {
    prop::collection::vec((0..12_usize, 0..3_usize).prop_map(|(before, ahead)| Look { before, ahead }), 1..4)
}

/// What counts of the subscription.
const SHOWN: &str = "SELECT json_array(status, current_period_end, cancel_at_period_end, cancel_at, pause_collection,
    paused_reason, metadata, (SELECT group_concat(stripe_price_id) FROM stripe_subscription_items)) FROM stripe_subscriptions";
const AMBIGUOUS: &str = "SELECT ambiguous FROM stripe_objects WHERE object = 'subscription'";
const TO_FETCH: &str = "SELECT count(*) FROM outbox WHERE kind = 'stripe_call' AND status = 'pending'";

/// Reads the subscription as it is after the step `place` of the story.
fn look(till: &Till, story: &Story, place: usize) {
    let step = &story.steps[place];
    crate::reads::read_now(till, &step.object, step.at_s);
}

#[test]
fn a_walk_with_readings_mixed_in_at_any_place_ends_in_what_happened_last_or_is_fetched() {
    let again = RefCell::new(Again::with(Setup { fetches: true, ..Setup::default() }));
    let walks = prop::collection::vec(change(), 1..8).prop_flat_map(|changes| {
        let count = walk(&changes).steps.len();
        (Just(changes), prop::collection::vec((arrivals(count), looks()), 3))
    });
    let config = Config { cases: cases(WALKS), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&walks, |(changes, orders)| {
            let story = walk(&changes);
            let events = prepared(&story, ApiVersion::CURRENT);
            let mut again = again.borrow_mut();
            again.after(&events, &in_order(events.len()));
            look(&again.till, &story, story.steps.len() - 1);
            let expected = again.till.value(SHOWN);
            for (arrivals, looks) in orders {
                again.empty();
                mixed(&mut again.till, &story, &events, (&arrivals, &looks));
                let ambiguous = again.till.value(AMBIGUOUS) == 1;
                if !ambiguous {
                    prop_assert_eq!(&again.till.value(SHOWN), &expected, "{:?} {:?}", arrivals, looks);
                }
                prop_assert!(!ambiguous || again.till.value(TO_FETCH) != 0, "what is ambiguous is fetched");
                look(&again.till, &story, story.steps.len() - 1);
                prop_assert_eq!(again.till.value(AMBIGUOUS), 0);
                prop_assert_eq!(&again.till.value(SHOWN), &expected, "{:?} {:?}", arrivals, looks);
            }
            Ok(())
        })
        .unwrap();
}

fn mixed(till: &mut Till, story: &Story, events: &Deliveries, (arrivals, looks): (&[Arrival], &[Look])) {
    let mut newest = 1;
    for (place, arrival) in arrivals.iter().enumerate() {
        for one in looks.iter().filter(|one| one.before == place) {
            look(till, story, (newest + one.ahead).min(story.steps.len() - 1));
            // A later reading shows nothing older.
            newest = (newest + one.ahead).min(story.steps.len() - 1);
        }
        newest = newest.max(arrival.event);
        let (envelope, body) = events[arrival.event].clone();
        let replay = arrival.replay;
        till.store
            .write(move |tx| {
                if inbox::accept(tx, &envelope, &body, inbox::EventSource::Webhook, 0)?
                    == inbox::AcceptOutcome::Duplicate
                    && replay
                {
                    inbox::replay(tx, &envelope.id)?;
                }
                Ok(())
            })
            .unwrap();
        if arrival.settle {
            till.settle();
        }
    }
    till.settle();
}

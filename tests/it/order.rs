//! Any order of arrival, duplicates, replays and batches end in the same tables.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tilld::store::inbox;
use tilld::stripe::event::{self, Envelope};

use crate::harness::{Setup, Till};
use crate::histories::History;
use crate::story::Story;

/// Permutations per history.
const PERMUTATIONS: u32 = 500;

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
        let arrival = |(place, event)| Arrival { event, replay: bit(replays, place), settle: bit(settles, place) && bit(settles, place + 7) };
        order.into_iter().enumerate().map(arrival).collect()
    })
}

/// A till that is emptied and used again: migrating a new file costs more than a history.
struct Again {
    till: Till,
    direct: Connection,
    tables: Vec<String>,
}

impl Again {
    fn new() -> Self {
        // These tests are about order, not about what survives a power cut.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let till = Till::in_dir(dir, Setup::default());
        let direct = Connection::open(till.dir.path().join("tilld.db")).unwrap();
        direct.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF").unwrap();
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'refinery_schema_history'
            AND name NOT LIKE 'sqlite_%'";
        let tables =
            direct.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        Self { till, direct, tables }
    }

    fn empty(&self) {
        let deletes: String = self.tables.iter().map(|table| format!("DELETE FROM {table};")).collect();
        self.direct.execute_batch(&format!("BEGIN IMMEDIATE; {deletes} COMMIT")).unwrap();
    }

    /// The tables after these arrivals.
    fn after(&mut self, events: &[(Envelope, String)], arrivals: &[Arrival]) -> String {
        self.empty();
        for batch in arrivals.split_inclusive(|arrival| arrival.settle) {
            let batch: Vec<_> = batch.iter().map(|arrival| (events[arrival.event].clone(), arrival.replay)).collect();
            self.till
                .store
                .write(move |tx| {
                    for ((envelope, body), replay) in &batch {
                        if inbox::accept(tx, envelope, body, 0)? == inbox::Accepted::Duplicate && *replay {
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
        self.till.dump()
    }
}

fn in_order(count: usize) -> Vec<Arrival> {
    (0..count).map(|event| Arrival { event, replay: false, settle: true }).collect()
}

fn prepared(story: &Story) -> Vec<(Envelope, String)> {
    let bodies = story.events().into_iter().map(|event| event.to_string());
    bodies.map(|body| (event::envelope(body.as_bytes()).unwrap(), body)).collect()
}

fn converges(history: &History) {
    let events = prepared(&history.story);
    let again = RefCell::new(Again::new());
    let expected = again.borrow_mut().after(&events, &in_order(events.len()));
    (history.holds)(&again.borrow().till);
    let config = Config { cases: PERMUTATIONS, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&arrivals(events.len()), |arrivals| {
            let actual = again.borrow_mut().after(&events, &arrivals);
            same(&history.story, &arrivals, &expected, &actual)
        })
        .unwrap();
}

/// Fails with the rows that differ and the order of arrival.
fn same(story: &Story, arrivals: &[Arrival], expected: &str, actual: &str) -> Result<(), TestCaseError> {
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
            let step = &story.steps[arrival.event];
            format!("{} {} at {} {arrival:?}", step.id, step.event_type, step.at_s)
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
    item_swapped
    deleted_customer
    dispute
    refund
    two_subscriptions
    checkout_before_customer
    owner_changed
}

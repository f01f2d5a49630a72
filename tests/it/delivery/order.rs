//! Order per user and target, and nothing lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tilld::notify::attempt::DeliveryOutcome;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tilld::jobs::lane::{DELAYS_S, DeliveryLane, LaneKind};
use tilld::jobs::operator::{self, Operator};
use tilld::store::outbox::OutboxEffect;
use tilld::store::outbox::deliveries;

use super::receiver::{Receiver, Reply};
use super::{START_MS, Stepper, put, state};
use crate::harness::Till;

const URL: &str = "https://app.example.com/hook";

/// Numbers by user, in the order in which they were taken.
type Taken = Arc<std::sync::Mutex<Vec<(Option<String>, i64)>>>;

/// A lane whose receiver fails as `fails` says of attempt number and row.
fn lane(till: &Till, fails: impl Fn(usize, &OutboxEffect) -> bool + Send + 'static) -> (Stepper, Taken) {
    let (taken, count) = (Taken::default(), AtomicUsize::new(0));
    let kept = Arc::clone(&taken);
    let attempt = Box::new(move |effect: &OutboxEffect, _| {
        if fails(count.fetch_add(1, Ordering::SeqCst), effect) {
            return DeliveryOutcome::TryAgain { why: "answered 500".to_owned(), after_s: None };
        }
        kept.lock().unwrap().push((effect.user_id.clone(), effect.id));
        DeliveryOutcome::Done(None)
    });
    let lane = DeliveryLane::new(till.store.clone(), URL, LaneKind::Endpoint(super::endpoint(URL)), attempt);
    (Stepper::over(till, lane), taken)
}

fn ids(taken: &Taken) -> Vec<i64> {
    taken.lock().unwrap().iter().map(|(_, id)| *id).collect()
}

#[test]
fn whatever_fails_each_users_events_arrive_in_their_order_and_none_is_lost() {
    let mut runner =
        TestRunner::new(Config { cases: crate::harness::cases(24), failure_persistence: None, ..Config::default() });
    let strategy = (proptest::collection::vec(0..4_usize, 1..150), proptest::collection::vec(any::<bool>(), 40));
    let run = runner.run(&strategy, |(users, failures)| {
        let till = Till::new();
        let names = [Some("alice"), Some("bob"), Some("carol"), None];
        for (number, user) in users.iter().enumerate() {
            put(&till.store, URL, names[*user], number);
        }
        // The last attempt of a row succeeds: one that is given up never arrives.
        let is_last = |effect: &OutboxEffect| usize::try_from(effect.attempts).unwrap() > DELAYS_S.len();
        let fails = move |attempt: usize, effect: &OutboxEffect| {
            failures.get(attempt).copied().unwrap_or(false) && !is_last(effect)
        };
        let (mut lane, taken) = lane(&till, fails);
        while ids(&taken).len() < users.len() {
            lane.settle();
            till.clock.advance(3600 * 1000);
        }
        let mut by_user: BTreeMap<Option<String>, Vec<i64>> = BTreeMap::new();
        for (user, id) in taken.lock().unwrap().iter() {
            by_user.entry(user.clone()).or_default().push(*id);
        }
        for (user, ids) in by_user.iter().filter(|(user, _)| user.is_some()) {
            prop_assert!(ids.is_sorted(), "{:?}: {:?}", user, ids);
        }
        prop_assert_eq!(till.value("SELECT count(*) FROM outbox WHERE status <> 'done'"), 0);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn a_users_failure_keeps_waiting_only_what_is_behind_it() {
    let till = Till::new();
    let rows: Vec<i64> = [Some("alice"), Some("alice"), Some("bob"), None, Some("alice")]
        .iter()
        .zip(0..)
        .map(|(user, n)| put(&till.store, URL, *user, n))
        .collect();
    let stuck = rows[0];
    let (mut lane, taken) = lane(&till, move |_, effect| effect.id == stuck);
    assert_eq!(lane.settle(), 3);
    assert_eq!(ids(&taken), [rows[2], rows[3]]);
    assert_eq!(state(&till, rows[1]), ("pending".to_owned(), 0, 0), "no attempt is counted that was not made");
    // Whoever is discarded keeps nobody waiting.
    let operator = Operator { actor: "cli", now_ms: START_MS };
    assert!(till.store.write(move |tx| operator::discard_delivery(tx, stuck, None, operator)).unwrap());
    assert_eq!(lane.settle(), 2);
    assert_eq!(ids(&taken)[2..], [rows[1], rows[4]]);
}

#[test]
fn one_user_with_many_events_behind_a_failure_is_no_burden_to_a_claim() {
    let till = Till::new();
    till.store
        .write(|tx| {
            for number in 0..3000 {
                let key = format!("webhook:{URL}:x:{number}");
                let new = tilld::store::outbox::NewEffect {
                    kind: tilld::store::outbox::OutboxKind::Webhook,
                    dedupe_key: &key,
                    user_id: Some("alice"),
                    target: Some(URL),
                    payload: "{}",
                    cause: None,
                    due_ms: START_MS,
                    now_ms: START_MS,
                };
                tilld::store::outbox::put(tx, &new)?;
            }
            Ok(())
        })
        .unwrap();
    let (mut lane, _) = lane(&till, |_, _| true);
    assert_eq!(lane.settle(), 1);
    // All others are out of the way: a claim does not even see them.
    assert_eq!(till.value("SELECT count(*) FROM outbox WHERE status = 'pending' AND waits_for IS NULL"), 1);
    let plan: Vec<String> = {
        let connection = till.connection();
        let sql =
            "EXPLAIN QUERY PLAN SELECT id FROM outbox INDEXED BY outbox_ready WHERE target = 'x' AND status = 'pending'
            AND waits_for IS NULL AND next_attempt_at_ms <= 1 ORDER BY next_attempt_at_ms, id LIMIT 64";
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(plan.len(), 1, "no sorting: {plan:?}");
    assert!(plan[0].starts_with("SEARCH outbox USING"), "{plan:?}");
}

#[test]
fn what_a_process_that_died_had_in_hand_is_done_again_and_not_counted() {
    let till = Till::new();
    let receiver = Receiver::answering(Reply::Status(200));
    let rows: Vec<i64> = (0..5).map(|number| put(&till.store, &receiver.url(), Some("alice"), number)).collect();
    let url = receiver.url();
    let claimed = till.store.write(move |tx| deliveries::claim(tx, &url, 64, START_MS)).unwrap();
    assert_eq!(claimed.effects.len(), 5);
    let mut lane = Stepper::of(&till, &receiver.url());
    assert_eq!(lane.settle(), 0, "it belongs to another claim");
    assert_eq!(till.store.write(|tx| tilld::jobs::lane::rescue(tx, START_MS)).unwrap(), (5, vec![]));
    assert_eq!(lane.settle(), 5);
    assert!(rows.iter().all(|id| state(&till, *id) == ("done".to_owned(), 1, 0)));
    let bodies: Vec<String> = receiver.got().iter().map(super::receiver::Got::text).collect();
    assert!(bodies.iter().zip(0..).all(|(body, number)| body.contains(&format!("\"n\":{number}"))), "{bodies:?}");
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_waiting() {
    let till = Till::new();
    let id = put(&till.store, URL, None, 1);
    let (mut lane, _) = lane(&till, |_, _| false);
    lane.step();
    let new = put(&till.store, URL, None, 2);
    assert_eq!(state(&till, id).0, "done");
    till.clock.advance(-3 * 86_400 * 1000);
    lane.correct(tilld::jobs::step::StepCause::SetBack(3 * 86_400));
    assert_eq!(lane.settle(), 1);
    assert_eq!(state(&till, new).0, "done");
}

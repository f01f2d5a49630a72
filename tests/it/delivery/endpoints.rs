//! Endpoints that are disabled, and what brings them back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tilld::base::clock::Clock;
use tilld::jobs::operator::{self, Operator};
use tilld::jobs::step::StepCause;
use tilld::notify::endpoints::EndpointLane;
use tilld::store::webhook_endpoints;

use super::receiver::{Receiver, Reply};
use super::{OPERATOR, START_MS, Stepper, endpoint, put, state};
use crate::harness::{DAY_S, Till};

fn mails(till: &Till) -> Vec<Value> {
    let connection = till.connection();
    let mut statement = connection.prepare("SELECT payload FROM outbox WHERE kind = 'mail' ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect()
}

fn is_disabled(till: &Till, url: &str) -> bool {
    let found = till.store.read(|reader| webhook_endpoints::find(reader, url)).unwrap();
    found.unwrap().disabled_at_ms.is_some()
}

#[test]
fn an_endpoint_that_is_gone_gets_nothing_more_and_the_operator_is_told_once() {
    let till = Till::new();
    let receiver = Receiver::answering(Reply::Status(410));
    let rows: Vec<i64> = (0..3).map(|number| put(&till.store, &receiver.url(), None, number)).collect();
    let mut lane = Stepper::of(&till, &receiver.url());
    assert_eq!(lane.settle(), 1);
    assert!(is_disabled(&till, &receiver.url()));
    till.clock.advance(DAY_S * 1000 - 1);
    assert_eq!((lane.settle(), receiver.count()), (0, 1));
    assert!(rows.iter().all(|id| state(&till, *id) == ("pending".to_owned(), 0, 0)), "they wait, and lose no attempt");
    let mails = mails(&till);
    assert_eq!(mails.len(), 1);
    assert_eq!(
        (mails[0]["notice"].as_str(), mails[0]["to"].as_str()),
        (Some("webhook_endpoint_disabled"), Some(OPERATOR))
    );
    assert!(!mails[0].to_string().contains("/hook"), "what may be a secret is left out: {}", mails[0]);

    // One of its rows, tried again by hand, enables it.
    let (id, operator) = (rows[2], Operator { actor: "cli", now_ms: till.clock.now_ms() });
    assert!(till.store.write(move |tx| operator::deliver_again(tx, id, operator)).unwrap());
    assert_eq!((lane.settle(), receiver.count()), (1, 2));
    assert!(is_disabled(&till, &receiver.url()), "it says so again");
}

/// Rows that the receiver refuses, each on its own day, as many attempts as come due by then.
fn refused_on(till: &Till, lane: &mut Stepper, url: &str, days: &[i64]) {
    for day in days {
        till.clock.set(START_MS + day * DAY_S * 1000);
        put(&till.store, url, None, usize::try_from(1000 + day).unwrap());
        lane.settle();
    }
}

#[test]
fn days_on_which_nothing_was_sent_do_not_count_against_an_endpoint() {
    let till = Till::new();
    let receiver = Receiver::answering(Reply::Status(502));
    let url = receiver.url();
    let mut lane = Stepper::of(&till, &url);
    let id = put(&till.store, &url, None, 1);
    while state(&till, id).0 == "pending" {
        lane.settle();
        till.clock.advance(3600 * 1000);
    }
    refused_on(&till, &mut lane, &url, &[9]);
    assert!(!is_disabled(&till, &url), "it failed on three days, six of the others were idle");
    refused_on(&till, &mut lane, &url, &[20, 40]);
    assert!(is_disabled(&till, &url), "it has failed on five days, and has taken nothing between them");
    assert_eq!(mails(&till).len(), 1);
    assert_eq!(mails(&till)[0]["facts"]["error"], "answered 502");
}

#[test]
fn failures_of_one_day_never_disable_an_endpoint_and_a_success_begins_anew() {
    let till = Till::new();
    let receiver = Receiver::start(|got| match got.text() {
        text if text.contains("good") => Reply::Status(200),
        _ => Reply::Status(500),
    });
    let url = receiver.url();
    let mut lane = Stepper::of(&till, &url);
    for number in 0..50 {
        put(&till.store, &url, None, number);
    }
    lane.settle();
    refused_on(&till, &mut lane, &url, &[1, 2, 3]);
    assert!(!is_disabled(&till, &url));
    put(&till.store, &url, Some("good"), 100);
    lane.settle();
    refused_on(&till, &mut lane, &url, &[5, 6, 7, 8]);
    assert!(!is_disabled(&till, &url), "it took something on the third day");
    refused_on(&till, &mut lane, &url, &[9, 10]);
    assert!(is_disabled(&till, &url));
}

#[test]
fn a_disabled_endpoint_is_tried_once_a_day_and_comes_back_by_itself() {
    let till = Till::new();
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let receiver = Receiver::start(move |_| Reply::Status(if is_well.load(Ordering::SeqCst) { 200 } else { 410 }));
    let url = receiver.url();
    let rows: Vec<i64> = (0..9).map(|number| put(&till.store, &url, Some("alice"), number)).collect();
    let mut lane = Stepper::of(&till, &url);
    lane.settle();
    assert!(is_disabled(&till, &url));
    for day in 1..=12 {
        till.clock.set(START_MS + (day * DAY_S + 60) * 1000);
        assert_eq!((lane.settle(), lane.settle()), (1, 0), "day {day}");
    }
    assert!(is_disabled(&till, &url));
    assert!(rows.iter().all(|id| state(&till, *id).0 == "pending"), "no row is given up while it is disabled");
    well.store(true, Ordering::SeqCst);
    assert_eq!(lane.settle(), 0, "not before the day is over");
    till.clock.set(START_MS + (13 * DAY_S + 120) * 1000);
    assert_eq!(lane.settle(), 9);
    assert!(!is_disabled(&till, &url) && rows.iter().all(|id| state(&till, *id).0 == "done"));
    assert_eq!(mails(&till).len(), 1, "told once");
}

#[test]
fn another_configuration_enables_an_endpoint_and_the_same_does_not() {
    let till = Till::new();
    let receiver = Receiver::answering(Reply::Status(410));
    put(&till.store, &receiver.url(), None, 1);
    Stepper::of(&till, &receiver.url()).settle();
    Stepper::of(&till, &receiver.url());
    assert!(is_disabled(&till, &receiver.url()));
    let other = EndpointLane { fingerprint: "another".to_owned(), ..endpoint(&receiver.url()) };
    till.store.write(move |tx| other.configure(tx)).unwrap();
    assert!(!is_disabled(&till, &receiver.url()));
}

#[test]
fn a_disabled_endpoint_is_not_tried_with_the_one_event_that_it_refuses_for_ever() {
    let till = Till::new();
    let receiver = Receiver::start(|got| Reply::Status(if got.text().contains("\"n\":0") { 410 } else { 200 }));
    let url = receiver.url();
    let rows: Vec<i64> = (0..3).map(|number| put(&till.store, &url, None, number)).collect();
    let mut lane = Stepper::of(&till, &url);
    lane.settle();
    assert!(is_disabled(&till, &url));
    till.clock.advance(DAY_S * 1000);
    lane.step();
    assert!(!is_disabled(&till, &url) && state(&till, rows[1]).0 == "done");
}

#[test]
fn a_disabled_endpoint_is_tried_at_once_after_a_clock_was_set_back_and_then_once_a_day() {
    let till = Till::new();
    let receiver = Receiver::answering(Reply::Status(410));
    let url = receiver.url();
    put(&till.store, &url, None, 1);
    till.clock.advance(30 * DAY_S * 1000);
    let mut lane = Stepper::of(&till, &url);
    assert_eq!(lane.settle(), 1);
    assert!(is_disabled(&till, &url));
    till.clock.set(START_MS);
    assert_eq!(lane.settle(), 0);
    lane.correct(StepCause::SetBack(30 * DAY_S));
    assert_eq!((lane.settle(), lane.settle()), (1, 0));
    till.clock.advance(DAY_S * 1000);
    assert_eq!(lane.settle(), 1);
}

//! Endpoints that are disabled, and what brings them back.

use serde_json::Value;
use tilld::clock::Clock;
use tilld::delivery::endpoint::Endpoint;
use tilld::operations::{self, Operator};
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
    till.clock.advance(DAY_S * 1000);
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
    assert!(till.store.write(move |tx| operations::deliver_again(tx, id, operator)).unwrap());
    assert_eq!((lane.settle(), receiver.count()), (1, 2));
    assert!(is_disabled(&till, &receiver.url()), "it says so again");
}

#[test]
fn five_days_without_success_disable_an_endpoint_and_a_success_begins_them_anew() {
    let till = Till::new();
    let receiver = Receiver::start(|got| match got.text() {
        text if text.contains("good") => Reply::Status(200),
        _ => Reply::Status(500),
    });
    let url = receiver.url();
    let mut lane = Stepper::of(&till, &url);
    let day = |days: i64| till.clock.set(START_MS + days * DAY_S * 1000);
    put(&till.store, &url, None, 1);
    lane.settle();
    day(4);
    put(&till.store, &url, Some("good"), 2);
    put(&till.store, &url, Some("bad"), 3);
    lane.settle();
    day(8);
    lane.settle();
    assert!(!is_disabled(&till, &url), "it took something on the fourth day");
    day(9);
    put(&till.store, &url, Some("bad"), 4);
    put(&till.store, &url, None, 5);
    lane.settle();
    assert!(is_disabled(&till, &url));
    assert_eq!(mails(&till).len(), 1);
    assert_eq!(mails(&till)[0]["facts"]["error"], "answered 500");
}

#[test]
fn another_configuration_enables_an_endpoint_and_the_same_does_not() {
    let till = Till::new();
    let receiver = Receiver::answering(Reply::Status(410));
    put(&till.store, &receiver.url(), None, 1);
    Stepper::of(&till, &receiver.url()).settle();
    Stepper::of(&till, &receiver.url());
    assert!(is_disabled(&till, &receiver.url()));
    let other = Endpoint { fingerprint: "another".to_owned(), ..endpoint(&receiver.url()) };
    till.store.write(move |tx| other.configure(tx)).unwrap();
    assert!(!is_disabled(&till, &receiver.url()));
}

//! Webhooks that do not come: silence, and what catching up finds too late. Each row of the log says what brought it.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::jobs::silence::Silence;

use crate::fake_stripe::FakeStripe;
use crate::harness::{START_S, Setup, Till, notify};
use crate::live::Live;
use crate::samples;

const HOUR_S: i64 = 3600;

fn mails(till: &Till) -> Value {
    till.value("SELECT count(*) FROM outbox WHERE dedupe_key LIKE 'mail:webhooks_missing:%'")
}

#[test]
fn a_silence_is_told_once_and_what_is_found_by_asking_does_not_end_it() {
    let mut till = Till::with(Setup { notify: notify(&[]), ..Setup::default() });
    let mut silence = Silence::new(till.store.clone(), Arc::clone(&till.context), 2 * HOUR_S, false);
    let mut after = |till: &Till, hours: i64| silence.step(till.clock.now_ms() + hours * HOUR_S * 1000).unwrap();
    assert!(!after(&till, 0) && !after(&till, 1), "it is waited for the first one, too");
    assert!(after(&till, 2) && after(&till, 3));
    assert_eq!(mails(&till), json!(1));
    till.clock.advance(HOUR_S * 1000);
    till.feed(&[samples::event("customer.created", "alice", START_S, &[])]);
    assert!(!after(&till, 1));
    assert!(after(&till, 2));
    assert_eq!(mails(&till), json!(2));
    let body = samples::event("customer.updated", "alice", START_S + 1, &[]).to_string();
    let envelope = tilld::stripe::event::envelope(body.as_bytes()).unwrap();
    let received_ms = till.clock.now_ms() + 2 * HOUR_S * 1000;
    till.store
        .write(move |tx| {
            tilld::store::inbox::accept(tx, &envelope, &body, tilld::store::inbox::EventSource::Api, received_ms)
        })
        .unwrap();
    assert!(after(&till, 3), "asking is no webhook");
    assert_eq!(mails(&till), json!(2), "and it is the same silence");
    let (_, health) = till.get("/health/webhooks");
    assert_eq!(health["webhooks"]["last_event_at"], START_S + HOUR_S);
    assert_eq!(health["webhooks"]["last_caught_up_at"], START_S + 3 * HOUR_S);
}

#[test]
fn where_events_are_asked_for_only_those_end_a_silence() {
    let till = Till::new();
    let body = samples::event("customer.created", "alice", START_S, &[]).to_string();
    let envelope = tilld::stripe::event::envelope(body.as_bytes()).unwrap();
    let now_ms = till.clock.now_ms();
    let accept = move |tx: &tilld::store::Tx| {
        tilld::store::inbox::accept(tx, &envelope, &body, tilld::store::inbox::EventSource::Api, now_ms)
    };
    till.store.write(accept).unwrap();
    let silence = |is_pulled| {
        Silence::new(till.store.clone(), Arc::clone(&till.context), HOUR_S, is_pulled)
            .step(now_ms + HOUR_S * 500)
            .unwrap()
    };
    assert!(!silence(true));
}

#[test]
fn each_row_of_the_log_says_what_brought_it() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    // Nobody delivers the fake's webhooks: only asking finds them.
    let customer = fake.add_customer("alice@example.com", "pm_card_visa");
    fake.change(&customer, "customer.updated", &json!({"name": "Alice"}));
    let live = Live::start_beside(dir.path(), &fake);
    let now_s = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let event = samples::event("customer.created", "bob", now_s, &[]);
    assert_eq!(live.post(event.to_string().as_bytes()).unwrap().status, 200);
    let found = || live.get("/api/v1/admin/events").1["data"].as_array().unwrap().clone();
    crate::front_door::wait_until(|| found().len() > 1, || format!("{customer}: {:?}", found()));
    let of = |source: &str| found().iter().filter(|event| event["source"] == source).count();
    assert_eq!(of("webhook"), 1);
    assert_eq!(of("webhook") + of("api"), found().len());
}

#[test]
fn two_walks_in_a_row_that_find_old_events_are_told_and_one_after_a_pause_is_not() {
    let fake = FakeStripe::start();
    let till = Till::with(Setup { notify: notify(&[]), ..Setup::default() });
    let (means, _stopper) = crate::drift::means_with(&till, &fake, 8 << 20);
    let customer = fake.create("customer", &json!({"email": "a@example.com"}));
    let mut late = tilld::jobs::schedule::LateEventCounter::default();
    let mut walk = |after_s: i64| {
        // Nothing delivers: each change is found by asking, `after_s` after it happened.
        fake.change(&customer, "customer.updated", &json!({"name": after_s.to_string()}));
        fake.clock().advance(after_s * 1000);
        till.clock.set(fake.clock().now_ms());
        let caught = tilld::outward::sync::catch_up::run(&means, &|| ()).unwrap();
        late.note(&means, caught.late, till.clock.now_ms()).unwrap();
        caught.late
    };
    assert_eq!((walk(60), mails(&till)), (0, json!(0)), "what is young may still come");
    assert!(walk(3600) > 0);
    assert_eq!(mails(&till), json!(0), "it may have been the first walk after a pause");
    assert!(walk(1200) > 0);
    assert_eq!(mails(&till), json!(1));
    walk(1200);
    assert_eq!(mails(&till), json!(1), "one a day");
}

//! A clock that is set while the daemon runs.

use serde_json::{Value, json};
use tilld::clock::Clock;
use tilld::projection::{Context, Event, ProjectionError, project};
use tilld::store::Tx;
use tilld::store::inbox::Completion;
use tilld::stripe::signature;

use super::event;
use crate::harness::{DAY_S, SECRET, START_S, Setup, Till};

const HOUR_MS: i64 = 3_600_000;
const STUBBORN: &str = "evt_stubborn";

fn failing(tx: &Tx, event: &Event, context: &Context, now_ms: i64) -> Result<Completion, ProjectionError> {
    assert_ne!(event.id, STUBBORN, "on purpose");
    project(tx, event, context, now_ms)
}

fn stubborn() -> Value {
    let mut event = event(0);
    event["id"] = json!(STUBBORN);
    event
}

/// Delivers as Stripe does: signed by the true time, whatever our clock says.
fn deliver(till: &Till, event: &Value, true_s: i64) -> (u16, Value) {
    let body = event.to_string();
    let header = signature::sign(SECRET, true_s, body.as_bytes());
    till.post_with(Some(&header), body.as_bytes())
}

#[test]
fn while_the_clock_is_wrong_webhooks_are_refused_for_that_reason_and_none_is_lost() {
    for (moved_s, code) in [(-3600, "signature_future"), (DAY_S, "signature_stale")] {
        let mut till = Till::new();
        assert_eq!(deliver(&till, &event(1), START_S).0, 200);
        till.clock.advance(moved_s * 1000);
        let (status, answer) = deliver(&till, &event(2), START_S + 1);
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)));
        // What had come before is projected all the same, and everything answers.
        till.settle();
        assert_eq!(till.entitlement("user_1")["entitled"], true, "{moved_s}");
        for path in ["/readyz", "/health/webhooks", "/api/v1/users/user_1/audit", "/api/v1/admin/events"] {
            assert_eq!(till.get(path).0, 200, "{path}");
        }
        assert_eq!(till.get("/health/webhooks").1["webhooks"]["oldest_pending_age_s"], Value::Null);
        // Set right again, Stripe's next attempt is taken.
        till.clock.advance(-moved_s * 1000);
        assert_eq!(deliver(&till, &event(2), START_S + 1).0, 200);
        till.settle();
        assert_eq!(till.entitlement("user_2")["entitled"], true);
    }
}

#[test]
fn an_event_that_waits_while_the_clock_goes_back_is_of_age_nothing_and_is_taken() {
    let mut till = Till::new();
    assert_eq!(till.post(&event(1)).0, 200);
    till.clock.advance(-HOUR_MS);
    assert_eq!(till.get("/health/webhooks").1["webhooks"]["oldest_pending_age_s"], 0);
    assert_eq!(till.get("/readyz").0, 200);
    till.settle();
    assert_eq!(till.value("SELECT count(*) FROM stripe_webhooks_log WHERE status = 'processed'"), 1);
}

fn due_ms(till: &Till) -> i64 {
    till.value("SELECT next_retry_at_ms FROM webhook_retry_queue").as_i64().unwrap()
}

#[test]
fn a_retry_waits_its_own_delay_however_far_the_clock_is_set_back() {
    let mut till = Till::with(Setup { project: Some(failing), ..Setup::default() });
    till.feed(&[stubborn()]);
    till.retrier.step(till.clock.now_ms()).unwrap();
    let delay_ms = due_ms(&till) - till.clock.now_ms();
    assert!((15_000..=30_000).contains(&delay_ms));
    // While it runs: the first look after the step sets the due time anew.
    till.clock.advance(-HOUR_MS);
    assert_eq!(till.retrier.step(till.clock.now_ms()).unwrap(), 0);
    assert_eq!(due_ms(&till), till.clock.now_ms() + delay_ms, "its delay from now");
    till.clock.advance(delay_ms);
    assert_eq!(till.retrier.step(till.clock.now_ms()).unwrap(), 1);
    till.settle();
    assert_eq!(till.value("SELECT retry_count FROM webhook_retry_queue"), 2, "it was tried again");

    // While it is down: the first look of the next process does.
    let far_ms = due_ms(&till) + DAY_S * 1000;
    till.connection().execute("UPDATE webhook_retry_queue SET next_retry_at_ms = ?1", [far_ms]).unwrap();
    let now_ms = till.clock.now_ms();
    let mut till = Till::in_dir(till.close(), Setup { project: Some(failing), ..Setup::default() });
    till.clock.set(now_ms);
    assert_eq!(till.retrier.step(now_ms).unwrap(), 0);
    assert!((now_ms + 30_000..=now_ms + 60_000).contains(&due_ms(&till)), "{} after {now_ms}", due_ms(&till));
    // What is due rightly is left alone.
    let due = due_ms(&till);
    till.clock.advance(10_000);
    till.retrier.step(till.clock.now_ms()).unwrap();
    assert_eq!(due_ms(&till), due);
}

#[test]
fn a_clock_set_forward_a_day_makes_retries_due_and_costs_each_one_attempt() {
    let mut till = Till::with(Setup { project: Some(failing), ..Setup::default() });
    till.feed(&[stubborn()]);
    till.clock.advance(DAY_S * 1000);
    assert_eq!(till.retrier.step(till.clock.now_ms()).unwrap(), 1);
    till.settle();
    assert_eq!(till.retrier.step(till.clock.now_ms()).unwrap(), 0, "the next attempt has a delay of its own");
    assert_eq!(till.value("SELECT retry_count FROM webhook_retry_queue"), 2);
}

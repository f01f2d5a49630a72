//! A clock that is set while the daemon runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::base::thread::{Pulse, stopper};
use tilld::jobs::retrier::Retrier;
use tilld::jobs::step::{LoopContext, StepJob, StepLoop};
use tilld::jobs::tick::Tick;
use tilld::notify::NotifyContext;
use tilld::notify::project;
use tilld::objects::{ProjectedEvent, ProjectionError};
use tilld::store::Tx;
use tilld::store::inbox::EventCompletion;
use tilld::stripe::signature;

use super::event;
use crate::harness::{DAY_S, SECRET, START_S, Setup, Till, notify};

const HOUR_MS: i64 = 3_600_000;
const STUBBORN: &str = "evt_stubborn";

fn failing(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
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

/// What the retry thread does in one turn: how many retries it releases.
fn turn(till: &Till, retrier: &mut StepLoop<Retrier>) -> i64 {
    let queued = || till.value("SELECT count(*) FROM webhook_retry_queue").as_i64().unwrap();
    let before = queued();
    till.turn(retrier).unwrap();
    before - queued()
}

/// A retry thread that begins.
fn retrier(till: &Till) -> StepLoop<Retrier> {
    StepLoop::new(Retrier::new(till.store.clone(), bounded(1).0, Setup::default().retry))
}

#[test]
fn a_retry_waits_its_own_delay_however_far_the_clock_is_set_back() {
    let mut till = Till::with(Setup { project: Some(failing), ..Setup::default() });
    till.feed(&[stubborn()]);
    let mut thread = retrier(&till);
    assert_eq!(turn(&till, &mut thread), 0);
    let delay_ms = due_ms(&till) - till.clock.now_ms();
    assert!((15_000..=30_000).contains(&delay_ms));
    // While it runs: the first look after the step sets the due time anew.
    till.clock.advance(-HOUR_MS);
    assert_eq!(turn(&till, &mut thread), 0);
    assert_eq!(due_ms(&till), till.clock.now_ms() + delay_ms, "its delay from now");
    till.clock.advance(delay_ms);
    assert_eq!(turn(&till, &mut thread), 1);
    till.settle();
    assert_eq!(till.value("SELECT retry_count FROM webhook_retry_queue"), 2, "it was tried again");

    // While it is down: the first look of the next process does.
    let far_ms = due_ms(&till) + DAY_S * 1000;
    till.connection().execute("UPDATE webhook_retry_queue SET next_retry_at_ms = ?1", [far_ms]).unwrap();
    let now_ms = till.clock.now_ms();
    drop(thread);
    let till = Till::in_dir(till.close(), Setup { project: Some(failing), ..Setup::default() });
    till.clock.set(now_ms);
    let mut thread = retrier(&till);
    assert_eq!(turn(&till, &mut thread), 0);
    assert!((now_ms + 30_000..=now_ms + 60_000).contains(&due_ms(&till)), "{} after {now_ms}", due_ms(&till));
    // What is due rightly is left alone.
    let due = due_ms(&till);
    till.clock.advance(10_000);
    assert_eq!(turn(&till, &mut thread), 0);
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

const APPLICATION: &str = "https://app.example/hooks";

/// A payer whose trial, and with it the answer, ends in some days, and an application that is told of changes.
fn with_a_payer_who_cancels() -> Till {
    let notify = notify(&[(APPLICATION, &["entitlement.changed"])]);
    let mut till = Till::with(Setup { notify, ..Setup::default() });
    let mut event = event(1);
    event["data"]["object"]["cancel_at"] = json!(START_S + 10 * DAY_S);
    till.feed(&[event]);
    assert_eq!(till.entitlement("user_1")["entitled"], true);
    till
}

/// A turn of a thread's loop at a time by our clock, and by the other one.
fn look<J: StepJob>(till: &Till, turning: &mut StepLoop<J>, now_ms: i64, at: Instant)
where
    J::Error: std::fmt::Debug,
{
    let (pulse, (_stopper, stop)) = (Pulse::default(), stopper());
    let around = LoopContext { stop: &stop, clock: &*till.clock, pulse: &pulse };
    turning.ring();
    turning.turn(now_ms, at, &around).unwrap();
}

fn told(till: &Till) -> Value {
    till.value(
        "SELECT group_concat(json_extract(payload, '$.data.new.entitled')) FROM (SELECT payload FROM outbox ORDER BY id)",
    )
}

#[test]
fn a_clock_that_was_ahead_for_half_a_minute_tells_nothing() {
    let till = with_a_payer_who_cancels();
    let (before, start) = (told(&till), Instant::now());
    let now_ms = till.clock.now_ms();
    let mut tick = StepLoop::new(Tick::new(till.store.clone(), Arc::clone(&till.context)));
    look(&till, &mut tick, now_ms, start);
    for seconds in [5_u64, 30] {
        let ahead_ms = now_ms + 400 * DAY_S * 1000 + i64::try_from(seconds).unwrap() * 1000;
        look(&till, &mut tick, ahead_ms, start + Duration::from_secs(seconds));
        assert_eq!(told(&till), before, "the leap is waited out");
    }
    look(&till, &mut tick, now_ms + 35_000, start + Duration::from_secs(35));
    assert_eq!((told(&till), &till.entitlement("user_1")["entitled"]), (before, &json!(true)));
}

#[test]
fn what_was_computed_while_the_clock_was_ahead_is_computed_anew_when_it_is_set_back_or_at_the_next_start() {
    for restarted in [false, true] {
        let till = with_a_payer_who_cancels();
        let start = Instant::now();
        let mut tick = StepLoop::new(Tick::new(till.store.clone(), Arc::clone(&till.context)));
        let now_ms = till.clock.now_ms();
        if !restarted {
            look(&till, &mut tick, now_ms, start);
        }
        // Computed by whatever runs meanwhile.
        till.tick.step(now_ms + 400 * DAY_S * 1000).unwrap();
        assert_eq!(till.value("SELECT entitled FROM subscriptions"), json!(0));
        let told_wrong = told(&till).as_str().unwrap().to_owned();
        till.clock.set(now_ms + 30_000);
        look(&till, &mut tick, now_ms + 30_000, start + Duration::from_secs(40));
        assert_eq!(till.value("SELECT entitled FROM subscriptions"), json!(1), "restarted: {restarted}");
        assert_eq!(told(&till), json!(format!("{told_wrong},1")), "the last word is the right one");
        assert_eq!(till.value("SELECT count(*) FROM subscriptions WHERE updated_at_ms > 1767225630000"), json!(0));
    }
}

#[test]
fn deliveries_wait_while_the_clock_is_not_to_be_believed() {
    let till = with_a_payer_who_cancels();
    let (sent, seen) = bounded(64);
    let attempt: tilld::notify::attempt::DeliveryAttempt = Box::new(move |_, _| {
        sent.send(()).unwrap();
        tilld::notify::attempt::DeliveryOutcome::Done(None)
    });
    let lane = tilld::jobs::lane::DeliveryLane::new(
        till.store.clone(),
        APPLICATION,
        tilld::jobs::lane::LaneKind::None,
        attempt,
    );
    let (mut lane, now_ms, start) = (StepLoop::new(lane), till.clock.now_ms(), Instant::now());
    // Whether a delivery that is due is made.
    let mut may = |moved_ms: i64, seconds: u64| {
        let passed_ms = i64::try_from(seconds).unwrap() * 1000;
        due_again(&till);
        look(&till, &mut lane, now_ms + moved_ms + passed_ms, start + Duration::from_secs(seconds));
        seen.try_iter().count() == 1
    };
    assert!(may(0, 0) && may(0, 1));
    let leap_ms = 400 * DAY_S * 1000;
    assert!(!may(leap_ms, 2) && !may(leap_ms, 32));
    assert!(!may(0, 33) && !may(0, 40), "first what is wrong is put right");
    assert!(may(0, 49));
    assert!(!may(leap_ms, 50) && may(leap_ms, 141), "one that stays is the truth");
}

/// Lets what was delivered be due once more.
fn due_again(till: &Till) {
    let sql = "UPDATE outbox SET status = 'pending', attempts = 0, claimed_at_ms = NULL, finished_at_ms = NULL";
    assert_eq!(till.connection().execute(sql, []).unwrap(), 1);
}

//! Failure: a panic is a failed attempt, a killer is isolated, an impossible event is a dead letter at once, and a
//! database that cannot write blames nobody. In every case the other events go on.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;
use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::base::retry::{self, RetryPolicy};
use tilld::base::thread::{Pulse, Threads, stopper};
use tilld::http::request::Method;
use tilld::jobs::retrier::{Retrier, TICKETS};
use tilld::jobs::step::LoopContext;
use tilld::jobs::worker::{Worker, WorkerStep};
use tilld::notify::NotifyContext;
use tilld::notify::project;
use tilld::notify::settings::NoticeSettings;
use tilld::objects::{ProjectedEvent, ProjectionContext, ProjectionError};
use tilld::store::inbox::{self, EventCompletion};
use tilld::store::{Store, StoreError, Tx};
use tilld::stripe::event;

use crate::harness::{DAY_S, START_S, Setup, Till};
use crate::live::{Live, database, witness};
use crate::main_job::sample;

const POISON: &str = "evt_poison";
const POLICY: RetryPolicy = RetryPolicy { max_attempts: 4, base_delay_s: 30, max_delay_s: 3600 };

fn poison() -> Value {
    let mut event = sample("customer.subscription.created", "mallory", "1");
    event["id"] = json!(POISON);
    event
}

/// One event that is in nobody's way.
fn harmless(number: usize) -> Value {
    sample("customer.subscription.created", &format!("user_{number}"), "1")
}

fn panicking(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    assert_ne!(event.id, POISON, "the poison works");
    project(tx, event, context, now_ms)
}

fn panics() -> Setup {
    Setup { project: Some(panicking), retry: POLICY, ..Setup::default() }
}

/// Ends the process and begins anew on the same file, at the same time of day.
fn reopen(till: Till, setup: Setup) -> Till {
    let now_ms = till.clock.now_ms();
    let till = Till::in_dir(till.close(), setup);
    till.clock.set(now_ms);
    till
}

fn count(till: &Till, table_and_condition: &str) -> i64 {
    till.value(&format!("SELECT count(*) FROM {table_and_condition}")).as_i64().unwrap()
}

fn state(till: &Till, event_id: &str) -> (Value, i64) {
    let of =
        |column: &str| till.value(&format!("SELECT {column} FROM stripe_webhooks_log WHERE event_id = '{event_id}'"));
    (of("status"), of("processing_attempts").as_i64().unwrap())
}

fn bury_poison(till: &mut Till) {
    assert_eq!(till.post(&poison()).0, 200);
    till.settle();
    while count(till, "webhook_retry_queue") > 0 {
        till.clock.advance(3_600_000);
        till.retrier.step(till.clock.now_ms()).unwrap();
        till.settle();
    }
    assert_eq!(state(till, POISON), (json!("dead"), 4));
}

#[test]
fn a_panic_is_a_failed_attempt_whose_count_and_due_time_outlive_the_process() {
    let mut till = Till::with(panics());
    for event in [&harmless(1), &poison(), &harmless(2)] {
        assert_eq!(till.post(event).0, 200);
    }
    let mut due_ms = START_S * 1000;
    for attempt in 1..POLICY.max_attempts {
        till.settle();
        assert_eq!(till.value("SELECT created_at_ms FROM webhook_retry_queue"), START_S * 1000, "the first failure");
        assert_eq!(state(&till, POISON), (json!("retrying"), attempt.into()));
        due_ms += i64::try_from(POLICY.delay_ms(attempt, retry::jitter_of(POISON, attempt))).unwrap();
        assert_eq!(till.value("SELECT next_retry_at_ms FROM webhook_retry_queue"), due_ms);
        till = reopen(till, panics());
        till.settle();
        assert_eq!(till.retrier.step(due_ms - 1).unwrap(), 0, "not before it is due");
        assert_eq!(till.retrier.step(due_ms).unwrap(), 1);
        assert!(till.bell.try_recv().is_ok(), "the worker is rung");
        till.clock.set(due_ms);
    }
    till.settle();
    assert_eq!(state(&till, POISON), (json!("dead"), 4));
    assert_eq!((count(&till, "webhook_retry_queue"), count(&till, "webhook_attempts")), (0, 4));
    assert_eq!(count(&till, "stripe_webhooks_log WHERE status = 'processed' AND processing_attempts = 1"), 2);
    let (status, letter) = till.get(&format!("/api/v1/admin/webhooks/dlq/{POISON}"));
    assert_eq!((status, &letter["retry_count"]), (200, &json!(4)));
    assert!(
        letter["error"].as_str().unwrap().contains("panicked")
            && letter["error"].as_str().unwrap().contains("the poison works")
    );
    assert_eq!(
        count(&till, "stripe_subscriptions WHERE stripe_customer_id LIKE 'cus_%'"),
        2,
        "nothing of a failed attempt is kept"
    );

    // A program without the fault takes it, once.
    let mut till = reopen(till, Setup { retry: POLICY, ..Setup::default() });
    let replay = format!("/api/v1/admin/webhooks/dlq/{POISON}/replay");
    assert_eq!(till.call(Method::Post, &replay, &Value::Null).0, 200);
    assert_eq!(till.call(Method::Post, &replay, &Value::Null).0, 404, "it is no dead letter any more");
    till.settle();
    assert_eq!(state(&till, POISON), (json!("processed"), 1));
    assert_eq!(till.entitlement("mallory")["entitled"], true);
    assert_eq!(count(&till, "webhook_dead_letter_queue"), 0);
    till.witness();
}

#[test]
fn a_dead_letter_is_replayed_or_discarded_once_and_both_are_on_record() {
    let mut till = Till::with(panics());
    bury_poison(&mut till);
    let letter = format!("/api/v1/admin/webhooks/dlq/{POISON}");
    let (status, answer) =
        till.call(Method::Post, "/api/v1/admin/webhooks/dlq/replay", &json!({"type": "invoice.paid"}));
    assert_eq!((status, &answer["replayed"]), (200, &json!(0)), "of another type");
    let (status, answer) = till.call(Method::Post, "/api/v1/admin/webhooks/dlq/replay", &json!({"limit": 5}));
    assert_eq!((status, &answer["event_ids"]), (200, &json!([POISON])));
    assert_eq!(state(&till, POISON), (json!("pending"), 0), "its attempts are forgotten");
    till.settle();
    assert_eq!(till.call(Method::Delete, &letter, &Value::Null).0, 404, "it is retrying, not dead");
    bury_poison(&mut till);
    assert_eq!(till.call(Method::Delete, &letter, &json!({"reason": 7})).0, 400);
    assert_eq!(till.call(Method::Delete, &letter, &json!({"reason": "a test"})).0, 200);
    assert_eq!(till.call(Method::Delete, &letter, &Value::Null).0, 404);
    assert_eq!(state(&till, POISON).0, "ignored");
    assert_eq!(
        till.value("SELECT json_extract(detail, '$.reason') FROM audit_log WHERE action = 'dead_letter.discard'"),
        "a test"
    );
    assert_eq!(count(&till, "audit_log WHERE action = 'event.replay' AND actor = 'api'"), 1);
    till.witness();
    // The event itself was kept, and can still be brought back.
    let mut till = reopen(till, Setup::default());
    let replay =
        |till: &Till, id: &str| till.call(Method::Post, &format!("/api/v1/admin/events/{id}/replay"), &Value::Null).0;
    assert_eq!((replay(&till, POISON), replay(&till, "evt_unknown")), (200, 404));
    till.settle();
    assert_eq!(state(&till, POISON), (json!("processed"), 1));
}

#[test]
fn a_replay_of_a_waiting_event_takes_it_out_of_the_queue_and_of_a_processed_one_changes_nothing() {
    let mut till = Till::with(panics());
    till.feed(&[harmless(1), poison()]);
    assert_eq!(count(&till, "webhook_retry_queue"), 1);
    let mut till = reopen(till, Setup::default());
    let tables = |till: &Till| {
        till.dump().lines().filter(|line| !line.contains("event.replay")).map(str::to_owned).collect::<Vec<_>>()
    };
    let replay =
        |till: &Till, id: &str| till.call(Method::Post, &format!("/api/v1/admin/events/{id}/replay"), &Value::Null).0;
    assert_eq!(replay(&till, POISON), 200);
    assert_eq!(count(&till, "webhook_retry_queue"), 0);
    till.settle();
    assert_eq!(state(&till, POISON), (json!("processed"), 1));
    let before = tables(&till);
    assert_eq!(replay(&till, POISON), 200);
    till.settle();
    assert_eq!(tables(&till), before);
}

#[test]
fn an_event_that_can_never_be_projected_is_a_dead_letter_at_once_with_the_field_named() {
    let mut till = Till::new();
    for (number, amount) in ["\"12.50\"", "1.5", "99999999999999999999", "-1e300", "[]", "true"].into_iter().enumerate()
    {
        let mut event = sample("invoice.paid", &format!("user_{number}"), "1");
        event["data"]["object"]["amount_due"] = serde_json::from_str(amount).unwrap();
        till.feed(&[event.clone()]);
        let id = event["id"].as_str().unwrap();
        assert_eq!(state(&till, id), (json!("dead"), 1), "{amount}");
        let error = till.get(&format!("/api/v1/admin/webhooks/dlq/{id}")).1["error"].to_string();
        assert!(error.contains("data.object.amount_due"), "{amount}: {error}");
    }
    assert_eq!((count(&till, "stripe_invoices"), count(&till, "stripe_objects")), (0, 0), "nothing of them was kept");
    till.feed(&[harmless(1)]);
    assert_eq!(till.entitlement("user_1")["entitled"], true);
    assert_eq!(till.get("/health/webhooks").1["webhooks"]["dlq_items"], 6);
}

static STORE_IS_DOWN: AtomicBool = AtomicBool::new(true);

fn unavailable(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    let completion = project(tx, event, context, now_ms)?;
    if event.id == POISON && STORE_IS_DOWN.load(Ordering::SeqCst) {
        return Err(StoreError::Unavailable("no room".to_owned()).into());
    }
    Ok(completion)
}

#[test]
fn a_database_that_cannot_write_costs_no_event_an_attempt_not_even_a_suspect() {
    let down = || Setup { project: Some(unavailable), retry: POLICY, ..Setup::default() };
    let mut till = Till::with(down());
    for event in [&harmless(1), &poison(), &harmless(2)] {
        assert_eq!(till.post(event).0, 200);
    }
    for _ in 0..10 {
        assert!(matches!(till.worker.step(START_S * 1000), Err(StoreError::Unavailable(_))));
    }
    assert_eq!(count(&till, "stripe_webhooks_log WHERE status = 'pending' AND processing_attempts = 0"), 3);
    assert_eq!(count(&till, "stripe_subscriptions"), 0, "the batch is kept whole or not at all");
    // The process ends; the next one finds the claim and takes its events one by one.
    let mut till = reopen(till, down());
    for _ in 0..10 {
        assert!(matches!(till.worker.recover(START_S * 1000, &Pulse::default()), Err(StoreError::Unavailable(_))));
    }
    STORE_IS_DOWN.store(false, Ordering::SeqCst);
    till.worker.recover(START_S * 1000, &Pulse::default()).unwrap();
    till.settle();
    assert_eq!(count(&till, "stripe_webhooks_log WHERE status = 'processed' AND processing_attempts = 1"), 3);
}

#[test]
fn a_full_disk_is_answered_with_503_and_with_room_again_everything_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start_on_full_disk(dir.path(), 3072);
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for number in 0.. {
        let body = harmless(number).to_string();
        let answer = live.post(body.as_bytes()).unwrap();
        match answer.status {
            200 => accepted.push(body),
            _ => {
                assert_eq!(answer.status, 503, "{}", answer.body);
                refused += 1;
            }
        }
        if refused >= 3 && live.get("/readyz").0 == 503 {
            break;
        }
    }
    assert!(!accepted.is_empty());
    live.grow();
    let more = harmless(1_000_000).to_string();
    assert_eq!(live.post(more.as_bytes()).unwrap().status, 200);
    live.settle();
    let events = live.get("/api/v1/admin/events?status=dead").1["data"].as_array().unwrap().len();
    assert_eq!(events, 0);
    assert_eq!(live.terminate(), Some(0));
    let connection = rusqlite::Connection::open(database(dir.path())).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let total = i64::try_from(accepted.len()).unwrap() + 1;
    let done = "SELECT count(*) FROM stripe_webhooks_log WHERE status = 'processed' AND processing_attempts = 1";
    assert_eq!(count(done), total);
    assert_eq!(count("SELECT count(*) FROM stripe_webhooks_log"), total);
    assert_eq!(count("SELECT count(*) FROM webhook_attempts"), 0);
    witness(dir.path(), &[]);
}

#[test]
fn retries_whose_tickets_were_lost_are_found_in_the_table() {
    fn fails(_: &Tx, _: &ProjectedEvent, _: &NotifyContext, _: i64) -> Result<EventCompletion, ProjectionError> {
        Err(StoreError::Sql("on purpose".to_owned()).into())
    }
    let mut till = Till::with(Setup { project: Some(fails), ..Setup::default() });
    let total = TICKETS + 200;
    let thing = |number: usize| {
        let object = json!({"id": format!("thing_{number}"), "object": "thing"});
        json!({"id": format!("evt_{number}"), "object": "event", "type": "thing.made", "created": START_S, "data": {"object": object}})
    };
    let bodies: Vec<String> = (0..total).map(|number| thing(number).to_string()).collect();
    till.store
        .write(move |tx| {
            bodies.iter().try_for_each(|body| {
                let envelope = event::envelope(body.as_bytes()).unwrap();
                inbox::accept(tx, &envelope, body, inbox::EventSource::Webhook, START_S * 1000).map(|_| ())
            })
        })
        .unwrap();
    till.settle();
    assert_eq!(till.tickets.len(), TICKETS, "the channel is full, and the worker did not wait");
    assert_eq!(count(&till, "webhook_retry_queue"), i64::try_from(total).unwrap());
    // A retry thread that was never handed a ticket.
    let (ring, _bell) = bounded(1);
    let retrier = Retrier::new(till.store.clone(), ring, POLICY);
    let mut released = 0;
    while let step @ 1.. = retrier.step((START_S + 30) * 1000).unwrap() {
        released += step;
    }
    drop(retrier);
    assert_eq!(released, total);
    let mut till = reopen(till, Setup::default());
    till.settle();
    assert_eq!(
        count(&till, "stripe_webhooks_log WHERE status = 'ignored' AND processed = 1 AND processing_attempts = 2"),
        i64::try_from(total).unwrap()
    );
}

/// Counts how often it is asked.
struct Asked(AtomicUsize);

impl Clock for Asked {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst);
        (START_S + DAY_S) * 1000
    }
}

#[test]
fn the_retry_thread_pauses_while_the_database_refuses_its_writes() {
    let mut till = Till::with(panics());
    till.feed(&[poison()]);
    let refuse = "CREATE TRIGGER test_refuse BEFORE DELETE ON webhook_retry_queue BEGIN SELECT raise(ABORT, 'no'); END";
    till.connection().execute_batch(refuse).unwrap();
    let asked = Arc::new(Asked(AtomicUsize::new(0)));
    let (ring, _bell) = bounded(1);
    let (retrier, tickets, clock) =
        (Retrier::new(till.store.clone(), ring, POLICY), till.tickets.clone(), Arc::clone(&asked));
    let (stopper, stop) = stopper();
    let work = move || {
        let around = LoopContext { stop: &stop, clock: clock.as_ref(), pulse: &Pulse::default() };
        tilld::jobs::step::run(retrier, &tickets, &around);
    };
    let thread = Threads::default().spawn("retrier", work).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(stopper);
    thread.join();
    // Once at the start, once for the ticket that was waiting.
    assert!((1..=2).contains(&asked.0.load(Ordering::SeqCst)), "{} turns", asked.0.load(Ordering::SeqCst));
    till.connection().execute_batch("DROP TRIGGER test_refuse").unwrap();
    assert_eq!(till.retrier.step((START_S + DAY_S) * 1000).unwrap(), 1, "nothing is lost by it");
}

#[test]
fn another_program_that_writes_for_a_moment_is_waited_for() {
    let mut till = Till::new();
    let other = till.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| till.post(&harmless(1)).0);
        std::thread::sleep(Duration::from_millis(200));
        assert!(!answer.is_finished(), "no answer before the row is on disk");
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(answer.join().unwrap(), 200);
    });
    till.settle();
    assert_eq!(count(&till, "stripe_webhooks_log WHERE status = 'processed'"), 1);
}

const CHILD: &str = "TILLD_TEST_CRASH_DIR";

/// Not a test by itself: the process that `an_event_that_kills_the_process…` starts, and that the event kills.
#[test]
fn child() {
    fn aborting(
        tx: &Tx,
        event: &ProjectedEvent,
        context: &NotifyContext,
        now_ms: i64,
    ) -> Result<EventCompletion, ProjectionError> {
        let completion = project(tx, event, context, now_ms)?;
        if event.id == POISON {
            std::process::abort();
        }
        Ok(completion)
    }
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (store, writer) = Store::open(&database(Path::new(&dir)), &Threads::default()).unwrap();
    let setup = Setup::default();
    let policy = tilld::base::entitlement::EntitlementPolicy {
        plans: setup.plans,
        grace_period_s: 0,
        stale_after_s: 0,
        when_stale: tilld::base::entitlement::WhenStale::Keep,
        paused_collection: tilld::base::entitlement::PausedCollection::Keep,
    };
    let (tickets, _taken) = bounded(1);
    let projection = ProjectionContext {
        link: tilld::base::ownership::LinkRules::default(),
        policy,
        livemode: None,
        account: None,
        fetches: false,
    };
    let context = Arc::new(NotifyContext { projection, notices: NoticeSettings::default() });
    let mut worker = Worker::new(store, context, POLICY, tickets).with_project(aborting);
    worker.recover(START_S * 1000, &Pulse::default()).unwrap();
    while worker.step(START_S * 1000).unwrap() == WorkerStep::Worked {}
    drop(worker);
    writer.join();
}

#[test]
fn an_event_that_kills_the_process_ends_as_a_dead_letter_and_the_others_go_on() {
    let till = Till::new();
    for number in 0..100 {
        if number == 50 {
            assert_eq!(till.post(&poison()).0, 200);
        }
        assert_eq!(till.post(&harmless(number)).0, 200);
    }
    let dir = till.close();
    let mut aborts = 0;
    while !run_child(dir.path()) {
        aborts += 1;
        assert!(aborts <= POLICY.max_attempts + 1, "the killer is not isolated");
    }
    assert!(aborts >= 2, "the killer was given up without a second attempt");
    let till = Till::in_dir(dir, Setup::default());
    assert_eq!(state(&till, POISON), (json!("dead"), POLICY.max_attempts.into()));
    let (status, letter) = till.get(&format!("/api/v1/admin/webhooks/dlq/{POISON}"));
    assert_eq!(status, 200);
    assert!(
        letter["error"]
            .as_str()
            .unwrap()
            .contains("the process ended while this event was projected; given up after 4 attempts"),
        "{letter}"
    );
    assert_eq!(count(&till, "stripe_webhooks_log WHERE status = 'processed' AND processing_attempts = 1"), 100);
    assert_eq!(count(&till, "audit_log"), 100);
    assert_eq!(count(&till, "subscription_events"), 100);
    assert_eq!((count(&till, "webhook_retry_queue"), count(&till, "worker_claim")), (0, 0));
    till.witness();
}

/// Whether the child came to its end.
fn run_child(dir: &Path) -> bool {
    let program = std::env::current_exe().unwrap();
    let output =
        Command::new(program).args(["crash::child", "--exact", "--nocapture"]).env(CHILD, dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "{said}");
    if !output.status.success() {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(6), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

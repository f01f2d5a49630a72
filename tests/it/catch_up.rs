//! Lesson 18: nothing is missing and nothing double, whatever webhooks were lost, whenever the daemon was down, wherever
//! a walk was killed; and a gap that events cannot close is closed by reading every object.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::app::trigger::ApiVersion;
use tilld::base::clock::Clock;
use tilld::outward::sync::backfill::{self, BackfillOrder};
use tilld::outward::sync::catch_up;

use crate::drift::means_with;
use crate::fake_stripe::{FakeStripe, Fault, Recorded, Rule};
use crate::harness::{DAY_S, PATH, SECRET, Till};
use crate::live::{Live, configure, database, tilld};

pub fn env(fake: &FakeStripe) -> [(&'static str, String); 3] {
    [
        ("STRIPE_API_KEY", fake.key().to_owned()),
        ("STRIPE_API_BASE", fake.url()),
        ("STRIPE_CALLS_PER_S", "100".to_owned()),
    ]
}

fn start(dir: &TempDir, fake: &FakeStripe) -> Live {
    let mut command = tilld(dir.path());
    configure(command.arg("serve")).envs(env(fake));
    Live::launch(command)
}

pub fn open(dir: &Path) -> Connection {
    let connection = Connection::open(database(dir)).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    connection
}

pub fn number(dir: &Path, sql: &str) -> i64 {
    open(dir).query_row(sql, [], |row| row.get(0)).unwrap()
}

pub fn texts(dir: &Path, sql: &str) -> Vec<String> {
    let connection = open(dir);
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Waits until the query gives this number; the daemon works meanwhile.
pub fn wait_for(dir: &Path, sql: &str, wanted: i64) {
    let mut last = 0;
    for _ in 0..2000 {
        last = number(dir, sql);
        if last == wanted {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    unreachable!("{sql} is {last}, not {wanted}, after 20 s");
}

const LOGGED: &str = "SELECT count(*) FROM stripe_webhooks_log";

/// `count` events about customers, three in ten of them in the second of the one before.
fn happen(fake: &FakeStripe, customers: &mut Vec<String>, count: usize) {
    for number in 0..count {
        if number % 10 >= 3 {
            fake.clock().advance(1000);
        }
        match number % 4 {
            0 => customers.push(fake.create("customer", &json!({ "email": format!("a{number}@example.com") }))),
            _ => {
                let customer = &customers[number * 7 % customers.len()];
                fake.change(
                    customer,
                    "customer.updated",
                    &json!({ "name": format!("{number} of {}", customers.len()) }),
                );
            }
        }
    }
}

#[test]
fn lesson_18_with_webhooks_lost_and_the_daemon_down_nothing_is_missing_and_nothing_double() {
    let (dir, fake) = (TempDir::new().unwrap(), FakeStripe::start());
    std::fs::write(dir.path().join("config.toml"), "[[stripe.webhook]]\ntolerance_s = 86400\n").unwrap();
    fake.clock().advance(-3_000_000);
    let mut customers = Vec::new();
    let live = start(&dir, &fake);
    live.logged(&["catching up for the first time", "tilld sync"]);
    fake.deliver_to(&format!("http://{}{PATH}", live.public), SECRET, ApiVersion::CURRENT);
    fake.mail_by(Rule { seed: 18, lost_percent: 33, twice_percent: 10, shuffle: true });
    for _ in 0..5 {
        happen(&fake, &mut customers, 100);
        fake.flush();
    }
    let delivered = number(dir.path(), LOGGED);
    assert!((250..450).contains(&delivered), "{delivered} of 500 were delivered");
    live.kill();
    fake.mail_by(Rule { lost_percent: 100, ..Rule::default() });
    happen(&fake, &mut customers, 500);
    fake.flush();

    let live = start(&dir, &fake);
    wait_for(dir.path(), LOGGED, 1000);
    live.settle();
    let mut expected: Vec<String> =
        fake.events().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    expected.sort();
    assert_eq!(texts(dir.path(), "SELECT event_id FROM stripe_webhooks_log ORDER BY event_id"), expected);
    let shared = "SELECT count(*) FROM stripe_webhooks_log a WHERE EXISTS
        (SELECT 1 FROM stripe_webhooks_log b WHERE b.event_created = a.event_created AND b.id <> a.id)";
    assert!(number(dir.path(), shared) >= 300);
    assert_eq!(number(dir.path(), "SELECT count(*) FROM stripe_webhooks_log WHERE status <> 'processed'"), 0);
    for customer in &customers {
        let sql = format!("SELECT data FROM stripe_objects WHERE id = '{customer}'");
        let kept: Value = serde_json::from_str(&texts(dir.path(), &sql)[0]).unwrap();
        assert_eq!(kept["name"], fake.object(customer).unwrap()["name"], "{customer}");
    }
    live.logged(&["caught up"]);
    assert_eq!(live.terminate(), Some(0));
}

fn walked(fake: &FakeStripe) -> Vec<Option<String>> {
    let after = |request: &Recorded| request.params["starting_after"].as_str().map(str::to_owned);
    fake.requests_to("GET /v1/events").iter().map(after).collect()
}

#[test]
fn a_walk_that_was_killed_goes_on_where_it_was_and_then_looks_at_what_came_since() {
    let (dir, fake) = (TempDir::new().unwrap(), FakeStripe::start());
    fake.seed("event", 1000);
    fake.fail(Fault::Hold, "GET /v1/events", 5);
    let live = start(&dir, &fake);
    for page in 1..=4 {
        fake.wait_for_held(1);
        fake.release();
        wait_for(dir.path(), LOGGED, page * 100);
    }
    fake.wait_for_held(1);
    live.kill();
    fake.release();
    let customer = fake.create("customer", &json!({}));

    let live = start(&dir, &fake);
    wait_for(dir.path(), LOGGED, 1001);
    live.logged(&["caught up", "new=601"]);
    let walked = walked(&fake);
    let place = |event: u64| Some(FakeStripe::seeded_id("event", event));
    assert_eq!(walked[..5], [None, place(900), place(800), place(700), place(600)]);
    assert_eq!(walked[5..11], [place(600), place(500), place(400), place(300), place(200), place(100)]);
    assert_eq!(walked[11], None, "and once more from now on");
    let double = "SELECT count(*) - count(DISTINCT event_id) FROM stripe_webhooks_log";
    assert_eq!(number(dir.path(), double), 0);
    let known = format!("SELECT count(*) FROM stripe_webhooks_log WHERE object_id = '{customer}'");
    assert_eq!(number(dir.path(), &known), 1);
    let cursor = number(dir.path(), "SELECT cursor_s FROM catch_up WHERE walk_from_s IS NULL");
    // It is dated to when the request was sent.
    let began = cursor + tilld::outward::sync::OVERLAP_S;
    assert!((fake.clock().now_s() - 2..=fake.clock().now_s()).contains(&began), "{began}");
    drop(live);
}

#[test]
fn a_gap_that_events_cannot_close_is_closed_by_reading_every_object_and_is_told() {
    let (dir, fake) = (TempDir::new().unwrap(), FakeStripe::start());
    assert_eq!(start(&dir, &fake).terminate(), Some(0));
    let long_ago = fake.clock().now_s() - 40 * DAY_S;
    let set = format!("UPDATE catch_up SET cursor_s = {long_ago}");
    open(dir.path()).execute_batch(&set).unwrap();
    fake.seed("customer", 150);
    fake.fail(Fault::Status(400, None), "GET /v1/disputes", 1);

    // One type fails: the gap stays noted, and what events there are is caught up with.
    let live = start(&dir, &fake);
    live.logged(&["WARN", "every object is read instead", "40 days"]);
    live.logged(&["the gap in the events is not closed", "disputes", "status 400"]);
    wait_for(dir.path(), &format!("SELECT count(*) FROM catch_up WHERE gap_from_s = {long_ago}"), 1);
    wait_for(dir.path(), &format!("SELECT count(*) FROM catch_up WHERE cursor_s > {long_ago}"), 1);
    assert_eq!(live.terminate(), Some(0));

    let live = start(&dir, &fake);
    wait_for(dir.path(), "SELECT count(*) FROM catch_up WHERE gap_from_s IS NULL", 1);
    assert_eq!(number(dir.path(), "SELECT count(*) FROM stripe_customers"), 150);
    assert_eq!(fake.requests_to("GET /v1/customers").len(), 2, "what was read is not read again");
    let audit = texts(dir.path(), "SELECT detail FROM audit_log WHERE action = 'catch_up.gap'");
    assert_eq!(audit.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&audit[0]).unwrap()["events_known_until"], long_ago);
    assert_eq!(live.terminate(), Some(0));
}

#[test]
fn a_gap_is_closed_without_the_types_that_stripe_refuses_which_are_told_once() {
    let (dir, fake) = (TempDir::new().unwrap(), FakeStripe::start());
    assert_eq!(start(&dir, &fake).terminate(), Some(0));
    let long_ago = fake.clock().now_s() - 40 * DAY_S;
    open(dir.path()).execute_batch(&format!("UPDATE catch_up SET cursor_s = {long_ago}")).unwrap();
    fake.add("payment_method", &json!({ "customer": fake.add("customer", &json!({})) }));
    fake.fail(Fault::Status(403, None), "GET /v1/disputes", 100);
    fake.fail(Fault::Status(404, None), "GET /v1/entitlements/features", 100);
    let mut command = tilld(dir.path());
    let output = command.arg("catch-up").envs(env(&fake)).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.contains("yes, to close a gap, without 2 types that Stripe refused"), "{out}");
    let told: Vec<&str> = err.lines().filter(|line| line.contains("read without these types")).collect();
    assert!(told.len() == 1 && told[0].contains("disputes: ") && told[0].contains("features: "), "{err}");
    assert_eq!(number(dir.path(), "SELECT gap_from_s IS NULL FROM catch_up"), 1);
    let payment_methods = "SELECT count(*) FROM stripe_objects WHERE object = 'payment_method'";
    assert_eq!(number(dir.path(), payment_methods), 0, "a call for each customer, and nothing rests on it");
    let audit = texts(dir.path(), "SELECT detail FROM audit_log WHERE action = 'sync.passed_over'");
    assert!(audit.len() == 1 && audit[0].contains("disputes") && audit[0].contains("features"), "{audit:?}");
    // By hand a refusal is a failure.
    let (code, _, err) = crate::sync::done({
        let mut command = tilld(dir.path());
        command.arg("sync").envs(env(&fake));
        command
    });
    assert!(code == Some(1) && err.contains("disputes: ") && err.contains("features: "), "{err}");
}

#[test]
fn pages_that_are_too_long_are_asked_for_in_parts_and_a_single_event_that_is_is_passed_over() {
    let fake = FakeStripe::start();
    let happen = |count: usize| {
        for _ in 0..count {
            fake.clock().advance(1000);
            fake.create("customer", &json!({ "description": "x".repeat(2000) }));
        }
    };
    let big = |id: &str| {
        fake.clock().advance(1000);
        let object = json!({ "id": "cus_big", "object": "customer", "description": "x".repeat(100_000) });
        fake.add_odd_event(id, &json!({ "type": "customer.created", "livemode": false, "data": { "object": object } }));
    };
    happen(20);
    big("evt_big");
    happen(20);
    big("evt_newest");
    let till = Till::new();
    till.clock.set(fake.clock().now_ms());
    let (means, _stopper) = means_with(&till, &fake, 60_000);
    let caught = catch_up::run(&means, &|| ()).unwrap();
    assert_eq!((caught.new, caught.unreadable), (40, 2));
    assert_eq!(till.value("SELECT count(*) FROM stripe_webhooks_log"), 40);
    assert!(till.value("SELECT cursor_s IS NOT NULL AND walk_from_s IS NULL FROM catch_up") == 1);
    assert!(fake.requests_to("GET /v1/events").len() < 120, "{}", fake.requests_to("GET /v1/events").len());
}

#[test]
fn an_object_that_is_too_long_holds_up_neither_its_page_nor_the_closing_of_a_gap() {
    let fake = FakeStripe::start();
    for _ in 0..40 {
        fake.add("product", &json!({ "description": "x".repeat(2000) }));
    }
    fake.add("coupon", &json!({ "name": "x".repeat(100_000) }));
    let till = Till::new();
    till.clock.set(fake.clock().now_ms());
    let long_ago = fake.clock().now_s() - 40 * DAY_S;
    till.connection().execute_batch(&format!("UPDATE catch_up SET cursor_s = {long_ago}")).unwrap();
    let (means, _stopper) = means_with(&till, &fake, 60_000);
    let caught = catch_up::run(&means, &|| ()).unwrap();
    assert_eq!((caught.resynced, caught.refused), (true, 1));
    assert_eq!(till.value("SELECT count(*) FROM stripe_objects WHERE object = 'product'"), 40);
    assert!(till.value("SELECT gap_from_s IS NULL FROM catch_up") == 1);
}

#[test]
fn reading_every_object_hides_no_event_that_was_not_asked_for() {
    let fake = FakeStripe::start();
    let till = Till::new();
    till.clock.set(fake.clock().now_ms());
    let (means, _stopper) = means_with(&till, &fake, 8 << 20);
    fake.create("customer", &json!({}));
    assert_eq!(catch_up::run(&means, &|| ()).unwrap().new, 1);
    // Its webhook is lost; an hour later everything is read.
    fake.create("customer", &json!({}));
    for clock in [&till.clock, &fake.clock()] {
        clock.advance(3_600_000);
    }
    assert!(backfill::run(&means, &BackfillOrder::of(&[], false), &|_| ()).unwrap().whole);
    assert_eq!(till.value("SELECT count(*) FROM stripe_customers"), 2);
    assert_eq!(catch_up::run(&means, &|| ()).unwrap().new, 1);
    // And beyond a gap the events that Stripe still has are asked for as well.
    fake.create("customer", &json!({}));
    for clock in [&till.clock, &fake.clock()] {
        clock.advance(5 * DAY_S * 1000);
    }
    let long_ago = fake.clock().now_s() - 40 * DAY_S;
    till.connection().execute_batch(&format!("UPDATE catch_up SET cursor_s = {long_ago}")).unwrap();
    let caught = catch_up::run(&means, &|| ()).unwrap();
    assert_eq!((caught.new, caught.resynced), (1, true));
    assert_eq!(till.value("SELECT gap_from_s IS NULL FROM catch_up"), 1);
    let again = catch_up::run(&means, &|| ()).unwrap();
    assert_eq!((again.new, again.resynced), (0, false));
}

#[test]
fn a_clock_that_was_wrong_hides_no_event() {
    let fake = FakeStripe::start();
    let till = Till::new();
    let (means, _stopper) = means_with(&till, &fake, 8 << 20);
    let turn = || catch_up::run(&means, &|| ()).unwrap();
    let cursor = || till.value("SELECT cursor_s FROM catch_up").as_i64().unwrap();
    let right_ms = fake.clock().now_ms();
    till.clock.set(right_ms);
    fake.create("customer", &json!({}));
    assert_eq!(turn().new, 1);
    // Stripe's time was wrong, then ours; both come back.
    for (theirs, ours) in [(10, 0), (0, 40), (0, 0)] {
        fake.create("customer", &json!({}));
        fake.clock().set(right_ms + theirs * DAY_S * 1000);
        till.clock.set(right_ms + ours * DAY_S * 1000);
        let caught = turn();
        assert_eq!((caught.new, caught.resynced), (1, false), "{theirs} {ours}");
        fake.clock().set(right_ms);
        assert_eq!(cursor(), right_ms / 1000 - tilld::outward::sync::OVERLAP_S, "{theirs} {ours}");
    }
    // A place from before that was minded.
    let set = format!("UPDATE catch_up SET cursor_s = {}", right_ms / 1000 + 10 * DAY_S);
    till.connection().execute_batch(&set).unwrap();
    fake.create("customer", &json!({}));
    let caught = turn();
    assert_eq!((caught.new, caught.known, cursor()), (1, 4, right_ms / 1000 - tilld::outward::sync::OVERLAP_S));
}

#[test]
fn an_event_that_cannot_be_read_is_passed_over_and_told() {
    let (dir, fake) = (TempDir::new().unwrap(), FakeStripe::start());
    fake.create("customer", &json!({}));
    fake.add_odd_event("evt_odd", &json!({ "type": "a.b" }));
    fake.create("customer", &json!({}));
    let live = start(&dir, &fake);
    let line = live.logged(&["WARN", "evt_odd", "skipped"]);
    assert!(line.contains("`data.object` is missing"), "{line}");
    live.logged(&["caught up", "new=2", "unreadable=1"]);
    assert_eq!(live.terminate(), Some(0));
}

#[test]
fn without_webhooks_events_are_pulled_and_end_in_an_entitlement() {
    let (dir, fake) = (TempDir::new().unwrap(), FakeStripe::start());
    let mut command = tilld(dir.path());
    configure(command.arg("serve")).envs(env(&fake)).env("TILLD_PULL_INTERVAL_S", "5");
    command.env_remove("STRIPE_WEBHOOK_SECRET");
    let live = Live::launch(command);
    wait_for(dir.path(), "SELECT count(*) FROM catch_up WHERE cursor_s IS NOT NULL", 1);
    assert_eq!(live.post(b"{}").unwrap().status, 404, "there is no door that nothing guards");

    fake.add_price("price_pro", 2000, "month");
    let customer = fake.create("customer", &json!({ "metadata": { "user_id": "alice" } }));
    fake.create("subscription", &json!({ "customer": customer, "status": "active" }));
    wait_for(dir.path(), "SELECT count(*) FROM subscriptions WHERE user_id = 'alice'", 1);
    let (status, answer) = live.get("/api/v1/users/alice/entitlement");
    assert_eq!((status, &answer["entitled"], &answer["tier"]), (200, &json!(true), &json!("pro")), "{answer}");
    assert_eq!(live.terminate(), Some(0));
}

#[test]
fn the_command_prints_what_came_and_without_a_key_what_to_set() {
    let (dir, fake) = (TempDir::new().unwrap(), FakeStripe::start());
    assert_eq!(start(&dir, &fake).terminate(), Some(0));
    fake.create("customer", &json!({}));
    let run = |env: &[(&str, String)]| {
        let output = tilld(dir.path()).arg("catch-up").envs(env.iter().cloned()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = run(&env(&fake));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("new events          1\n"), "{out}");
    assert!(!err.contains("half of"), "{err}");
    let (code, out, err) = run(&[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("error: ") && err.contains("STRIPE_API_KEY"), "{err}");
    fake.fail(Fault::Status(401, None), "GET /v1/events", 1);
    let (code, _, err) = run(&env(&fake));
    assert_eq!(code, Some(1));
    assert!(err.contains("check stripe.api_key"), "{err}");
}

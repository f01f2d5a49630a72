//! Lesson 19 and 21: a backfill that was interrupted is never complete and goes on where it was; nested lists are whole;
//! it runs side by side, within its rate, in little memory.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::base::clock::Clock;

use crate::catch_up::{env, number, open, texts, wait_for};
use crate::fake_stripe::{FakeStripe, Fault};
use crate::harness::DAY_S;
use crate::live::{Live, configure, database, tilld};

fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    tilld::store::engine::schema::up(&database(dir.path()), 0).unwrap();
    dir
}

fn command(dir: &TempDir, fake: &FakeStripe, arguments: &[&str]) -> Command {
    let mut command = tilld(dir.path());
    command.arg("sync").args(arguments).envs(env(fake));
    command
}

/// Exit status, standard output, standard error.
pub fn done(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const PAGES: &str = "SELECT coalesce(sum(pages), 0) FROM sync_progress";
const COMPLETE: &str = "SELECT count(*) FROM sync_runs WHERE status = 'complete'";

/// `kill -9` as soon as so many pages are in.
fn kill_after(mut child: Child, dir: &TempDir, pages: i64) {
    let started = Instant::now();
    while number(dir.path(), PAGES) < pages {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(started.elapsed() < Duration::from_secs(60), "{pages} pages were not read in 60 s");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn lists(fake: &FakeStripe) -> usize {
    fake.requests().iter().filter(|request| request.params["limit"] == "100").count()
}

#[test]
fn lesson_19_a_backfill_that_is_killed_over_and_over_becomes_complete_once_and_asks_for_no_page_twice() {
    let (dir, fake) = (folder(), FakeStripe::start());
    // No customer: nobody's payment methods are asked for.
    for (kind, count) in [("subscription", 900), ("invoice", 1100), ("charge", 600), ("product", 400)] {
        fake.seed(kind, count);
    }
    let kills = 4;
    for kill in 1..=kills {
        let mut command = command(&dir, &fake, &["subscriptions", "invoices", "charges", "products"]);
        kill_after(command.stderr(Stdio::null()).spawn().unwrap(), &dir, kill * 5);
        assert_eq!(number(dir.path(), COMPLETE), 0, "an interrupted run is not complete");
    }
    let (code, out, err) = done(command(&dir, &fake, &["subscriptions", "invoices", "charges", "products"]));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("complete: 3000 objects, only of these types"), "{out}");
    assert!(err.lines().any(|line| line.starts_with("invoices: page 11, 1100 objects")), "{err}");
    assert_eq!((number(dir.path(), COMPLETE), number(dir.path(), PAGES)), (1, 30));
    for (object, count) in [("subscription", 900), ("invoice", 1100), ("charge", 600), ("product", 400)] {
        let sql = format!("SELECT count(*) FROM stripe_objects WHERE object = '{object}'");
        assert_eq!(number(dir.path(), &sql), count, "{object}");
    }
    // At each kill every thread had one page in hand at most.
    let asked = lists(&fake);
    assert!((30..=30 + 4 * usize::try_from(kills).unwrap()).contains(&asked), "{asked} requests for 30 pages");
    assert!(number(dir.path(), "SELECT cursor_s IS NULL FROM catch_up") == 1, "it was a part of all types");
}

#[test]
fn all_types_are_read_after_the_events_that_no_webhook_brought() {
    let (dir, fake) = (folder(), FakeStripe::start());
    fake.seed("customer", 20);
    fake.seed("payment_method", 20);
    let kinds = "subscription invoice invoice_payment payment_intent charge refund dispute product price coupon promotion_code \
                 checkout.session credit_note setup_intent subscription_schedule tax_rate entitlements.feature";
    for kind in kinds.split_whitespace() {
        fake.add(kind, &json!({}));
    }
    fake.create("subscription", &json!({ "status": "canceled" }));
    let (code, out, err) = done(command(&dir, &fake, &[]));
    assert_eq!(code, Some(0), "{err}");
    for kind in kinds.split_whitespace().chain(["customer", "payment_method"]) {
        let sql = format!("SELECT count(*) FROM stripe_objects WHERE object = '{kind}'");
        let expected = match kind {
            "customer" => 20,
            // A call for each customer, and nothing rests on it: only when named.
            "payment_method" => 0,
            "subscription" => 2,
            _ => 1,
        };
        assert_eq!(number(dir.path(), &sql), expected, "{kind}");
    }
    assert!(out.contains("complete: 38 objects\n"), "{out}");
    assert!(number(dir.path(), "SELECT count(*) FROM stripe_webhooks_log") > 0, "that of the canceled subscription");
    assert_eq!(number(dir.path(), "SELECT cursor_s IS NOT NULL FROM catch_up"), 1);
    assert_eq!(texts(dir.path(), "SELECT value FROM settings WHERE name = 'stripe_account'"), ["acct_FakeStripe"]);
    // Again: a new run, since the former one is complete.
    assert_eq!(done(command(&dir, &fake, &["customers"])).0, Some(0));
    assert_eq!(number(dir.path(), "SELECT count(*) FROM sync_runs"), 2);
}

#[test]
fn with_the_key_of_the_other_mode_nothing_is_read_into_the_copy() {
    let (dir, fake) = (folder(), FakeStripe::start());
    fake.seed("product", 5);
    // A copy from before the mode was kept.
    let old = "INSERT INTO settings (name, value) VALUES ('stripe_account', 'acct_FakeStripe')";
    open(dir.path()).execute_batch(old).unwrap();
    assert_eq!(done(command(&dir, &fake, &["products"])).0, Some(0));
    assert_eq!(texts(dir.path(), "SELECT value FROM settings WHERE name = 'stripe_mode'"), ["test"]);
    let asked = fake.requests().len();
    for name in ["sync", "catch-up", "drift"] {
        let mut live = tilld(dir.path());
        live.arg(name).envs(env(&fake)).env("STRIPE_API_KEY", "sk_live_of_the_same_account");
        let (code, _, err) = done(live);
        assert_eq!(code, Some(1), "{err}");
        let words = ["in live mode", "the account acct_FakeStripe in test mode", "another `database`"];
        assert!(words.iter().all(|word| err.contains(word)), "{err}");
    }
    assert_eq!(fake.requests().len(), asked);
}

#[test]
fn lesson_21_lists_within_objects_are_read_to_their_end() {
    let (dir, fake) = (folder(), FakeStripe::start());
    let members = |kind: &str, count: usize| -> Vec<Value> {
        let template = |id: String| match kind {
            "item" => json!({ "id": id, "object": "subscription_item", "quantity": 1, "current_period_start": 1,
                "current_period_end": 2, "price": { "id": "price_pro", "object": "price" } }),
            _ => json!({ "id": id, "object": "line_item", "amount": 1 }),
        };
        (0..count).map(|number| template(format!("{kind}_{number:03}"))).collect()
    };
    let list = |data: Vec<Value>| json!({ "object": "list", "data": data, "has_more": false, "url": "/v1/elsewhere" });
    let subscription = fake.add("subscription", &json!({ "items": list(members("item", 13)) }));
    let invoice = fake.add("invoice", &json!({ "lines": list(members("line", 250)) }));
    let note = fake.add("credit_note", &json!({ "lines": list(members("cnli", 11)) }));
    let (code, _, err) = done(command(&dir, &fake, &["subscriptions", "invoices", "credit_notes"]));
    assert_eq!(code, Some(0), "{err}");
    for (id, key, count) in [(&subscription, "items", 13), (&invoice, "lines", 250), (&note, "lines", 11)] {
        let sql = format!("SELECT data FROM stripe_objects WHERE id = '{id}'");
        let kept: Value = serde_json::from_str(&texts(dir.path(), &sql)[0]).unwrap();
        let ids: Vec<&str> =
            kept[key]["data"].as_array().unwrap().iter().map(|member| member["id"].as_str().unwrap()).collect();
        assert_eq!((ids.len(), &kept[key]["has_more"]), (count, &json!(false)), "{key}");
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }
    assert_eq!(number(dir.path(), "SELECT items_partial FROM stripe_subscriptions"), 0);
    assert_eq!(number(dir.path(), "SELECT count(*) FROM stripe_subscription_items"), 13);
}

#[test]
fn an_object_that_cannot_be_taken_is_named_and_does_not_hold_up_the_others() {
    let (dir, fake) = (folder(), FakeStripe::start());
    fake.add("subscription", &json!({ "id": "sub_before" }));
    fake.add("subscription", &json!({ "id": "sub_odd", "status": 7 }));
    fake.add("subscription", &json!({ "id": "sub_after" }));
    let (code, out, err) = done(command(&dir, &fake, &["subscriptions"]));
    assert_eq!(code, Some(0), "{err}");
    let line = err.lines().find(|line| line.contains("sub_odd")).unwrap();
    assert!(line.contains("WARN") && line.contains("type=subscriptions") && line.contains("status"), "{line}");
    assert!(out.contains("subscriptions  1      3        1\n"), "{out}");
    let kept = texts(dir.path(), "SELECT id FROM stripe_objects ORDER BY id");
    assert_eq!(kept, ["sub_after", "sub_before"]);
    assert_eq!(texts(dir.path(), "SELECT stripe_subscription_id FROM stripe_subscriptions ORDER BY 1"), kept);
}

#[test]
fn a_type_that_is_refused_is_named_the_others_are_read_and_nothing_is_complete() {
    let (dir, fake) = (folder(), FakeStripe::start());
    fake.seed("customer", 150);
    fake.seed("product", 5);
    fake.fail(Fault::Status(403, None), "GET /v1/customers", 1);
    let (code, _, err) = done(command(&dir, &fake, &["customers", "products"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("error: not complete: customers: ") && err.contains("this permission"), "{err}");
    assert_eq!(number(dir.path(), "SELECT count(*) FROM stripe_objects WHERE object = 'product'"), 5);
    assert_eq!(number(dir.path(), COMPLETE), 0);
    assert_eq!(done(command(&dir, &fake, &["customers", "products"])).0, Some(0));
    assert_eq!(fake.requests_to("GET /v1/products").len(), 1, "what was read is not read again");
    assert_eq!(number(dir.path(), COMPLETE), 1);
}

#[test]
fn a_list_that_does_not_move_on_is_an_error_and_not_read_for_ever() {
    let (dir, fake) = (folder(), FakeStripe::start());
    let says = |body: Value, path: &str| fake.fail(Fault::Says(200, body.to_string()), path, 9);
    says(json!({ "data": [{ "id": "prod_1", "object": "product" }], "has_more": true }), "GET /v1/products");
    says(json!({ "data": [], "has_more": true }), "GET /v1/coupons");
    says(json!({ "data": [], "has_more": true }), "GET /v1/events");
    says(json!({ "data": [{ "id": "si_1" }], "has_more": true }), "GET /v1/subscription_items");
    let items = json!({ "object": "list", "data": [{ "id": "si_1" }], "has_more": true, "url": "/v1/elsewhere" });
    let shown = json!({ "id": "sub_1", "object": "subscription", "items": items });
    says(json!({ "data": [shown], "has_more": false }), "GET /v1/subscriptions");
    let types = ["products", "coupons", "subscriptions"];
    let (code, _, err) = done(command(&dir, &fake, &types));
    assert_eq!(code, Some(1), "{err}");
    let ends = |path: &str| err.contains(&format!("{path} cannot be used: a page that ends where the one before"));
    assert!(ends("/v1/products") && ends("/v1/subscription_items"), "{err}");
    assert!(
        err.contains("/v1/coupons cannot be used: an empty page") && err.contains("check stripe.api_base"),
        "{err}"
    );
    assert_eq!(fake.requests_to("GET /v1/products").len(), 2);
    for arguments in [&["catch-up"][..], &["drift", "products"]] {
        let mut command = tilld(dir.path());
        command.args(arguments).envs(env(&fake));
        let (code, _, err) = done(command);
        assert!(code == Some(1) && err.contains("cannot be used: a"), "{err}");
    }
}

#[test]
fn where_another_server_answers_the_key_to_correct_is_named() {
    let (dir, fake) = (folder(), FakeStripe::start());
    for (status, body) in [(200, "<html>Welcome</html>"), (404, "<html>Not found</html>"), (200, "{}")] {
        for name in ["sync", "catch-up"] {
            fake.fail(Fault::Says(status, body.to_owned()), "GET /v1/account", 1);
            let mut command = tilld(dir.path());
            command.arg(name).envs(env(&fake));
            let (code, _, err) = done(command);
            assert!(code == Some(1) && err.contains("check stripe.api_base"), "{name} {status} {body}: {err}");
        }
    }
    // And where the first answer is right.
    fake.fail(Fault::Says(404, "<html></html>".to_owned()), "GET /v1/products", 1);
    let (code, _, err) = done(command(&dir, &fake, &["products"]));
    assert!(code == Some(1) && err.contains("products: ") && err.contains("check stripe.api_base"), "{err}");
}

#[test]
fn a_run_is_begun_anew_when_told_to_and_when_it_has_become_too_old() {
    let (dir, fake) = (folder(), FakeStripe::start());
    fake.seed("product", 5);
    fake.fail(Fault::Status(403, None), "GET /v1/customers", 3);
    let products = || fake.requests_to("GET /v1/products").len();
    let refused = |arguments: &[&str]| assert_eq!(done(command(&dir, &fake, arguments)).0, Some(1));
    refused(&["products", "customers"]);
    refused(&["customers", "products"]);
    assert_eq!(products(), 1);
    refused(&["customers", "products", "--restart"]);
    assert_eq!(products(), 2);
    open(dir.path())
        .execute_batch(&format!("UPDATE sync_runs SET began_at_ms = began_at_ms - {}", 30 * DAY_S * 1000))
        .unwrap();
    assert_eq!(done(command(&dir, &fake, &["customers", "products"])).0, Some(0));
    assert_eq!(products(), 3);
    let states = texts(dir.path(), "SELECT status FROM sync_runs ORDER BY id");
    assert_eq!(states, ["abandoned", "abandoned", "complete"]);
}

#[test]
fn a_stop_in_the_middle_ends_the_daemon_at_once_and_the_next_one_goes_on() {
    let (dir, fake) = (folder(), FakeStripe::start());
    let long_ago = fake.clock().now_s() - 40 * DAY_S;
    open(dir.path()).execute_batch(&format!("UPDATE catch_up SET cursor_s = {long_ago}")).unwrap();
    fake.seed("product", 250);
    fake.fail(Fault::Hang, "GET /v1/invoices", 1);
    let start = || {
        let mut daemon = tilld(dir.path());
        configure(daemon.arg("serve")).envs(env(&fake));
        Live::launch(daemon)
    };
    let live = start();
    wait_for(dir.path(), "SELECT count(*) FROM stripe_objects", 250);
    let asked = Instant::now();
    assert_eq!(live.terminate(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert_eq!(number(dir.path(), COMPLETE), 0);
    let live = start();
    wait_for(dir.path(), COMPLETE, 1);
    assert_eq!(fake.requests_to("GET /v1/products").len(), 3, "what was read is not read again");
    assert_eq!(live.terminate(), Some(0));
}

#[test]
fn beside_a_daemon_it_leaves_that_its_half_and_says_so() {
    let (dir, fake) = (folder(), FakeStripe::start());
    let mut daemon = tilld(dir.path());
    configure(daemon.arg("serve"));
    let live = Live::launch(daemon);
    let (code, _, err) = done(command(&dir, &fake, &["products"]));
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(err.matches("at most 50 calls per second, half of stripe.calls_per_s").count(), 1, "{err}");
    assert_eq!(live.terminate(), Some(0));
}

#[test]
fn wrong_use_says_what_is_right() {
    let (dir, fake) = (folder(), FakeStripe::start());
    let (code, _, err) = done(command(&dir, &fake, &["customer"]));
    assert_eq!(code, Some(2));
    assert!(err.contains("choose from customers, subscriptions"), "{err}");
    let mut keyless = tilld(dir.path());
    keyless.arg("sync");
    let (code, _, err) = done(keyless);
    assert_eq!(code, Some(2));
    assert!(err.contains("stripe.api_key is not set: set STRIPE_API_KEY"), "{err}");
    assert_eq!(lists(&fake), 0);
}

/// VmHWM of a process, in KiB.
fn peak_kib(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The same compared: nothing differs, in as little memory.
fn compare_all(dir: &TempDir, fake: &FakeStripe, types: &[&str]) {
    let mut command = tilld(dir.path());
    command.arg("drift").args(types).envs(env(fake)).stderr(Stdio::null()).stdout(Stdio::null());
    let (began, mut peak) = (Instant::now(), 0);
    let mut child = command.spawn().unwrap();
    let status = loop {
        peak = peak.max(peak_kib(&child).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    eprintln!("drift: seconds={:.1} peak_kib={peak}", began.elapsed().as_secs_f64());
    assert_eq!(status.code(), Some(0));
    assert!(peak < 64 * 1024, "peak {peak} KiB");
}

/// 100,000 objects of four types, killed five times on the way. Alone on the machine, with the release binary:
/// `cargo test --release --test it the_large_backfill -- --ignored --nocapture`
#[test]
#[ignore = "takes a minute, and measures"]
fn the_large_backfill_survives_five_kills_within_its_memory_and_near_its_rate() {
    let (dir, fake) = (folder(), FakeStripe::start());
    for kind in ["customer", "subscription", "invoice", "charge"] {
        fake.seed(kind, 25_000);
    }
    let calls_per_s = 20;
    let arguments = ["customers", "subscriptions", "invoices", "charges"];
    let (mut peak, mut spent) = (0, Duration::ZERO);
    for kill in 1..=6 {
        let mut command = command(&dir, &fake, &arguments);
        command.env("STRIPE_CALLS_PER_S", calls_per_s.to_string()).stderr(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        let ended = loop {
            peak = peak.max(peak_kib(&child).unwrap_or(0));
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if kill < 6 && number(dir.path(), PAGES) >= kill * 160 {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        spent += began.elapsed();
        assert_eq!((ended.is_some(), number(dir.path(), COMPLETE)), (kill == 6, i64::from(kill == 6)), "run {kill}");
    }
    let objects = number(dir.path(), "SELECT count(*) FROM stripe_objects");
    let rate = f64::from(u32::try_from(objects).unwrap()) / spent.as_secs_f64();
    let asked = lists(&fake);
    eprintln!(
        "objects={objects} seconds={:.1} objects_per_s={rate:.0} requests={asked} peak_kib={peak}",
        spent.as_secs_f64()
    );
    assert_eq!(objects, 100_000);
    compare_all(&dir, &fake, &arguments);
    assert!((1000..=1000 + 5 * 4).contains(&asked), "{asked} requests for 1000 pages");
    assert!(peak < 64 * 1024, "peak {peak} KiB");
    assert!(rate >= 0.8 * 100.0 * f64::from(calls_per_s), "{rate:.0} objects per second");
}

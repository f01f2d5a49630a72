//! `tilld check` at Stripe: the real binary against the fake, each line fine and in trouble.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::app::trigger::{self, ApiVersion, Spec};
use tilld::objects::kinds;

use crate::fake_stripe::{FakeStripe, Fault};
use crate::harness::{PATH, SECRET, START_S, Till};
use crate::live::{configure, tilld};
use crate::samples;

const KEY: &str = "stripe key";
const PERMISSIONS: &str = "stripe permissions";
const CLOCK: &str = "clock at Stripe";
const ENDPOINT: &str = "webhook endpoint";
const VERSION: &str = "webhook version";
const EVENTS: &str = "webhook events";

/// Exit status and output of `tilld check`.
struct Checked {
    code: Option<i32>,
    out: String,
}

impl Checked {
    /// The one line of this check, with this verdict and these words in it.
    fn says(&self, verdict: &str, check: &str, words: &[&str]) {
        let start = format!("{verdict:<4}  {check} ");
        let line = self.out.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| unreachable!("no line {start:?} in:\n{}", self.out));
        words.iter().for_each(|word| assert!(line.contains(word), "{word:?} is not in: {line}"));
    }

    /// The check did not come to be.
    fn is_silent_about(&self, check: &str) {
        assert!(!self.out.lines().any(|line| line[6..].starts_with(&format!("{check} "))), "{}", self.out);
    }
}

fn check(dir: &Path, env: &[(&str, &str)]) -> Checked {
    let mut command = tilld(dir);
    let output = configure(command.arg("check")).envs(env.iter().copied()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked"), "{err}");
    Checked { code: output.status.code(), out: String::from_utf8(output.stdout).unwrap() }
}

/// With the prices of the plans.
fn fake() -> FakeStripe {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 2000, "month");
    fake.add_price("price_team", 5000, "month");
    fake
}

struct Setting {
    dir: TempDir,
    fake: FakeStripe,
}

impl Setting {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), fake: fake() }
    }

    /// With an endpoint at Stripe that has these members.
    fn with_endpoint(members: &Value) -> Self {
        let setting = Self::new();
        setting.endpoint(members);
        setting
    }

    fn endpoint(&self, members: &Value) -> String {
        let mut all = json!({
            "url": format!("https://shop.example{PATH}"), "api_version": "2026-09-30.endive", "enabled_events": ["*"],
        });
        members.as_object().unwrap().iter().for_each(|(name, value)| all[name] = value.clone());
        self.fake.add("webhook_endpoint", &all)
    }

    fn check(&self) -> Checked {
        self.check_with(self.fake.key(), &[])
    }

    fn check_with(&self, key: &str, more: &[(&str, &str)]) -> Checked {
        let url = self.fake.url();
        let env = [&[("STRIPE_API_KEY", key), ("STRIPE_API_BASE", &url)], more].concat();
        check(self.dir.path(), &env)
    }
}

#[test]
fn without_a_key_one_line_says_what_works_and_what_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let checked = check(dir.path(), &[]);
    checked.says("warn", KEY, &["none", "webhooks and entitlement work", "STRIPE_API_KEY"]);
    checked.is_silent_about(ENDPOINT);
    checked.is_silent_about(CLOCK);
    assert_eq!(checked.code, Some(0));
}

#[test]
fn all_is_well_with_a_good_key_and_a_good_endpoint_and_few_questions_are_asked() {
    let setting = Setting::with_endpoint(&json!({}));
    let checked = setting.check();
    checked.says("ok", KEY, &["valid", "test mode"]);
    checked.says("ok", CLOCK, &["they agree"]);
    checked.says("ok", ENDPOINT, &[PATH, "is enabled"]);
    checked.says("ok", VERSION, &["2026-09-30.endive"]);
    checked.says("ok", EVENTS, &["all types"]);
    checked.is_silent_about(PERMISSIONS);
    assert_eq!(checked.code, Some(0), "{}", checked.out);
    assert_eq!(setting.fake.requests().len(), 4);
    assert!(!checked.out.contains(setting.fake.key()), "the key is never shown");
}

#[test]
fn a_key_that_stripe_does_not_know_is_a_failure_and_nothing_more_is_asked() {
    let setting = Setting::with_endpoint(&json!({}));
    let checked = setting.check_with("sk_test_rolled", &[]);
    checked.says("fail", KEY, &["401", "dashboard.stripe.com/apikeys", "STRIPE_API_KEY"]);
    checked.is_silent_about(ENDPOINT);
    assert_eq!((checked.code, setting.fake.requests().len()), (Some(1), 1));
}

#[test]
fn a_stripe_that_cannot_be_reached_is_a_failure_within_seconds_that_names_the_address() {
    let setting = Setting::new();
    let url = setting.fake.url();
    drop(setting.fake);
    let started = std::time::Instant::now();
    let checked = check(setting.dir.path(), &[("STRIPE_API_KEY", "sk_test_x"), ("STRIPE_API_BASE", &url)]);
    checked.says("fail", KEY, &[&url, "stripe.api_base"]);
    assert_eq!(checked.code, Some(1));
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn a_stripe_that_is_down_is_a_failure_and_no_stripe_at_all_a_warning() {
    let setting = Setting::new();
    setting.fake.fail(Fault::Only500, "/v1/balance", 9);
    setting.check().says("fail", KEY, &["500", "stripe.api_base"]);
    let other = Setting::new();
    other.fake.fail(Fault::Status(404, None), "/v1/**", 9);
    let checked = other.check();
    checked.says("warn", KEY, &["404", "is it Stripe's API?"]);
    checked.says("warn", ENDPOINT, &["knows no webhook endpoints"]);
}

#[test]
fn a_restricted_key_is_told_all_that_it_lacks_in_one_line() {
    let setting = Setting::with_endpoint(&json!({}));
    let checked = setting.check_with(setting.fake.key_without(&[]), &[]);
    checked.says("ok", KEY, &["valid", "restricted"]);
    checked.says("ok", PERMISSIONS, &["all that tilld uses"]);
    assert_eq!(checked.code, Some(0), "{}", checked.out);
    let key = setting.fake.key_without(&["GET /v1/disputes", "POST /v1/customers/*"]);
    let checked = setting.check_with(key, &[]);
    checked.says("fail", PERMISSIONS, &["lacks Disputes (read), Customers (write);", "apikeys"]);
    assert_eq!(checked.code, Some(1));
    assert!(setting.fake.event_types().is_empty(), "asking for permissions changes nothing");
}

#[test]
fn a_restricted_key_that_may_not_see_endpoints_or_the_balance_is_warned_of_the_endpoints_alone() {
    let setting = Setting::with_endpoint(&json!({}));
    let key = setting.fake.key_without(&["/v1/webhook_endpoints", "/v1/balance"]);
    let checked = setting.check_with(key, &[]);
    checked.says("ok", KEY, &["valid, test mode"]);
    checked.says("ok", PERMISSIONS, &[]);
    checked.says("ok", CLOCK, &[]);
    checked.says("warn", ENDPOINT, &["Webhook Endpoints"]);
    assert_eq!(checked.code, Some(0), "{}", checked.out);
}

#[test]
fn a_permission_that_cannot_be_asked_for_is_no_permission_that_is_missing() {
    let setting = Setting::with_endpoint(&json!({}));
    setting.fake.fail(Fault::Only500, "/v1/invoices", 9);
    let checked = setting.check_with(setting.fake.key_without(&[]), &[]);
    checked.says("warn", PERMISSIONS, &["could not be checked", "500"]);
}

#[test]
fn a_clock_that_differs_from_stripes_is_told_before_webhooks_are_refused() {
    for (moved_s, verdict, words) in [
        (100, "ok", ["s behind", "300 s"]),
        (-100, "ok", ["s ahead of", "300 s"]),
        (200, "warn", ["s behind", "time service"]),
        (-1000, "fail", ["s ahead of", "time service"]),
    ] {
        let setting = Setting::with_endpoint(&json!({}));
        setting.fake.clock().advance(moved_s * 1000);
        let checked = setting.check();
        checked.says(verdict, CLOCK, &words);
        assert_eq!(checked.code, Some(i32::from(verdict == "fail")), "{}", checked.out);
    }
}

#[test]
fn an_endpoint_that_is_missing_or_disabled_is_told() {
    let setting = Setting::with_endpoint(&json!({ "url": "https://shop.example/elsewhere" }));
    let checked = setting.check();
    checked.says("warn", ENDPOINT, &[PATH, "dashboard.stripe.com/webhooks"]);
    checked.is_silent_about(VERSION);
    let pulled = setting.check_with(setting.fake.key(), &[("TILLD_PULL_INTERVAL_S", "60")]);
    pulled.says("ok", ENDPOINT, &[PATH, "every 60 s"]);
    let id = setting.endpoint(&json!({ "status": "disabled" }));
    let checked = setting.check();
    checked.says("fail", ENDPOINT, &[PATH, &id, "disabled", "enable it"]);
    assert_eq!(checked.code, Some(1));
    setting.endpoint(&json!({}));
    let checked = setting.check();
    checked.says("ok", ENDPOINT, &[PATH]);
    assert_eq!(checked.code, Some(0), "one that works is enough: {}", checked.out);
}

#[test]
fn every_configured_path_has_its_lines_and_the_endpoints_of_all_pages_count() {
    let setting = Setting::with_endpoint(&json!({ "url": "https://shop.example/first" }));
    for number in 0..120 {
        setting.endpoint(&json!({ "url": format!("https://shop.example/other{number}") }));
    }
    let webhook = |path: &str| format!("[[stripe.webhook]]\npath = \"{path}\"\nsecrets = [\"{SECRET}\"]\n");
    let file = setting.dir.path().join("two.toml");
    std::fs::write(&file, webhook("/first") + &webhook("/second")).unwrap();
    let mut command = tilld(setting.dir.path());
    command.args(["check", "--config", file.to_str().unwrap()]);
    command.envs([("STRIPE_API_KEY", setting.fake.key()), ("STRIPE_API_BASE", &setting.fake.url())]);
    command.envs([("TILLD_PUBLIC_LISTEN", "127.0.0.1:0"), ("TILLD_PRIVATE_LISTEN", "127.0.0.1:0")]);
    let output = command.output().unwrap();
    let checked = Checked { code: output.status.code(), out: String::from_utf8(output.stdout).unwrap() };
    checked.says("ok", ENDPOINT, &["/first"]);
    checked.says("warn", ENDPOINT, &["/second"]);
    assert_eq!(setting.fake.requests_to("/v1/webhook_endpoints").len(), 2);
}

#[test]
fn an_endpoint_without_a_version_of_another_or_of_an_unknown_one_is_warned_of() {
    for (version, words) in [
        (Value::Null, ["has none", "api_version=2026-09-30.endive"]),
        (json!("2024-09-30.acacia"), ["2024-09-30.acacia", "stripe.api_version"]),
        (json!("2031-01-01.zinnia"), ["2031-01-01.zinnia", "does not know"]),
    ] {
        let checked = Setting::with_endpoint(&json!({ "api_version": version })).check();
        checked.says("warn", VERSION, &words);
        assert_eq!(checked.code, Some(0));
    }
}

#[test]
fn types_that_are_handled_but_not_enabled_are_listed() {
    let all: Vec<&str> = kinds::event_types().collect();
    let without: Vec<&str> =
        all.iter().copied().filter(|known| !["invoice.paid", "customer.deleted"].contains(known)).collect();
    let checked = Setting::with_endpoint(&json!({ "enabled_events": without })).check();
    checked.says("warn", EVENTS, &["does not get customer.deleted, invoice.paid:", "enable them"]);
    let more = [all.as_slice(), &["payout.paid"]].concat();
    let checked = Setting::with_endpoint(&json!({ "enabled_events": more })).check();
    checked.says("ok", EVENTS, &["every type that has a table", "without one: 1"]);
}

#[test]
fn events_of_the_other_mode_in_the_log_are_warned_of() {
    let till = Till::new();
    let mut event = event("customer.created");
    event["livemode"] = json!(true);
    till.post(&event);
    let dir = till.close();
    let setting = Setting { dir, fake: fake() };
    let checked = setting.check();
    checked.says("warn", KEY, &["test mode", event["id"].as_str().unwrap(), "ignored"]);
    checked.says("ok", KEY, &["valid"]);
}

fn event(event_type: &str) -> Value {
    let now_s = crate::harness::START_S;
    let version = ApiVersion::CURRENT;
    let spec = Spec { event_type, version, user: Some("alice"), price_id: "price_pro", now_s, nonce: "n", set: &[] };
    trigger::event(&spec).unwrap()
}

#[test]
fn the_list_of_handled_types_is_what_projection_handles() {
    let mut till = Till::new();
    let mut status_of = |event: &Value| {
        till.feed(std::slice::from_ref(event));
        let id = event["id"].as_str().unwrap();
        till.value(&format!("SELECT status FROM stripe_webhooks_log WHERE event_id = '{id}'"))
    };
    let mut of_kind = std::collections::BTreeMap::new();
    for (event_type, _) in trigger::event_types() {
        let event = event(event_type);
        let is_handled = kinds::event_types().any(|known| known == *event_type);
        let expected = if is_handled { "processed" } else { "ignored" };
        assert_eq!(status_of(&event), expected, "{event_type}");
        of_kind.insert(event["data"]["object"]["object"].as_str().unwrap().to_owned(), event);
    }
    for kind in kinds::all() {
        for event_type in kind.events {
            let mut event = of_kind[kind.object].clone();
            event["type"] = json!(event_type);
            event["id"] = json!(format!("evt_{event_type}"));
            assert_eq!(status_of(&event), "processed", "{event_type}");
        }
    }
}

#[test]
fn the_paused_are_counted_of_either_kind() {
    let mut till = Till::new();
    let about = |user: &str, event_type: &str, set: &[(&str, Value)]| samples::event(event_type, user, START_S, set);
    let uncollected = [("pause_collection.behavior", json!("void"))];
    till.feed(&[
        about("alice", "customer.subscription.created", &[]),
        about("bob", "customer.subscription.updated", &uncollected),
        about("carol", "customer.subscription.updated", &uncollected),
        about("dora", "customer.subscription.paused", &[]),
        about("emil", "customer.subscription.deleted", &uncollected),
    ]);
    let dir = till.close();
    let keep = check(dir.path(), &[]);
    keep.says("ok", "paused", &["with paused collection: 2 ", "\"keep\"", "with status paused: 1"]);
    let until_paid = check(dir.path(), &[("TILLD_PAUSED_COLLECTION", "until_paid")]);
    until_paid.says("ok", "paused", &["with paused collection: 2 ", "\"until_paid\""]);
}

const DAEMON: &str = "daemon";

fn check_at(dir: &Path, live: &crate::live::Live, more: &[(&str, &str)]) -> Checked {
    let env = [("TILLD_PUBLIC_LISTEN", live.public.as_str()), ("TILLD_PRIVATE_LISTEN", live.private.as_str())];
    check(dir, &[&env, more].concat())
}

#[test]
fn a_stranger_s_daemon_on_the_port_is_not_taken_for_ours() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let live = crate::live::Live::start(dir.path());
    let ours = check_at(dir.path(), &live, &[]);
    ours.says("ok", DAEMON, &["answers at public"]);
    assert!(ours.out.contains("with this database"), "{}", ours.out);
    assert_eq!(ours.code, Some(0), "{}", ours.out);
    // Another database, and another token.
    drop(crate::live::Live::start(other.path()));
    let checked = check_at(other.path(), &live, &[]);
    checked.says("fail", DAEMON, &["another daemon answers at private", "another database"]);
    assert_eq!(checked.code, Some(1));
    let checked = check_at(dir.path(), &live, &[("TILLD_API_TOKEN", "tilld_not_of_this_daemon")]);
    checked.says("fail", DAEMON, &["does not take the token"]);
}

#[test]
fn refused_webhooks_are_told_by_code() {
    let dir = tempfile::tempdir().unwrap();
    let live = crate::live::Live::start(dir.path());
    check_at(dir.path(), &live, &[]).says("ok", "refused webhooks", &["none"]);
    for _ in 0..3 {
        tilld::app::cli::post::post(&crate::live::url_of(&live.public, PATH), &[], b"{}").unwrap();
    }
    check_at(dir.path(), &live, &[]).says("warn", "refused webhooks", &["signature_missing: 3"]);
}

#[test]
fn what_burns_in_the_database_is_told() {
    let mut till = Till::new();
    till.feed(&[event("customer.created")]);
    let quiet = check(&till.close().keep(), &[]);
    quiet.says("ok", "dead letters", &["none"]);
    quiet.says("ok", "outbox", &[]);
    quiet.says("ok", "events", &["waiting: 0", "last webhook: 20", "asking Stripe: never"]);
    quiet.says("ok", "database size", &["MiB"]);
    assert_eq!(quiet.code, Some(0), "{}", quiet.out);

    let till = Till::new();
    till.post(&event("customer.created"));
    let connection = till.connection();
    connection
        .execute_batch(
            "UPDATE stripe_webhooks_log SET created_at_ms = 1000;
             INSERT INTO webhook_dead_letter_queue (stripe_event_id, event_type, retry_count, error, original_timestamp_ms, created_at_ms)
                SELECT event_id, event_type, 8, 'x', 1, 1 FROM stripe_webhooks_log;
             INSERT INTO webhook_endpoints (url, fingerprint, disabled_at_ms, disabled_reason)
                VALUES ('https://app.example/hooks?key=hush', 'x', 1, 'it is gone');
             INSERT INTO outbox (kind, dedupe_key, target, payload, status, attempts, next_attempt_at_ms, created_at_ms, finished_at_ms)
                VALUES ('mail', 'mail:x', 'mail', '{}', 'failed', 8, 1, 1, 1);",
        )
        .unwrap();
    drop(connection);
    let burning = check(&till.close().keep(), &[]);
    burning.says("fail", "dead letters", &["1:", "tilld dead-letters list"]);
    burning.says("fail", "events", &["waiting: 1", "the oldest has been waiting"]);
    burning.says("fail", "endpoint", &["https://app.example gets no events", "it is gone"]);
    burning.says("warn", "outbox", &["mail: 1", "tilld outbox list --status failed"]);
    assert!(burning.code == Some(1) && !burning.out.contains("hush"), "{}", burning.out);
}

#[test]
fn prices_are_looked_up_with_a_key_and_compared_with_what_came_without() {
    let setting = Setting::with_endpoint(&json!({}));
    let checked = setting.check();
    assert!(checked.out.contains("pro: 20.00 USD a month (price_pro)"), "{}", checked.out);
    assert!(checked.out.contains("team: 50.00 USD a month (price_team)"), "{}", checked.out);
    let checked = setting.check_with(setting.fake.key(), &[("TILLD_PLANS", "pro:price_none")]);
    checked.says("fail", "plan", &["pro", "Stripe does not know the price price_none"]);
    assert_eq!(checked.code, Some(1));

    let mut till = Till::new();
    till.feed(&[samples::event("customer.subscription.created", "alice", START_S, &[])]);
    let dir = till.close();
    let checked = check(dir.path(), &[("TILLD_PLANS", "pro:price_other")]);
    checked.says("warn", "prices", &["price_pro", "in no plan"]);
    check(dir.path(), &[]).is_silent_about("prices");
    check(dir.path(), &[]).is_silent_about("sync");
    Setting { dir, fake: fake() }.check().says("warn", "sync", &["tilld sync"]);
}

#[test]
fn a_private_listener_that_others_reach_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let checked = check(dir.path(), &[("TILLD_PRIVATE_LISTEN", "0.0.0.0:0")]);
    assert!(checked.out.contains("0.0.0.0:0 is plain HTTP"), "{}", checked.out);
}

#[test]
fn calls_to_stripe_go_through_the_tunnel_of_a_proxy_that_sees_neither_key_nor_request() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = move || {
        let mut stream = listener.accept().unwrap().0;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.extend_from_slice(&byte);
        }
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let mut inside = [0; 3];
        stream.read_exact(&mut inside).unwrap();
        (String::from_utf8(head).unwrap(), inside)
    };
    let dir = tempfile::tempdir().unwrap();
    let (checked, (head, inside)) = std::thread::scope(|scope| {
        let proxy = scope.spawn(proxy);
        let checked = check(dir.path(), &[("STRIPE_API_KEY", "sk_test_hush"), ("HTTPS_PROXY", &url)]);
        (checked, proxy.join().unwrap())
    });
    assert!(head.starts_with("CONNECT api.stripe.com:443 HTTP/1.1\r\n"), "{head}");
    assert!(!head.contains("hush") && !checked.out.contains("hush"), "{head}{}", checked.out);
    assert_eq!(inside[..2], [0x16, 3], "a handshake of TLS");
}

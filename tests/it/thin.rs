//! Thin events: they name their object, and with a key it is fetched; once, whatever happens in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::base::retry::RetryPolicy;
use tilld::jobs::operator::{self, Operator};
use tilld::jobs::step::{NextStep, StepLoop};
use tilld::objects::kinds;
use tilld::outward::fetch::Fetcher;
use tilld::store::outbox::{self, NewEffect, OutboxEnd, OutboxKind};
use tilld::stripe::client::Client;
use tilld::stripe::settings::{ApiKey, StripeSettings};

use crate::fake_stripe::{FakeStripe, Fault};
use crate::harness::{DAY_S, PATH, SECRET, START_S, Setup, Till};
use crate::live::{self, Live};

const RETRY: RetryPolicy = RetryPolicy { max_attempts: 3, base_delay_s: 30, max_delay_s: 3600 };

/// A stepped till that fetches from a fake, and an active subscription of alice there.
struct Setting {
    till: Till,
    fake: FakeStripe,
    fetcher: StepLoop<Fetcher>,
    subscription: String,
}

impl Setting {
    fn new() -> Self {
        let fake = FakeStripe::start();
        let subscription = subscribe(&fake);
        let till = Till::with(Setup { fetches: true, retry: RETRY, ..Setup::default() });
        let fetcher = fetcher(&till, &fake);
        Self { till, fake, fetcher, subscription }
    }

    /// The thin events of the fake, delivered and projected.
    fn deliver(&mut self) -> Vec<Value> {
        let events = self.fake.thin_events();
        self.till.feed(&events);
        events
    }

    /// Fetches what is due; how often.
    fn fetch(&mut self) -> usize {
        std::iter::from_fn(|| (self.till.turn(&mut self.fetcher).unwrap() == NextStep::AtOnce).then_some(())).count()
    }

    fn replay(&mut self, event_id: &str) {
        let (id, operator) = (event_id.to_owned(), Operator { actor: "cli", now_ms: self.till.clock.now_ms() });
        assert!(self.till.store.write(move |tx| operator::replay(tx, &id, operator)).unwrap());
        self.till.settle();
    }

    fn end(&mut self) {
        let path = format!("/v1/subscriptions/{}", self.subscription);
        call(&self.fake, "DELETE", &path, "");
    }
}

fn fetcher(till: &Till, fake: &FakeStripe) -> StepLoop<Fetcher> {
    let settings = StripeSettings::new(ApiKey::new(fake.key()), &fake.url(), "2026-09-30.endive");
    let quick = StripeSettings { calls_per_s: 1000, burst: 1000, rate_limited_pause: Duration::ZERO, ..settings };
    let settings = StripeSettings { max_attempts: 1, backoff_base: Duration::ZERO, ..quick };
    let client = Client::new(settings).unwrap();
    StepLoop::new(Fetcher::new(till.store.clone(), client, Arc::clone(&till.api.context), RETRY))
}

/// A call of the application's.
fn call(fake: &FakeStripe, verb: &str, path: &str, form: &str) -> Value {
    use tilld::stripe::call::{Call, Priority, Verb};
    let verb = if verb == "DELETE" { Verb::Delete } else { Verb::Post };
    let client = Client::new(StripeSettings::new(ApiKey::new(fake.key()), &fake.url(), "2026-09-30.endive")).unwrap();
    let key = format!("app-{}", fake.requests().len());
    let idempotency_key = (verb == Verb::Post).then_some(key.as_str());
    let priority = Priority::Interactive;
    let answer = client.call(&Call { verb, path, form, idempotency_key, priority, context: None }).unwrap();
    serde_json::from_str(&answer.text).unwrap()
}

/// Alice subscribes; the subscription's id.
fn subscribe(fake: &FakeStripe) -> String {
    fake.add_price("price_pro", 2000, "month");
    let form = "email=a%40example.com&metadata[user_id]=alice";
    let customer = call(fake, "POST", "/v1/customers", form);
    let customer = customer["id"].as_str().unwrap();
    let form = format!("customer={customer}&items[0][price]=price_pro&default_payment_method=pm_card_visa");
    call(fake, "POST", "/v1/subscriptions", &form)["id"].as_str().unwrap().to_owned()
}

const OPEN: &str = "SELECT count(*) FROM outbox WHERE status <> 'done'";
const TYPED: &str = "SELECT (SELECT count(*) FROM stripe_customers) + (SELECT count(*) FROM stripe_subscriptions)
    + (SELECT count(*) FROM stripe_invoices) + (SELECT count(*) FROM users)";

#[test]
fn a_thin_events_object_is_fetched_mirrored_and_projected_like_any_other() {
    let mut setting = Setting::new();
    let asked = setting.fake.requests().len();
    let events = setting.deliver();
    let till = &setting.till;
    assert_eq!(till.value(TYPED), 0, "nothing is known of the object yet");
    let waiting = "SELECT count(*) FROM stripe_webhooks_log WHERE status = 'ignored' AND processed = 0
        AND processing_error LIKE '%is being fetched'";
    assert_eq!(till.value(waiting), events.len());
    assert_eq!(setting.fetch(), events.len());
    let till = &setting.till;
    let answer = till.entitlement("alice");
    assert_eq!((&answer["entitled"], &answer["tier"]), (&json!(true), &json!("pro")));
    assert_eq!((till.value(waiting), till.value(OPEN)), (json!(0), json!(0)));
    let of =
        |id: &str| till.value(&format!("SELECT status || processed FROM stripe_webhooks_log WHERE event_id = '{id}'"));
    for event in &events {
        let has_table = event["related_object"]["type"] != "payment_method";
        assert_eq!(of(event["id"].as_str().unwrap()), if has_table { "processed1" } else { "ignored1" }, "{event}");
    }
    let whole = "SELECT count(*) FROM stripe_objects WHERE object = 'v2.core.event'
        AND json_extract(data, '$.snapshot_event') LIKE 'evt_F%'";
    assert_eq!(till.value(whole), events.len());
    assert_eq!(setting.fake.requests().len() - asked, 2 * events.len());
    assert!(setting.fake.requests()[asked..].iter().all(|request| request.method == "GET"));
    assert!(setting.fake.requests()[asked..].iter().all(|request| request.header("stripe-context").is_none()));
}

#[test]
fn thin_events_and_snapshots_end_the_same_in_any_order() {
    // What comes: snapshots, thin events, fetches; before and after the subscription ends at Stripe.
    for story in ["sef TF", "TF es", "T esF", "Te Fs", "s TeF", "TF eTFs", "esTF s", "eTFs"] {
        let mut setting = Setting::new();
        for step in story.chars() {
            match step {
                's' => {
                    setting.fake.events().iter().rev().for_each(|event| setting.till.feed(std::slice::from_ref(event)))
                }
                'T' => drop(setting.deliver()),
                'F' | 'f' => drop(setting.fetch()),
                'e' => setting.end(),
                _ => {}
            }
        }
        setting.deliver();
        setting.fetch();
        let answer = setting.till.entitlement("alice");
        assert_eq!((&answer["entitled"], &answer["reason"]), (&json!(false), &json!("canceled")), "{story}");
        let rows = "SELECT group_concat(status) FROM stripe_subscriptions";
        assert_eq!(setting.till.value(rows), "canceled", "{story}");
        assert_eq!(setting.till.value(OPEN), 0, "{story}");
    }
}

#[test]
fn while_stripe_is_down_a_fetch_waits_and_says_so_and_goes_on_when_it_is_up() {
    let mut setting = Setting::new();
    for fault in [Fault::Only500, Fault::ResetBefore, Fault::Status(401, None), Fault::Status(403, None)] {
        let mut fresh = Setting::new();
        fresh.fake.fail(fault.clone(), "/v2/core/events/*", usize::MAX);
        let events = fresh.deliver();
        assert_eq!(fresh.fetch(), events.len(), "each is tried once, then waits: {fault:?}");
        assert_eq!((fresh.fetch(), fresh.till.value(TYPED)), (0, json!(0)));
        let waits = fresh.till.value("SELECT count(*) FROM outbox WHERE status = 'pending' AND attempts = 1");
        assert_eq!(waits, events.len());
        let said = fresh.till.value("SELECT processing_error FROM stripe_webhooks_log ORDER BY id LIMIT 1");
        assert!(said.as_str().unwrap().contains("could not be fetched yet (attempt 1 of 3)"), "{said}");
    }
    setting.fake.fail(Fault::Only500, "/v1/subscriptions/*", 1);
    setting.deliver();
    setting.fetch();
    assert_eq!(setting.till.value(OPEN), 1);
    setting.till.clock.advance(31_000);
    assert_eq!(setting.fetch(), 1);
    assert_eq!(setting.till.entitlement("alice")["entitled"], true);
    assert_eq!(setting.till.value("SELECT max(attempts) FROM outbox"), 2);
}

#[test]
fn a_fetch_that_never_succeeds_is_given_up_with_its_reason_in_events_show_and_a_replay_fetches_it() {
    let mut setting = Setting::new();
    setting.fake.fail(Fault::Status(403, None), "/v1/subscriptions/*", 3);
    setting.deliver();
    for _ in 0..3 {
        setting.fetch();
        setting.till.clock.advance(2 * 3600 * 1000);
    }
    assert_eq!(setting.fetch(), 0);
    let failed = "SELECT substr(dedupe_key, 6) FROM outbox WHERE status = 'failed' AND attempts = 3";
    let id = setting.till.value(failed).as_str().unwrap().to_owned();
    let shown = show(&setting.till, &id);
    assert!(shown.contains("given up (attempts: 3), replay it") && shown.contains("status 403"), "{shown}");
    assert!(shown.contains("ignored"), "{shown}");
    setting.replay(&id);
    assert_eq!(setting.fetch(), 1);
    assert_eq!(setting.till.entitlement("alice")["entitled"], true);
    assert!(show(&setting.till, &id).contains("processed"));
}

fn show(till: &Till, id: &str) -> String {
    let mut command = live::tilld(till.dir.path());
    let output = command.args(["events", "show", id, "--database", "tilld.db"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_object_that_is_gone_by_then_ends_its_fetch() {
    let mut setting = Setting::new();
    setting.fake.fail(Fault::Status(404, None), "/v1/subscriptions/*", usize::MAX);
    setting.deliver();
    setting.fetch();
    assert_eq!((setting.till.value(OPEN), setting.fetch()), (json!(0), 0));
    let noted =
        "SELECT processing_error FROM stripe_webhooks_log l JOIN outbox o ON o.dedupe_key = 'thin:' || l.event_id
        WHERE o.last_error = l.processing_error AND l.status = 'ignored' AND l.processed = 0";
    let said = setting.till.value(noted);
    assert!(said.as_str().unwrap().contains("not at Stripe any more (404)"), "{said}");
}

#[test]
fn an_event_that_stripe_keeps_no_longer_is_fetched_without_its_own_words() {
    let mut setting = Setting::new();
    let events = setting.deliver();
    setting.fake.clock().advance(31 * DAY_S * 1000);
    assert_eq!(setting.fetch(), events.len());
    assert_eq!(setting.till.entitlement("alice")["entitled"], true);
    assert_eq!(setting.till.value("SELECT count(*) FROM stripe_objects WHERE object = 'v2.core.event'"), 0);
}

/// What is told of unix times is that there is one; and the replay's own row is left out.
fn without_times(dump: &str) -> String {
    let mut kept = String::new();
    for line in dump.lines().filter(|line| !line.contains("event.replay")) {
        for part in line.split_inclusive(|c: char| !c.is_ascii_digit()) {
            let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
            kept.push_str(if digits >= 10 { &part[digits..] } else { part });
        }
        kept.push('\n');
    }
    kept
}

#[test]
fn a_replay_fetches_again_what_was_fetched() {
    let mut setting = Setting::new();
    let events = setting.deliver();
    setting.fetch();
    let before = without_times(&setting.till.dump());
    let asked = setting.fake.requests().len();
    let id = events[0]["id"].as_str().unwrap().to_owned();
    setting.replay(&id);
    assert_eq!(setting.till.value(OPEN), 1);
    assert_eq!((setting.fetch(), setting.fake.requests().len() - asked), (1, 2));
    assert_eq!(without_times(&setting.till.dump()), before, "once more changes nothing");
}

#[test]
fn what_is_replayed_while_it_is_in_hand_is_fetched_again() {
    let mut setting = Setting::new();
    let events = setting.deliver();
    let now_ms = setting.till.clock.now_ms();
    let effect =
        setting.till.store.write(move |tx| outbox::claim(tx, OutboxKind::StripeCall, now_ms)).unwrap().unwrap();
    let id = effect.dedupe_key.strip_prefix("thin:").unwrap().to_owned();
    setting.replay(&id);
    let late = setting.till.store.write(move |tx| outbox::finish(tx, &effect, OutboxEnd::Done(None), now_ms)).unwrap();
    assert!(!late, "the claim is no longer its own");
    assert_eq!(setting.fetch(), events.len());
    assert_eq!(setting.till.value(OPEN), 0);
}

#[test]
fn without_a_key_a_thin_event_is_kept_and_a_replay_with_a_key_fetches_it() {
    let fake = FakeStripe::start();
    subscribe(&fake);
    let mut till = Till::new();
    till.feed(&fake.thin_events());
    let kept = "SELECT count(*) FROM stripe_webhooks_log WHERE status = 'ignored' AND processing_error LIKE '%set stripe.api_key%'";
    assert_eq!(till.value(kept), fake.thin_events().len());
    assert_eq!(till.value("SELECT count(*) FROM outbox"), 0);
    let till = Till::in_dir(till.close(), Setup { fetches: true, retry: RETRY, ..Setup::default() });
    let fetcher = fetcher(&till, &fake);
    let mut setting = Setting { till, fake, fetcher, subscription: String::new() };
    for event in setting.fake.thin_events() {
        setting.replay(event["id"].as_str().unwrap());
    }
    setting.fetch();
    assert_eq!(setting.till.entitlement("alice")["entitled"], true);
}

#[test]
fn a_connected_accounts_thin_event_is_mirrored_under_its_account_and_never_reaches_typed_tables() {
    let mut setting = Setting::new();
    setting.fake.set_context("acct_org/acct_other");
    let asked = setting.fake.requests().len();
    let events = setting.deliver();
    assert_eq!(setting.fetch(), events.len());
    let till = &setting.till;
    assert_eq!((till.value(TYPED), till.value(OPEN)), (json!(0), json!(0)));
    let kept = "SELECT count(*) FROM stripe_webhooks_log WHERE status = 'ignored' AND processed = 1 AND account = 'acct_other'";
    assert_eq!(till.value(kept), events.len());
    assert_eq!(till.value("SELECT count(*) FROM stripe_objects WHERE account <> 'acct_other'"), 0);
    let mirrored = "SELECT count(*) FROM stripe_objects WHERE object = 'subscription' AND account = 'acct_other'";
    assert_eq!(till.value(mirrored), 1);
    let requests = &setting.fake.requests()[asked..];
    assert!(requests.iter().all(|request| request.header("stripe-context") == Some("acct_org/acct_other")));
}

#[test]
fn only_paths_of_the_api_are_fetched() {
    let mut setting = Setting::new();
    let asked = setting.fake.requests().len();
    let urls = [
        "https://evil.example/v1/x",
        "//evil.example/v1/x",
        "/v1/../x",
        "/v3/x",
        "/v1/x?y=z",
        "/v1/",
        "v1/x",
        "/v1/a b",
    ];
    for (number, url) in urls.into_iter().enumerate() {
        let mut event = setting.fake.thin_events()[0].clone();
        event["id"] = json!(format!("evt_{number}"));
        event["related_object"]["url"] = json!(url);
        setting.till.feed(&[event]);
    }
    let mut event = setting.fake.thin_events()[0].clone();
    event["id"] = json!("../../v1/x");
    setting.till.feed(&[event]);
    assert_eq!((setting.fetch(), setting.till.value("SELECT count(*) FROM outbox")), (0, json!(0)));
    assert_eq!(setting.fake.requests().len(), asked);
    let refused = "SELECT count(*) FROM stripe_webhooks_log WHERE processing_error LIKE '%no address in Stripe''s API'";
    assert_eq!(setting.till.value(refused), urls.len() + 1);
}

#[test]
fn an_event_without_an_object_is_mirrored_itself() {
    let mut setting = Setting::new();
    let mut event = setting.fake.thin_events()[0].clone();
    event.as_object_mut().unwrap().remove("related_object");
    setting.till.feed(&[event]);
    assert_eq!(setting.fetch(), 1);
    assert_eq!(setting.till.value("SELECT status || processed FROM stripe_webhooks_log"), "ignored1");
    assert_eq!(setting.till.value("SELECT group_concat(object) FROM stripe_objects"), "v2.core.event");
}

#[test]
fn after_a_clock_set_back_a_fetch_waits_no_longer_than_its_longest_delay() {
    let mut setting = Setting::new();
    setting.till.clock.advance(400 * DAY_S * 1000);
    setting.fake.fail(Fault::Only500, "/v2/core/events/*", 1);
    setting.deliver();
    setting.fetch();
    assert_eq!(setting.till.value(OPEN), 1);
    setting.till.clock.advance(-400 * DAY_S * 1000);
    assert_eq!(setting.fetch(), 0);
    setting.till.clock.advance(3601 * 1000);
    assert_eq!(setting.fetch(), 1);
    assert_eq!(setting.till.value(OPEN), 0);
}

#[test]
fn an_effect_belongs_to_one_claim_and_to_the_next_process_when_its_own_died() {
    let till = Till::new();
    let write = |key: &'static str, due_ms: i64| {
        let (kind, payload) = (OutboxKind::Webhook, "{}");
        let new = NewEffect {
            kind,
            dedupe_key: key,
            user_id: Some("alice"),
            target: None,
            payload,
            cause: None,
            due_ms,
            now_ms: 0,
        };
        till.store.write(move |tx| outbox::put(tx, &new)).unwrap()
    };
    let claim = |kind, now_ms| till.store.write(move |tx| outbox::claim(tx, kind, now_ms)).unwrap();
    assert!(write("b", 200) && write("a", 100) && !write("a", 1), "once per key");
    assert!(
        claim(OutboxKind::Webhook, 99).is_none() && claim(OutboxKind::Mail, 1000).is_none(),
        "due, and of the kind"
    );
    let first = claim(OutboxKind::Webhook, 300).unwrap();
    let second = claim(OutboxKind::Webhook, 300).unwrap();
    assert_eq!((first.dedupe_key.as_str(), second.dedupe_key.as_str(), first.attempts), ("a", "b", 1));
    assert!(claim(OutboxKind::Webhook, 300).is_none());
    let late = first.clone();
    assert!(till.store.write(move |tx| outbox::retry(tx, &late, "no answer", 500)).unwrap());
    assert_eq!(till.store.read(|reader| outbox::next_due_ms(reader, OutboxKind::Webhook)).unwrap(), Some(500));
    assert_eq!(till.store.write(|tx| outbox::rescue(tx, OutboxKind::Mail)).unwrap(), 0);
    assert_eq!(till.store.write(|tx| outbox::rescue(tx, OutboxKind::Webhook)).unwrap(), 1);
    let again = claim(OutboxKind::Webhook, 300).unwrap();
    assert_eq!((again.dedupe_key.as_str(), again.attempts), ("b", 2));
    assert!(
        !till.store.write(move |tx| outbox::finish(tx, &second, OutboxEnd::Done(None), 301)).unwrap(),
        "its process died"
    );
    assert!(till.store.write(move |tx| outbox::finish(tx, &again, OutboxEnd::Skipped("moot"), 301)).unwrap());
    assert!(!till.store.write(move |tx| outbox::retry(tx, &first, "late", 1)).unwrap());
}

fn live(dir: &std::path::Path, fake: &FakeStripe) -> Live {
    Live::start_with(dir, &[("STRIPE_API_KEY", fake.key()), ("STRIPE_API_BASE", &fake.url())])
}

/// Waits until alice is entitled.
fn wait_for_entitlement(till: &Live) {
    let started = Instant::now();
    loop {
        let (status, answer) = till.get("/api/v1/users/alice/entitlement");
        if status == 200 && answer["entitled"] == true {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "never entitled: {answer}; {}", till.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sql(dir: &std::path::Path, query: &str) -> i64 {
    rusqlite::Connection::open(live::database(dir)).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_daemon_with_a_key_entitles_by_thin_events_alone() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    let till = live(dir.path(), &fake);
    fake.deliver_thin_to(&live::url_of(&till.public, PATH), SECRET);
    fake.deliver_promptly();
    subscribe(&fake);
    wait_for_entitlement(&till);
    assert_eq!(till.terminate(), Some(0));
}

#[test]
fn a_kill_between_the_reading_and_its_commit_repeats_the_reading_and_nothing_else() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    subscribe(&fake);
    let till = live(dir.path(), &fake);
    fake.fail(Fault::Hold, "/v1/subscriptions/*", 1);
    for event in fake.thin_events() {
        till.post(event.to_string().as_bytes()).unwrap();
    }
    fake.wait_for_held(1);
    till.kill();
    fake.release();
    assert_eq!(sql(dir.path(), "SELECT count(*) FROM outbox WHERE status = 'claimed'"), 1);
    let till = live(dir.path(), &fake);
    till.logged(&["due again: 1"]);
    wait_for_entitlement(&till);
    // A stop in the middle of another fetch would rightly leave that one claimed.
    let begun = Instant::now();
    while sql(dir.path(), "SELECT count(*) FROM outbox WHERE status IN ('pending', 'claimed')") > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "fetches do not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(till.terminate(), Some(0));
    assert_eq!(sql(dir.path(), "SELECT count(*) FROM outbox WHERE status IN ('claimed', 'failed')"), 0);
    assert_eq!(sql(dir.path(), "SELECT max(attempts) FROM outbox WHERE status = 'done'"), 2);
    assert_eq!(sql(dir.path(), "SELECT count(*) FROM stripe_subscriptions"), 1);
}

#[test]
fn a_stop_while_stripe_is_down_is_no_failed_attempt() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    subscribe(&fake);
    let till = live(dir.path(), &fake);
    fake.fail(Fault::Only500, "/v2/core/events/*", 9);
    till.post(fake.thin_events()[0].to_string().as_bytes()).unwrap();
    till.logged(&["a call to Stripe is tried again"]);
    let started = Instant::now();
    assert_eq!(till.terminate(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(sql(dir.path(), "SELECT count(*) FROM outbox WHERE status = 'failed' OR last_error IS NOT NULL"), 0);
}

#[test]
fn an_object_whose_events_of_one_second_are_in_no_certain_order_is_fetched_and_then_certain() {
    let mut setting = Setting::new();
    let at = setting.fake.clock().now_s();
    setting.till.clock.set(setting.fake.clock().now_ms());
    let shown = |status: &str| {
        let mut object = setting.fake.object(&setting.subscription).unwrap();
        object["status"] = json!(status);
        object
    };
    // Neither says what it changed, so either may be the last; by their ids it would be the wrong one.
    let kind = "customer.subscription.updated";
    let events = [
        crate::samples::raw("evt_1", kind, at, shown("past_due")),
        crate::samples::raw("evt_2", kind, at, shown("active")),
    ];
    setting.till.feed(&events);
    let sql = "SELECT status || ' ' || ambiguous FROM stripe_subscriptions JOIN stripe_objects
        ON stripe_objects.id = stripe_subscription_id";
    assert_eq!(setting.till.value(sql), "past_due 1");
    assert_eq!(setting.fetch(), 1);
    assert_eq!(setting.till.value(sql), "active 0");
    // The same events once more change nothing, and nothing is asked again.
    setting.replay("evt_1");
    assert_eq!((setting.fetch(), setting.till.value(sql)), (0, json!("active 0")));
}

#[test]
fn an_object_of_any_kind_is_fetched_again_where_its_events_are_in_no_certain_order() {
    for kind in kinds::all() {
        let fake = FakeStripe::start();
        let id = fake.add(kind.object, &json!({ "metadata": { "is": "second" } }));
        let mut till = Till::with(Setup { fetches: true, retry: RETRY, ..Setup::default() });
        let mut fetcher = fetcher(&till, &fake);
        let (at, now_ms) = (fake.clock().now_s(), fake.clock().now_ms());
        till.clock.set(now_ms);
        let event_type = kinds::event_type(kind.object, "updated");
        let shown = |event_id: &str, is: &str| {
            let mut object = fake.object(&id).unwrap();
            object["metadata"] = json!({ "is": is });
            crate::samples::raw(event_id, &event_type, at, object)
        };
        till.feed(&[shown("evt_1", "first"), shown("evt_2", "second")]);
        let sql = format!(
            "SELECT json_extract(data, '$.metadata.is') || ' ' || ambiguous FROM stripe_objects WHERE id = '{id}'"
        );
        assert_eq!(till.value(&sql), "first 1", "{}", kind.object);
        assert_eq!(till.turn(&mut fetcher).unwrap(), NextStep::AtOnce, "{}", kind.object);
        assert_eq!(till.value(&sql), "second 0", "{}", kind.object);
        assert_eq!(fake.requests_to(&format!("{}/{id}", kind.path)).len(), 1, "{}", kind.object);
    }
}

/// Alice's subscription has twelve items, of which her plan's is the last; an event shows ten.
fn with_twelve_items(setting: &mut Setting) -> Value {
    let item = |place: usize| {
        let price = if place == 11 { "price_pro".to_owned() } else { format!("price_{place}") };
        json!({ "id": format!("si_{place}"), "object": "subscription_item", "quantity": 1,
            "current_period_start": START_S, "current_period_end": START_S + 400 * DAY_S,
            "price": { "id": price, "object": "price", "product": "prod_1", "unit_amount": 5, "currency": "usd",
                "recurring": { "interval": "month", "interval_count": 1 } } })
    };
    let list = |items: Vec<Value>, more| json!({ "object": "list", "data": items, "has_more": more, "url": "/v1/x" });
    setting.fake.alter(&setting.subscription, &json!({ "items": list((0..12).map(item).collect(), false) }));
    let created = setting.fake.clock().now_s();
    let id = [("id", json!(setting.subscription))];
    let mut event = crate::samples::event("customer.subscription.updated", "alice", created, &id);
    event["data"]["object"]["items"] = list((0..10).map(item).collect(), true);
    event
}

#[test]
fn the_items_that_an_event_leaves_out_are_fetched() {
    let mut setting = Setting::new();
    setting.fake.clock().advance(5000);
    setting.till.clock.set(setting.fake.clock().now_ms());
    let event = with_twelve_items(&mut setting);
    setting.till.feed(&[event]);
    assert_eq!(setting.till.value("SELECT group_concat(error) FROM webhook_attempts"), Value::Null);
    assert_eq!(setting.till.entitlement("alice")["reason"], "partial");
    setting.fake.clock().advance(2000);
    setting.till.clock.set(setting.fake.clock().now_ms());
    assert_eq!(setting.fetch(), 1);
    assert_eq!(setting.till.value("SELECT count(*) FROM stripe_subscription_items"), 12);
    let answer = setting.till.entitlement("alice");
    assert_eq!((&answer["reason"], &answer["tier"]), (&json!("active"), &json!("pro")), "{answer}");
    assert_eq!(setting.fetch(), 0, "what was fetched is whole");
}

#[test]
fn where_the_key_may_not_read_the_rest_the_answer_says_that_it_is_a_part() {
    let mut setting = Setting::new();
    setting.fake.clock().advance(5000);
    setting.till.clock.set(setting.fake.clock().now_ms());
    let event = with_twelve_items(&mut setting);
    setting.fake.fail(Fault::Status(403, None), "GET /v1/subscription_items", 9);
    setting.till.feed(&[event]);
    setting.fake.clock().advance(2000);
    setting.till.clock.set(setting.fake.clock().now_ms());
    assert!((1..4).contains(&setting.fetch()), "it is not asked for without end");
    assert_eq!(setting.till.entitlement("alice")["reason"], "partial");
}

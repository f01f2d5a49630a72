//! The first page: it says what `tilld check` says, from one source, and never asks Stripe for it.

use serde_json::json;
use tilld::base::thread::{Pulse, Stopper, stopper};
use tilld::jobs::findings::hourly::{EVERY_S, FIRST_AFTER_S, HourlyFindings};
use tilld::jobs::schedule::Scheduler;
use tilld::outward::checks::{CheckedWebhook, StripeChecks};
use tilld::stripe::settings::{ApiKey, StripeSettings};

use crate::dashboard_users::Visitor;
use crate::fake_stripe::FakeStripe;
use crate::harness::{PATH, START_S, Setup, Till};
use crate::live::{Live, configure, tilld};
use crate::samples;

/// With a key, and with everything read from Stripe once.
fn settled() -> Till {
    let mut till = Till::with(Setup { fetches: true, ..Setup::default() });
    till.feed(&[samples::event("customer.subscription.created", "alice", START_S, &[])]);
    let run = "INSERT INTO sync_runs (scope, status, began_at_ms, finished_at_ms) VALUES ('all', 'complete', 1, 2)";
    till.connection().execute_batch(run).unwrap();
    till
}

fn break_one(till: &Till) {
    let dead = "INSERT INTO webhook_dead_letter_queue
        (stripe_event_id, event_type, retry_count, error, original_timestamp_ms, created_at_ms)
        SELECT event_id, event_type, 8, 'x', 1, 1 FROM stripe_webhooks_log LIMIT 1";
    till.connection().execute_batch(dead).unwrap();
}

/// What is asked of the fake.
fn asked(fake: &FakeStripe, key: &str) -> StripeChecks {
    StripeChecks {
        settings: StripeSettings::new(ApiKey::new(key), &fake.url(), "2026-09-30.endive"),
        webhooks: vec![CheckedWebhook { path: PATH.to_owned(), tolerance_s: 300 }],
        pull_interval_s: None,
        plans: Vec::new(),
    }
}

/// The hourly task, with what keeps it from stopping.
fn hourly(till: &Till, stripe: Option<StripeChecks>) -> (Scheduler, Stopper) {
    let (stopper, stop) = stopper();
    let (store, context, pulse) = (till.store.clone(), till.context.clone(), Pulse::default());
    let task = HourlyFindings { store, context, stripe, stop, pulse }.task();
    (Scheduler::new(vec![task], START_S * 1000), stopper)
}

/// The hourly task, once it is due.
fn look(till: &Till) {
    let (mut scheduler, _stopper) = hourly(till, None);
    let now_ms = START_S * 1000;
    scheduler.step(now_ms + FIRST_AFTER_S * 1000 - 1);
    assert_eq!(till.value("SELECT count(*) FROM settings WHERE name = 'findings_in_tables'"), json!(0), "it waits");
    scheduler.step(now_ms + FIRST_AFTER_S * 1000);
}

/// The text of a page, without its tags and with its characters as they are read.
fn text_of(html: &str) -> String {
    let mut text = String::new();
    for part in html.split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, rest)| rest));
    }
    [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&lt;", "<"), ("&gt;", ">")]
        .iter()
        .fold(text, |text, (code, character)| text.replace(code, character))
        .replace("&#38;", "&")
        .replace("&amp;", "&")
}

#[test]
fn the_page_says_what_the_command_says() {
    let till = settled();
    break_one(&till);
    till.connection()
        .execute_batch(
            "INSERT INTO webhook_endpoints (url, fingerprint, disabled_at_ms, disabled_reason)
                VALUES ('https://app.example/hooks?key=hush', 'x', 1, 'it is gone');
             INSERT INTO outbox (kind, dedupe_key, target, payload, status, attempts, next_attempt_at_ms, created_at_ms, finished_at_ms)
                VALUES ('mail', 'mail:x', 'mail', '{}', 'failed', 8, 1, 1, 1);
             UPDATE stripe_subscriptions SET linked_by = 'reference';",
        )
        .unwrap();
    look(&till);
    let page = Visitor::of(&till).page(&till, "");
    page.hides(&["hush"]);
    let text = text_of(&page.text);
    let mut command = tilld(till.dir.path());
    let output = configure(command.arg("check")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut compared = 0;
    for check in ["events", "dead letters", "outbox", "endpoint", "links", "paused", "plans", "tokens"] {
        let line = said.lines().find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(&format!("{check} "))));
        let line = line.unwrap_or_else(|| unreachable!("no line of {check} in {said}"));
        let message = line[6 + check.len()..].trim().replace('`', "");
        assert!(text.contains(&message), "{check}: {message:?} is not in {text}");
        compared += 1;
    }
    assert_eq!(compared, 8);
    let links = ["href=\"dead-letters\"", "href=\"outbox\"", "href=\"users\""];
    page.shows(&links);
}

#[test]
fn a_fresh_database_says_how_the_first_webhook_comes_and_draws_nothing() {
    let till = Till::new();
    let page = Visitor::of(&till).page(&till, "");
    page.shows(&["waits for its first webhook", "How the first webhook comes", "tilld trigger", PATH]);
    page.hides(&["<svg", "All is well"]);
}

#[test]
fn a_dead_letter_turns_the_sentence() {
    let till = settled();
    let visitor = Visitor::of(&till);
    visitor.page(&till, "").shows(&["All is well."]);
    break_one(&till);
    let page = visitor.page(&till, "");
    page.shows(&["1 thing does not work.", "href=\"dead-letters\"", "their content is not in the tables"]);
    page.hides(&["All is well"]);
}

#[test]
fn every_range_has_its_charts_and_what_is_none_is_refused() {
    let till = settled();
    let visitor = Visitor::of(&till);
    for (range, words) in [("24h", "per hour"), ("7d", "per 6 hours"), ("30d", "per day"), ("90d", "per 3 days")] {
        let page = visitor.page(&till, &format!("?range={range}"));
        page.shows(&[&format!("Webhooks {words}"), "Show as table", "<svg viewBox"]);
        page.hides(&["style=\"", "<script>"]);
    }
    assert_eq!(visitor.get(&till, "?range=%3Cscript%3E").status, 400);
}

#[test]
fn the_page_shows_what_stripe_said_before_and_never_asks() {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 2000, "month");
    fake.add_price("price_team", 5000, "month");
    let till = settled();
    let visitor = Visitor::of(&till);
    visitor.page(&till, "").shows(&["Stripe has not been asked yet"]);
    let url = fake.url();
    let mut command = tilld(till.dir.path());
    configure(command.arg("check")).envs([("STRIPE_API_KEY", fake.key()), ("STRIPE_API_BASE", &url)]);
    command.output().unwrap();
    let asked = fake.requests().len();
    assert!(asked > 3, "{asked}");
    let page = visitor.page(&till, "");
    page.shows(&["Stripe was asked", "Stripe has none with the path", "20.00 USD a month", "href=\"stripe\""]);
    assert_eq!(fake.requests().len(), asked);
}

#[test]
fn a_daemon_asks_stripe_nothing_for_a_page() {
    use std::io::{Read, Write};
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    let live = Live::start_beside(dir.path(), &fake);
    let exchange = |head: &str, body: &str| {
        let mut stream = std::net::TcpStream::connect(&live.private).unwrap();
        let length = body.len();
        write!(stream, "{head}Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let login = format!("token={}", crate::harness::ADMIN);
    let answer = exchange("POST /dashboard/login HTTP/1.1\r\n", &login);
    let cookie = answer.split("tilld_session=").nth(1).unwrap().split(';').next().unwrap();
    for _ in 0..5 {
        let page = exchange(&format!("GET /dashboard/ HTTP/1.1\r\nCookie: tilld_session={cookie}\r\n"), "");
        assert!(page.contains("waits for its first webhook"), "{page}");
    }
    for path in ["/v1/balance", "/v1/webhook_endpoints", "/v1/prices/*"] {
        assert_eq!(fake.requests_to(path).len(), 0, "{path}");
    }
}

#[test]
fn a_daemon_asks_once_an_hour_and_for_permissions_that_it_has_once_a_day() {
    let fake = FakeStripe::start();
    let till = settled();
    let visitor = Visitor::of(&till);
    let (mut scheduler, _stopper) = hourly(&till, Some(asked(&fake, fake.key_without(&[]))));
    let at_ms = |look: i64| (START_S + FIRST_AFTER_S + look * EVERY_S) * 1000;
    let counts = || (fake.requests_to("/v1/balance").len(), fake.requests_to("/v1/disputes").len());
    for (look, expected) in [(0, (1, 1)), (1, (2, 1)), (23, (3, 1))] {
        scheduler.step(at_ms(look));
        assert_eq!(counts(), expected, "{look}");
        visitor.page(&till, "").shows(&["stripe permissions", "the key has all that tilld uses"]);
    }
    (24..46).for_each(|look| scheduler.step(at_ms(look)));
    assert_eq!(counts(), (25, 2), "the 25th look asks for them again");
}

#[test]
fn a_permission_that_is_missing_is_asked_for_with_every_look() {
    let fake = FakeStripe::start();
    let till = settled();
    let key = fake.key_without(&["GET /v1/disputes"]);
    let (mut scheduler, _stopper) = hourly(&till, Some(asked(&fake, key)));
    for look in 0..3 {
        scheduler.step((START_S + FIRST_AFTER_S + look * EVERY_S) * 1000);
        Visitor::of(&till).page(&till, "").shows(&["1 thing does not work", "lacks Disputes (read)"]);
    }
    assert_eq!(fake.requests_to("/v1/disputes").len(), 3);
}

#[test]
fn a_daemon_that_stops_asks_nothing_more_and_keeps_what_it_knew() {
    let fake = FakeStripe::start();
    let till = settled();
    let (mut scheduler, stopper) = hourly(&till, Some(asked(&fake, fake.key())));
    drop(stopper);
    scheduler.step((START_S + FIRST_AFTER_S) * 1000);
    assert!(fake.requests().is_empty());
    assert_eq!(till.value("SELECT count(*) FROM settings WHERE name = 'findings_at_stripe'"), json!(0));
}

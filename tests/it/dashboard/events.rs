//! The pages about events: the list and its filters, one event and what it left, and bodies that want to break the page.

use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::base::retry::RetryPolicy;
use tilld::notify::NotifyContext;
use tilld::objects::{ProjectedEvent, ProjectionError};
use tilld::store::Tx;
use tilld::store::inbox::EventCompletion;

use super::logged_in;
use crate::harness::{START_S, Setup, Till};
use crate::samples::{event, raw};

fn id(event: &Value) -> &str {
    event["id"].as_str().unwrap()
}

fn failing(_: &Tx, _: &ProjectedEvent, _: &NotifyContext, _: i64) -> Result<EventCompletion, ProjectionError> {
    Err(ProjectionError::Panicked("as the test wants it".to_owned()))
}

#[test]
fn the_list_says_what_would_be_there_and_which_filters_are_in_force() {
    let mut till = Till::new();
    let browser = logged_in(&till);
    assert!(browser.page(&till, "events").contains("No events yet."));
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let page = browser.page(&till, "events?type=customer.created&user=alice");
    for words in ["customer.created</td>", "Shown: type customer.created", "user alice", "take away"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(browser.page(&till, "events?type=invoice.paid").contains("No events match."));
    for wrong in ["status=gone", "from=yesterday", "to=2026-99-99"] {
        assert_eq!(browser.get(&till, &format!("events?{wrong}")).0, 400, "{wrong}");
    }
}

#[test]
fn an_event_says_how_it_stands_what_it_changed_and_whose_it_is() {
    let mut till = Till::new();
    let created = event("customer.subscription.created", "alice", START_S, &[]);
    let updated = event("customer.subscription.updated", "alice", START_S + 60, &[]);
    till.feed(&[event("customer.created", "alice", START_S, &[]), created.clone(), updated.clone()]);
    let browser = logged_in(&till);
    let page = browser.page(&till, &format!("event?id={}", id(&created)));
    for words in [
        "It is done: what it says is in the tables.",
        "The newest known state of its object is from a later event.",
        &format!("event?id={}", id(&updated).replace('_', "%5F")),
        "user?id=alice",
        "Audit log",
        "a row that shows it as",
        "Other events of",
        "<details class=\"body\">",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let page = browser.page(&till, &format!("event?id={}", id(&updated)));
    assert!(page.contains("The newest known state of its object rests on this event."), "{page}");
    let (status, body) = browser.get(&till, &format!("event-body?id={}", id(&updated)));
    assert_eq!((status, body), (200, updated.to_string()));
    assert_eq!(browser.get(&till, "event?id=evt_none").0, 404);
    assert_eq!(browser.get(&till, "event").0, 404);
}

#[test]
fn an_event_that_fails_shows_its_attempts_and_when_it_is_tried_again() {
    let retry = RetryPolicy { max_attempts: 2, base_delay_s: 30, max_delay_s: 3600 };
    let mut till = Till::with(Setup { project: Some(failing), retry, ..Setup::default() });
    let created = event("customer.created", "alice", START_S, &[]);
    till.feed(std::slice::from_ref(&created));
    let browser = logged_in(&till);
    let page = browser.page(&till, &format!("event?id={}", id(&created)));
    assert!(page.contains("It failed 1 of 2 times and is tried again in"), "{page}");
    assert!(page.contains("as the test wants it"), "{page}");
    assert!(browser.page(&till, "retries").contains("1 attempt of 2"));
    assert!(browser.page(&till, "events").contains("<a href=\"retries\">1 event</a> failed and will be tried again"));
    till.clock.advance(3_600_000);
    till.retrier.step(till.clock.now_ms()).unwrap();
    till.settle();
    let page = browser.page(&till, &format!("event?id={}", id(&created)));
    assert!(page.contains("It is a dead letter, given up after 2 attempts."), "{page}");
    assert!(browser.page(&till, "retries").contains("No retries."));
}

#[test]
fn what_others_wrote_is_shown_and_never_becomes_part_of_the_page() {
    let mut till = Till::new();
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}javascript:alert(1)";
    let object = json!({"id": hostile, "object": "widget", "url": "javascript:alert(1)", hostile: [hostile]});
    till.feed(&[raw("evt_<b>\"x", &format!("widget.{hostile}"), START_S, object)]);
    let browser = logged_in(&till);
    let shown = ["events", "event?id=evt_%3Cb%3E%22x", "events?object=%3Cscript%3E&user=%22%3E%3Cb%3E&type=%3Ci%3E"];
    for name in shown {
        let page = browser.page(&till, name);
        assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("<b>"), "{name}: {page}");
        assert!(!page.contains("href=\"javascript"), "{name}: {page}");
    }
    let response = browser.send(&till, tilld::http::request::Method::Get, "event-body?id=evt_%3Cb%3E%22x", &[], "");
    assert_eq!(super::header(&response, "Content-Type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn large_deep_and_wide_bodies_make_a_page_of_bounded_size() {
    let mut till = Till::new();
    let name = "x".repeat(65_536);
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let wide: Vec<u32> = (0..50_000).collect();
    till.feed(&[
        raw("evt_long", "widget.made", START_S, json!({"id": "w_1", "object": "widget", "name": name, &name: 1})),
        raw("evt_deep", "widget.made", START_S, json!({"id": "w_2", "object": "widget", "deep": deep})),
        raw("evt_wide", "widget.made", START_S, json!({"id": "w_3", "object": "widget", "wide": wide})),
    ]);
    let browser = logged_in(&till);
    for id in ["evt_long", "evt_deep", "evt_wide"] {
        let page = browser.page(&till, &format!("event?id={id}"));
        assert!(page.contains("are left out here"), "{id}");
        assert!(page.len() < 200_000, "{id}: {} bytes", page.len());
        assert_eq!(page.matches("<details").count(), page.matches("</details>").count(), "{id}");
        assert_eq!(page.matches("<ul").count(), page.matches("</ul>").count(), "{id}");
    }
}

//! Filters of the log: each finds what it says, in any combination and page by page, through an index whatever the size.

use serde_json::{Value, json};
use tilld::store::inbox::{search, traces};

use super::{Browser, logged_in};
use crate::harness::{START_S, Till};
use crate::samples::{event, raw};

/// The ids of the events that a list shows, in its order.
fn listed(browser: &Browser, till: &Till, query: &str) -> Vec<String> {
    let page = browser.page(till, &format!("events?{query}"));
    let rows = page.split("<tbody").nth(1).unwrap_or_default();
    rows.split("title=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .filter(|id| id.starts_with("evt"))
        .collect()
}

fn widget(number: i64, status: &str) -> Value {
    let object = json!({"id": format!("w_{}", number % 3), "object": "widget", "number": number});
    raw(&format!("evt_{number:04}"), &format!("widget.{status}"), START_S + number, object)
}

#[test]
fn each_filter_finds_its_events_alone_and_with_others() {
    let mut till = Till::new();
    for number in 0..6 {
        till.clock.advance(60_000);
        till.feed(&[widget(number, if number % 2 == 0 { "made" } else { "sold" })]);
    }
    till.clock.advance(60_000);
    let alices = event("customer.created", "alice", START_S, &[]);
    till.feed(&[alices.clone(), event("customer.created", "bob", START_S, &[])]);
    // Waits still, and is about an object that others are about.
    assert_eq!(till.post(&widget(9, "made")).0, 200);
    let browser = logged_in(&till);
    let found = |query: &str| listed(&browser, &till, query);
    let minute = |minute: i64| {
        let time = till.value(&format!("SELECT strftime('%Y-%m-%dT%H:%M', {}, 'unixepoch')", START_S + minute * 60));
        time.as_str().unwrap().replace(':', "%3A")
    };
    assert_eq!(found("").len(), 9);
    assert_eq!(found("type=widget.sold"), ["evt_0005", "evt_0003", "evt_0001"]);
    assert_eq!(found("status=pending"), ["evt_0009"]);
    assert_eq!(found("status=ignored").len(), 6);
    assert_eq!(found("status=processed").len(), 2);
    assert_eq!(found("object=w_0"), ["evt_0009", "evt_0003", "evt_0000"]);
    assert_eq!(found("object=w_0&type=widget.made"), ["evt_0009", "evt_0000"]);
    assert_eq!(found("object=w_0&status=pending"), ["evt_0009"]);
    assert_eq!(found("user=alice"), [alices["id"].as_str().unwrap()]);
    assert_eq!(found("user=alice&type=widget.made"), [""; 0]);
    assert_eq!(found(&format!("from={}&to={}", minute(2), minute(4))), ["evt_0002", "evt_0001"]);
    assert_eq!(found(&format!("type=widget.sold&from={}", minute(3))), ["evt_0005", "evt_0003"]);
    assert_eq!(found(&format!("to={}", minute(0))), [""; 0]);
    assert_eq!(found("before=evt_none"), [""; 0]);
    assert_eq!(found("before=evt_0002"), ["evt_0001", "evt_0000"]);
}

#[test]
fn page_by_page_every_event_is_seen_once_whatever_the_filter() {
    let mut till = Till::new();
    let mut events: Vec<Value> = (0..130).map(|number| widget(number, "made")).collect();
    events.extend((0..130).map(|number| event("customer.updated", "alice", START_S + number, &[])));
    till.feed(&events);
    let browser = logged_in(&till);
    for (query, count) in
        [("", 260), ("type=widget.made", 130), ("status=ignored", 130), ("user=alice", 130), ("object=w_1", 43)]
    {
        let (mut seen, mut before) = (Vec::new(), String::new());
        loop {
            let rows = listed(&browser, &till, &format!("{query}{before}"));
            assert!(rows.len() <= 50);
            let Some(last) = rows.last() else { break };
            before = format!("&before={last}");
            seen.extend(rows);
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((all, seen.len()), (count, count), "{query}");
    }
}

#[test]
fn a_search_that_finds_little_stops_and_says_how_far_it_has_looked() {
    let till = Till::new();
    let connection = till.connection();
    connection
        .execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
             INSERT INTO stripe_webhooks_log (event_id, event_type, event_created, created_at_ms, data)
             SELECT 'evt_' || i, iif(i < 3, 'rare.one', 'common.one'), {START_S}, {START_S}000 + i, '{{}}' FROM n;"
        ))
        .unwrap();
    let browser = logged_in(&till);
    // The way goes through the states; the type is looked at on each.
    let page = browser.page(&till, "events?status=pending&type=rare.one");
    assert!(page.contains("None of the events that were looked at match."), "{page}");
    let mut link = "events?status=pending&type=rare.one".to_owned();
    let mut pages = 0;
    let last = loop {
        let page = browser.page(&till, &link);
        pages += 1;
        let Some(rest) = page.split_once("Look further back") else { break page };
        let before = rest.0.rsplit("href=\"").next().unwrap().split('"').next().unwrap();
        link = before.replace("&#38;", "&").replace("&amp;", "&");
    };
    assert!(pages == 3 && last.contains("evt_2") && last.contains("evt_1"), "{pages}: {last}");
}

#[test]
fn no_statement_of_these_pages_reads_a_whole_table() {
    let till = Till::new();
    let connection = till.connection();
    for sql in search::WAYS.into_iter().chain(traces::STATEMENTS) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nulls = vec![&rusqlite::types::Null as &dyn rusqlite::ToSql; statement.parameter_count()];
        let plan: Vec<String> =
            statement.query_map(&nulls[..], |row| row.get::<_, String>(3)).unwrap().collect::<Result<_, _>>().unwrap();
        let inner = ["SCAN (subquery", "SCAN (join", "SCAN CONSTANT"];
        for step in &plan {
            let is_scan = step.starts_with("SCAN") && !inner.iter().any(|inner| step.starts_with(inner));
            assert!(!is_scan, "{sql}\n{plan:#?}");
        }
        // Only the ids of one object, some thousands at most, are put in order by themselves.
        let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE FOR ORDER BY"));
        assert!(!sorts || sql.contains("UNION") || sql.ends_with("LIMIT 50"), "{sql}\n{plan:#?}");
    }
}

//! How things stood: looked at once an hour, without a key, and thinned when it is long ago.

use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::jobs::levels;
use tilld::jobs::step::StepLoop;
use tilld::jobs::tick::Tick;

use crate::harness::{DAY_S, START_S, Till};
use crate::samples::event;

fn levels(till: &Till, name: &str, query: &str) -> Vec<Value> {
    let (status, answer) = till.get(&format!("/api/v1/admin/analytics?{query}"));
    assert_eq!(status, 200, "{answer}");
    let all = answer["levels"].as_array().unwrap().iter().chain(answer["mrr"].as_array().unwrap());
    all.filter(|level| level["name"] == name || (name == "mrr" && level.get("name").is_none())).cloned().collect()
}

#[test]
fn the_tick_looks_once_an_hour_and_says_how_everything_stands() {
    let mut till = Till::new();
    let mut tick = StepLoop::new(Tick::new(till.store.clone(), till.context.clone()));
    till.turn(&mut tick).unwrap();
    let eur = [("currency", json!("eur")), ("status", json!("past_due"))];
    till.feed(&[
        event("customer.subscription.created", "alice", START_S, &[]),
        event("customer.subscription.created", "bob", START_S, &eur),
        event("invoice.payment_failed", "bob", START_S + 1, &[("currency", json!("eur"))]),
    ]);
    till.turn(&mut tick).unwrap();
    let hours = || till.value("SELECT count(DISTINCT hour) FROM level_hours");
    assert_eq!(hours(), 1, "somebody has looked in this hour");
    // The tick would wait whether such a jump lasts.
    till.clock.advance(3_600_000);
    levels::look(&till.store, till.clock.now_ms()).unwrap();
    assert_eq!(hours(), 2);

    let (before, now) = (START_S, START_S + 3600);
    let subscription = |start: i64, label: &str, value: i64| json!({"start": start, "name": "subscriptions", "label": label, "value": value});
    let expected: Vec<Value> = [before, now]
        .into_iter()
        .flat_map(|start| {
            let there = i64::from(start == now);
            [("active", there), ("past_due", there), ("paused", 0), ("trialing", 0)]
                .map(|(label, value)| subscription(start, label, value))
        })
        .collect();
    assert_eq!(levels(&till, "subscriptions", "bucket=hour"), expected);
    assert_eq!(levels(&till, "subscriptions", "bucket=day"), {
        let mut last = expected[4..].to_vec();
        last.iter_mut().for_each(|level| level["start"] = json!(START_S));
        last
    });
    let mrr = |start: i64, currency: &str, state: &str, amount: i64| json!({"start": start, "currency": currency, "state": state, "amount": amount});
    assert_eq!(
        levels(&till, "mrr", "bucket=hour"),
        [
            mrr(before, "eur", "past_due", 0),
            mrr(before, "usd", "active", 0),
            mrr(now, "eur", "past_due", 2000),
            mrr(now, "usd", "active", 2000)
        ]
    );
    let last = |name: &str| levels(&till, name, "bucket=day").pop().unwrap();
    assert_eq!(last("delinquent_users")["value"], 1);
    let at_risk = last("money_at_risk");
    assert_eq!((&at_risk["label"], &at_risk["value"]), (&json!("eur"), &json!(2000)));
    let kinds: Vec<Value> =
        levels(&till, "outbox_failed", "bucket=day").iter().map(|level| level["label"].clone()).collect();
    assert_eq!(kinds, ["mail", "stripe_call", "webhook"], "the closed list is whole, with zeros");
}

#[test]
fn after_92_days_the_last_look_of_each_day_is_left_and_no_other() {
    let till = Till::new();
    for hour in 0..72 {
        assert!(levels::look(&till.store, (START_S + hour * 3600) * 1000).unwrap());
    }
    assert!(!levels::look(&till.store, (START_S + 71 * 3600 + 3599) * 1000).unwrap());
    // The third day has no last hours: nobody looked.
    let gone = format!("DELETE FROM level_hours WHERE hour >= {}", START_S + 65 * 3600);
    till.connection().execute(&gone, []).unwrap();
    let now_s = START_S + (92 + 3) * DAY_S;
    levels::look(&till.store, now_s * 1000).unwrap();
    let hours =
        "SELECT group_concat((hour - 1767225600) / 3600) FROM (SELECT DISTINCT hour FROM level_hours ORDER BY hour)";
    assert_eq!(till.value(hours), format!("23,47,64,{}", 95 * 24));
}

#[test]
fn what_a_clock_that_was_ahead_has_written_is_taken_away() {
    let till = Till::new();
    levels::look(&till.store, (START_S + 40 * DAY_S) * 1000).unwrap();
    levels::look(&till.store, till.clock.now_ms()).unwrap();
    assert_eq!(till.value("SELECT group_concat(DISTINCT hour) FROM level_hours"), START_S.to_string());
}

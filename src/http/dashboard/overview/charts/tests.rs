//! The charts of a page that is full.
#![allow(clippy::unwrap_used)]

use super::super::range::RANGES;
use super::*;
use crate::base::figure_range::FigureBucket;
use crate::objects::figures::{AttemptFigures, IntentFigures, MrrFigures, MrrNow, WebhookFigures};

/// 2026-11-30 14:05.
const NOW_S: i64 = 1_796_047_500;

fn full(range: Range) -> Figures {
    let time = range.time(NOW_S);
    let starts: Vec<i64> = time.starts().collect();
    // Far more than the rate that tilld is made for.
    let number = |start: i64| (start / 3600 * 977) % 997;
    let webhook = |start: &i64| WebhookFigures {
        start: *start,
        processed: number(*start),
        ignored: number(*start) / 3,
        dead: 1,
        lag_p50_ms: Some(25),
        lag_p99_ms: Some(2500),
    };
    let level = |start: &i64, name: &str, label: &str| LevelFigures {
        start: *start,
        name: name.to_owned(),
        label: label.to_owned(),
        value: number(*start),
    };
    let of_levels = |start: &i64| {
        let mut levels: Vec<_> = STATES.iter().map(|(state, _)| level(start, "subscriptions", state)).collect();
        levels.extend(["usd", "eur", "gbp"].map(|currency| level(start, "money_at_risk", currency)));
        let others = [("delinquent_users", ""), ("outbox_pending", "mail"), ("outbox_failed", "mail")];
        levels.extend(others.map(|(name, label)| level(start, name, label)));
        levels
    };
    let mrr = |start: &i64| {
        ["usd", "eur"].map(|currency| MrrFigures {
            start: *start,
            currency: currency.to_owned(),
            state: "active".to_owned(),
            amount: number(*start) * 1000,
        })
    };
    let attempt = |start: &i64| AttemptFigures {
        start: *start,
        currency: "usd".to_owned(),
        succeeded: number(*start),
        failed: number(*start) / 7,
        success_rate: None,
        succeeded_amount: 0,
        failed_amount: 0,
    };
    let intent = |start: &i64| IntentFigures {
        start: *start,
        currency: "usd".to_owned(),
        succeeded: 9,
        failed: 1,
        canceled: 0,
        open: 0,
        success_rate: None,
        succeeded_amount: 0,
        failed_amount: 0,
    };
    let now = |currency: &str, subscriptions| MrrNow {
        currency: currency.to_owned(),
        state: "active".to_owned(),
        subscriptions,
        amount: 5,
        tiered_items: 0,
        metered_items: 0,
        other_items: 0,
        unknown_discounts: 0,
    };
    Figures {
        object: "analytics",
        from: time.from_s,
        to: time.to_s,
        bucket: FigureBucket::Hour,
        webhooks: starts.iter().map(webhook).collect(),
        event_types: Vec::new(),
        payment_attempts: starts.iter().map(attempt).collect(),
        payment_intents: starts.iter().map(intent).collect(),
        failure_codes: Vec::new(),
        levels: starts.iter().flat_map(of_levels).collect(),
        mrr: starts.iter().flat_map(mrr).collect(),
        mrr_now: vec![now("eur", 3), now("usd", 40)],
    }
}

#[test]
fn the_pictures_of_a_full_page_are_at_most_thirty_kilobytes() {
    for range in RANGES {
        let charts = all(&full(range), range, Some("usd"), NOW_S);
        assert_eq!(charts.len(), 8);
        let svg = |chart: &Chart| {
            let html = chart.html().unwrap();
            html.split("<svg").skip(1).map(|rest| rest.split("</svg>").next().unwrap().len()).sum::<usize>()
        };
        let bytes: usize = charts.iter().map(svg).sum();
        assert!(bytes <= 30_000, "{}: {bytes} bytes", range.name);
    }
}

#[test]
fn the_currency_of_the_most_subscriptions_comes_first() {
    assert_eq!(currencies(&full(RANGES[0])), ["usd", "eur", "gbp"]);
}

#[test]
fn a_rate_is_made_of_sums_and_not_of_rates() {
    let one = rates("x", &[90, 0, 0], &[10, 0, 5]);
    assert_eq!(one.values, [Some(90.0), None, Some(0.0)]);
}

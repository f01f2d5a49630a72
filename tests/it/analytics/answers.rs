//! `GET /api/v1/admin/analytics`: what it answers, as JSON and as CSV, and what it refuses. The views say the same.

use serde_json::{Value, json};
use tilld::http::private;
use tilld::http::request::Method;

use crate::harness::{ADMIN, DAY_S, START_S, TOKEN, Till, request};
use crate::histories;
use crate::samples::everything;
use crate::versions::delivered;

const ANALYTICS: &str = "/api/v1/admin/analytics";

fn get(till: &Till, query: &str) -> Value {
    let (status, answer) = till.get(&format!("{ANALYTICS}?{query}"));
    assert_eq!(status, 200, "{answer}");
    answer
}

/// A customer falls behind and recovers, ten days before the clock.
fn recovered() -> Till {
    let mut till = Till::new();
    let history = histories::past_due_and_recovered();
    till.feed(&history.story.steps.iter().filter_map(|step| delivered(step, history.version)).collect::<Vec<_>>());
    till
}

#[test]
fn payments_are_counted_by_attempt_and_by_intent_with_their_rates_and_codes() {
    let till = recovered();
    let answer = get(&till, "bucket=day");
    let day = START_S - 2 * DAY_S;
    let of_day = |list: &str, start: i64| {
        let found = answer[list].as_array().unwrap().iter().find(|one| one["start"] == start);
        found.cloned().unwrap_or(Value::Null)
    };
    let attempts = |start: i64, succeeded: i64, failed: i64, rate: Value| {
        json!({"start": start, "currency": "usd", "succeeded": succeeded, "failed": failed, "success_rate": rate,
            "succeeded_amount": succeeded * 2000, "failed_amount": failed * 2000})
    };
    assert_eq!(of_day("payment_attempts", day), attempts(day, 0, 1, json!(0.0)));
    assert_eq!(of_day("payment_attempts", day + DAY_S), attempts(day + DAY_S, 1, 1, json!(0.5)));
    assert_eq!(of_day("payment_attempts", START_S), attempts(START_S, 0, 0, Value::Null));
    assert_eq!(
        answer["payment_intents"],
        json!([{"start": day, "currency": "usd", "succeeded": 1, "failed": 0, "canceled": 0, "open": 0,
            "success_rate": 1.0, "succeeded_amount": 2000, "failed_amount": 0}])
    );
    let codes = json!([{"code": "expired_card", "attempts": 1}, {"code": "insufficient_funds", "attempts": 1}]);
    assert_eq!(answer["failure_codes"], codes);
    let view = "SELECT day || ' ' || currency || ' ' || succeeded_attempts || ' ' || failed_attempts || ' ' || succeeded_intents
        FROM v_payment_outcomes_daily ORDER BY day LIMIT 1";
    assert_eq!(till.value(view), "2025-12-30 usd 0 1 1");
}

#[test]
fn the_lag_of_events_lies_within_its_bounds() {
    let mut till = Till::new();
    for (number, event) in (0..).zip(everything("alice", START_S - DAY_S)) {
        till.post(&event);
        till.clock.advance(if number == 0 { 4000 } else { 20 });
        till.settle();
    }
    let answer = get(&till, "bucket=hour");
    let webhooks = answer["webhooks"].as_array().unwrap();
    assert_eq!(webhooks.len(), 24, "every hour is there");
    let last = webhooks.last().unwrap();
    let (p50, p99) = (last["lag_p50_ms"].as_i64().unwrap(), last["lag_p99_ms"].as_i64().unwrap());
    assert!((10..=25).contains(&p50) && (2500..=5000).contains(&p99), "{last}");
    let all = till.value("SELECT count(*) FROM stripe_webhooks_log").as_i64().unwrap();
    let sum = |of: &Value| ["processed", "ignored", "dead"].iter().map(|key| of[*key].as_i64().unwrap()).sum::<i64>();
    assert_eq!(sum(last), all);
    assert_eq!(answer["event_types"].as_array().unwrap().iter().map(sum).sum::<i64>(), all);
    assert_eq!(webhooks[0]["lag_p50_ms"], Value::Null);
    assert_eq!(till.value("SELECT sum(processed + ignored + dead) FROM v_webhook_outcomes_daily"), all);
}

#[test]
fn the_views_show_who_pays_what() {
    let till = recovered();
    assert_eq!(
        till.value("SELECT currency || ' ' || state || ' ' || subscriptions || ' ' || mrr FROM v_mrr"),
        "usd active 1 2000"
    );
    assert_eq!(
        till.value("SELECT status || ' ' || stripe_price_id || ' ' || unit_amount FROM v_active_subscriptions"),
        "active price_pro 2000"
    );
    let (status, answer) = till.get(ANALYTICS);
    assert_eq!((status, &answer["mrr_now"][0]["amount"]), (200, &json!(2000)));
}

fn csv(till: &Till, accept: &str) -> (u16, String, String) {
    let headers = [("Authorization", format!("Bearer {ADMIN}")), ("Accept", accept.to_owned())];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let answer = private::answer(&till.api, &request(Method::Get, &format!("{ANALYTICS}?bucket=day"), headers, b""));
    let kind = answer.headers.iter().find(|(name, _)| *name == "Content-Type").unwrap().1.clone();
    (answer.status, kind, String::from_utf8(answer.body).unwrap())
}

#[test]
fn the_csv_has_every_number_of_the_json_and_no_other() {
    let mut till = recovered();
    let formula = crate::samples::raw("evt_f", "=HYPERLINK(\"x\"),\"y\"", START_S, json!({"id": "x_1", "object": "x"}));
    till.feed(&[formula]);
    tilld::jobs::levels::look(&till.store, START_S * 1000).unwrap();
    let (status, kind, text) = csv(&till, "text/csv");
    assert_eq!((status, kind.as_str()), (200, "text/csv; charset=utf-8"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["list", "start", "currency", "name", "figure", "value"]);
    let mut found: Vec<Vec<String>> =
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
    let answer = get(&till, "bucket=day");
    let mut expected = Vec::new();
    for (list, elements) in answer.as_object().unwrap() {
        for element in elements.as_array().into_iter().flatten() {
            let text = |key: &str| match &element[key] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let name = ["type", "code", "name", "label", "state"].map(text);
            let name = name.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("/");
            let name = name.replace("=HYPER", "'=HYPER");
            for (key, value) in element.as_object().unwrap() {
                if !value.is_string() && key != "start" {
                    let row: [&str; 6] = [list, &text("start"), &text("currency"), &name, key, &text(key)];
                    expected.push(row.map(|cell: &str| cell.to_owned()).to_vec());
                }
            }
        }
    }
    found.sort();
    expected.sort();
    assert!(expected.len() > 150, "{}", expected.len());
    assert_eq!(found, expected);
    for (accept, kind) in [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("TEXT/CSV;q=1, application/json", "text/csv; charset=utf-8"),
    ] {
        assert_eq!(csv(&till, accept).1, kind, "{accept}");
    }
}

#[test]
fn a_bad_parameter_is_refused_by_its_name() {
    let till = Till::new();
    let most = 2208 * 3600;
    let cases = [
        ("bucket=week".to_owned(), "bucket"),
        ("bucket=".to_owned(), "bucket"),
        ("from=yesterday".to_owned(), "from"),
        ("from=-5".to_owned(), "from"),
        ("from=99999999999999999999".to_owned(), "from"),
        ("to=1.5".to_owned(), "to"),
        ("to=".to_owned(), "to"),
        ("from=5&to=5".to_owned(), "from"),
        (format!("from={}", START_S + DAY_S), "from"),
        (format!("bucket=hour&from=0&to={}", most + 1), "from"),
        ("from=0&to=9007199254740991".to_owned(), "from"),
        ("to=9007199254740992".to_owned(), "to"),
        ("from=0&to=9223372036854775807".to_owned(), "to"),
    ];
    for (query, parameter) in cases {
        let (status, answer) = till.get(&format!("{ANALYTICS}?{query}"));
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(parameter)), "{query}: {answer}");
        assert_eq!(answer["error"]["code"], "parameter_invalid");
    }
    assert_eq!(get(&till, &format!("bucket=hour&from=0&to={most}"))["webhooks"].as_array().unwrap().len(), 2208);
}

#[test]
fn an_empty_database_has_figures_and_only_an_operator_gets_them() {
    let till = Till::new();
    let answer = get(&till, "");
    assert_eq!((&answer["object"], &answer["bucket"]), (&json!("analytics"), &json!("day")));
    assert_eq!((&answer["from"], &answer["to"]), (&json!(START_S - 29 * DAY_S), &json!(START_S + DAY_S)));
    assert_eq!(answer["webhooks"].as_array().unwrap().len(), 30);
    for list in ["event_types", "payment_attempts", "payment_intents", "failure_codes", "levels", "mrr", "mrr_now"] {
        assert_eq!(answer[list], json!([]), "{list}");
    }
    let headers = vec![("Authorization".to_owned(), format!("Bearer {TOKEN}"))];
    let answer = private::answer(&till.api, &request(Method::Get, ANALYTICS, headers, b""));
    assert_eq!(answer.status, 401);
}

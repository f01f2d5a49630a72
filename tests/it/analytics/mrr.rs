//! What subscriptions bring a month, as events and readings tell of them: in every shape, in any order, with discounts that are only
//! named.

use serde_json::{Value, json};
use tilld::app::trigger::ApiVersion;
use tilld::base::clock::Clock;
use tilld::jobs::step::StepLoop;
use tilld::jobs::tick::Tick;

use super::exact;
use crate::harness::{DAY_S, START_S, Till};
use crate::samples::{event, event_in, raw};

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";

/// State, currency, thousandths and what was left out, of all subscriptions.
fn now(till: &Till) -> Value {
    exact(till);
    till.value(
        "SELECT group_concat(state || ' ' || currency || ' ' || thousandths || iif(tiered_items, ' tiered ' || tiered_items, '')
            || iif(metered_items, ' metered ' || metered_items, '') || iif(other_items, ' other ' || other_items, '')
            || iif(unknown_discounts, ' unknown ' || unknown_discounts, ''), ', ') FROM mrr_now",
    )
}

const ITEM: &str = "items.data.0.";

fn item(path: &str) -> String {
    format!("{ITEM}{path}")
}

#[test]
fn every_case_of_a_subscription_is_counted_as_it_is_defined() {
    let price = item("price");
    let year = [(item("price.recurring.interval"), json!("year"))];
    let cases: Vec<(Vec<(String, Value)>, Value)> = vec![
        (vec![], json!("active usd 2000000")),
        (vec![(item("quantity"), json!(3))], json!("active usd 6000000")),
        (year.to_vec(), json!("active usd 166667")),
        (vec![(item("price.recurring.interval_count"), json!(3))], json!("active usd 666667")),
        (
            vec![(item("price.unit_amount"), Value::Null), (item("price.unit_amount_decimal"), json!("12.5"))],
            json!("active usd 12500"),
        ),
        (vec![(item("price.recurring.usage_type"), json!("metered"))], json!("active usd 0 metered 1")),
        (vec![(item("price.billing_scheme"), json!("tiered"))], json!("active usd 0 tiered 1")),
        (vec![(price, json!({"id": "price_pro", "object": "price"}))], json!("active usd 0 other 1")),
        (vec![("status".to_owned(), json!("past_due"))], json!("past_due usd 2000000")),
        (vec![("status".to_owned(), json!("trialing"))], json!("trialing usd 2000000")),
        (vec![("status".to_owned(), json!("paused"))], json!("paused usd 2000000")),
        (vec![("pause_collection".to_owned(), json!({"behavior": "void"}))], json!("paused usd 2000000")),
        (vec![("status".to_owned(), json!("unpaid"))], Value::Null),
        (vec![("status".to_owned(), json!("incomplete"))], Value::Null),
        (vec![("status".to_owned(), json!("canceled"))], Value::Null),
        (vec![("discounts".to_owned(), json!(["di_1"]))], json!("active usd 2000000 unknown 1")),
        (vec![(item("discounts"), json!(["di_1"]))], json!("active usd 2000000 unknown 1")),
        (vec![("currency".to_owned(), json!("of many letters"))], json!("active other 2000000")),
        (
            vec![("default_tax_rates".to_owned(), json!([{"id": "txr_1", "percentage": 20}]))],
            json!("active usd 2000000"),
        ),
    ];
    for (set, expected) in cases {
        let mut till = Till::new();
        let set: Vec<(&str, Value)> = set.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
        till.feed(&[event(CREATED, "alice", START_S, &set)]);
        assert_eq!(now(&till), expected, "{set:?}");
        till.feed(&[event("customer.subscription.deleted", "alice", START_S + 9, &[])]);
        assert_eq!(now(&till), Value::Null, "what has ended brings nothing: {set:?}");
        till.witness();
    }
}

#[test]
fn it_is_the_same_in_every_shape() {
    for version in ApiVersion::ALL {
        let mut till = Till::new();
        let coupon = json!({"id": "HALF", "object": "coupon", "percent_off": 50.0, "duration": "forever"});
        let discount = json!({"id": "di_1", "object": "discount", "source": {"type": "coupon", "coupon": coupon}});
        till.feed(&[event_in(
            version,
            CREATED,
            "alice",
            START_S,
            &[("discounts", json!([discount])), ("items.data.0.quantity", json!(3))],
        )]);
        assert_eq!(now(&till), "active usd 3000000", "{version:?}");
    }
}

fn coupon(id: &str, values: Value) -> Value {
    let mut coupon = json!({"id": id, "object": "coupon", "duration": "forever", "livemode": false});
    coupon.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
    coupon
}

fn discount(id: &str, coupon: &str, end: Value) -> Value {
    json!({"id": id, "object": "discount", "customer": "cus_1", "subscription": "sub_1", "start": START_S, "end": end,
        "source": {"type": "coupon", "coupon": coupon}})
}

/// Every order of these.
fn orders(events: &[Value]) -> Vec<Vec<Value>> {
    if events.len() < 2 {
        return vec![events.to_vec()];
    }
    let first = |at: usize| {
        let mut rest = events.to_vec();
        let one = rest.remove(at);
        orders(&rest).into_iter().map(move |rest| [vec![one.clone()], rest].concat())
    };
    (0..events.len()).flat_map(first).collect()
}

#[test]
fn discounts_that_are_only_named_count_as_soon_as_they_are_known_in_any_order() {
    let cases = [
        (json!({"percent_off": 25.5}), "active usd 1490000"),
        (json!({"amount_off": 500, "currency": "usd"}), "active usd 1500000"),
        (json!({"amount_off": 500, "currency": "eur"}), "active usd 2000000 unknown 1"),
        (json!({"amount_off": 5000, "currency": "usd"}), "active usd 0"),
        (json!({"percent_off": 50, "duration": "once"}), "active usd 2000000"),
        (json!({"percent_off": 50, "applies_to": {"products": ["prod_of_others"]}}), "active usd 2000000"),
    ];
    for (values, expected) in cases {
        for place in ["discounts", "items.data.0.discounts"] {
            let events = [
                event(CREATED, "alice", START_S, &[(place, json!(["di_1"]))]),
                raw("evt_d", "customer.discount.created", START_S, discount("di_1", "C", Value::Null)),
                raw("evt_c", "coupon.created", START_S - 5, coupon("C", values.clone())),
            ];
            for events in orders(&events) {
                let mut till = Till::new();
                for event in &events {
                    till.feed(std::slice::from_ref(event));
                    exact(&till);
                }
                assert_eq!(now(&till), expected, "{values} {place}");
                till.witness();
            }
        }
    }
}

#[test]
fn a_discount_that_is_taken_away_counts_no_more_and_nothing_depends_on_it() {
    let gone = |till: &mut Till| {
        till.feed(&[event(UPDATED, "alice", START_S + 5, &[("discounts", json!([]))])]);
        assert_eq!(now(till), "active usd 2000000");
        assert_eq!(till.value("SELECT count(*) FROM subscription_discounts"), 0);
    };
    let mut till = Till::new();
    till.feed(&[
        raw("evt_c", "coupon.created", START_S, coupon("C", json!({"percent_off": 50}))),
        raw("evt_d", "customer.discount.created", START_S, discount("di_1", "C", Value::Null)),
        event(CREATED, "alice", START_S, &[("discounts", json!(["di_1"]))]),
    ]);
    assert_eq!(now(&till), "active usd 1000000");
    assert_eq!(till.value("SELECT group_concat(needed_id) FROM subscription_discounts"), "C,di_1");
    let deleted = raw("evt_x", "customer.discount.deleted", START_S + 3, discount("di_1", "C", Value::Null));
    till.feed(&[deleted]);
    assert_eq!(now(&till), "active usd 2000000", "before the subscription says so itself");
    gone(&mut till);
    till.witness();
}

#[test]
fn a_discount_that_lasts_for_a_while_ends_by_time_alone() {
    let end = START_S + 3 * DAY_S;
    let mut till = Till::new();
    let mut tick = StepLoop::new(Tick::new(till.store.clone(), till.context.clone()));
    till.feed(&[
        raw("evt_c", "coupon.created", START_S, coupon("C", json!({"percent_off": 50, "duration": "repeating"}))),
        raw("evt_d", "customer.discount.created", START_S, discount("di_1", "C", json!(end))),
        event(CREATED, "alice", START_S, &[("discounts", json!(["di_1"]))]),
    ]);
    till.clock.set(end * 1000 - 1);
    till.turn(&mut tick).unwrap();
    assert_eq!(now(&till), "active usd 1000000");
    till.clock.set(end * 1000);
    till.witness();
    till.tick.step(till.clock.now_ms()).unwrap();
    assert_eq!(now(&till), "active usd 2000000");
    assert_eq!(till.value("SELECT mrr_changes_at FROM stripe_subscriptions"), Value::Null);
    till.witness();
}

//! What a charge has given back follows the refunds' own words, in any order.

use serde_json::{Value, json};

use crate::harness::{DAY_S, START_S, Till};
use crate::samples::raw;

fn charge(id: &str, event_type: &str, at_s: i64, refunded: i64) -> Value {
    let object = json!({"id": "ch_1", "object": "charge", "amount": 700, "amount_refunded": refunded, "currency": "usd",
        "refunded": refunded == 700, "disputed": false, "paid": true, "status": "succeeded", "metadata": {}});
    raw(id, event_type, at_s, object)
}

fn refund(id: &str, event_type: &str, at_s: i64, (refund, amount, status): (&str, i64, &str)) -> Value {
    let object = json!({"id": refund, "object": "refund", "amount": amount, "charge": "ch_1", "currency": "usd",
        "status": status, "metadata": {}});
    raw(id, event_type, at_s, object)
}

/// Every order of arrival ends in the same amount.
fn ends_as(events: &[Value], refunded: i64) {
    let mut order: Vec<usize> = (0..events.len()).collect();
    for turn in 0..events.len() * 2 {
        order.rotate_left(1);
        if turn == events.len() {
            order.reverse();
        }
        let mut till = Till::new();
        let turned: Vec<Value> = order.iter().map(|&place| events[place].clone()).collect();
        till.feed(&turned);
        let row = till.value("SELECT json_array(amount_refunded_cents, refunded) FROM stripe_charges");
        assert_eq!(row, json!(format!("[{refunded},{}]", i64::from(refunded == 700))), "{order:?}");
    }
}

#[test]
fn a_full_refund_that_fails_later_gives_nothing_back() {
    ends_as(
        &[
            charge("evt_1", "charge.succeeded", START_S, 0),
            refund("evt_2", "refund.created", START_S + DAY_S, ("re_1", 700, "pending")),
            charge("evt_3", "charge.refunded", START_S + DAY_S, 700),
            refund("evt_4", "refund.failed", START_S + 5 * DAY_S, ("re_1", 700, "failed")),
        ],
        0,
    );
}

#[test]
fn of_two_refunds_the_one_that_was_canceled_does_not_count() {
    let mut events = vec![
        charge("evt_1", "charge.succeeded", START_S, 0),
        refund("evt_2", "refund.created", START_S + 1, ("re_1", 200, "succeeded")),
        charge("evt_3", "charge.refunded", START_S + 1, 200),
        refund("evt_4", "refund.created", START_S + 2, ("re_2", 500, "requires_action")),
        charge("evt_5", "charge.refunded", START_S + 2, 700),
        refund("evt_6", "charge.refund.updated", START_S + 3, ("re_2", 500, "canceled")),
    ];
    ends_as(&events, 200);
    // A charge that has left it out itself is not made less.
    events.push(charge("evt_7", "charge.updated", START_S + 4, 200));
    ends_as(&events, 200);
}

#[test]
fn a_refund_counts_though_the_event_of_its_charge_was_lost() {
    ends_as(
        &[
            charge("evt_1", "charge.succeeded", START_S, 0),
            refund("evt_2", "refund.created", START_S + 1, ("re_1", 700, "succeeded")),
        ],
        700,
    );
}

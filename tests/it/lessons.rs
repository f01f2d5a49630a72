//! The lessons of others, by their number in the design notes: what went wrong elsewhere must hold here.
//! 22 stands in `migrations`, 23 in `api`, 26 in `lessons::secrets`.

mod secrets;

use serde_json::{Value, json};
use tilld::app::trigger::{self, ApiVersion};
use tilld::notify::NotifyContext;
use tilld::objects::{ProjectedEvent, ProjectionError};
use tilld::store::Tx;
use tilld::store::inbox::EventCompletion;
use tilld::stripe::signature;

use crate::harness::{DAY_S, SECRET, START_S, Setup, Till};
use crate::live::Live;
use crate::samples::{event, event_in, everything, raw};

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";
const DELETED: &str = "customer.subscription.deleted";

fn count(till: &Till, what: &str) -> i64 {
    till.value(&format!("SELECT count(*) FROM {what}")).as_i64().unwrap()
}

fn state(till: &Till, event: &Value) -> Value {
    let id = event["id"].as_str().unwrap();
    till.value(&format!("SELECT status FROM stripe_webhooks_log WHERE event_id = '{id}'"))
}

#[test]
fn lesson_01_incomplete_and_active_of_one_second_end_active_in_any_order() {
    let created = event(CREATED, "alice", START_S, &[("status", json!("incomplete"))]);
    let mut updated = event(UPDATED, "alice", START_S, &[]);
    updated["data"]["previous_attributes"] = json!({"status": "incomplete"});
    let mut dumps = Vec::new();
    for order in [vec![&created, &updated], vec![&updated, &created], vec![&updated, &created, &updated]] {
        let mut till = Till::new();
        till.feed(&order.into_iter().cloned().collect::<Vec<_>>());
        assert_eq!(till.entitlement("alice")["reason"], "active");
        dumps.push(till.dump());
    }
    assert!(dumps.windows(2).all(|two| two[0] == two[1]), "{dumps:#?}");
}

#[test]
fn lesson_02_late_events_take_nothing_away_and_revive_nothing() {
    let mut till = Till::new();
    let changed = [("items.data.0.id", json!("si_new")), ("items.data.0.price.id", json!("price_team"))];
    till.feed(&[event(UPDATED, "alice", START_S + 9, &changed), event(CREATED, "alice", START_S, &[])]);
    assert_eq!(till.value("SELECT group_concat(stripe_item_id) FROM stripe_subscription_items"), "si_new");
    assert_eq!(till.entitlement("alice")["tier"], "team");

    till.feed(&[event(DELETED, "alice", START_S + 10, &[]), event(UPDATED, "alice", START_S + 5, &[])]);
    till.feed(&[event("customer.subscription.resumed", "alice", START_S + 11, &[])]);
    assert_eq!(till.entitlement("alice")["reason"], "canceled");

    let product = json!({"object": "product", "id": "prod_1", "name": "Pro"});
    till.feed(&[
        raw("evt_p1", "product.deleted", START_S + 2, product.clone()),
        raw("evt_p2", "product.updated", START_S + 1, product.clone()),
        raw("evt_p3", "product.created", START_S, product),
    ]);
    assert_eq!(till.value("SELECT deleted FROM stripe_objects WHERE id = 'prod_1'"), json!(1));
}

#[test]
fn lesson_03_every_authentic_event_is_kept_and_answered_200_whatever_its_type() {
    let mut till = Till::new();
    for (number, event_type) in ["no.such.type", "x", "treasury.made.up.in.2031"].iter().enumerate() {
        let unknown = raw(&format!("evt_{number}"), event_type, START_S, json!({"object": "thing", "id": "th_1"}));
        assert_eq!(till.post(&unknown), (200, json!({"received": true})));
        till.settle();
        assert_eq!(state(&till, &unknown), "ignored", "{event_type}");
    }
    assert_eq!(count(&till, "webhook_retry_queue") + count(&till, "webhook_dead_letter_queue"), 0);
}

#[test]
fn lesson_04_an_event_whose_object_has_no_id_is_kept_and_projected_nowhere() {
    let mut till = Till::new();
    let upcoming = event("invoice.upcoming", "alice", START_S, &[]);
    let with_id = event("invoice.upcoming", "alice", START_S, &[("id", json!("upcoming_in_1"))]);
    let balance = raw("evt_b", "balance.available", START_S, json!({"object": "balance", "available": []}));
    for one in [&upcoming, &with_id, &balance] {
        till.feed(std::slice::from_ref(one));
        assert_eq!(state(&till, one), "ignored");
    }
    assert_eq!((count(&till, "stripe_invoices"), count(&till, "stripe_webhooks_log")), (0, 3));
}

#[test]
fn lesson_05_an_event_counts_once_however_often_it_comes() {
    let mut till = Till::new();
    let events = everything("alice", START_S);
    till.feed(&events);
    let once = (till.dump(), count(&till, "stripe_webhooks_log"), count(&till, "audit_log"));
    till.feed(&events);
    events.iter().rev().for_each(|one| assert_eq!(till.post(one).1["duplicate"], true));
    till.settle();
    assert_eq!((till.dump(), count(&till, "stripe_webhooks_log"), count(&till, "audit_log")), once);
    assert_eq!(count(&till, "stripe_subscriptions"), 1);
}

fn failing(_: &Tx, _: &ProjectedEvent, _: &NotifyContext, _: i64) -> Result<EventCompletion, ProjectionError> {
    Err(ProjectionError::Panicked("as the test wants it".to_owned()))
}

#[test]
fn lesson_06_stored_is_not_processed_a_failure_is_retried_without_stripe() {
    let mut till = Till::with(Setup { project: Some(failing), ..Setup::default() });
    let one = event(CREATED, "alice", START_S, &[]);
    till.feed(std::slice::from_ref(&one));
    assert_eq!(state(&till, &one), "retrying");
    assert_eq!(till.post(&one).1["duplicate"], true, "Stripe's redelivery is answered and changes nothing");
    assert_eq!(state(&till, &one), "retrying");
    let mut till = Till::in_dir(till.close(), Setup::default());
    till.clock.advance(3_600_000);
    assert_eq!(till.retrier.step(START_S * 1000 + 3_600_000).unwrap(), 1);
    till.settle();
    assert_eq!((state(&till, &one), &till.entitlement("alice")["entitled"]), (json!("processed"), &json!(true)));
}

#[test]
fn lesson_08_an_unknown_customer_is_an_ordinary_state() {
    let mut till = Till::new();
    let nobody = ("metadata", json!({}));
    till.feed(&[
        event("invoice.paid", "alice", START_S, &[]),
        event("payment_intent.succeeded", "alice", START_S, &[]),
        event(CREATED, "alice", START_S, std::slice::from_ref(&nobody)),
    ]);
    assert_eq!(count(&till, "stripe_webhooks_log WHERE status = 'processed'"), 3);
    assert_eq!((count(&till, "users"), count(&till, "subscriptions")), (0, 0));
    till.feed(&[event("checkout.session.completed", "alice", START_S + 3600, &[nobody])]);
    assert_eq!(till.entitlement("alice")["entitled"], true, "client_reference_id names the user");
}

#[test]
fn lesson_09_references_may_be_ids_objects_deleted_objects_or_null() {
    let customer = trigger::ids("alice").customer;
    let whole = event("customer.created", "alice", START_S, &[])["data"]["object"].clone();
    let deleted = json!({"id": customer, "object": "customer", "deleted": true});
    let types = [CREATED, "invoice.payment_failed", "payment_intent.succeeded", "charge.succeeded"];
    let mut dumps = Vec::new();
    for reference in [json!(customer), whole, deleted] {
        let mut till = Till::new();
        for (event_type, at) in types.iter().zip(START_S..) {
            let mut one = event(event_type, "alice", at, &[]);
            one["data"]["object"]["customer"] = reference.clone();
            till.feed(&[one]);
        }
        dumps.push(till.dump().lines().filter(|row| !row.starts_with("stripe_objects")).collect::<Vec<_>>().join("\n"));
        assert_eq!(till.entitlement("alice")["entitled"], true);
    }
    assert!(dumps.windows(2).all(|two| two[0] == two[1]), "{dumps:#?}");

    let mut till = Till::new();
    let guests = [
        event("payment_intent.succeeded", "guest", START_S, &[("customer", Value::Null)]),
        event("charge.refunded", "guest", START_S, &[("customer", Value::Null), ("payment_intent", Value::Null)]),
        event("invoice.paid", "guest", START_S, &[("customer", Value::Null), ("parent", Value::Null)]),
        event("checkout.session.completed", "guest", START_S, &[("customer", Value::Null), ("currency", Value::Null)]),
    ];
    till.feed(&guests);
    assert_eq!(count(&till, "stripe_webhooks_log WHERE status = 'processed'"), 4);
}

#[test]
fn lesson_10_four_api_versions_end_in_the_same_values() {
    let names = trigger::ids("alice");
    let end = json!(START_S + 30 * DAY_S);
    for version in ApiVersion::ALL {
        let mut till = Till::new();
        let types = [CREATED, "invoice.payment_failed", "payment_intent.payment_failed", "invoice_payment.paid"];
        for event_type in types.iter().filter(|one| version >= ApiVersion::Basil || **one != "invoice_payment.paid") {
            till.feed(&[event_in(version, event_type, "alice", START_S, &[])]);
        }
        let version = version.as_str();
        assert_eq!(till.value("SELECT api_version FROM stripe_webhooks_log"), version);
        for (column, table, expected) in [
            ("current_period_start", "stripe_subscriptions", json!(START_S)),
            ("current_period_end", "stripe_subscriptions", end.clone()),
            ("current_period_end", "stripe_subscription_items", end.clone()),
            ("stripe_price_id", "stripe_subscription_items", json!("price_pro")),
            ("stripe_subscription_id", "stripe_invoices", json!(names.subscription)),
            ("stripe_payment_intent_id", "stripe_invoices", json!(names.payment_intent)),
            ("period_end", "stripe_invoices", end.clone()),
            ("stripe_invoice_id", "stripe_payment_intents", json!(names.invoice)),
            ("stripe_charge_id", "stripe_payment_intents", json!(names.charge)),
            ("stripe_subscription_id", "payment_failures", json!(names.subscription)),
            ("failure_reason", "payment_failures", json!("insufficient_funds")),
        ] {
            assert_eq!(till.value(&format!("SELECT {column} FROM {table}")), expected, "{version} {table}.{column}");
        }
        assert_eq!(till.entitlement("alice")["reason"], "active", "{version}");
    }
}

#[test]
fn lesson_11_the_portals_cancel_at_is_shown_as_an_end_like_the_flag() {
    let end = START_S + 30 * DAY_S;
    for set in [("cancel_at", json!(end)), ("cancel_at_period_end", json!(true))] {
        let mut till = Till::new();
        till.feed(&[event(CREATED, "alice", START_S, &[set])]);
        let answer = till.entitlement("alice");
        assert_eq!((&answer["reason"], &answer["ends_at"]), (&json!("ending"), &json!(end)));
        assert_eq!(till.get("/api/v1/users/alice/subscription").1["ends_at"], end);
    }
}

#[test]
fn lesson_15_the_end_of_grace_never_writes_over_stripes_status() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[("status", json!("past_due"))])]);
    till.clock.advance(8 * DAY_S * 1000);
    till.feed(&[event("customer.updated", "alice", START_S + 8 * DAY_S, &[])]);
    let answer = till.entitlement("alice");
    assert_eq!((&answer["entitled"], &answer["status"]), (&json!(false), &json!("past_due")));
    for table in ["stripe_subscriptions", "subscriptions"] {
        assert_eq!(till.value(&format!("SELECT status FROM {table}")), "past_due", "{table}");
    }
    assert_eq!(till.value("SELECT entitled || tier FROM subscriptions"), "0free");
    till.feed(&[event(UPDATED, "alice", START_S + 9 * DAY_S, &[])]);
    assert_eq!(till.entitlement("alice")["reason"], "active");
}

#[test]
fn lesson_16_past_due_has_a_date_and_a_reason() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[("status", json!("past_due"))])]);
    let end = START_S + 7 * DAY_S;
    let at = |till: &Till, now_ms: i64| {
        till.clock.set(now_ms);
        let answer = till.entitlement("alice");
        (answer["entitled"].clone(), answer["reason"].clone(), answer["grace_period_end"].clone())
    };
    assert_eq!(at(&till, end * 1000 - 1), (json!(true), json!("grace_period"), json!(end)));
    assert_eq!(at(&till, end * 1000), (json!(false), json!("past_due"), json!(end)));
}

#[test]
fn lesson_17_stripes_attempt_count_is_kept_and_no_count_of_ours() {
    let attempt = |count: i64| {
        event("invoice.payment_failed", "alice", START_S + count * DAY_S, &[("attempt_count", json!(count))])
    };
    for order in [[1, 2, 4], [4, 2, 1], [2, 4, 1]] {
        let mut till = Till::new();
        till.feed(&order.map(attempt));
        let case = "SELECT attempt_count || ' ' || first_failed_at || ' ' || last_failed_at FROM payment_failures";
        assert_eq!(till.value(case), format!("4 {} {}", START_S + DAY_S, START_S + 4 * DAY_S));
        assert_eq!(count(&till, "dunning_attempts"), 3, "each attempt by Stripe's number");
    }
}

#[test]
fn lesson_21_a_list_that_stripe_cut_is_called_partial() {
    let mut till = Till::new();
    till.feed(&[event(CREATED, "alice", START_S, &[("items.has_more", json!(true))])]);
    assert_eq!(till.get("/api/v1/users/alice/subscription").1["items_partial"], true);
    till.feed(&[event(UPDATED, "alice", START_S + 1, &[])]);
    assert_eq!(till.get("/api/v1/users/alice/subscription").1["items_partial"], false);
}

#[test]
fn lesson_24_a_refused_signature_says_what_is_wrong_with_it() {
    let till = Till::new();
    let body = event(CREATED, "alice", START_S, &[]).to_string();
    let signed = |by_s: i64| signature::sign(SECRET, START_S + by_s, body.as_bytes());
    let cases = [
        (None, "signature_missing", "no Stripe-Signature header"),
        (Some(String::new()), "signature_missing", "no Stripe-Signature header"),
        (Some("sha256=abc".to_owned()), "signature_malformed", "no timestamp"),
        (Some(format!("t={START_S},v0=00")), "signature_malformed", "no v1 signature"),
        (Some(signed(-301)), "signature_stale", "301 s ago"),
        (Some(signed(301)), "signature_future", "301 s in the future"),
        (Some(signature::sign("whsec_other", START_S, body.as_bytes())), "signature_mismatch", "1 configured secrets"),
        (Some(signature::sign(SECRET, START_S, b"{}")), "signature_mismatch", "a proxy changed the body"),
    ];
    for (header, code, words) in cases {
        let (status, answer) = till.post_with(header.as_deref(), body.as_bytes());
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)), "{header:?}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(words) && !message.contains(SECRET), "{message}");
    }
    for at_the_edge in [-300, 300] {
        assert_eq!(till.post_with(Some(&signed(at_the_edge)), body.as_bytes()).0, 200);
    }
    assert_eq!(count(&till, "stripe_webhooks_log"), 1);
}

#[test]
fn lesson_25_a_body_may_have_a_megabyte_and_not_more() {
    const LIMIT: usize = 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    for (number, length) in [17_000, 500_000, LIMIT].into_iter().enumerate() {
        let id = format!("evt_{number}");
        let empty = raw(&id, "thing.made", START_S, json!({"object": "thing", "pad": ""})).to_string().len();
        let pad = "x".repeat(length - empty);
        let body = raw(&id, "thing.made", START_S, json!({"object": "thing", "pad": pad})).to_string();
        assert_eq!((body.len(), live.post(body.as_bytes()).unwrap().status), (length, 200));
    }
    let answer = live.post(&vec![b' '; LIMIT + 1]).unwrap();
    assert!(answer.status == 413 && answer.body.contains("body_too_large"), "{answer:?}");
}

#[test]
fn lesson_27_events_of_the_other_mode_are_kept_and_change_nothing() {
    for (key_is_live, ours) in [(true, 1), (false, 0)] {
        let mut till = Till::with(Setup { livemode: Some(key_is_live), ..Setup::default() });
        let mut other = event(DELETED, "alice", START_S + 5, &[]);
        other["livemode"] = json!(!key_is_live);
        let mut right = event(CREATED, "alice", START_S, &[]);
        right["livemode"] = json!(key_is_live);
        till.feed(&[right, other.clone()]);
        assert_eq!(state(&till, &other), "ignored");
        assert_eq!(till.entitlement("alice")["entitled"], true);
        let why = till.value("SELECT processing_error FROM stripe_webhooks_log WHERE status = 'ignored'");
        assert!(why.as_str().unwrap().contains("mode"), "{why}");
        for table in ["stripe_subscriptions", "stripe_objects"] {
            assert_eq!(till.value(&format!("SELECT group_concat(livemode) FROM {table}")), json!(ours.to_string()));
        }
    }
}

//! Calls: those in doubt first, what will happen to each, and nothing that opens anything.

use std::sync::Arc;

use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::outward::calls::Calls;
use tilld::stripe::client::Client;
use tilld::stripe::settings::{ApiKey, Mode, StripeSettings};

use super::Visitor;
use crate::harness::Till;

/// A till with a key, and a Stripe that nobody reaches.
pub fn with_key() -> Till {
    let mut till = Till::new();
    let settings = StripeSettings::new(ApiKey::new("sk_test_tilldtests"), "http://127.0.0.1:1", "2026-09-30.endive");
    let client = Client::new(settings).unwrap();
    let clock = till.clock.clone();
    till.api.calls = Some(Arc::new(Calls::new(till.store.clone(), client, clock, till.context.clone())));
    till.api.offers.mode = Some(Mode::Test);
    till
}

struct Row<'a> {
    key: &'a str,
    kind: &'a str,
    status: &'a str,
    form: &'a str,
    answer: Value,
    /// Before now.
    sent_h: i64,
}

const PLAIN: Row = Row { key: "k", kind: "customer.create", status: "done", form: "", answer: Value::Null, sent_h: 1 };

fn add(till: &Till, row: &Row) -> i64 {
    let now_ms = till.clock.now_ms();
    let open = matches!(row.status, "sending" | "in_doubt");
    let answer = (!row.answer.is_null()).then(|| row.answer.to_string());
    let connection = till.connection();
    connection
        .execute(
            "INSERT INTO stripe_operations (idempotency_key, kind, user_id, subject, fingerprint, verb, path, form, wanted, status,
                attempts, first_sent_ms, sent_log_id, next_attempt_at_ms, answer, request_id, last_error, created_at_ms, finished_at_ms)
             VALUES (?1, ?2, 'alice', 'sub_1', 'f', 'POST', '/v1/things', ?3, '{}', ?4, 1, ?5, 0, ?6, ?7, 'req_abc', 'the connection broke', ?5, ?8)",
            rusqlite::params![
                row.key, row.kind, row.form, row.status, now_ms - row.sent_h * 3_600_000,
                open.then_some(now_ms + 300_000), answer, (!open).then_some(now_ms)
            ],
        )
        .unwrap();
    connection.last_insert_rowid()
}

#[test]
fn calls_in_doubt_come_first_and_say_what_will_happen_under_which_key_and_until_when() {
    let till = with_key();
    let visitor = Visitor::of(&till);
    visitor.page(&till, "calls").shows(&["No calls yet"]);
    let doubt = add(&till, &Row { key: "tilld_first", kind: "customer.create", status: "in_doubt", ..PLAIN });
    add(&till, &Row { key: "tilld_second", kind: "refund.create", status: "done", ..PLAIN });
    let list = visitor.page(&till, "calls").text;
    assert!(list.find("customer.create").unwrap() < list.find("refund.create").unwrap());
    assert!(list.contains("asked for again in 5 min, under the same key"), "{list}");
    visitor.page(&till, "calls?status=done&user=alice").hides(&["call?id=1\""]);
    assert_eq!(visitor.get(&till, "calls?status=odd").status, 400);

    let call = visitor.page(&till, &format!("call?id={doubt}"));
    call.shows(&[
        "asked for again in 5 min, under the key tilld_first",
        "2026-01-01 22:00:00 UTC (in 22 h)",
        "After that tilld reads",
    ]);
    call.shows(&["https://dashboard.stripe.com/test/logs/req_abc", "user?id=alice", "the connection broke"]);
    assert_eq!(visitor.get(&till, "call?id=99").status, 404);
}

#[test]
fn each_way_of_finding_an_outcome_out_is_said() {
    let till = with_key();
    let visitor = Visitor::of(&till);
    let old = Row { status: "in_doubt", sent_h: 30, ..PLAIN };
    let fates = [
        (
            Row { key: "a", kind: "subscription.cancel", status: "in_doubt", ..PLAIN },
            "It is sent again in 5 min as it was",
        ),
        (Row { key: "b", kind: "subscription.cancel", ..old }, "tilld reads sub_1 at Stripe"),
        (
            Row { key: "c", kind: "refund.create", status: "in_doubt", sent_h: 30, ..PLAIN },
            "looks for the key c in its metadata",
        ),
        (
            Row { key: "d", kind: "portal_session.create", status: "in_doubt", sent_h: 30, ..PLAIN },
            "counts as not done",
        ),
        (
            Row { key: "e", kind: "something.new", status: "in_doubt", ..PLAIN },
            "stays in doubt until the version that wrote it",
        ),
    ];
    for (row, words) in fates {
        let id = add(&till, &row);
        visitor.page(&till, &format!("call?id={id}")).shows(&[words]);
    }
    let mut keyless = Till::new();
    keyless.api.calls = None;
    let id = add(&keyless, &Row { status: "in_doubt", ..PLAIN });
    Visitor::of(&keyless).page(&keyless, &format!("call?id={id}")).shows(&["set stripe.api_key"]);
}

#[test]
fn what_opens_a_session_or_a_payment_is_not_shown() {
    let till = with_key();
    let visitor = Visitor::of(&till);
    let id = add(
        &till,
        &Row {
            kind: "checkout_session.create",
            form: "mode=payment&success_url=https%3A%2F%2Fapp.example%2Fhush1&line_items[0][price]=price_pro&metadata[user_id]=al%20ice",
            answer: json!({
                "id": "cs_1", "url": "https://checkout.stripe.com/hush2", "client_secret": "hush3",
                "payment_intent": {"client_secret": "hush4", "any": "pi_1_secret_hush5"}, "customer": "cus_shown",
            }),
            ..PLAIN
        },
    );
    let call = visitor.page(&till, &format!("call?id={id}"));
    call.shows(&["line_items[0][price]", "price_pro", "al ice", "cus_shown", "(not shown)"]);
    call.hides(&["hush"]);
}

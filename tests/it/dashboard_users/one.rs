//! The page of one user.

use serde_json::{Value, json};
use tilld::app::trigger;
use tilld::http::request::Method;

use super::Visitor;
use crate::harness::{DAY_S, START_S, Till};
use crate::samples::{event, everything, raw};

fn subscription(id: &str, status: &str) -> Value {
    event("customer.subscription.updated", id, START_S, &[("status", json!(status))])
}

#[test]
fn the_page_says_the_answer_of_the_api_and_the_rule_that_gave_it() {
    for status in ["active", "trialing", "past_due", "unpaid", "canceled", "incomplete", "paused", "new_word"] {
        let mut till = Till::new();
        till.feed(&[subscription("alice", status)]);
        let (answer, visitor) = (till.entitlement("alice"), Visitor::of(&till));
        let (reason, tier) = (answer["reason"].as_str().unwrap(), answer["tier"].as_str().unwrap());
        let verdict = if answer["entitled"] == true { "May use it" } else { "May not use it" };
        let seen = visitor.page(&till, "user?id=alice");
        seen.shows(&[
            &format!("<strong>{verdict}</strong>"),
            &format!("tier <strong>{tier}</strong>"),
            &format!("<code>{reason}</code>"),
            &format!("<strong>yes: {reason}</strong>"),
            &format!("<code>status</code> <bdi>{status}</bdi>"),
        ]);
    }
}

#[test]
fn a_user_without_anything_has_a_page_that_says_so_and_an_unknown_one_has_none() {
    let till = Till::new();
    till.call(Method::Put, "/api/v1/users/zoe", &json!({}));
    let visitor = Visitor::of(&till);
    visitor.page(&till, "user?id=zoe").shows(&[
        "May not use it",
        "no_subscription",
        "There is no subscription to decide.",
    ]);
    assert_eq!(visitor.get(&till, "user?id=nobody").status, 404);
    assert_eq!(visitor.get(&till, "user").status, 400);
    assert_eq!(visitor.get(&till, "user?id=zoe&before=x").status, 400);
    assert_eq!(visitor.get(&till, "user-all?id=zoe&of=secrets").status, 404);
}

#[test]
fn everything_that_is_known_is_shown_with_the_word_that_links_it() {
    let mut till = Till::new();
    till.feed(&everything("alice", START_S));
    let (ids, visitor) = (trigger::ids("alice"), Visitor::of(&till));
    let seen = visitor.page(&till, "user?id=alice");
    for id in [&ids.customer, &ids.subscription, &ids.invoice, &ids.payment_intent] {
        seen.shows(&[id]);
    }
    seen.shows(&["Customers", "Subscriptions", "Failed payments", "Invoices", "Payments", "metadata (said: nobody"]);
    seen.shows(&[&format!("https://dashboard.stripe.com/test/customers/{}", ids.customer.replace('_', "%5F"))]);
    for of in ["customers", "subscriptions", "failures", "invoices", "payments"] {
        visitor.page(&till, &format!("user-all?id=alice&of={of}")).shows(&["Back to", "<td"]);
    }
}

const HOSTILE: &str = "<script>alert(1)</script>\"'>&\u{202e}😀";

#[test]
fn hostile_texts_are_shown_as_text_and_never_run() {
    let mut till = Till::new();
    let long = format!("{HOSTILE}{}", "x".repeat(64 * 1024));
    let customer = json!({"id": "cus_1", "object": "customer", "created": START_S, "livemode": false, "name": long,
        "email": HOSTILE, "metadata": {"user_id": HOSTILE}});
    let set =
        [("metadata.user_id", json!(HOSTILE)), ("status", json!(HOSTILE)), ("items.data.0.price.id", json!(HOSTILE))];
    let mut other = event("customer.subscription.updated", "x", START_S, &set);
    other["data"]["object"]["customer"] = json!("cus_1");
    till.feed(&[raw("evt_1", "customer.created", START_S, customer), other]);
    let id = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27%3E%26%E2%80%AE%F0%9F%98%80";
    till.call(Method::Put, &format!("/api/v1/users/{id}"), &json!({"name": HOSTILE, "metadata": {"a": HOSTILE}}));
    let visitor = Visitor::of(&till);
    for name in [
        "users".to_owned(),
        format!("users?find={id}x"),
        format!("users?find=cus_{id}"),
        format!("user?id={id}"),
        format!("user-all?id={id}&of=customers"),
        format!("user-all?id={id}&of=subscriptions"),
        format!("user-link?id={id}&object=cus_1"),
        format!("user-unlink?id={id}&object=cus_1"),
    ] {
        let seen = visitor.page(&till, &name);
        seen.hides(&["<script>alert", "href=\"javascript:"]);
        assert!(seen.text.len() < 64 * 1024, "{name}: {} bytes", seen.text.len());
    }
    for name in [format!("user?id={id}x"), format!("user-link?id={id}&object={id}")] {
        let seen = visitor.get(&till, &name);
        assert!(seen.status >= 400, "{name}");
        seen.hides(&["<script>alert"]);
    }
}

/// Many subscriptions of one user, as if they had been projected.
fn add_subscriptions(till: &Till, user: &str, count: usize) {
    let connection = till.connection();
    connection.execute_batch("BEGIN").unwrap();
    connection.execute("INSERT INTO users (id, created_at_ms) VALUES (?1, 0)", [user]).unwrap();
    let (created, ends) = (START_S - 1_000_000, START_S + 30 * DAY_S);
    for n in 0..count {
        let sql =
            "INSERT INTO stripe_subscriptions (stripe_subscription_id, stripe_customer_id, user_id, linked_by, status,
            current_period_end, cancel_at_period_end, created, livemode, event_created, event_id)
            VALUES (?1, 'cus_1', ?2, 'metadata', 'active', ?3, 0, ?4, 0, ?4, 'evt')";
        let made = created + i64::try_from(n).unwrap();
        connection.execute(sql, (format!("sub_{n:05}"), user, ends, made)).unwrap();
        let sql =
            "INSERT INTO stripe_subscription_items (stripe_subscription_id, stripe_item_id, position, stripe_price_id)
            VALUES (?1, ?2, 0, 'price_pro')";
        connection.execute(sql, (format!("sub_{n:05}"), format!("si_{n}"))).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

#[test]
fn ten_thousand_subscriptions_are_cut_to_the_first_with_a_way_to_all() {
    let till = Till::new();
    add_subscriptions(&till, "alice", 10_000);
    let visitor = Visitor::of(&till);
    let seen = visitor.page(&till, "user?id=alice");
    assert!(seen.text.len() < 100 * 1024, "{} bytes", seen.text.len());
    seen.shows(&["sub_09999", "9995 more subscriptions", "All subscriptions", "of=subscriptions"]);
    seen.hides(&["sub_00000"]);
    let all = visitor.page(&till, "user-all?id=alice&of=subscriptions");
    assert_eq!(all.text.matches("at Stripe<").count(), 50);
    let next = visitor.page(&till, &all.follow("next").unwrap().replace("&#38;", "&").replace("&amp;", "&"));
    next.shows(&["sub_09949"]);
    next.hides(&["sub_09950<"]);
}

#[test]
fn a_failed_payment_is_shown_with_what_was_sent_about_it() {
    let mut till = Till::new();
    till.feed(&[event("customer.created", "bob", START_S, &[]), event("invoice.payment_failed", "bob", START_S, &[])]);
    let connection = till.connection();
    let add = "INSERT INTO dunning_attempts (payment_failure_id, user_id, attempt_number, notification_type, outcome,
        created_at_ms) SELECT id, 'bob', 7, 'payment_failed', 'skipped: no mail address is known', 5 FROM payment_failures
        WHERE stripe_invoice_id = ?1";
    assert_eq!(connection.execute(add, [&trigger::ids("bob").invoice]).unwrap(), 1);
    let seen = Visitor::of(&till).page(&till, "user?id=bob");
    seen.shows(&["payment_failed 7 skipped: no mail address is known", "No mail"]);
}

#[test]
fn dead_letters_are_named_beside_the_answer_that_lacks_them() {
    let mut till = Till::new();
    till.feed(&[event("customer.created", "bob", START_S, &[])]);
    let visitor = Visitor::of(&till);
    visitor.page(&till, "user?id=bob").hides(&["Not in any answer"]);
    till.feed(&[raw(
        "evt_bad",
        "customer.subscription.created",
        START_S,
        json!({"id": "sub_1", "object": "subscription"}),
    )]);
    assert_eq!(till.value("SELECT status FROM stripe_webhooks_log WHERE event_id = 'evt_bad'"), "dead");
    visitor.page(&till, "user?id=bob").shows(&["Not in any answer: <a href=\"dead-letters\">1 dead letter</a>"]);
}

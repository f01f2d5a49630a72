//! The search box and the lists.

use serde_json::json;
use tilld::app::trigger;
use tilld::http::request::Method;

use super::Visitor;
use crate::harness::{START_S, Till};
use crate::samples::{event, everything, raw};

fn user_links(text: &str) -> Vec<String> {
    let ids = text.split("<a href=\"user?id=").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    ids.collect()
}

#[test]
fn every_id_of_stripes_leads_straight_to_its_user() {
    let mut till = Till::new();
    till.feed(&everything("alice", START_S));
    let visitor = Visitor::of(&till);
    let ids = trigger::ids("alice");
    for id in [&ids.customer, &ids.subscription, &ids.invoice, &ids.payment_intent, &ids.charge] {
        assert_eq!(visitor.get(&till, &format!("users?find={id}")).location, "user?id=alice", "{id}");
    }
    assert_eq!(visitor.get(&till, "users?find=alice").location, "user?id=alice");
    assert_eq!(visitor.get(&till, "users?find=evt_1").location, "event?id=evt%5F1");
}

#[test]
fn a_user_is_found_by_the_beginning_of_the_id_and_by_either_mail_address() {
    let mut till = Till::new();
    let customer = json!({"id": "cus_1", "object": "customer", "created": START_S, "livemode": false,
        "email": "Pay@Alice.example", "metadata": {"user_id": "alice"}});
    till.feed(&[raw("evt_1", "customer.created", START_S, customer)]);
    till.call(Method::Put, "/api/v1/users/alina", &json!({"email": "a@alina.example"}));
    till.call(Method::Put, "/api/v1/users/bob", &json!({}));
    let visitor = Visitor::of(&till);
    let found = |text: &str| user_links(&visitor.page(&till, &format!("users?find={text}")).text);
    assert_eq!(found("ali"), ["alice", "alina"]);
    assert_eq!(found("pay%40alice.example"), ["alice"], "as Stripe has it, whatever its case");
    assert_eq!(found("A%40ALINA.example"), ["alina"], "as the application gave it");
    assert_eq!(found("nobody"), [""; 0]);
    assert_eq!(user_links(&visitor.page(&till, "users").text), ["alice", "alina", "bob"]);
}

#[test]
fn what_is_nobodys_or_unknown_is_said_so_and_what_is_nobodys_can_be_linked_from_there() {
    let mut till = Till::new();
    let customer = json!({"id": "cus_1", "object": "customer", "created": START_S, "livemode": false});
    till.feed(&[raw("evt_1", "customer.created", START_S, customer)]);
    let visitor = Visitor::of(&till);
    let seen = visitor.page(&till, "users?find=cus_1");
    seen.shows(&[
        "cus_1 is known here and belongs to no user",
        "action=\"user-link\"",
        "name=\"object\" value=\"cus_1\"",
    ]);
    let seen = visitor.page(&till, "users?find=sub_9");
    seen.shows(&["No subscription sub_9 is known here"]);
    seen.hides(&["action=\"user-link\""]);
}

/// Users in the tables, as if they had been projected: the lists read nothing else.
fn add_users(till: &Till, count: usize, answer: impl Fn(usize) -> (&'static str, &'static str)) {
    let connection = till.connection();
    connection.execute_batch("BEGIN").unwrap();
    for n in 0..count {
        let (id, (reason, tier)) = (format!("user_{n:04}"), answer(n));
        connection.execute("INSERT INTO users (id, created_at_ms) VALUES (?1, 0)", [&id]).unwrap();
        let sql =
            "INSERT INTO subscriptions (user_id, stripe_customer_id, stripe_subscription_id, status, tier, entitled,
            reason, cancel_at_period_end, updated_at_ms) VALUES (?1, 'cus', 'sub', 'active', ?2, 0, ?3, 0, 0)";
        connection.execute(sql, [id.as_str(), tier, reason]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn all_pages(till: &Till, visitor: &Visitor, first: &str) -> Vec<String> {
    let (mut found, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(name) = next {
        let seen = visitor.page(till, &name.replace("&amp;", "&").replace("&#38;", "&"));
        found.extend(user_links(&seen.text));
        next = seen.follow("next");
        assert!(found.len() < 1000, "the pages do not end");
    }
    found
}

#[test]
fn lists_by_answer_have_every_user_of_that_answer_once_over_all_pages() {
    let till = Till::new();
    let answers =
        [("active", "pro"), ("active", "team"), ("grace_period", "pro"), ("canceled", "free"), ("unpaid", "free")];
    add_users(&till, 400, |n| answers[n % 5]);
    let visitor = Visitor::of(&till);
    let expected = |wanted: &dyn Fn(&str, &str) -> bool| -> Vec<String> {
        let fits = |n: &usize| wanted(answers[n % 5].0, answers[n % 5].1);
        (0..400).filter(fits).map(|n| format!("user%5F{n:04}")).collect()
    };
    let shown = |query: &str| {
        let mut found = all_pages(&till, &visitor, &format!("users?{query}"));
        found.sort();
        found
    };
    assert_eq!(shown(""), expected(&|_, _| true));
    assert_eq!(shown("answer=entitled"), expected(&|reason, _| matches!(reason, "active" | "grace_period")));
    assert_eq!(shown("answer=not_entitled"), expected(&|reason, _| matches!(reason, "canceled" | "unpaid")));
    assert_eq!(shown("answer=active"), expected(&|reason, _| reason == "active"));
    assert_eq!(shown("tier=pro"), expected(&|_, tier| tier == "pro"));
    assert_eq!(shown("answer=active&tier=team"), expected(&|reason, tier| (reason, tier) == ("active", "team")));
    assert_eq!(shown("answer=stale"), [""; 0]);
    assert_eq!(visitor.get(&till, "users?answer=nonsense").status, 400);
}

#[test]
fn lists_of_users_are_read_by_an_index() {
    let till = Till::new();
    let connection = till.connection();
    let details = |sql: &str| -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    };
    for (sql, index) in [
        (
            "SELECT user_id FROM subscriptions WHERE reason = 'x' AND (tier, user_id) > ('a', 'b') ORDER BY tier, user_id",
            "subscriptions_answer",
        ),
        ("SELECT owner_user_id FROM stripe_customers WHERE email = 'x' COLLATE NOCASE", "stripe_customers_email"),
        (
            "SELECT id FROM audit_log WHERE user_id = 'x' AND (at_ms, id) < (1, 2) ORDER BY at_ms DESC, id DESC",
            "audit_log_user",
        ),
        (
            "SELECT id FROM outbox WHERE user_id = 'x' AND (created_at_ms, id) < (1, 2) ORDER BY created_at_ms DESC, id DESC",
            "outbox_user",
        ),
        (
            "SELECT id FROM stripe_operations WHERE user_id = 'x' AND (created_at_ms, id) < (1, 2) ORDER BY created_at_ms DESC, id DESC",
            "stripe_operations_user",
        ),
    ] {
        let plan = details(sql);
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

#[test]
fn the_list_shows_the_answer_of_each() {
    let mut till = Till::new();
    till.feed(&[event("customer.subscription.created", "alice", START_S, &[("status", json!("active"))])]);
    till.call(Method::Put, "/api/v1/users/bob", &json!({"name": "Bob"}));
    let visitor = Visitor::of(&till);
    visitor.page(&till, "users").shows(&["active", ">pro<", "no_subscription", ">free<", "Bob"]);
}

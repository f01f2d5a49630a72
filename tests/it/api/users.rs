//! Users, and what is known of each.

use serde_json::{Value, json};
use tilld::app::trigger;
use tilld::http::request::Method;

use super::{bad_parameter, fault, ids, paged};
use crate::harness::{START_S, Till};
use crate::samples::{event, everything};

fn put(till: &Till, id: &str, body: Value) -> (u16, Value) {
    till.call(Method::Put, &format!("/api/v1/users/{id}"), &body)
}

#[test]
fn a_user_is_added_then_changed_and_what_is_not_named_stays() {
    let till = Till::new();
    let zoe = json!({"id": "zoe", "email": "zoe@example.com", "name": "Zoë", "metadata": {"team": 7},
        "stripe_customer_id": null, "created": START_S});
    let given = json!({"email": "zoe@example.com", "name": "Zoë", "metadata": {"team": 7}});
    assert_eq!(put(&till, "zoe", given), (201, zoe.clone()));
    assert_eq!(till.get("/api/v1/users/zoe"), (200, zoe.clone()));
    till.clock.advance(60_000);
    assert_eq!(put(&till, "zoe", json!({})), (200, zoe.clone()));
    assert_eq!(put(&till, "zoe", Value::Null), (200, zoe));
    let changed = put(&till, "zoe", json!({"email": null, "metadata": {}})).1;
    assert_eq!((&changed["email"], &changed["name"], &changed["metadata"]), (&Value::Null, &json!("Zoë"), &json!({})));
    assert_eq!(fault(till.get("/api/v1/users/bob")), (404, "user_not_found".to_owned(), Some("user_id".to_owned())));
}

#[test]
fn what_is_no_user_is_refused_and_named() {
    let till = Till::new();
    assert_eq!(fault(put(&till, &"x".repeat(256), json!({}))), bad_parameter("user_id"));
    assert_eq!(fault(put(&till, "a%0Ab", json!({}))), bad_parameter("user_id"));
    for (name, wrong) in [
        ("email", json!("no address")),
        ("email", json!("@")),
        ("email", json!(" ")),
        ("email", json!("a b@example.com")),
        ("email", json!("a@b@example.com")),
        ("email", json!("a@example..com")),
        ("email", json!("a@exam ple.com")),
        ("email", json!("a,b@example.com")),
        ("email", json!(7)),
        ("email", json!(format!("{}@example.com", "x".repeat(512)))),
        ("name", json!(["Zoë"])),
        ("metadata", json!("text")),
        ("metadata", Value::Null),
    ] {
        assert_eq!(fault(put(&till, "zoe", json!({name: wrong.clone()}))), bad_parameter(name), "{wrong}");
    }
    assert_eq!(fault(put(&till, "zoe", json!({"mail": "x@y"}))).1, "parameter_unknown");
    assert_eq!(fault(put(&till, "zoe", json!([1]))).1, "body_invalid");
    assert_eq!(till.value("SELECT count(*) FROM users"), json!(0));
    assert_eq!(put(&till, &"ü".repeat(255).replace('ü', "%C3%BC"), json!({})).0, 201);
    assert_eq!(put(&till, "a%2Fb%20c", json!({})).1["id"], "a/b c");
}

#[test]
fn users_are_listed_by_mail_address_and_in_pages() {
    let till = Till::new();
    for (id, email) in [("c", "x@example.com"), ("a", "x@example.com"), ("b", "y+z@example.com")] {
        put(&till, id, json!({"email": email}));
    }
    let by_email = |email: &str| ids(&till.get(&format!("/api/v1/users?email={email}")).1);
    assert_eq!(by_email("x%40example.com"), ["a", "c"]);
    assert_eq!(by_email("y%2Bz@example.com"), ["b"]);
    assert_eq!(by_email("nobody@example.com"), [""; 0]);
    assert_eq!(by_email("X@Example.COM"), ["a", "c"], "whatever its case");
    assert_eq!(put(&till, "d", json!({"email": " \t Dora@Example.com\n"})).1["email"], "Dora@Example.com");
    assert_eq!(by_email("%20dora@example.com%20"), ["d"]);
    put(&till, "d", json!({"email": "zz@example.com"}));
    assert_eq!(paged(&till, "/api/v1/users?"), ["a", "b", "c", "d"]);
    assert_eq!(paged(&till, "/api/v1/users?email=x@example.com&"), ["a", "c"]);
    let (_, page) = till.get("/api/v1/users?limit=4");
    assert_eq!(page["has_more"], false);
}

#[test]
fn a_user_known_from_events_is_changed_not_added() {
    let mut till = Till::new();
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let (status, alice) = put(&till, "alice", json!({"email": "a@example.com"}));
    assert_eq!((status, &alice["stripe_customer_id"]), (200, &json!(trigger::ids("alice").customer)));
    let events = [event("customer.updated", "alice", START_S + 1, &[("email", json!("other@example.com"))])];
    till.feed(&events);
    assert_eq!(till.get("/api/v1/users/alice").1["email"], "a@example.com", "the application's word stays");
}

#[test]
fn every_question_about_an_unknown_user_is_404() {
    let till = Till::new();
    for of in ["entitlement", "subscription", "subscriptions", "payment-failures", "payment-intents", "audit"] {
        let answer = fault(till.get(&format!("/api/v1/users/bob/{of}")));
        assert_eq!(answer, (404, "user_not_found".to_owned(), Some("user_id".to_owned())), "{of}");
    }
}

#[test]
fn a_user_without_a_subscription_has_empty_lists_and_404_for_the_one() {
    let till = Till::new();
    put(&till, "zoe", json!({}));
    for of in ["subscriptions", "payment-failures", "payment-intents", "audit"] {
        let list = till.get(&format!("/api/v1/users/zoe/{of}"));
        assert_eq!(list, (200, json!({"object": "list", "data": [], "has_more": false})), "{of}");
    }
    assert_eq!(fault(till.get("/api/v1/users/zoe/subscription")).1, "subscription_not_found");
}

#[test]
fn the_effective_subscription_and_all_of_them_are_shown() {
    let mut till = Till::new();
    let other = trigger::ids("second");
    let second = [
        ("metadata.user_id", json!("alice")),
        ("items.data.0.price.id", json!("price_team")),
        ("customer", json!(trigger::ids("alice").customer)),
    ];
    till.feed(&[
        event("customer.subscription.created", "second", START_S - 9, &second),
        event("customer.subscription.created", "alice", START_S, &[]),
    ]);
    let (status, effective) = till.get("/api/v1/users/alice/subscription");
    assert_eq!((status, &effective["id"]), (200, &json!(other.subscription)), "team ranks above pro");
    assert_eq!(effective["items"][0]["price_id"], "price_team");
    assert_eq!((&effective["status"], &effective["as_of"]), (&json!("active"), &json!(START_S - 9)));
    assert_eq!(effective["current_period_end"], START_S - 9 + 30 * 86_400);
    let newest_first = [trigger::ids("alice").subscription, other.subscription];
    assert_eq!(ids(&till.get("/api/v1/users/alice/subscriptions").1), newest_first);
    assert_eq!(paged(&till, "/api/v1/users/alice/subscriptions?"), newest_first);
}

#[test]
fn payment_failures_and_payment_intents_are_shown() {
    let mut till = Till::new();
    till.feed(&everything("alice", START_S));
    let names = trigger::ids("alice");
    let (_, failures) = till.get("/api/v1/users/alice/payment-failures");
    let case = &failures["data"][0];
    assert_eq!(failures["data"].as_array().unwrap().len(), 1);
    assert_eq!((&case["invoice_id"], &case["resolved"]), (&json!(names.invoice), &json!(true)));
    assert_eq!(
        (&case["attempt_count"], &case["amount_due"], &case["currency"]),
        (&json!(1), &json!(2000), &json!("usd"))
    );
    let (_, intents) = till.get("/api/v1/users/alice/payment-intents");
    let intent = &intents["data"][0];
    assert_eq!((&intent["id"], &intent["user_id"]), (&json!(names.payment_intent), &json!("alice")));
    assert_eq!((&intent["amount_cents"], &intent["currency"]), (&json!(2000), &json!("usd")));
    assert_eq!(intent["invoice_id"], names.invoice, "by the invoice_payment event");
    let listed = |of: &str| ids_or_numbers(&till.get(&format!("/api/v1/users/alice/{of}?limit=100")).1);
    assert_eq!(listed("payment-intents").len(), 1);
    assert_eq!(listed("payment-failures").len(), 1);
}

fn ids_or_numbers(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|row| row["id"].to_string()).collect()
}

#[test]
fn the_audit_of_a_user_is_shown_newest_first_in_pages() {
    let mut till = Till::new();
    till.feed(&[
        event("customer.created", "alice", START_S, &[]),
        event("customer.subscription.created", "alice", START_S + 1, &[]),
        event("customer.created", "bob", START_S + 2, &[]),
    ]);
    let (_, audit) = till.get("/api/v1/users/alice/audit");
    let rows = audit["data"].as_array().unwrap();
    let actions: Vec<&Value> = rows.iter().map(|row| &row["action"]).collect();
    assert_eq!(actions, ["customer.subscription.created", "customer.created"]);
    assert_eq!(
        (&rows[0]["actor"], &rows[0]["at"], &rows[0]["user_id"]),
        (&json!("stripe"), &json!(START_S + 1), &json!("alice"))
    );
    assert_eq!(rows[0]["subject"], trigger::ids("alice").subscription);
    let (_, page) = till.get(&format!("/api/v1/users/alice/audit?limit=1&starting_after={}", rows[0]["id"]));
    assert_eq!((&page["data"][0], &page["has_more"]), (&rows[1], &json!(false)));
    assert_eq!(fault(till.get("/api/v1/users/alice/audit?starting_after=x")), bad_parameter("starting_after"));
}

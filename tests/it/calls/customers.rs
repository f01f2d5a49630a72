//! One customer per user, whatever happens.

use serde_json::{Value, json};

use crate::fake_stripe::FakeStripe;
use crate::live::{Live, ask};

const CUSTOMER: &str = "/api/v1/users/alice/customer";

fn put_alice(live: &Live) {
    let user = json!({"email": "alice@example.com", "name": "Alice Ä"});
    assert_eq!(live.ask("PUT", "/api/v1/users/alice", &[], &user).0, 201);
}

#[test]
fn a_customer_is_made_once_and_linked_to_its_user_at_once() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    let live = Live::start_beside(dir.path(), &fake);
    put_alice(&live);
    let (status, first) = live.ask("POST", CUSTOMER, &[], &Value::Null);
    assert_eq!((status, &first["user_id"]), (200, &json!("alice")), "{first}");
    let sent = fake.requests_to("POST /v1/customers");
    assert_eq!(sent.len(), 1);
    assert!(
        String::from_utf8_lossy(&sent[0].body).starts_with(
            "email=alice%40example.com&name=Alice%20%C3%84&metadata[user_id]=alice&metadata[tilld_key]=tilld_"
        ),
        "{}",
        String::from_utf8_lossy(&sent[0].body)
    );
    // No webhook was needed for that.
    let (_, user) = live.get("/api/v1/users/alice");
    assert_eq!(user["stripe_customer_id"], first["stripe_customer_id"]);
    let (_, again) = live.ask("POST", CUSTOMER, &[], &json!({}));
    assert_eq!(again, first);
    assert_eq!(fake.effects("customer"), 1);
}

#[test]
fn fifty_requests_at_once_for_one_user_make_one_customer() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    let live = Live::start_beside(dir.path(), &fake);
    put_alice(&live);
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        #[allow(clippy::disallowed_methods)] // joined by the scope
        let asking: Vec<_> =
            (0..50).map(|_| scope.spawn(|| ask(&live.private, "POST", CUSTOMER, &[], &Value::Null))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(fake.effects("customer"), 1);
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 200), "{answers:?}");
}

#[test]
fn without_a_key_it_is_said_that_stripe_is_not_configured() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    put_alice(&live);
    let (status, answer) = live.ask("POST", CUSTOMER, &[], &Value::Null);
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("stripe_not_configured")));
}

#[test]
fn a_customer_that_is_gone_without_a_trace_is_cleared_and_the_next_checkout_makes_a_new_one() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    let live = Live::start_beside(dir.path(), &fake);
    put_alice(&live);
    let customer = live.ask("POST", CUSTOMER, &[], &Value::Null).1["stripe_customer_id"].clone();
    fake.add_price("price_pro", 2000, "month");
    // "Delete all test data" in the dashboard: no event tells of it, and Stripe answers 404.
    fake.forget("customer", customer.as_str().unwrap());
    let order = json!({"price_id": "price_pro", "success_url": "https://shop.example/done"});
    let checkout = || live.ask("POST", "/api/v1/users/alice/checkout-session", &[], &order);
    assert_eq!(checkout().1["error"]["code"], "resource_missing");
    live.logged(&["delete all test data", customer.as_str().unwrap()]);
    let (status, session) = checkout();
    assert_eq!(status, 200, "{session}");
    let (_, user) = live.get("/api/v1/users/alice");
    assert_ne!(user["stripe_customer_id"], customer);
    assert_eq!(fake.effects("customer"), 2);
}

#[test]
fn where_the_account_is_not_certain_a_customer_that_stripe_does_not_know_is_kept() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    let key = fake.key_without(&["GET /v1/account"]).to_owned();
    let url = fake.url();
    let live = Live::start_with(dir.path(), &[("STRIPE_API_KEY", &key), ("STRIPE_API_BASE", &url)]);
    put_alice(&live);
    let customer = live.ask("POST", CUSTOMER, &[], &Value::Null).1["stripe_customer_id"].clone();
    fake.add_price("price_pro", 2000, "month");
    fake.forget("customer", customer.as_str().unwrap());
    let order = json!({"price_id": "price_pro", "success_url": "https://shop.example/done"});
    let (_, answer) = live.ask("POST", "/api/v1/users/alice/checkout-session", &[], &order);
    assert_eq!(answer["error"]["code"], "resource_missing");
    live.logged(&["the customer is kept", customer.as_str().unwrap()]);
    assert_eq!(live.get("/api/v1/users/alice").1["stripe_customer_id"], customer);
}

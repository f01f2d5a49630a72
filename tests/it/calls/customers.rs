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

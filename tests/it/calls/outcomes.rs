//! What the caller is told of each way in which a call can end.

use serde_json::{Value, json};

use super::shop::{Shop, URLS, fault, is, path};
use crate::fake_stripe::Fault;
use crate::live::Live;

const INTENTS: &str = "POST /v1/payment_intents";

fn pay(live: &Live, key: &str, body: &Value) -> (u16, Value) {
    live.ask("POST", &path("alice", "/payment-intents"), &[("Idempotency-Key", key)], body)
}

#[test]
fn stripes_own_refusal_comes_back_in_its_words_and_under_its_status() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    let body =
        |method: &str| json!({"amount_cents": 500, "currency": "usd", "payment_method": method, "confirm": true});

    let declined = body("pm_card_visa_chargeDeclinedInsufficientFunds");
    let first = pay(&shop.live, "declined", &declined);
    let (status, error) = (first.0, &first.1["error"]);
    assert_eq!((status, &error["type"], &error["code"]), (402, &json!("card_error"), &json!("card_declined")));
    assert_eq!(
        (&error["decline_code"], &error["message"]),
        (&json!("insufficient_funds"), &json!("Your card was declined."))
    );
    assert!(
        error["request_id"].as_str().unwrap().starts_with("req_") && error["payment_intent"].is_string(),
        "{error}"
    );
    // Under its key a declined card stays declined, and Stripe is not asked again.
    let sent = shop.fake.requests_to(INTENTS).len();
    assert_eq!(pay(&shop.live, "declined", &declined), first);
    assert_eq!(shop.fake.requests_to(INTENTS).len(), sent);

    let missing = pay(&shop.live, "missing", &body("pm_none"));
    assert_eq!(fault(&missing), is(400, "resource_missing", "payment_method"));
    assert_eq!(missing.1["error"]["type"], "invalid_request_error");
    let unknown = shop.live.ask("POST", "/api/v1/payment-intents/pi%2Fnone/cancel", &[], &Value::Null);
    assert_eq!(fault(&unknown), is(404, "resource_missing", "id"));
    assert_eq!(shop.fake.requests_to("POST /v1/**").last().unwrap().path, "/v1/payment_intents/pi%2Fnone/cancel");

    for status in [401, 403] {
        shop.fake.fail(Fault::Status(status, None), INTENTS, 1);
        let refused = pay(&shop.live, &format!("key-{status}"), &body("pm_card_visa"));
        assert_eq!(fault(&refused), is(502, "stripe_key_refused", ""));
    }
    shop.fake.fail(Fault::Status(403, None), "GET /v1/invoices", 1);
    let (status, answer) = shop.live.get(&path("alice", "/invoices?refresh=true"));
    assert_eq!((status, &answer["error"]["code"]), (502, &json!("stripe_key_refused")));
    // What was wrong with the key may be put right: the same request is then carried out.
    assert_eq!(pay(&shop.live, "key-401", &body("pm_card_visa")).0, 200);

    shop.fake.fail(Fault::LockTimeout, INTENTS, 5);
    let sent = shop.fake.requests_to(INTENTS).len();
    let limited = pay(&shop.live, "limited", &body("pm_card_visa"));
    assert_eq!(fault(&limited), is(429, "lock_timeout", ""));
    let tries = &shop.fake.requests_to(INTENTS)[sent..];
    assert_eq!(tries.len(), 5);
    assert!(tries.iter().all(|one| one.body == tries[0].body && one.header("idempotency-key") == Some("limited")));
    assert_eq!(pay(&shop.live, "limited", &body("pm_card_visa")).0, 200);
}

#[test]
fn an_outcome_that_is_not_known_is_told_as_such_and_found_out_under_the_same_key() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    shop.done("alice", "/customer", &Value::Null);
    let body = json!({"amount_cents": 500, "currency": "usd"});
    let in_doubt = |key: &str| (202, json!({"status": "in_doubt", "retry_with": key}));

    // A 500 tells nothing: it was not done, this time.
    shop.fake.fail(Fault::Status(500, Some(false)), INTENTS, 1);
    assert_eq!(pay(&shop.live, "five", &body), in_doubt("five"));
    assert_eq!(pay(&shop.live, "five", &body).0, 200);
    assert_eq!(shop.fake.effects("payment_intent"), 1);

    // It was done, and the connection broke before its answer came.
    shop.fake.fail(Fault::ActThenReset, INTENTS, 1);
    shop.fake.fail(Fault::Status(503, Some(false)), INTENTS, 1);
    assert_eq!(pay(&shop.live, "lost", &body), in_doubt("lost"));
    assert_eq!(fault(&pay(&shop.live, "lost", &json!({"amount_cents": 501, "currency": "usd"}))).0, 409);
    let (status, found) = pay(&shop.live, "lost", &body);
    assert_eq!((status, pay(&shop.live, "lost", &body)), (200, (200, found)));
    assert_eq!(shop.fake.effects("payment_intent"), 2);

    // Without a key of the caller's own there is one to retry with.
    shop.fake.fail(Fault::Status(500, Some(false)), "POST /v1/checkout/sessions", 1);
    let session = json!({"price_id": "price_pro"});
    let (status, doubt) = shop.post("alice", "/checkout-session", &session);
    assert_eq!((status, &doubt["status"]), (202, &json!("in_doubt")));
    let key = doubt["retry_with"].as_str().unwrap();
    let retry = |key: &str, user: &str| {
        shop.live.ask("POST", &path(user, "/checkout-session"), &[("Idempotency-Key", key)], &session)
    };
    let (status, made) = retry(key, "alice");
    assert_eq!((status, retry(key, "alice")), (200, (200, made)));
    assert_eq!(shop.fake.effects("checkout.session"), 1);

    // So is there where the customer's making is in doubt.
    shop.user("bob");
    shop.fake.fail(Fault::Status(500, Some(false)), "POST /v1/customers", 1);
    let (status, doubt) = shop.post("bob", "/checkout-session", &session);
    assert_eq!((status, &doubt["status"]), (202, &json!("in_doubt")));
    assert_eq!(retry(doubt["retry_with"].as_str().unwrap(), "bob").0, 200);
    assert_eq!((shop.fake.effects("customer"), shop.fake.effects("checkout.session")), (2, 2));
}

#[test]
fn a_stripe_that_cannot_be_reached_is_a_502_and_nothing_was_done() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = format!("http://{closed}");
    let live = Live::start_with(dir.path(), &[("STRIPE_API_KEY", "sk_test_1"), ("STRIPE_API_BASE", &base)]);
    assert_eq!(live.ask("PUT", &path("alice", ""), &[], &json!({})).0, 201);
    let answer = pay(&live, "down", &json!({"amount_cents": 500, "currency": "usd"}));
    assert_eq!(fault(&answer), is(502, "stripe_unreachable", ""));
    assert!(answer.1["error"]["message"].as_str().unwrap().contains("nothing was done"), "{}", answer.1);
    // What needs no Stripe is answered as always.
    assert_eq!(live.get(&path("alice", "/invoices")).0, 200);
}

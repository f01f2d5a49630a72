//! Payment intents and refunds: the bytes, one effect for one key, and what is refused before Stripe is asked.

use serde_json::{Value, json};

use super::shop::{Shop, URLS, fault, is, path};

const INTENTS: &str = "POST /v1/payment_intents";

impl Shop {
    fn pay(&self, key: &str, body: &Value) -> (u16, Value) {
        self.live.ask("POST", &path("alice", "/payment-intents"), &[("Idempotency-Key", key)], body)
    }

    fn on(&self, intent: &Value, verb: &str, key: &str, body: &Value) -> (u16, Value) {
        let path = format!("/api/v1/payment-intents/{}/{verb}", intent["id"].as_str().unwrap());
        self.live.ask("POST", &path, &[("Idempotency-Key", key)], body)
    }
}

#[test]
fn a_payment_is_made_once_for_one_key_and_these_are_its_bytes() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    let body = json!({"amount_cents": 1250, "currency": "usd", "description": "Ten credits",
        "receipt_email": "a@example.com", "setup_future_usage": "off_session", "metadata": {"order": 7}});
    let (status, first) = shop.pay("order-7", &body);
    assert_eq!(status, 200, "{first}");
    assert_eq!(
        shop.sent(INTENTS),
        "amount=1250&currency=usd&customer=*&description=Ten%20credits&receipt_email=a%40example.com\
         &setup_future_usage=off_session&automatic_payment_methods[enabled]=true&metadata[user_id]=alice\
         &metadata[tilld_key]=*&metadata[order]=7"
    );
    let facts = ["amount_cents", "currency", "status", "user_id", "idempotency_key"].map(|name| first[name].clone());
    let expected = [json!(1250), json!("usd"), json!("requires_payment_method"), json!("alice"), json!("order-7")];
    assert_eq!(facts, expected);
    assert!(first["client_secret"].as_str().unwrap().contains("_secret_"));
    let listed = shop.get("alice", "/payment-intents");
    assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["idempotency_key"]), (&first["id"], &json!("order-7")));

    shop.deliver();
    let (status, paid) = shop.on(&first, "confirm", "pay-7", &json!({"payment_method": "pm_card_visa"}));
    assert_eq!((status, &paid["status"], &paid["amount_received_cents"]), (200, &json!("succeeded"), &json!(1250)));
    assert_eq!(shop.sent("POST /v1/payment_intents/*/confirm"), "payment_method=pm_card_visa");
    assert_eq!(shop.get("alice", "/payment-intents")["data"][0]["status"], "succeeded");

    // Whatever became of it since: the same answer, and one effect.
    assert_eq!(shop.pay("order-7", &body), (200, first.clone()));
    assert_eq!(shop.fake.effects("payment_intent"), 1);
    let other = json!({"amount_cents": 1251, "currency": "usd"});
    assert_eq!(fault(&shop.pay("order-7", &other)), is(409, "idempotency_key_reused", ""));
    let confirm = shop.on(&first, "confirm", "order-7", &json!({}));
    assert_eq!(fault(&confirm), is(409, "idempotency_key_reused", ""));

    let (status, refund) = shop.on(&first, "refund", "back-7", &json!({"amount_cents": 250, "reason": "duplicate"}));
    let expected = json!({"id": refund["id"], "payment_intent_id": first["id"], "amount_cents": 250, "currency": "usd",
        "status": "succeeded", "reason": "duplicate"});
    assert_eq!((status, &refund), (200, &expected));
    assert_eq!(
        shop.sent("POST /v1/refunds"),
        "payment_intent=*&amount=250&reason=duplicate&metadata[user_id]=alice&metadata[tilld_key]=*"
    );
    assert_eq!(shop.on(&first, "refund", "back-7", &json!({"amount_cents": 250, "reason": "duplicate"})).1, refund);
    assert_eq!(shop.fake.effects("refund"), 1);
    assert_eq!(shop.on(&first, "refund", "rest-7", &Value::Null).1["amount_cents"], 1000);
    let again = shop.on(&first, "refund", "more-7", &json!({}));
    assert_eq!(fault(&again), is(400, "charge_already_refunded", ""));

    let off = json!({"amount_cents": 600, "currency": "eur", "payment_method": "pm_card_visa", "confirm": true,
        "off_session": true, "capture_method": "manual"});
    let (_, held) = shop.pay("order-8", &off);
    assert_eq!(
        shop.sent(INTENTS),
        "amount=600&currency=eur&customer=*&capture_method=manual&automatic_payment_methods[enabled]=true\
         &automatic_payment_methods[allow_redirects]=never&payment_method=pm_card_visa&confirm=true&off_session=true\
         &metadata[user_id]=alice&metadata[tilld_key]=*"
    );
    assert_eq!(held["status"], "requires_capture", "{held}");
    let path = format!("/api/v1/payment-intents/{}/cancel", held["id"].as_str().unwrap());
    let (status, canceled) = shop.live.ask("POST", &path, &[], &json!({"cancellation_reason": "abandoned"}));
    assert_eq!((status, &canceled["status"]), (200, &json!("canceled")), "{canceled}");
    assert_eq!(shop.sent("POST /v1/payment_intents/*/cancel"), "cancellation_reason=abandoned");
    assert_eq!(shop.get("alice", "/payment-intents")["data"][0]["cancellation_reason"], "abandoned");
    let back = json!({"amount_cents": 600, "currency": "eur", "payment_method": "pm_card_authenticationRequired",
        "confirm": true, "return_url": "https://app.example/3ds"});
    let (_, asked) = shop.pay("order-9", &back);
    assert_eq!(
        (&asked["status"], asked["next_action"]["type"].as_str()),
        (&json!("requires_action"), Some("redirect_to_url"))
    );
    assert!(shop.sent(INTENTS).contains("[enabled]=true&payment_method=pm_card_authenticationRequired&confirm=true&return_url=https%3A%2F%2Fapp.example%2F3ds&"));
}

#[test]
fn what_is_wrong_with_a_payment_is_said_before_stripe_is_asked() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    let pay = json!({"amount_cents": 500, "currency": "usd"});
    assert_eq!(shop.fault("alice", "/payment-intents", &pay), is(400, "idempotency_key_missing", ""));
    for verb in ["confirm", "refund"] {
        let answer = shop.live.ask("POST", &format!("/api/v1/payment-intents/pi_1/{verb}"), &[], &json!({}));
        assert_eq!(fault(&answer), is(400, "idempotency_key_missing", ""));
    }
    assert_eq!(fault(&shop.pay("two words", &pay)), is(400, "idempotency_key_invalid", ""));
    let with = |more: Value| {
        let mut body = pay.clone();
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        fault(&shop.pay("key", &body))
    };
    assert_eq!(with(json!({"amount_cents": null})), is(400, "parameter_missing", "amount_cents"));
    assert_eq!(with(json!({"currency": null})), is(400, "parameter_missing", "currency"));
    assert_eq!(with(json!({"confirm": true})), is(400, "parameter_missing", "payment_method"));
    assert_eq!(with(json!({"customer": "cus_1"})), is(400, "parameter_unknown", ""));
    for (name, more) in [
        ("amount_cents", json!({"amount_cents": 0})),
        ("amount_cents", json!({"amount_cents": -5})),
        ("amount_cents", json!({"amount_cents": 9.99})),
        ("amount_cents", json!({"amount_cents": "500"})),
        ("amount_cents", json!({"currency": "isk", "amount_cents": 550})),
        ("amount_cents", json!({"currency": "kwd", "amount_cents": 5124})),
        ("currency", json!({"currency": "USD"})),
        ("currency", json!({"currency": "dollar"})),
        ("off_session", json!({"off_session": true})),
        ("return_url", json!({"return_url": "https://app.example"})),
        ("setup_future_usage", json!({"setup_future_usage": "ever"})),
        ("capture_method", json!({"capture_method": "later"})),
        ("metadata", json!({"metadata": ["x"]})),
    ] {
        assert_eq!(with(more.clone()), is(400, "parameter_invalid", name), "{more}");
    }
    let reserved = with(json!({"metadata": {"user_id": "bob"}}));
    assert_eq!(reserved, is(400, "metadata_reserved", "metadata"));
    let long = "k".repeat(41);
    assert_eq!(with(json!({ "metadata": { long: "x" } })).1, "parameter_invalid");
    let refund = |body: Value| fault(&shop.on(&json!({"id": "pi_1"}), "refund", "key", &body));
    assert_eq!(refund(json!({"amount_cents": 0})), is(400, "parameter_invalid", "amount_cents"));
    assert_eq!(refund(json!({"reason": "abandoned"})), is(400, "parameter_invalid", "reason"));
    let elsewhere = shop.on(&json!({"id": "%2E%2E"}), "refund", "key", &json!({}));
    assert_eq!(fault(&elsewhere), is(404, "resource_missing", "id"));
    let sent = shop.fake.requests_to("POST /v1/**");
    assert!(sent.iter().all(|request| request.path == "/v1/customers"), "{sent:?}");
}

//! On whose subscription and customer calls act: never on what a browser's word links, and never through a customer that
//! is another one's.

use serde_json::{Value, json};

use super::shop::{Shop, URLS, is, path};

/// A stranger's customer at Stripe, with a subscription that he bought by a Payment Link, whose URL named `victim`.
fn stranger(shop: &Shop, victim: &str) -> (String, String) {
    let customer = shop.fake.create("customer", &json!({"email": "stranger@example.com"}));
    let subscription = subscription(shop, &customer, "");
    let session = json!({
        "client_reference_id": victim, "customer": customer, "subscription": null, "status": "open",
        "payment_status": "unpaid", "mode": "subscription",
    });
    let id = shop.fake.create("checkout.session", &session);
    let paid = json!({"status": "complete", "payment_status": "paid", "subscription": subscription});
    shop.fake.change(&id, "checkout.session.completed", &paid);
    shop.deliver();
    (customer, subscription)
}

fn subscription(shop: &Shop, customer: &str, user: &str) -> String {
    let metadata = if user.is_empty() { json!({}) } else { json!({"user_id": user}) };
    let items = json!({"object": "list", "has_more": false, "data": [{
        "id": format!("si_{customer}_{user}"), "object": "subscription_item", "quantity": 1,
        "current_period_start": 1_700_000_000, "current_period_end": 4_000_000_000_i64,
        "price": {"id": "price_pro", "object": "price", "currency": "usd", "unit_amount": 2000,
            "recurring": {"interval": "month", "interval_count": 1}},
    }]});
    shop.fake.create(
        "subscription",
        &json!({"customer": customer, "status": "active", "metadata": metadata, "items": items, "created": 1_700_000_000}),
    )
}

const CHANGES: [(&str, &str); 5] = [
    ("/subscription/cancel", "{}"),
    ("/subscription/cancel", r#"{"immediate": true}"#),
    ("/subscription/reactivate", "{}"),
    ("/subscription/resume", "{}"),
    ("/subscription/change-plan", r#"{"price_id": "price_team"}"#),
];

#[test]
fn a_stranger_who_names_a_user_moves_no_call_of_that_user() {
    let shop = Shop::open(&URLS);
    shop.user("victim");
    let (customer, subscription) = stranger(&shop, "victim");
    assert_eq!(shop.get("victim", "/entitlement")["subscription_id"], json!(subscription), "it gives access");
    assert_eq!(shop.get("victim", "/subscription")["linked_by"], "reference");
    for (call, body) in CHANGES {
        let body: Value = serde_json::from_str(body).unwrap();
        let (status, answer) = shop.post("victim", call, &body);
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("linked_by_reference")), "{call} {answer}");
        assert_eq!(answer["error"]["stripe_customer_id"], json!(customer));
    }
    assert_eq!(shop.fault("victim", "/portal-session", &json!({})), is(404, "customer_not_found", ""));
    assert_eq!(
        shop.fault("victim", "/portal-session", &json!({"flow": "subscription_cancel"})),
        is(409, "linked_by_reference", "")
    );

    // The victim buys all the same, with a trial, as a customer of its own.
    let order = json!({"price_id": "price_pro", "trial_days": 7});
    shop.done("victim", "/checkout-session", &order);
    let own = shop.done("victim", "/customer", &json!({}))["stripe_customer_id"].clone();
    assert_ne!(own, json!(customer));
    shop.done("victim", "/portal-session", &json!({}));
    assert!(shop.sent("POST /v1/billing_portal/sessions").starts_with("customer=*"));
    let key = [("Idempotency-Key", "k1")];
    let payment = json!({"amount_cents": 900, "currency": "usd"});
    assert_eq!(shop.live.ask("POST", &path("victim", "/payment-intents"), &key, &payment).0, 200);
    for pattern in ["POST /v1/checkout/sessions", "POST /v1/billing_portal/sessions", "POST /v1/payment_intents"] {
        let sent = shop.fake.requests_to(pattern);
        let form = String::from_utf8(sent.last().unwrap().body.clone()).unwrap();
        assert!(form.contains(own.as_str().unwrap()) && !form.contains(&customer), "{pattern}: {form}");
    }
    let touched = shop.fake.requests_to("POST /v1/subscriptions/*").len()
        + shop.fake.requests_to("DELETE /v1/subscriptions/*").len();
    assert_eq!(touched, 0, "nothing was done to the stranger's subscription");

    // The application says that it is the victim's after all.
    let (status, answer) =
        shop.live.ask("PUT", &path("victim", "/customer"), &[], &json!({"stripe_customer_id": customer}));
    assert_eq!((status, &answer["linked_by"]), (200, &json!("said")), "{answer}");
    assert_eq!(shop.done("victim", "/subscription/cancel", &json!({}))["id"], json!(subscription));
}

#[test]
fn a_strangers_trial_and_subscription_keep_nobody_from_buying() {
    let shop = Shop::open(&URLS);
    shop.user("victim");
    let (_, subscription) = stranger(&shop, "victim");
    shop.fake.change(&subscription, "customer.subscription.updated", &json!({"trial_start": 1_700_000_000}));
    shop.deliver();
    shop.done("victim", "/checkout-session", &json!({"price_id": "price_pro", "trial_days": 7}));
}

#[test]
fn the_buyers_portal_opens_and_the_recipients_does_not() {
    let shop = Shop::open(&URLS);
    shop.user("buyer");
    shop.user("recipient");
    let customer = shop.fake.create("customer", &json!({"metadata": {"user_id": "buyer"}}));
    let gift = subscription(&shop, &customer, "recipient");
    shop.deliver();
    assert_eq!(shop.get("recipient", "/entitlement")["subscription_id"], json!(gift));
    shop.done("buyer", "/portal-session", &json!({}));
    for body in [json!({}), json!({"flow": "payment_method_update"}), json!({"flow": "subscription_cancel"})] {
        let (status, answer) = shop.post("recipient", "/portal-session", &body);
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("customer_shared")), "{body} {answer}");
    }
    assert_eq!(shop.live.get(&path("recipient", "/invoices?refresh=true")).0, 200);
    let lists = shop.fake.requests_to("GET /v1/invoices");
    assert_eq!(lists.last().unwrap().params["subscription"], json!(gift), "of the buyer's invoices those alone");
    assert!(lists.iter().all(|list| list.params.get("customer").is_none()));
    // The subscription itself is the recipient's.
    assert_eq!(shop.done("recipient", "/subscription/cancel", &json!({}))["id"], json!(gift));
    assert_eq!(shop.fault("buyer", "/subscription/cancel", &json!({})), is(404, "subscription_not_found", ""));
}

#[test]
fn the_portal_shows_the_customer_of_the_subscription_that_calls_act_on() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    let of_alice = json!({"metadata": {"user_id": "alice"}, "created": 1_600_000_000});
    let older = shop.fake.create("customer", &of_alice);
    let ended = subscription(&shop, &older, "alice");
    shop.fake.change(&ended, "customer.subscription.deleted", &json!({"status": "canceled"}));
    let newer = shop.fake.create("customer", &json!({"metadata": {"user_id": "alice"}, "created": 1_700_000_000}));
    subscription(&shop, &newer, "alice");
    shop.deliver();
    assert_eq!(shop.get("alice", "")["stripe_customer_id"], json!(older), "the older one is the main customer");
    for body in [json!({}), json!({"flow": "payment_method_update"}), json!({"flow": "subscription_cancel"})] {
        shop.done("alice", "/portal-session", &body);
        let sent = shop.fake.requests_to("POST /v1/billing_portal/sessions");
        let form = String::from_utf8(sent.last().unwrap().body.clone()).unwrap();
        assert!(form.starts_with(&format!("customer={newer}&")), "{form}");
    }
}

#[test]
fn a_customer_is_looked_at_before_it_is_linked() {
    let shop = Shop::open(&URLS);
    let put = |user: &str, body: &Value| shop.live.ask("PUT", &path(user, "/customer"), &[], body);
    let code =
        |(status, answer): (u16, Value)| (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned());
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(code(put("alice", &json!({"stripe_customer_id": "cus_none"}))), refused(404, "customer_not_found"));
    assert_eq!(shop.live.get(&path("alice", "")).0, 404, "nothing was said");
    assert_eq!(code(put("alice", &json!({}))), refused(400, "parameter_missing"));
    assert_eq!(code(put("alice", &json!({"stripe_customer_id": "sub_1"}))), refused(400, "parameter_invalid"));
    assert_eq!(code(put("alice", &json!({"stripe_customer_id": "cus_1", "x": 1}))), refused(400, "parameter_unknown"));
    // From before tilld: no event has told of it.
    let old = shop.fake.add("customer", &json!({"email": "old@example.com"}));
    assert_eq!(put("alice", &json!({"stripe_customer_id": old})).0, 200);
    assert_eq!(shop.get("alice", "")["stripe_customer_id"], json!(old));
    assert_eq!(code(put("bob", &json!({"stripe_customer_id": old}))), refused(409, "customer_taken"));
    assert_eq!(put("bob", &json!({"stripe_customer_id": old, "force": true})).0, 200);
    assert_eq!(shop.done("bob", "/customer", &json!({}))["stripe_customer_id"], json!(old), "no other one is made");
}

#[test]
fn what_names_a_user_in_metadata_is_written_by_tilld_under_the_configured_key() {
    let env: Vec<(&str, &str)> = URLS.into_iter().chain([("TILLD_LINK_METADATA_KEYS", "account, user_id")]).collect();
    let shop = Shop::open(&env);
    shop.user("alice");
    shop.done("alice", "/checkout-session", &json!({"price_id": "price_pro"}));
    assert!(shop.sent("POST /v1/customers").contains("metadata[account]=alice"));
    let session = shop.sent("POST /v1/checkout/sessions");
    assert!(
        session.contains("&metadata[account]=alice") && session.contains("&subscription_data[metadata][account]=alice")
    );
    for key in ["account", "user_id", "tilld_key"] {
        let payment = json!({"amount_cents": 900, "currency": "usd", "metadata": {key: "alice"}});
        let headers = [("Idempotency-Key", key)];
        let (status, answer) = shop.live.ask("POST", &path("alice", "/payment-intents"), &headers, &payment);
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("metadata_reserved")), "{key} {answer}");
    }
}

#[test]
fn a_session_that_was_begun_is_closed_when_the_user_has_a_subscription_by_another_way() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    let begun = shop.done("alice", "/checkout-session", &json!({"price_id": "price_pro"}))["session_id"].clone();
    let customer = shop.done("alice", "/customer", &json!({}))["stripe_customer_id"].clone();
    subscription(&shop, customer.as_str().unwrap(), "alice");
    shop.deliver();
    assert_eq!(
        shop.fault("alice", "/checkout-session", &json!({"price_id": "price_pro"})),
        is(409, "already_subscribed", "")
    );
    assert_eq!(shop.fake.object(begun.as_str().unwrap()).unwrap()["status"], "expired", "nobody pays twice");
}

#[test]
fn calls_act_on_what_runs_before_what_was_never_begun() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    let customer = shop.done("alice", "/customer", &json!({}))["stripe_customer_id"].as_str().unwrap().to_owned();
    let owed = subscription(&shop, &customer, "alice");
    shop.fake.change(&owed, "customer.subscription.updated", &json!({"status": "unpaid"}));
    let items = json!({"object": "list", "has_more": false, "data": []});
    let newer = json!({"customer": customer, "status": "incomplete", "metadata": {"user_id": "alice"}, "items": items,
        "created": 1_790_000_000});
    shop.fake.create("subscription", &newer);
    shop.deliver();
    assert_eq!(shop.done("alice", "/subscription/cancel", &json!({}))["id"], json!(owed));
}

#[test]
fn the_way_out_beside_a_subscription_that_is_not_collected_is_to_resume() {
    let shop = Shop::open(&[&URLS[..], &[("TILLD_PAUSED_COLLECTION", "until_paid")]].concat());
    let id = shop.subscriber("alice", "price_pro");
    shop.fake.change(&id, "customer.subscription.updated", &json!({"pause_collection": {"behavior": "void"}}));
    shop.deliver();
    let (status, answer) = shop.post("alice", "/checkout-session", &json!({"price_id": "price_pro"}));
    assert_eq!((status, &answer["error"]["way_out"]), (409, &json!("resume")), "{answer}");
}

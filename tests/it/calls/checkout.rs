//! Checkout and portal: the bytes that Stripe gets, who is entitled afterwards, what is refused before Stripe is asked.

use serde_json::{Value, json};
use tilld::app::cli::post;
use tilld::http::request::Method;

use super::shop::{Shop, URLS, is};
use crate::harness::{Setup, Till, plan};

const CHECKOUT: &str = "/checkout-session";
const SESSIONS: &str = "POST /v1/checkout/sessions";
const PORTAL: &str = "/portal-session";
const URLS_SENT: &str = "success_url=https%3A%2F%2Fapp.example%2Fok%3Fs%3D%7BCHECKOUT_SESSION_ID%7D\
    &cancel_url=https%3A%2F%2Fapp.example%2Fno";

#[test]
fn a_checkout_is_these_bytes_and_its_webhook_finds_the_user_whom_it_entitles() {
    let shop = Shop::open(&[&URLS[..], &[("TILLD_LOG", "trace"), ("STRIPE_PUBLIC_KEY", "pk_test_1")]].concat());
    shop.user("alice");
    let session = shop.done("alice", CHECKOUT, &json!({"price_id": "price_pro"}));
    assert!(session["session_url"].as_str().unwrap().starts_with("https://checkout.stripe.com/"), "{session}");
    let expected = format!(
        "mode=subscription&customer=*&line_items[0][price]=price_pro&line_items[0][quantity]=1&{URLS_SENT}\
         &client_reference_id=alice&allow_promotion_codes=true&metadata[user_id]=alice&metadata[tilld_key]=*\
         &subscription_data[metadata][user_id]=alice"
    );
    assert_eq!(shop.sent(SESSIONS), expected);
    assert_eq!(shop.fake.effects("customer"), 1);
    let id = session["session_id"].as_str().unwrap();
    assert_eq!(shop.fake.object(id).unwrap()["success_url"], "https://app.example/ok?s={CHECKOUT_SESSION_ID}");

    // Nobody is entitled by asking.
    assert_eq!(shop.tier("alice"), "free");
    shop.fake.complete(id, "pm_card_visa").unwrap();
    shop.deliver();
    assert_eq!(shop.tier("alice"), "pro");

    // A second one would be paid for twice.
    let second = json!({"price_id": "price_team"});
    assert_eq!(shop.fault("alice", CHECKOUT, &second), is(409, "already_subscribed", ""));
    shop.done("alice", CHECKOUT, &json!({"price_id": "price_team", "allow_second": true}));
    shop.done("alice", CHECKOUT, &json!({"price_id": "price_once", "mode": "payment"}));
    assert_eq!(shop.fake.effects("customer"), 1);

    shop.done("alice", PORTAL, &json!({}));
    shop.done("alice", "/subscription/change-plan", &json!({"price_id": "price_team"}));
    assert_eq!(shop.tier("alice"), "team");
    shop.done("alice", "/subscription/cancel", &json!({"immediate": true}));
    assert_eq!(shop.tier("alice"), "free");
    let plans = json!([{"tier": "pro", "price_ids": ["price_pro", "price_once"]},
        {"tier": "team", "price_ids": ["price_team", "price_team_year"]}]);
    let config = json!({"publishable_key": "pk_test_1", "mode": "test", "plans": plans});
    assert_eq!(shop.live.get("/api/v1/config"), (200, config));

    let log = shop.live.said();
    for secret in ["checkout.stripe.com", "billing.stripe.com", "example.com", shop.fake.key(), "/account"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn what_a_checkout_may_say_reaches_stripe_and_what_excludes_each_other_never_does_together() {
    let shop = Shop::open(&[&URLS[..], &[("TILLD_CHECKOUT_AUTOMATIC_TAX", "true")]].concat());
    shop.fake.add("coupon", &json!({"id": "SPRING", "percent_off": 25.0}));
    let promotion = json!({"type": "coupon", "coupon": "SPRING"});
    shop.fake.add("promotion_code", &json!({"id": "promo_1", "active": true, "promotion": promotion}));
    shop.user("u%201");
    let ends = "&metadata[user_id]=u%201&metadata[tilld_key]=*";
    let tax = "&automatic_tax[enabled]=true&customer_update[address]=auto";

    let subscription = json!({"price_id": "price_team", "quantity": 4, "coupon": "SPRING", "trial_days": 14,
        "success_url": "app://done", "cancel_url": "app://not done".replace(' ', "-")});
    shop.done("u%201", CHECKOUT, &subscription);
    let expected = format!(
        "mode=subscription&customer=*&line_items[0][price]=price_team&line_items[0][quantity]=4\
         &success_url=app%3A%2F%2Fdone&cancel_url=app%3A%2F%2Fnot-done&client_reference_id=u%201\
         &discounts[0][coupon]=SPRING{tax}{ends}&subscription_data[trial_period_days]=14\
         &subscription_data[metadata][user_id]=u%201"
    );
    assert_eq!(shop.sent(SESSIONS), expected);

    let payment = json!({"price_id": "price_once", "mode": "payment", "promotion_code": "promo_1"});
    shop.done("u%201", CHECKOUT, &payment);
    let expected = format!(
        "mode=payment&customer=*&line_items[0][price]=price_once&line_items[0][quantity]=1&{URLS_SENT}\
         &client_reference_id=u%201&discounts[0][promotion_code]=promo_1{tax}{ends}\
         &payment_intent_data[metadata][user_id]=u%201"
    );
    assert_eq!(shop.sent(SESSIONS), expected);

    // The longest user id is longer than a reference may be; the metadata name the user all the same.
    let long = "x".repeat(255);
    shop.user(&long);
    shop.done(&long, CHECKOUT, &json!({"price_id": "price_pro"}));
    assert!(!shop.sent(SESSIONS).contains("client_reference_id"));
}

#[test]
fn what_is_wrong_with_a_checkout_is_said_before_stripe_is_asked() {
    let shop = Shop::open(&[]);
    shop.user("alice");
    let url = "https://app.example/ok";
    let with = |more: Value| {
        let mut body = json!({"price_id": "price_pro", "success_url": url});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        shop.fault("alice", CHECKOUT, &body)
    };
    assert_eq!(with(json!({"price_id": "price_other"})), is(400, "unknown_price", "price_id"));
    assert_eq!(with(json!({"price_id": null})), is(400, "parameter_missing", "price_id"));
    assert_eq!(with(json!({"success_url": null})), is(400, "parameter_missing", "success_url"));
    let (_, answer) = shop.post("alice", CHECKOUT, &json!({"price_id": "price_pro"}));
    assert!(answer["error"]["message"].as_str().unwrap().contains("checkout.success_url"), "{answer}");
    assert_eq!(with(json!({"coupon": "A", "promotion_code": "B"})), is(400, "parameter_invalid", "promotion_code"));
    assert_eq!(with(json!({"mode": "payment", "trial_days": 3})), is(400, "parameter_invalid", "trial_days"));
    assert_eq!(with(json!({"payment_method_types": ["card"]})), is(400, "parameter_unknown", ""));
    for (name, value) in [
        ("quantity", json!(-1)),
        ("quantity", json!("2")),
        ("trial_days", json!(0)),
        ("mode", json!("setup")),
        ("coupon", json!(7)),
        ("cancel_url", json!("/pricing")),
        ("success_url", json!("https://app.example/a b")),
        ("allow_second", json!("yes")),
    ] {
        assert_eq!(with(json!({ name: value })), is(400, "parameter_invalid", name));
    }
    assert_eq!(shop.fault("nobody", CHECKOUT, &json!({"price_id": "price_pro"})), is(404, "user_not_found", "user_id"));
    assert_eq!(shop.fault("alice", PORTAL, &json!({"flow": "customer_update"})), is(400, "parameter_invalid", "flow"));
    assert_eq!(shop.fault("alice", PORTAL, &json!({})), is(404, "customer_not_found", ""));
    let flow = json!({"flow": "subscription_cancel"});
    assert_eq!(shop.fault("alice", PORTAL, &flow), is(404, "subscription_not_found", ""));
    assert!(shop.fake.requests_to("POST /v1/**").is_empty());
}

#[test]
fn a_portal_session_is_these_bytes() {
    let shop = Shop::open(&URLS);
    shop.subscriber("alice", "price_pro");
    let sent = |body: Value| {
        let answer = shop.done("alice", PORTAL, &body);
        assert!(answer["portal_url"].as_str().unwrap().starts_with("https://billing.stripe.com/"), "{answer}");
        shop.sent("POST /v1/billing_portal/sessions")
    };
    let back = "customer=*&return_url=https%3A%2F%2Fapp.example%2Faccount";
    assert_eq!(sent(json!({})), back);
    assert_eq!(sent(json!({"return_url": "app://back"})), "customer=*&return_url=app%3A%2F%2Fback");
    let flow = sent(json!({"flow": "payment_method_update"}));
    assert_eq!(flow, format!("{back}&flow_data[type]=payment_method_update"));
    for flow in ["subscription_cancel", "subscription_update"] {
        let expected = format!("{back}&flow_data[type]={flow}&flow_data[{flow}][subscription]=*");
        assert_eq!(sent(json!({ "flow": flow })), expected);
    }
}

#[test]
fn a_customer_that_was_deleted_at_stripe_unheard_is_found_out_and_another_one_is_made() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    let first = shop.done("alice", "/customer", &Value::Null)["stripe_customer_id"].clone();
    let url = format!("{}/v1/customers/{}", shop.fake.url(), first.as_str().unwrap());
    let authorization = format!("Bearer {}", shop.fake.key());
    post::send("DELETE", &url, &[("Authorization", &authorization)], b"").unwrap();
    let session = json!({"price_id": "price_pro"});
    assert_eq!(shop.fault("alice", CHECKOUT, &session), is(400, "resource_missing", "customer"));
    shop.done("alice", CHECKOUT, &session);
    let second = shop.done("alice", "/customer", &Value::Null)["stripe_customer_id"].clone();
    assert_ne!(first, second);
    assert_eq!(shop.fake.effects("customer"), 2);
}

#[test]
fn another_method_on_the_path_of_a_call_is_a_405_and_without_a_key_calls_are_503() {
    let till = Till::with(Setup { plans: vec![plan("pro", "price_pro")], ..Setup::default() });
    for path in ["/api/v1/users/u1/checkout-session", "/api/v1/payment-intents/pi_1/refund"] {
        assert_eq!(till.get(path).0, 405, "{path}");
        let (status, answer) = till.call(Method::Post, path, &json!({}));
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("stripe_not_configured")), "{path}");
    }
    // Two tables have routes of this path.
    let (status, answer) = till.call(Method::Delete, "/api/v1/users/u1/payment-intents", &Value::Null);
    assert!(status == 405 && answer.to_string().contains("GET, HEAD, POST"), "{answer}");
    let plans = json!([{"tier": "pro", "price_ids": ["price_pro"]}]);
    assert_eq!(till.get("/api/v1/config"), (200, json!({"publishable_key": null, "mode": null, "plans": plans})));
    assert_eq!(till.get("/api/v1/users/u1/invoices").0, 404);
}

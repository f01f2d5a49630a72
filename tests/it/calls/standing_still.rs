//! Subscriptions that stand still, that wait for a payment, or that a schedule manages.

use serde_json::{Value, json};

use super::shop::{Shop, URLS, fault, is, path};
use crate::fake_stripe::Fault;

const SUBSCRIPTION: &str = "POST /v1/subscriptions/*";
const RESUME: &str = "POST /v1/subscriptions/*/resume";
const DECLINED: &str = "pm_card_visa_chargeDeclined";

impl Shop {
    /// Somebody pauses it in the dashboard; nobody is told.
    fn pause(&self, id: &str) {
        self.fake.clock().advance(1000);
        self.fake.change(id, "customer.subscription.paused", &json!({"status": "paused"}));
        self.fake.clock().advance(1000);
    }
}

#[test]
fn a_paused_subscription_runs_again() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    // Whether it is paused, Stripe is asked.
    assert_eq!(shop.fault("alice", "/subscription/resume", &Value::Null), is(409, "subscription_not_paused", ""));
    assert!(shop.fake.requests_to(RESUME).is_empty());

    // Not heard of yet, and found out.
    shop.pause(&id);
    let on = shop.done("alice", "/subscription/resume", &json!({"billing_cycle_anchor": "unchanged"}));
    assert_eq!(shop.sent(RESUME), "billing_cycle_anchor[type]=unchanged");
    assert_eq!((&on["status"], on.get("invoice_url"), shop.tier("alice")), (&json!("active"), None, "pro".to_owned()));

    // A new period, paid at once.
    shop.pause(&id);
    shop.deliver();
    assert_eq!(shop.tier("alice"), "free");
    let words = json!({"payment_behavior": "resume_on_payment_success", "proration_behavior": "none"});
    let on = shop.done("alice", "/subscription/resume", &words);
    assert_eq!(
        shop.sent(RESUME),
        "billing_cycle_anchor[type]=now&proration_behavior=none&payment_behavior=resume_on_payment_success"
    );
    assert_eq!((&on["status"], shop.tier("alice")), (&json!("active"), "pro".to_owned()));

    // A new period that the customer pays first.
    shop.pause(&id);
    shop.deliver();
    let waits = shop.done("alice", "/subscription/resume", &json!({}));
    assert_eq!(shop.sent(RESUME), "billing_cycle_anchor[type]=now");
    assert_eq!((&waits["status"], shop.tier("alice")), (&json!("paused"), "free".to_owned()));
    let invoice = shop.fake.object(waits["latest_invoice"].as_str().unwrap()).unwrap();
    assert_eq!((&waits["invoice_url"], &invoice["status"]), (&invoice["hosted_invoice_url"], &json!("open")));
    shop.fake.pay_pending(&id, "pm_card_visa");
    shop.deliver();
    assert_eq!(shop.tier("alice"), "pro");

    for (name, word) in
        [("billing_cycle_anchor", "later"), ("proration_behavior", "now"), ("payment_behavior", "allow_incomplete")]
    {
        let answer = shop.fault("alice", "/subscription/resume", &json!({ name: word }));
        assert_eq!(answer, is(400, "parameter_invalid", name));
    }
    shop.user("bob");
    assert_eq!(shop.fault("bob", "/subscription/resume", &Value::Null), is(404, "subscription_not_found", ""));
}

#[test]
fn a_subscription_whose_collecting_is_paused_is_collected_again() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    shop.fake.clock().advance(1000);
    shop.fake.alter(&id, &json!({"pause_collection": {"behavior": "void", "resumes_at": null}}));
    let asked = shop.fake.requests_to(SUBSCRIPTION).len();
    let wrong = shop.fault("alice", "/subscription/resume", &json!({"payment_behavior": "resume_on_payment_success"}));
    assert_eq!(wrong, is(400, "parameter_invalid", "payment_behavior"));
    assert_eq!(shop.fake.requests_to(SUBSCRIPTION).len(), asked);
    let on = shop.done("alice", "/subscription/resume", &Value::Null);
    assert_eq!(shop.sent(SUBSCRIPTION), "pause_collection=");
    assert_eq!((&on["pause_collection"], &on["status"]), (&Value::Null, &json!("active")));
    assert_eq!(shop.fault("alice", "/subscription/resume", &Value::Null), is(409, "subscription_not_paused", ""));
}

#[test]
fn an_upgrade_that_is_not_paid_changes_nothing_until_it_is() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    shop.fake.use_card(&id, DECLINED);
    let change = json!({"price_id": "price_team", "proration_behavior": "always_invoice"});
    let waits = shop.done("alice", "/subscription/change-plan", &change);
    assert!(
        shop.sent(SUBSCRIPTION).ends_with("&proration_behavior=always_invoice&payment_behavior=pending_if_incomplete")
    );
    assert_eq!((&waits["status"], &waits["price_id"]), (&json!("active"), &json!("price_pro")), "{waits}");
    assert_eq!(waits["pending_update"]["price_ids"], json!(["price_team"]));
    assert!(waits["pending_update"]["expires_at"].is_i64(), "{waits}");
    let invoice = shop.fake.object(waits["latest_invoice"].as_str().unwrap()).unwrap();
    assert_eq!(waits["invoice_url"], invoice["hosted_invoice_url"]);
    shop.deliver();
    assert_eq!(shop.tier("alice"), "pro");
    shop.fake.clock().advance(1000);
    shop.fake.pay_pending(&id, "pm_card_visa");
    shop.deliver();
    assert_eq!(shop.tier("alice"), "team");

    // Paid at once, nothing waits.
    shop.fake.use_card(&id, "pm_card_visa");
    let back = json!({"price_id": "price_pro", "proration_behavior": "always_invoice"});
    let done = shop.done("alice", "/subscription/change-plan", &back);
    assert_eq!(
        (&done["price_id"], done.get("pending_update"), done.get("invoice_url")),
        (&json!("price_pro"), None, None)
    );
}

#[test]
fn what_a_failed_payment_does_can_be_said_and_is_not_said_where_stripe_does_not_take_it() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    let change = |price: &str, more: &[(&str, &str)]| {
        let mut body = json!({"price_id": price, "proration_behavior": "always_invoice"});
        more.iter().for_each(|(name, value)| body[*name] = json!(value));
        shop.fake.clock().advance(1000);
        shop.post("alice", "/subscription/change-plan", &body)
    };
    let behavior = || shop.sent(SUBSCRIPTION).split_once("&payment_behavior=").map(|(_, word)| word.to_owned());
    // A bank debit takes days: Stripe lets no update wait for it.
    shop.fake.use_card(&id, "pm_usBankAccount");
    assert_eq!(fault(&change("price_team", &[])).0, 400);
    assert_eq!(change("price_team", &[("payment_behavior", "allow_incomplete")]).0, 200);
    assert_eq!(behavior(), Some("allow_incomplete".to_owned()));

    shop.fake.use_card(&id, DECLINED);
    assert_eq!(fault(&change("price_team_year", &[("payment_behavior", "error_if_incomplete")])).0, 402);
    assert_eq!(shop.fake.object(&id).unwrap()["items"]["data"][0]["price"]["id"], "price_team");
    let answer = change("price_pro", &[("payment_behavior", "whatever")]);
    assert_eq!(fault(&answer), is(400, "parameter_invalid", "payment_behavior"));

    // Of invoices that are sent it is not said, nor where nothing is billed at once.
    shop.fake.use_card(&id, "pm_card_visa");
    assert_eq!(change("price_pro", &[("proration_behavior", "create_prorations")]).0, 200);
    assert_eq!(behavior(), None);
    shop.fake.change(&id, "customer.subscription.updated", &json!({"collection_method": "send_invoice"}));
    shop.deliver();
    assert_eq!(change("price_team", &[]).0, 200);
    assert_eq!(behavior(), None);
    // The preview knows nothing of it.
    let preview = json!({"price_id": "price_pro", "payment_behavior": "allow_incomplete"});
    assert_eq!(shop.fault("alice", "/subscription/preview", &preview), is(400, "parameter_unknown", ""));
}

#[test]
fn what_a_schedule_manages_is_not_changed_and_it_is_said_what_to_do() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    let calls = [
        ("cancel", json!({})),
        ("reactivate", json!({})),
        ("change-plan", json!({"price_id": "price_team"})),
        ("resume", json!({})),
    ];
    let refused = |name: &str, answer: &(u16, Value), schedule: &str| {
        let error = &answer.1["error"];
        assert_eq!((answer.0, &error["code"]), (409, &json!("schedule_attached")), "{name}: {}", answer.1);
        assert_eq!((&error["schedule_id"], &error["subscription_id"]), (&json!(schedule), &json!(id)), "{name}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("/v1/subscription_schedules/{schedule}/release")), "{message}");
    };
    shop.fake.clock().advance(1000);
    shop.fake.alter(&id, &json!({"pause_collection": {"behavior": "void", "resumes_at": null}}));
    let schedule = shop.fake.schedule(&id);

    // Not heard of: Stripe's refusal tells, and who repeats it is told the same.
    let url = path("alice", "/subscription/cancel");
    let ask = || shop.live.ask("POST", &url, &[("Idempotency-Key", "end-1")], &json!({}));
    let asked = shop.fake.requests_to(SUBSCRIPTION).len();
    refused("cancel", &ask(), &schedule);
    refused("cancel", &ask(), &schedule);
    assert_eq!(shop.fake.requests_to(SUBSCRIPTION).len(), asked + 1);
    // From then on it is known.
    let asked = shop.fake.requests().len();
    for (name, body) in &calls {
        refused(name, &shop.post("alice", &format!("/subscription/{name}"), body), &schedule);
    }
    assert_eq!(shop.fake.requests().len(), asked);

    // Released, it is changed again.
    let release = format!("{}/v1/subscription_schedules/{schedule}/release", shop.fake.url());
    let authorization = format!("Bearer {}", shop.fake.key());
    shop.fake.clock().advance(1000);
    tilld::app::cli::post::send("POST", &release, &[("Authorization", &authorization)], b"").unwrap();
    shop.deliver();
    for (name, body) in &calls {
        shop.fake.clock().advance(1000);
        shop.done("alice", &format!("/subscription/{name}"), body);
    }
    // Ended at once it may be, with its schedule.
    let schedule = shop.fake.schedule(&id);
    shop.done("alice", "/subscription/cancel", &json!({"immediate": true}));
    assert_eq!(shop.fake.object(&schedule).unwrap()["status"], "canceled");
}

#[test]
fn another_refusal_of_stripes_stays_what_it_is() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    shop.fake.alter("price_team", &json!({"active": false}));
    let change = json!({"price_id": "price_team"});
    let answer = shop.fault("alice", "/subscription/change-plan", &change);
    assert_eq!(answer, is(400, "parameter_invalid", "items[0][price]"));
    // Where nothing can be read, too.
    shop.fake.schedule(&id);
    shop.fake.fail(Fault::Status(403, None), "GET /v1/subscriptions/*", 1);
    assert_eq!(shop.fault("alice", "/subscription/cancel", &json!({})).0, 400);
}

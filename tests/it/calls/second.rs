//! Who has a subscription is sold no other one by mistake, and is told the way out.

use serde_json::{Value, json};

use super::shop::{Shop, URLS, is};

const CHECKOUT: &str = "/checkout-session";
const TEAM: &str = "price_team";

impl Shop {
    /// Stripe tells that the subscription is like this now.
    fn tell(&self, id: &str, members: &Value) {
        self.fake.clock().advance(1000);
        self.fake.change(id, "customer.subscription.updated", members);
        self.deliver();
    }

    /// An invoice of the subscription, its newest one.
    fn bill(&self, id: &str, status: &str) -> String {
        let customer = self.fake.object(id).unwrap()["customer"].clone();
        let invoice = self.fake.create(
            "invoice",
            &json!({"customer": customer, "status": status, "hosted_invoice_url": "https://invoice.example/pay",
                "parent": {"type": "subscription_details",
                    "subscription_details": {"subscription": id, "metadata": {}}, "quote_details": null}}),
        );
        self.tell(id, &json!({"latest_invoice": invoice}));
        invoice
    }

    /// Code, way out and invoice of the refusal of another subscription.
    fn refusal(&self) -> (Value, Value, Value) {
        let made = self.fake.effects("checkout.session");
        let (status, answer) = self.post("alice", CHECKOUT, &json!({"price_id": TEAM}));
        assert_eq!((status, self.fake.effects("checkout.session")), (409, made), "{answer}");
        let error = &answer["error"];
        assert!(error["subscription_id"].as_str().unwrap().starts_with("sub_"), "{error}");
        (error["code"].clone(), error["way_out"].clone(), error["invoice_url"].clone())
    }
}

fn already(way_out: &str, url: Value) -> (Value, Value, Value) {
    (json!("already_subscribed"), json!(way_out), url)
}

#[test]
fn a_second_subscription_is_refused_beside_whatever_may_be_paid_again_with_the_way_out() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    assert_eq!(shop.refusal(), already("change_plan", Value::Null));
    shop.tell(&id, &json!({"cancel_at_period_end": true}));
    assert_eq!(shop.refusal(), already("reactivate", Value::Null));
    shop.tell(&id, &json!({"cancel_at_period_end": false, "status": "paused"}));
    assert_eq!(shop.refusal(), already("resume", Value::Null));

    let url = json!("https://invoice.example/pay");
    shop.bill(&id, "open");
    for status in ["past_due", "unpaid", "incomplete"] {
        shop.tell(&id, &json!({ "status": status }));
        assert_eq!(shop.refusal(), already("pay_invoice", url.clone()), "{status}");
    }
    // Of an invoice that nothing is known of there is no address.
    shop.tell(&id, &json!({"latest_invoice": "in_unheard"}));
    assert_eq!(shop.refusal(), already("pay_invoice", Value::Null));
    // One that cannot be paid any more leads nowhere.
    shop.bill(&id, "void");
    shop.done("alice", CHECKOUT, &json!({"price_id": TEAM}));
    shop.tell(&id, &json!({"status": "incomplete_expired"}));
    shop.done("alice", CHECKOUT, &json!({"price_id": "price_team_year"}));
    assert_eq!(shop.fake.payable().len(), 1);
}

#[test]
fn one_who_asks_for_a_second_subscription_gets_it_and_so_does_a_one_time_purchase() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    shop.tell(&id, &json!({"status": "unpaid"}));
    shop.done("alice", CHECKOUT, &json!({"price_id": "price_once", "mode": "payment"}));
    shop.done("alice", CHECKOUT, &json!({"price_id": TEAM, "allow_second": true}));
    assert_eq!(shop.fake.payable().len(), 1);
    // Long after its making it cannot be paid, whatever is known of it.
    let day = 86_400;
    let created = shop.fake.object(&id).unwrap()["created"].as_i64().unwrap();
    shop.tell(&id, &json!({"status": "incomplete", "created": created - day - 60}));
    shop.done("alice", CHECKOUT, &json!({"price_id": TEAM}));
}

#[test]
fn a_trial_is_had_once_unless_the_application_says_otherwise() {
    let shop = Shop::open(&URLS);
    shop.user("alice");
    let trial = json!({"price_id": "price_pro", "trial_days": 14});
    let session = shop.done("alice", CHECKOUT, &trial);
    // Not yet had: the same session.
    assert_eq!(shop.done("alice", CHECKOUT, &trial), session);
    shop.fake.complete(session["session_id"].as_str().unwrap(), "pm_card_visa").unwrap();
    shop.deliver();
    let beside = |more: &str| json!({"price_id": TEAM, "trial_days": 7, "allow_second": true, more: true});
    assert_eq!(shop.fault("alice", CHECKOUT, &trial), is(409, "already_subscribed", ""));
    assert_eq!(shop.fault("alice", CHECKOUT, &beside("allow_second")), is(409, "trial_used", "trial_days"));
    shop.done("alice", "/subscription/cancel", &json!({"immediate": true}));

    assert_eq!(shop.fault("alice", CHECKOUT, &trial), is(409, "trial_used", "trial_days"));
    let paid = shop.done("alice", CHECKOUT, &json!({"price_id": "price_pro"}));
    assert_eq!(shop.fake.payable(), [paid["session_id"].as_str().unwrap()]);
    shop.done("alice", CHECKOUT, &beside("allow_repeat_trial"));
    assert!(shop.sent("POST /v1/checkout/sessions").contains("&subscription_data[trial_period_days]=7"));
    assert_eq!(shop.fake.payable().len(), 1);
    // A subscription without a trial burns none.
    shop.subscriber("bob", "price_pro");
    shop.done("bob", "/subscription/cancel", &json!({"immediate": true}));
    shop.done("bob", CHECKOUT, &trial);
    let wrong = json!({"price_id": TEAM, "allow_repeat_trial": "yes"});
    assert_eq!(shop.fault("bob", CHECKOUT, &wrong), is(400, "parameter_invalid", "allow_repeat_trial"));
}

//! What waits for a payment, what stands still, and what a schedule manages.

use serde_json::{Value, json};

use super::{FakeStripe, delete, get, post};

fn shop(card: &str) -> (FakeStripe, String, String) {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 3000, "month");
    fake.add_price("price_team", 9000, "month");
    let customer = fake.add_customer("a@example.com", "pm_card_visa");
    let made = post(&fake, "/v1/subscriptions", &format!("customer={customer}&items[0][price]=price_pro"));
    let item = made.body["items"]["data"][0]["id"].as_str().unwrap().to_owned();
    fake.use_card(&made.id(), card);
    (fake, made.id(), item)
}

#[test]
fn a_change_that_is_not_paid_waits_and_comes_with_nothing_else() {
    let (fake, id, item) = shop("pm_card_visa_chargeDeclined");
    let path = format!("/v1/subscriptions/{id}");
    let change = format!(
        "items[0][id]={item}&items[0][price]=price_team&proration_behavior=always_invoice\
         &payment_behavior=pending_if_incomplete"
    );
    for more in ["&metadata[a]=b", "&cancel_at_period_end=true", "&discounts[0][coupon]=X", "&description=x"] {
        assert_eq!(post(&fake, &path, &format!("{change}{more}")).error().2, "payment_behavior", "{more}");
    }
    let waits = post(&fake, &path, &change);
    assert_eq!(waits.body["items"]["data"][0]["price"]["id"], "price_pro");
    assert_eq!(waits.body["pending_update"]["subscription_items"][0]["price"]["id"], "price_team");
    assert_eq!(waits.body["status"], "active");
    let invoice = get(&fake, &format!("/v1/invoices/{}", waits.body["latest_invoice"].as_str().unwrap()));
    assert_eq!(invoice.body["status"], "open");
    let paid = fake.pay_pending(&id, "pm_card_visa");
    assert_eq!(
        (&paid["items"]["data"][0]["price"]["id"], &paid["pending_update"]),
        (&json!("price_team"), &Value::Null)
    );

    for members in [json!({"collection_method": "send_invoice"}), json!({"collection_method": "charge_automatically"})]
    {
        fake.alter(&id, &members);
        fake.use_card(&id, "pm_usBankAccount");
        assert_eq!(post(&fake, &path, &change).error().2, "payment_behavior", "{members}");
    }
}

#[test]
fn a_paused_subscription_is_resumed_by_a_payment_or_without_one() {
    let (fake, id, _) = shop("pm_card_visa_chargeDeclined");
    let path = format!("/v1/subscriptions/{id}/resume");
    assert_eq!(post(&fake, &path, "").status, 400);
    fake.alter(&id, &json!({"status": "paused"}));
    assert_eq!(post(&fake, &path, "billing_cycle_anchor=now").error().1, "parameter_unknown");
    let tried = post(&fake, &path, "payment_behavior=resume_on_payment_success");
    assert_eq!((tried.status, &tried.body["status"]), (200, &json!("paused")));
    assert_eq!(fake.pay_pending(&id, "pm_card_visa")["status"], "active");
    fake.alter(&id, &json!({"status": "paused"}));
    let on = post(&fake, &path, "billing_cycle_anchor[type]=unchanged");
    assert_eq!((on.status, &on.body["status"]), (200, &json!("active")));
    assert_eq!(fake.event_types().iter().filter(|kind| *kind == "customer.subscription.resumed").count(), 2);
}

#[test]
fn what_a_schedule_manages_is_changed_only_after_its_release() {
    let (fake, id, item) = shop("pm_card_visa");
    let (path, schedule) = (format!("/v1/subscriptions/{id}"), fake.schedule(&id));
    let price = format!("items[0][id]={item}&items[0][price]=price_team");
    for change in ["cancel_at_period_end=true", "cancel_at=", &price, "pause_collection="] {
        let refused = post(&fake, &path, change);
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(refused.status == 400 && message.contains(&schedule), "{change}: {message}");
    }
    assert_eq!(post(&fake, &path, "metadata[a]=b").status, 200);
    let release = format!("/v1/subscription_schedules/{schedule}/release");
    assert_eq!(post(&fake, &release, "").body["status"], "released");
    assert_eq!(post(&fake, &release, "").status, 400);
    assert_eq!(post(&fake, &path, "cancel_at_period_end=true").status, 200);
    let second = fake.schedule(&id);
    assert_eq!(delete(&fake, &path).body["status"], "canceled");
    assert_eq!(get(&fake, &format!("/v1/subscription_schedules/{second}")).body["status"], "canceled");
}

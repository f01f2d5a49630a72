//! Subscriptions and their invoices.

use serde_json::{Value, json};
use tilld::base::clock::Clock;

use super::{FakeStripe, delete, get, post};

const DAY_S: i64 = 86_400;

fn shop() -> (FakeStripe, String) {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 3000, "month");
    fake.add_price("price_team", 9000, "month");
    fake.add_price("price_year", 30_000, "year");
    let customer = fake.add_customer("a@example.com", "pm_card_visa");
    (fake, customer)
}

fn subscribe(fake: &FakeStripe, customer: &str, more: &str) -> super::Got {
    post(fake, "/v1/subscriptions", &format!("customer={customer}&items[0][price]=price_pro{more}"))
}

#[test]
fn a_subscription_is_paid_or_says_why_not() {
    let (fake, customer) = shop();
    let paid = subscribe(&fake, &customer, "&items[0][quantity]=2&metadata[user_id]=alice");
    assert_eq!((&paid.body["status"], &paid.body["metadata"]["user_id"]), (&json!("active"), &json!("alice")));
    let invoice = get(&fake, &format!("/v1/invoices/{}", paid.body["latest_invoice"].as_str().unwrap()));
    assert_eq!((&invoice.body["status"], &invoice.body["total"]), (&json!("paid"), &json!(6000)));
    assert_eq!(invoice.body["parent"]["subscription_details"]["subscription"], paid.id().as_str());
    let item = &paid.body["items"]["data"][0];
    assert_eq!(
        item["current_period_end"].as_i64().unwrap() - item["current_period_start"].as_i64().unwrap(),
        30 * DAY_S
    );

    let poor = fake.add_customer("b@example.com", "pm_card_visa_chargeDeclined");
    let open = subscribe(&fake, &poor, "");
    assert_eq!((open.status, &open.body["status"]), (200, &json!("incomplete")));
    assert_eq!(subscribe(&fake, &poor, "&payment_behavior=error_if_incomplete").status, 402);
    assert_eq!(get(&fake, &format!("/v1/subscriptions?customer={poor}")).ids(), [open.id().as_str()]);

    let bare = post(&fake, "/v1/customers", "").id();
    assert_eq!(subscribe(&fake, &bare, "").error().1, "resource_missing");
    assert_eq!(subscribe(&fake, &bare, "&payment_behavior=default_incomplete").body["status"], "incomplete");
    assert_eq!(subscribe(&fake, &bare, "&trial_period_days=7").body["status"], "trialing");
}

#[test]
fn a_subscription_is_refused_for_what_stripe_refuses() {
    let (fake, customer) = shop();
    fake.add_price("price_once", 100, "");
    assert_eq!(post(&fake, "/v1/subscriptions", &format!("customer={customer}")).error().2, "items");
    let with = |price: &str| post(&fake, "/v1/subscriptions", &format!("customer={customer}&items[0][price]={price}"));
    assert_eq!(with("price_none").error(), (400, "resource_missing", "items[0][price]"));
    assert_eq!(with("price_once").error().1, "parameter_invalid");
    for more in [
        "&cancel_at=1&cancel_at_period_end=true",
        "&trial_end=1&trial_period_days=1",
        "&proration_behavior=some",
        "&coupon=X",
        "&billing_cycle_anchor=now&plan=x",
        "&discounts[0][coupon]=NONE",
    ] {
        assert_eq!(subscribe(&fake, &customer, more).status, 400, "{more}");
    }
    assert_eq!(fake.effects("subscription"), 0);
}

#[test]
fn changing_the_price_prorates_and_resets_the_quantity() {
    let (fake, customer) = shop();
    let subscription = subscribe(&fake, &customer, "&items[0][quantity]=3");
    let (path, item) = (format!("/v1/subscriptions/{}", subscription.id()), item_of(&subscription.body));
    fake.clock().advance(15 * DAY_S * 1000);
    let change = format!("items[0][id]={item}&items[0][price]=price_team");
    let preview = format!("subscription={}&subscription_details[proration_behavior]=always_invoice", subscription.id());
    let previewed = post(
        &fake,
        "/v1/invoices/create_preview",
        &format!(
            "{preview}&subscription_details[items][0][id]={item}&subscription_details[items][0][price]=price_team"
        ),
    );
    // Half of 9000 back, half of 9000 due: three of the one, one of the other.
    assert_eq!((&previewed.body["total"], previewed.id().starts_with("upcoming_in_")), (&json!(0), true));
    assert_eq!(fake.effects("invoice"), 1);
    let changed = post(&fake, &path, &format!("{change}&proration_behavior=always_invoice"));
    let item = &changed.body["items"]["data"][0];
    assert_eq!((&item["price"]["id"], &item["quantity"]), (&json!("price_team"), &json!(1)));
    assert_eq!(fake.effects("invoice"), 2);
    let lines = get(&fake, &format!("/v1/invoices/{}/lines", changed.body["latest_invoice"].as_str().unwrap()));
    let amounts: Vec<_> = lines.body["data"].as_array().unwrap().iter().map(|line| line["amount"].clone()).collect();
    assert_eq!(amounts, [json!(-4500), json!(4500)]);
    let event = fake.events().pop().unwrap();
    assert_eq!(event["type"], "customer.subscription.updated");
    let before = &event["data"]["previous_attributes"];
    assert_eq!(before["items"]["data"][0]["price"]["id"], "price_pro");
    assert_eq!(before["latest_invoice"], subscription.body["latest_invoice"]);
}

fn item_of(subscription: &Value) -> String {
    subscription["items"]["data"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn items_are_added_changed_and_deleted_by_their_id() {
    let (fake, customer) = shop();
    let subscription = subscribe(&fake, &customer, "");
    let path = format!("/v1/subscriptions/{}", subscription.id());
    let two = post(&fake, &path, "items[0][price]=price_year&proration_behavior=none");
    assert_eq!(two.body["items"]["data"].as_array().unwrap().len(), 2);
    let listed = get(&fake, &format!("/v1/subscription_items?subscription={}&limit=1", subscription.id()));
    assert_eq!((listed.ids().len(), &listed.body["has_more"]), (1, &json!(true)));
    let first = item_of(&two.body);
    assert_eq!(
        post(&fake, &path, &format!("items[0][id]={first}&items[0][quantity]=5")).body["items"]["data"][0]["quantity"],
        5
    );
    let one = post(&fake, &path, &format!("items[0][id]={first}&items[0][deleted]=true"));
    let last = item_of(&one.body);
    assert_eq!(one.body["items"]["data"].as_array().unwrap().len(), 1);
    assert_eq!(post(&fake, &path, &format!("items[0][id]={last}&items[0][deleted]=true")).status, 400);
    assert_eq!(post(&fake, &path, "items[0][id]=si_x").error().1, "resource_missing");
}

#[test]
fn a_subscription_ends_at_its_period_at_a_time_or_now() {
    let (fake, customer) = shop();
    let subscription = subscribe(&fake, &customer, "");
    let path = format!("/v1/subscriptions/{}", subscription.id());
    let end = subscription.body["items"]["data"][0]["current_period_end"].clone();
    let ending = post(&fake, &path, "cancel_at_period_end=true");
    assert_eq!((&ending.body["cancel_at_period_end"], &ending.body["cancel_at"]), (&json!(true), &end));
    let back = post(&fake, &path, "cancel_at_period_end=false");
    assert_eq!((&back.body["cancel_at"], &back.body["canceled_at"]), (&Value::Null, &Value::Null));
    assert_eq!(post(&fake, &path, "cancel_at=min_period_end").body["cancel_at"], end);
    assert_eq!(post(&fake, &path, "cancel_at=").body["cancel_at"], Value::Null);
    post(&fake, &path, &format!("cancel_at={}", fake.clock().now_s() + 60));
    fake.clock().advance(61_000);
    fake.tick();
    let ended = get(&fake, &path);
    assert_eq!((&ended.body["status"], &ended.body["ended_at"]), (&json!("canceled"), &json!(fake.clock().now_s())));
    assert_eq!(fake.event_types().last().unwrap(), "customer.subscription.deleted");
    assert_eq!(post(&fake, &path, "cancel_at_period_end=false").status, 400);
    assert_eq!(post(&fake, &path, "metadata[a]=1").body["metadata"]["a"], "1");

    let now = subscribe(&fake, &customer, "");
    let path = format!("/v1/subscriptions/{}?invoice_now=true&prorate=true", now.id());
    assert_eq!(delete(&fake, &path).body["status"], "canceled");
    assert_eq!(delete(&fake, &path).error().0, 404);
    // One each for the two subscriptions, one for the rest of the period.
    assert_eq!(fake.effects("invoice"), 3);
}

#[test]
fn a_customer_who_is_deleted_has_no_subscription_left() {
    let (fake, customer) = shop();
    let subscription = subscribe(&fake, &customer, "").id();
    delete(&fake, &format!("/v1/customers/{customer}"));
    assert_eq!(get(&fake, &format!("/v1/subscriptions/{subscription}")).body["status"], "canceled");
    let types = fake.event_types();
    assert_eq!(types[types.len() - 2..], ["customer.subscription.deleted", "customer.deleted"]);
}

#[test]
fn a_renewal_is_paid_or_past_due() {
    let (fake, customer) = shop();
    let subscription = subscribe(&fake, &customer, "");
    let end = subscription.body["items"]["data"][0]["current_period_end"].clone();
    let renewed = fake.renew(&subscription.id(), "pm_card_visa");
    assert_eq!((&renewed["status"], &renewed["items"]["data"][0]["current_period_start"]), (&json!("active"), &end));
    let failed = fake.renew(&subscription.id(), "pm_card_visa_chargeDeclined");
    assert_eq!(failed["status"], "past_due");
    assert!(fake.event_types().contains(&"invoice.payment_failed".to_owned()));
    let open = get(&fake, &format!("/v1/invoices?subscription={}&status=open", subscription.id()));
    assert_eq!(open.ids(), [failed["latest_invoice"].as_str().unwrap()]);
    let payments = get(&fake, &format!("/v1/invoice_payments?invoice={}", open.ids()[0]));
    assert_eq!((payments.ids().len(), &payments.body["data"][0]["status"]), (1, &json!("open")));
    let intent = payments.body["data"][0]["payment"]["payment_intent"].as_str().unwrap();
    let by_intent = format!("/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={intent}");
    assert_eq!(get(&fake, &by_intent).ids(), payments.ids());
}

#[test]
fn a_preview_makes_nothing() {
    let (fake, customer) = shop();
    let subscription = subscribe(&fake, &customer, "").id();
    let path = "/v1/invoices/create_preview";
    let next = post(&fake, path, &format!("customer={customer}&subscription={subscription}"));
    assert_eq!((&next.body["amount_due"], &next.body["billing_reason"]), (&json!(3000), &json!("upcoming")));
    assert_eq!(post(&fake, path, "").error().1, "parameter_missing");
    assert_eq!(post(&fake, path, &format!("customer={customer}")).error().1, "invoice_upcoming_none");
    assert_eq!(get(&fake, &format!("/v1/invoices/{}", next.id())).status, 404);
    assert_eq!(fake.effects("invoice"), 1);
}

#[test]
fn collection_is_paused_and_resumed() {
    let (fake, customer) = shop();
    let path = format!("/v1/subscriptions/{}", subscribe(&fake, &customer, "").id());
    let paused = post(&fake, &path, "pause_collection[behavior]=void");
    assert_eq!(
        (&paused.body["status"], &paused.body["pause_collection"]["behavior"]),
        (&json!("active"), &json!("void"))
    );
    assert_eq!(post(&fake, &path, "pause_collection=").body["pause_collection"], Value::Null);
}

#[test]
fn prorations_wait_for_the_next_invoice_unless_told_otherwise() {
    let (fake, customer) = shop();
    let subscription = subscribe(&fake, &customer, "");
    let (path, item) = (format!("/v1/subscriptions/{}", subscription.id()), item_of(&subscription.body));
    fake.clock().advance(15 * DAY_S * 1000);
    let changed = post(&fake, &path, &format!("items[0][id]={item}&items[0][price]=price_team"));
    assert!(!changed.text.contains("fake_"), "{}", changed.text);
    assert_eq!(fake.effects("invoice"), 1);
    let preview = post(&fake, "/v1/invoices/create_preview", &format!("subscription={}", subscription.id()));
    // The whole next month, and half a month of the difference.
    assert_eq!(preview.body["amount_due"], 9000 - 1500 + 4500);
    let renewed = fake.renew(&subscription.id(), "pm_card_visa");
    let invoice = fake.object(renewed["latest_invoice"].as_str().unwrap()).unwrap();
    assert_eq!((&invoice["total"], invoice["lines"]["data"].as_array().unwrap().len()), (&json!(12_000), 3));
    let next = fake.renew(&subscription.id(), "pm_card_visa");
    let invoice = fake.object(next["latest_invoice"].as_str().unwrap()).unwrap();
    assert_eq!(invoice["total"], 9000);
    assert!(!fake.events().iter().any(|event| event.to_string().contains("fake_")));
}

#[test]
fn the_portal_ends_a_subscription_by_a_time_alone() {
    let (fake, customer) = shop();
    let subscription = subscribe(&fake, &customer, "");
    let ending = fake.cancel_in_portal(&subscription.id());
    let end = &subscription.body["items"]["data"][0]["current_period_end"];
    assert_eq!((&ending["cancel_at"], &ending["cancel_at_period_end"]), (end, &json!(false)));
    assert_eq!(fake.event_types().last().unwrap(), "customer.subscription.updated");
}

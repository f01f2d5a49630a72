//! Checkout and portal sessions.

use serde_json::{Value, json};

use super::{FakeStripe, get, post};

const PATH: &str = "/v1/checkout/sessions";
const LINE: &str = "success_url=https%3A%2F%2Fx&line_items[0][price]=price_pro&line_items[0][quantity]=1";

fn shop() -> FakeStripe {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 2000, "month");
    fake.add_price("price_once", 500, "");
    fake
}

#[test]
fn a_session_is_refused_for_what_stripe_refuses() {
    let fake = shop();
    let customer = fake.add_customer("a@example.com", "pm_card_visa");
    let with_customer = format!("mode=subscription&customer={customer}&{LINE}");
    let later = |seconds: i64| tilld::base::clock::Clock::now_s(&*fake.clock()) + seconds;
    fake.add("coupon", &json!({ "id": "HALF", "percent_off": 50.0 }));
    for (form, code) in [
        (LINE.to_owned(), "parameter_missing"),
        (format!("mode=gift&{LINE}"), "parameter_invalid"),
        ("mode=subscription&success_url=x".to_owned(), "parameter_missing"),
        ("mode=setup".to_owned(), "parameter_missing"),
        (format!("mode=payment&{LINE}"), "parameter_invalid"),
        (format!("mode=subscription&{}", LINE.replace("price_pro", "price_once")), "parameter_invalid"),
        (format!("mode=subscription&{}", LINE.replace("price_pro", "price_none")), "resource_missing"),
        (format!("mode=subscription&{}", LINE.replace("[quantity]=1", "[quantity]=0")), "parameter_missing"),
        (format!("{with_customer}&customer_email=a%40example.com"), "parameters_exclusive"),
        (
            format!("mode=subscription&{LINE}&discounts[0][coupon]=HALF&allow_promotion_codes=false"),
            "parameters_exclusive",
        ),
        (format!("mode=subscription&{LINE}&discounts[0][coupon]=HALF&discounts[1][coupon]=HALF"), "parameter_invalid"),
        (format!("mode=subscription&{LINE}&discounts[0][coupon]=NONE"), "resource_missing"),
        (format!("mode=subscription&{LINE}&customer_update[address]=auto"), "parameter_invalid"),
        (format!("mode=subscription&{LINE}&customer_creation=always"), "parameter_invalid"),
        (format!("mode=subscription&{LINE}&payment_intent_data[metadata][a]=1"), "parameter_invalid"),
        (format!("mode=payment&{}&subscription_data[metadata][a]=1", LINE.replace("pro", "once")), "parameter_invalid"),
        (format!("{with_customer}&automatic_tax[enabled]=true"), "customer_tax_location_invalid"),
        (format!("{with_customer}&tax_id_collection[enabled]=true"), "parameter_missing"),
        (format!("{with_customer}&subscription_data[trial_period_days]=0"), "parameter_invalid"),
        (format!("{with_customer}&subscription_data[trial_end]={}", later(3600)), "parameter_invalid"),
        (format!("{with_customer}&expires_at={}", later(60)), "parameter_invalid"),
        (format!("{with_customer}&expires_at={}", later(90_000)), "parameter_invalid"),
        (format!("{with_customer}&ui_mode=hosted"), "parameter_invalid"),
        (format!("{with_customer}&payment_method_types[0]=card"), "payment_method_types_no_longer_supported"),
        (format!("{with_customer}&client_reference_id={}", "x".repeat(201)), "parameter_invalid"),
    ] {
        let got = post(&fake, PATH, &form);
        assert_eq!((got.status, got.error().1), (400, code), "{form}");
    }
    assert_eq!(fake.effects("checkout.session"), 0);
    let taxed = format!("{with_customer}&automatic_tax[enabled]=true&customer_update[address]=auto");
    assert_eq!(post(&fake, PATH, &taxed).status, 200);
}

#[test]
fn a_completed_session_has_made_customer_subscription_and_payment() {
    let fake = shop();
    let form = format!(
        "mode=subscription&{LINE}&client_reference_id=alice&metadata[a]=1&subscription_data[metadata][user_id]=alice"
    );
    let session = post(&fake, PATH, &form);
    assert_eq!((&session.body["status"], &session.body["subscription"]), (&json!("open"), &Value::Null));
    assert!(session.body["url"].as_str().unwrap().contains(&session.id()));
    assert!(!session.text.contains("fake_"), "{}", session.text);
    let done = fake.complete(&session.id(), "pm_card_visa").unwrap();
    let shown = get(
        &fake,
        &format!("{PATH}/{}?expand[0]=subscription.latest_invoice.payments&expand[1]=line_items", session.id()),
    );
    assert_eq!((&shown.body["status"], &shown.body["payment_status"]), (&json!("complete"), &json!("paid")));
    assert_eq!(shown.body["url"], Value::Null);
    assert_eq!(shown.body["line_items"]["data"][0]["price"]["id"], "price_pro");
    let subscription = &shown.body["subscription"];
    assert_eq!((&subscription["status"], &subscription["metadata"]["user_id"]), (&json!("active"), &json!("alice")));
    assert_eq!(subscription["customer"], shown.body["customer"]);
    let invoice = &subscription["latest_invoice"];
    assert_eq!((&invoice["status"], &invoice["amount_paid"]), (&json!("paid"), &json!(2000)));
    assert_eq!(invoice["payments"]["data"][0]["status"], "paid");
    assert_eq!(done["customer_details"]["email"], "jenny@example.com");
    assert_eq!(get(&fake, &format!("{PATH}/{}/line_items", session.id())).ids().len(), 1);
    for kind in ["customer", "subscription", "invoice", "payment_intent", "charge"] {
        assert_eq!(fake.effects(kind), 1, "{kind}");
    }
    let types = fake.event_types();
    for wanted in [
        "customer.created",
        "payment_method.attached",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "payment_intent.created",
        "payment_intent.succeeded",
        "charge.succeeded",
        "checkout.session.completed",
    ] {
        assert_eq!(types.iter().filter(|kind| *kind == wanted).count(), 1, "{wanted} in {types:?}");
    }
    assert_eq!(post(&fake, &format!("{PATH}/{}/expire", session.id()), "").status, 400);
}

#[test]
fn a_declined_card_leaves_the_session_open() {
    let fake = shop();
    let session = post(&fake, PATH, &format!("mode=subscription&{LINE}")).id();
    assert_eq!(fake.complete(&session, "pm_card_visa_chargeDeclined"), None);
    assert_eq!(get(&fake, &format!("{PATH}/{session}")).body["status"], "open");
    assert_eq!((fake.effects("subscription"), get(&fake, "/v1/subscriptions?status=all").ids().len()), (0, 0));
    assert!(fake.complete(&session, "pm_card_visa").is_some());
}

#[test]
fn sessions_for_a_payment_a_setup_and_a_trial_complete_as_such() {
    let fake = shop();
    let once = LINE.replace("price_pro", "price_once");
    let session = post(&fake, PATH, &format!("mode=payment&{once}&payment_intent_data[metadata][order]=7")).id();
    let paid = fake.complete(&session, "pm_card_visa").unwrap();
    assert_eq!((&paid["payment_status"], &paid["customer"]), (&json!("paid"), &Value::Null));
    let intent = fake.object(paid["payment_intent"].as_str().unwrap()).unwrap();
    assert_eq!((&intent["amount"], &intent["metadata"]["order"]), (&json!(500), &json!("7")));

    let session = post(&fake, PATH, &format!("mode=payment&{once}&customer_creation=always")).id();
    let delayed = fake.complete(&session, "pm_usBankAccount").unwrap();
    assert_eq!((&delayed["payment_status"], delayed["customer"].is_string()), (&json!("unpaid"), true));

    let session = post(&fake, PATH, "mode=setup&success_url=x").id();
    let setup = fake.complete(&session, "pm_card_visa").unwrap();
    assert_eq!(get(&fake, "/v1/setup_intents").ids(), [setup["setup_intent"].as_str().unwrap()]);

    let session = post(&fake, PATH, &format!("mode=subscription&{LINE}&subscription_data[trial_period_days]=7")).id();
    let trial = fake.complete(&session, "pm_card_visa").unwrap();
    assert_eq!(trial["payment_status"], "no_payment_required");
    let subscription = fake.object(trial["subscription"].as_str().unwrap()).unwrap();
    assert_eq!((&subscription["status"], &subscription["trial_end"].is_i64()), (&json!("trialing"), &true));
}

#[test]
fn sessions_expire_when_told_and_when_it_is_time() {
    let fake = shop();
    let create = || post(&fake, PATH, &format!("mode=subscription&{LINE}")).id();
    let (first, second) = (create(), create());
    let expired = post(&fake, &format!("{PATH}/{first}/expire"), "");
    assert_eq!((&expired.body["status"], &expired.body["url"]), (&json!("expired"), &Value::Null));
    fake.clock().advance(86_400_000);
    fake.tick();
    assert_eq!(get(&fake, &format!("{PATH}/{second}")).body["status"], "expired");
    assert_eq!(fake.event_types(), ["checkout.session.expired", "checkout.session.expired"]);
}

#[test]
fn discounts_are_taken_off_the_first_invoice() {
    let fake = shop();
    let coupon = post(&fake, "/v1/coupons", "duration=once&percent_off=25&id=QUARTER").id();
    let code =
        post(&fake, "/v1/promotion_codes", &format!("promotion[type]=coupon&promotion[coupon]={coupon}&code=Q")).id();
    let session = post(&fake, PATH, &format!("mode=subscription&{LINE}&discounts[0][promotion_code]={code}")).id();
    let done = fake.complete(&session, "pm_card_visa").unwrap();
    let invoice = fake.object(done["invoice"].as_str().unwrap()).unwrap();
    assert_eq!((&invoice["subtotal"], &invoice["total"]), (&json!(2000), &json!(1500)));
    post(&fake, &format!("/v1/promotion_codes/{code}"), "active=false");
    let late = post(&fake, PATH, &format!("mode=subscription&{LINE}&discounts[0][promotion_code]={code}"));
    assert_eq!(late.error().1, "promotion_code_inactive");
}

#[test]
fn a_portal_session_needs_a_customer_and_what_its_flow_needs() {
    let fake = shop();
    let customer = fake.add_customer("a@example.com", "pm_card_visa");
    let other = fake.add_customer("b@example.com", "pm_card_visa");
    let subscribe = |customer: &str| {
        post(&fake, "/v1/subscriptions", &format!("customer={customer}&items[0][price]=price_pro")).id()
    };
    let (mine, others) = (subscribe(&customer), subscribe(&other));
    let path = "/v1/billing_portal/sessions";
    let flow = "flow_data[type]=subscription_cancel";
    let of = |subscription: &str| {
        format!("customer={customer}&{flow}&flow_data[subscription_cancel][subscription]={subscription}")
    };
    assert_eq!(post(&fake, path, "return_url=x").error().1, "parameter_missing");
    assert_eq!(post(&fake, path, "customer=cus_x").error().1, "resource_missing");
    assert_eq!(post(&fake, path, &format!("customer={customer}&{flow}")).error().1, "parameter_missing");
    assert_eq!(post(&fake, path, &of(&others)).error().1, "resource_missing");
    let session = post(&fake, path, &of(&mine));
    assert!(session.body["url"].as_str().unwrap().starts_with("https://billing.stripe.com/"));
    assert_eq!(fake.effects("billing_portal.session"), 1);
}

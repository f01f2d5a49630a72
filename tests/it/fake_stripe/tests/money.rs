//! Customers, payment intents, charges, refunds and disputes.

use serde_json::{Value, json};

use super::{FakeStripe, delete, get, post};

#[test]
fn a_customer_lives_and_is_deleted() {
    let fake = FakeStripe::start();
    let created = post(&fake, "/v1/customers", "email=a%40example.com&name=A&address[city]=Bern");
    assert_eq!(created.body["address"]["city"], "Bern");
    assert_eq!(created.body["description"], Value::Null);
    let path = format!("/v1/customers/{}", created.id());
    assert_eq!(post(&fake, &path, "name=B&email=").body["email"], Value::Null);
    assert_eq!(get(&fake, &path).body["name"], "B");
    assert_eq!(post(&fake, &path, "email=nobody").error(), (400, "email_invalid", "email"));
    let gone = json!({ "id": created.id(), "object": "customer", "deleted": true });
    assert_eq!(delete(&fake, &path).body, gone);
    assert_eq!((get(&fake, &path).status, get(&fake, &path).body), (200, gone));
    assert_eq!(post(&fake, &path, "name=C").error(), (404, "resource_missing", "id"));
    assert_eq!(get(&fake, "/v1/customers").ids(), Vec::<&str>::new());
    assert_eq!(get(&fake, "/v1/customers/cus_none").error(), (404, "resource_missing", "id"));
    assert_eq!(fake.event_types(), ["customer.created", "customer.updated", "customer.deleted"]);
}

#[test]
fn a_payment_method_has_to_be_attached_to_be_the_default() {
    let fake = FakeStripe::start();
    let (one, other) = (post(&fake, "/v1/customers", "").id(), post(&fake, "/v1/customers", "").id());
    let card = post(&fake, "/v1/payment_methods/pm_card_visa/attach", &format!("customer={one}")).id();
    let form = format!("invoice_settings[default_payment_method]={card}");
    assert_eq!(post(&fake, &format!("/v1/customers/{other}"), &form).error().0, 400);
    let set = post(&fake, &format!("/v1/customers/{one}"), &form);
    assert_eq!(set.body["invoice_settings"]["default_payment_method"], card.as_str());
    assert_eq!(get(&fake, &format!("/v1/customers/{one}/payment_methods")).ids(), [card.as_str()]);
    assert_eq!(get(&fake, &format!("/v1/payment_methods?customer={other}")).ids().len(), 0);
    assert_eq!(get(&fake, "/v1/payment_methods").error(), (400, "parameter_missing", "customer"));
}

#[test]
fn a_payment_intent_goes_through_its_states() {
    let fake = FakeStripe::start();
    let intent = post(&fake, "/v1/payment_intents", "amount=2000&currency=usd");
    assert_eq!(intent.body["status"], "requires_payment_method");
    let path = format!("/v1/payment_intents/{}", intent.id());
    assert_eq!(post(&fake, &format!("{path}/confirm"), "").error().1, "payment_intent_unexpected_state");
    let asked = post(&fake, &format!("{path}/confirm"), "payment_method=pm_card_authenticationRequired");
    assert_eq!(
        (&asked.body["status"], &asked.body["next_action"]["type"]),
        (&json!("requires_action"), &json!("redirect_to_url"))
    );
    let paid = post(&fake, &format!("{path}/confirm"), "payment_method=pm_card_visa");
    assert_eq!((&paid.body["status"], &paid.body["amount_received"]), (&json!("succeeded"), &json!(2000)));
    let charge = get(&fake, &format!("{path}?expand[0]=latest_charge"));
    assert_eq!(
        (&charge.body["latest_charge"]["amount"], &charge.body["latest_charge"]["paid"]),
        (&json!(2000), &json!(true))
    );
    for step in ["confirm", "cancel"] {
        assert_eq!(post(&fake, &format!("{path}/{step}"), "").error().1, "payment_intent_unexpected_state");
    }
    let open = post(&fake, "/v1/payment_intents", "amount=50&currency=usd&payment_method=pm_card_visa");
    assert_eq!(open.body["status"], "requires_confirmation");
    let path = format!("/v1/payment_intents/{}/cancel", open.id());
    assert_eq!(post(&fake, &path, "cancellation_reason=bored").error().0, 400);
    assert_eq!(post(&fake, &path, "cancellation_reason=abandoned").body["status"], "canceled");
    assert_eq!(fake.effects("charge"), 1);
}

#[test]
fn a_payment_intent_is_refused_for_what_stripe_refuses() {
    let fake = FakeStripe::start();
    let create = |form: &str| {
        let got = post(&fake, "/v1/payment_intents", form);
        let (status, code, param) = got.error();
        (status, code.to_owned(), param.to_owned())
    };
    for (form, code, param) in [
        ("amount=49&currency=usd", "amount_too_small", "amount"),
        ("amount=100000000&currency=usd", "amount_too_large", "amount"),
        ("amount=50&currency=USD", "parameter_invalid", "currency"),
        ("amount=50&currency=usd&off_session=true", "parameter_invalid", "off_session"),
        ("amount=50&currency=usd&customer=cus_x", "resource_missing", "customer"),
        ("amount=50&currency=usd&payment_method=pm_x", "resource_missing", "payment_method"),
        ("amount=50&currency=usd&confirm=true", "parameter_missing", "payment_method"),
        ("amount=50&currency=usd&setup_future_usage=no", "parameter_invalid", "setup_future_usage"),
        (
            "amount=50&currency=usd&payment_method=pm_card_visa&confirm=true&automatic_payment_methods[enabled]=true",
            "parameter_missing",
            "return_url",
        ),
        (
            "amount=50&currency=usd&payment_method_types[0]=card",
            "payment_method_types_no_longer_supported",
            "payment_method_types",
        ),
    ] {
        assert_eq!(create(form), (400, code.to_owned(), param.to_owned()), "{form}");
    }
    assert_eq!(fake.effects("payment_intent"), 0);
}

#[test]
fn a_declined_card_is_a_402_and_the_intent_can_be_tried_again() {
    let fake = FakeStripe::start();
    let form = "amount=500&currency=usd&confirm=true&off_session=true&payment_method=";
    for (card, code, reason) in [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_authenticationRequired", "authentication_required", "authentication_required"),
    ] {
        let got = post(&fake, "/v1/payment_intents", &format!("{form}{card}"));
        let error = &got.body["error"];
        assert_eq!((got.status, &error["type"], &error["code"]), (402, &json!("card_error"), &json!(code)));
        assert_eq!(
            (&error["decline_code"], &error["payment_intent"]["status"]),
            (&json!(reason), &json!("requires_payment_method"))
        );
        let path = format!("/v1/payment_intents/{}/confirm", error["payment_intent"]["id"].as_str().unwrap());
        assert_eq!(post(&fake, &path, "payment_method=pm_card_visa").body["status"], "succeeded");
        assert!(!got.text.contains("fake_"), "{}", got.text);
    }
    let types = fake.event_types();
    let first = ["payment_intent.created", "charge.failed", "payment_intent.payment_failed", "charge.succeeded"];
    assert_eq!(types[..4], first);
    let slow = post(&fake, "/v1/payment_intents", &format!("{form}pm_usBankAccount"));
    assert_eq!(slow.body["status"], "processing");
}

#[test]
fn a_refund_never_gives_back_more_than_was_paid() {
    let fake = FakeStripe::start();
    let form = "amount=1000&currency=usd&confirm=true&payment_method=pm_card_visa";
    let intent = post(&fake, "/v1/payment_intents", form);
    let (id, charge) = (intent.id(), intent.body["latest_charge"].as_str().unwrap().to_owned());
    let refund = |form: &str| post(&fake, "/v1/refunds", form);
    assert_eq!(refund("amount=5").error().1, "parameter_missing");
    assert_eq!(refund(&format!("payment_intent={id}&charge={charge}")).error().1, "parameters_exclusive");
    assert_eq!(refund(&format!("payment_intent={id}&reason=mood")).error().2, "reason");
    assert_eq!(refund(&format!("charge={charge}&amount=1001")).error().1, "amount_too_large");
    assert_eq!(refund(&format!("payment_intent={id}&amount=400")).body["charge"], charge.as_str());
    assert_eq!(get(&fake, &format!("/v1/charges/{charge}")).body["amount_refunded"], 400);
    assert_eq!(refund(&format!("charge={charge}&amount=601")).error().0, 400);
    assert_eq!(refund(&format!("charge={charge}")).body["amount"], 600);
    let whole = get(&fake, &format!("/v1/charges/{charge}?expand[0]=refunds"));
    assert_eq!((&whole.body["refunded"], whole.body["refunds"]["data"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(refund(&format!("charge={charge}")).error().1, "charge_already_refunded");
    assert_eq!((fake.effects("refund"), get(&fake, &format!("/v1/charges/{charge}/refunds")).ids().len()), (2, 2));
    let unpaid = post(&fake, "/v1/payment_intents", "amount=1000&currency=usd").id();
    assert_eq!(refund(&format!("payment_intent={unpaid}")).error().1, "payment_intent_unexpected_state");
    assert_eq!(fake.event_types().iter().filter(|kind| *kind == "charge.refunded").count(), 2);
}

#[test]
fn a_dispute_marks_its_charge() {
    let fake = FakeStripe::start();
    let form = "amount=1000&currency=usd&confirm=true&payment_method=pm_card_visa";
    let charge = post(&fake, "/v1/payment_intents", form).body["latest_charge"].as_str().unwrap().to_owned();
    let dispute = fake.dispute(&charge);
    assert_eq!(fake.object(&charge).unwrap()["disputed"], true);
    assert_eq!(get(&fake, &format!("/v1/disputes?charge={charge}")).ids(), [dispute["id"].as_str().unwrap()]);
    assert_eq!(fake.event_types().last().unwrap(), "charge.dispute.created");
}

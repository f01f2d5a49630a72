//! Changes of a subscription, and the invoices: the bytes, and what the next question is answered with.

use serde_json::{Value, json};

use super::shop::{Shop, URLS, is};
use crate::fake_stripe::Fault;

const SUBSCRIPTION: &str = "POST /v1/subscriptions/*";
const PREVIEW: &str = "POST /v1/invoices/create_preview";

#[test]
fn a_plan_is_changed_with_these_bytes_and_the_next_question_knows_it() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    let before = shop.fake.events();
    let changed = shop.done("alice", "/subscription/change-plan", &json!({"price_id": "price_team"}));
    assert_eq!(
        shop.sent(SUBSCRIPTION),
        "items[0][id]=*&items[0][price]=price_team&items[0][quantity]=3&proration_behavior=create_prorations"
    );
    // No webhook was needed for that.
    assert_eq!((&changed["id"], &changed["price_id"]), (&json!(id), &json!("price_team")));
    assert_eq!(changed["items"][0]["quantity"], 3);
    assert_eq!(changed, shop.get("alice", "/subscription"));
    assert_eq!(shop.tier("alice"), "team");

    // One from before that comes late does not undo it.
    let created = before.iter().find(|event| event["type"] == "customer.subscription.created").unwrap();
    let mut late = created.clone();
    (late["id"], late["type"]) = (json!("evt_late"), json!("customer.subscription.updated"));
    late["created"] = json!(created["created"].as_i64().unwrap() - 100);
    assert_eq!(shop.live.post(late.to_string().as_bytes()).unwrap().status, 200);
    shop.deliver();
    assert_eq!(shop.tier("alice"), "team");

    let body = json!({"price_id": "price_pro", "proration_behavior": "none"});
    shop.done("alice", "/subscription/change-plan", &body);
    assert!(shop.sent(SUBSCRIPTION).ends_with("&items[0][quantity]=3&proration_behavior=none"));
    assert_eq!(shop.tier("alice"), "pro");

    for (body, expected) in [
        (json!({}), is(400, "parameter_missing", "price_id")),
        (json!({"price_id": "price_x"}), is(400, "unknown_price", "price_id")),
        (
            json!({"price_id": "price_team", "proration_behavior": "now"}),
            is(400, "parameter_invalid", "proration_behavior"),
        ),
        (
            json!({"price_id": "price_team", "proration_date": 1_800_000_000_000_i64}),
            is(400, "parameter_invalid", "proration_date"),
        ),
        (
            json!({"price_id": "price_team", "proration_behavior": "none", "proration_date": 1_800_000_000}),
            is(400, "parameter_invalid", "proration_date"),
        ),
        (json!({"price_id": "price_team", "quantity": 1}), is(400, "parameter_unknown", "")),
    ] {
        assert_eq!(shop.fault("alice", "/subscription/change-plan", &body), expected, "{body}");
    }
}

#[test]
fn a_preview_says_what_is_due_now_and_next_and_is_what_the_change_then_costs() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    let subscription = shop.get("alice", "/subscription");
    let (start, end) = (&subscription["current_period_start"], subscription["current_period_end"].clone());
    let changes = shop.fake.requests_to(SUBSCRIPTION).len();
    let both = ["/subscription/change-plan/preview", "/subscription/preview"];
    let found = both.map(|path| shop.done("alice", path, &json!({"price_id": "price_team", "proration_date": start})));
    let preview = &found[0];
    assert_eq!(preview["proration_date"], *start);
    assert_eq!(
        shop.sent(PREVIEW),
        "customer=*&subscription=*&subscription_details[items][0][id]=*\
         &subscription_details[items][0][price]=price_team&subscription_details[items][0][quantity]=3\
         &subscription_details[proration_behavior]=create_prorations&subscription_details[proration_date]=*"
    );
    // Three at 50 instead of 20, of a whole period, come with the next invoice of three at 50.
    let facts = ["amount_due_now", "next_amount", "next_payment_at", "currency", "price_id"].map(|name| &preview[name]);
    assert_eq!(facts, [&json!(0), &json!(24_000), &end, &json!("usd"), &json!("price_team")], "{preview}");
    let lines: Vec<_> =
        preview["lines"].as_array().unwrap().iter().map(|line| (&line["amount"], &line["proration"])).collect();
    let expected = [(-6000, true), (15_000, true), (15_000, false)].map(|(amount, part)| (json!(amount), json!(part)));
    assert_eq!(lines, expected.iter().map(|(amount, part)| (amount, part)).collect::<Vec<_>>());
    assert_eq!(found[1]["lines"], preview["lines"]);

    // Without a date it is that of now, and told.
    let dated = shop.done("alice", both[0], &json!({"price_id": "price_team"}));
    let late = dated["proration_date"].as_i64().unwrap() - start.as_i64().unwrap();
    assert!((0..60).contains(&late), "{dated}");
    let form = String::from_utf8(shop.fake.requests_to(PREVIEW).last().unwrap().body.clone()).unwrap();
    assert!(form.ends_with(&format!("[proration_date]={}", dated["proration_date"])), "{form}");

    // At once: what is due now, and what comes every month.
    let body = json!({"price_id": "price_team", "proration_behavior": "always_invoice",
        "proration_date": preview["proration_date"]});
    let at_once = shop.done("alice", both[0], &body);
    let facts = ["amount_due_now", "next_amount", "next_payment_at", "proration_date"].map(|name| &at_once[name]);
    assert_eq!(facts, [&json!(9000), &json!(15_000), &end, &preview["proration_date"]], "{at_once}");
    assert!(shop.sent(PREVIEW).ends_with("&subscription_details[proration_behavior]=none&preview_mode=recurring"));
    // Nothing was changed by that.
    assert_eq!((shop.fake.requests_to(SUBSCRIPTION).len(), shop.tier("alice")), (changes, "pro".to_owned()));
    assert_eq!(shop.fake.object(&id).unwrap()["items"]["data"][0]["price"]["id"], "price_pro");

    let sent_date = preview["proration_date"].to_string();
    shop.done("alice", "/subscription/change-plan", &body);
    let form = String::from_utf8(shop.fake.requests_to(SUBSCRIPTION).last().unwrap().body.clone()).unwrap();
    assert!(form.contains(&format!("&proration_behavior=always_invoice&proration_date={sent_date}&payment")), "{form}");
    shop.deliver();
    let invoices = shop.get("alice", "/invoices?limit=1");
    assert_eq!((&invoices["data"][0]["amount_paid"], &invoices["has_more"]), (&json!(9000), &json!(true)));
}

#[test]
fn a_subscription_ends_and_goes_on_as_asked_however_its_end_was_set() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    // A second for each, as people take: there and back within one is for the guard's own tests.
    let call = |name: &str, body: Value| {
        shop.fake.clock().advance(1000);
        shop.done("alice", &format!("/subscription/{name}"), &body)
    };

    let ending = call("cancel", json!({}));
    assert_eq!(shop.sent(SUBSCRIPTION), "cancel_at_period_end=true");
    assert_eq!((&ending["cancel_at_period_end"], &ending["ends_at"]), (&json!(true), &ending["current_period_end"]));
    assert_eq!(shop.get("alice", "/entitlement")["reason"], "ending");
    let on = call("reactivate", Value::Null);
    assert_eq!(shop.sent(SUBSCRIPTION), "cancel_at_period_end=false");
    assert!(on["ends_at"].is_null() && shop.get("alice", "/entitlement")["reason"] == "active", "{on}");

    // In the portal it ends by `cancel_at` alone, and of that nothing has been heard yet.
    shop.fake.clock().advance(1000);
    shop.fake.cancel_in_portal(&id);
    let on = call("reactivate", json!({}));
    assert_eq!(shop.sent(SUBSCRIPTION), "cancel_at=");
    assert!(on["ends_at"].is_null(), "{on}");
    shop.deliver();
    assert_eq!(shop.get("alice", "/entitlement")["reason"], "active");
    // What is set now has to be read, and a key that may not is our fault, not the caller's.
    shop.fake.fail(Fault::Status(403, None), "GET /v1/subscriptions/*", 1);
    assert_eq!(shop.fault("alice", "/subscription/reactivate", &json!({})), is(502, "stripe_key_refused", ""));
    // Nothing to undo is no fault.
    call("reactivate", json!({}));
    assert_eq!(shop.sent(SUBSCRIPTION), "cancel_at_period_end=false");

    let key = [("Idempotency-Key", "end-1")];
    let path = "/api/v1/users/alice/subscription/cancel";
    let now = json!({"immediate": true});
    let (status, ended) = shop.live.ask("POST", path, &key, &now);
    assert_eq!((status, &ended["status"]), (200, &json!("canceled")), "{ended}");
    assert_eq!(shop.fake.requests_to("DELETE /v1/subscriptions/*").len(), 1);
    assert_eq!(
        (shop.tier("alice"), shop.get("alice", "/entitlement")["reason"].clone()),
        ("free".into(), json!("canceled"))
    );
    for (name, body) in [
        ("cancel", json!({})),
        ("cancel", now.clone()),
        ("reactivate", json!({})),
        ("change-plan", json!({"price_id": "price_pro"})),
        ("preview", json!({"price_id": "price_pro"})),
    ] {
        let answer = shop.fault("alice", &format!("/subscription/{name}"), &body);
        assert_eq!(answer, is(404, "subscription_not_found", ""), "{name}");
    }
    // Except to the one who asked for it.
    assert_eq!(shop.live.ask("POST", path, &key, &now), (200, ended));
    assert_eq!(shop.fake.requests_to("DELETE /v1/subscriptions/*").len(), 1);
    // And the door is open again.
    shop.done("alice", "/checkout-session", &json!({"price_id": "price_pro"}));
}

#[test]
fn invoices_come_from_the_local_copy_and_anew_from_stripe_when_asked() {
    let shop = Shop::open(&URLS);
    let id = shop.subscriber("alice", "price_pro");
    shop.user("bob");
    let first = shop.get("alice", "/invoices");
    let (rows, reads) = (first["data"].as_array().unwrap(), shop.fake.requests_to("GET /v1/invoices").len());
    assert_eq!((rows.len(), reads), (1, 0), "{first}");
    let facts = ["status", "amount_paid", "currency", "subscription_id", "billing_reason"].map(|name| &rows[0][name]);
    let paid = [json!("paid"), json!(6000), json!("usd"), json!(id), json!("subscription_create")];
    assert_eq!(facts, [&paid[0], &paid[1], &paid[2], &paid[3], &paid[4]]);

    shop.fake.clock().advance(31 * 86_400_000);
    shop.fake.renew(&id, "pm_card_visa");
    assert_eq!(shop.get("alice", "/invoices?refresh=false"), first);
    let anew = shop.get("alice", "/invoices?refresh=true");
    let reasons: Vec<_> = anew["data"].as_array().unwrap().iter().map(|row| row["billing_reason"].clone()).collect();
    assert_eq!(reasons, ["subscription_cycle", "subscription_create"], "{anew}");
    let page = shop.get("alice", "/invoices?limit=1");
    assert_eq!((&page["data"][0], &page["has_more"]), (&anew["data"][0], &json!(true)));
    let after = anew["data"][0]["id"].as_str().unwrap();
    assert_eq!(shop.get("alice", &format!("/invoices?starting_after={after}"))["data"], json!([anew["data"][1]]));
    assert_eq!(shop.get("bob", "/invoices?refresh=true")["data"], json!([]));
    let (status, answer) = shop.live.get("/api/v1/users/alice/invoices?refresh=yes");
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("refresh")));
}

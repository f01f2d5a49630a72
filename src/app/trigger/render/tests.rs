//! One test per row of the version table (stripe-facts.md §3).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod invoice;

use super::*;
use crate::app::trigger::{Ids, Spec, ids, object};

use ApiVersion::{Acacia, Basil, Endive, V2020_08_27};

const OLD: [ApiVersion; 2] = [V2020_08_27, Acacia];
const NEW: [ApiVersion; 2] = [Basil, Endive];

fn newest(event_type: &str) -> Value {
    let spec = Spec {
        event_type,
        version: Endive,
        user: Some("alice"),
        price_id: "price_pro",
        now_s: 1_790_000_000,
        nonce: "",
        set: &[],
    };
    object(&spec).unwrap()
}

fn rendered(event_type: &str, version: ApiVersion) -> Value {
    render(newest(event_type), version)
}

fn alice() -> Ids {
    ids("alice")
}

fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some()
}

#[test]
fn the_period_stands_on_the_subscription_before_basil_and_on_its_items_since() {
    for version in OLD {
        let old = rendered("customer.subscription.created", version);
        assert_eq!(old["current_period_start"], 1_790_000_000);
        assert_eq!(old["current_period_end"], 1_790_000_000 + 30 * 86_400);
        assert!(!has(&old["items"]["data"][0], "current_period_end"));
        assert!(!has(&old["items"]["data"][0], "current_period_start"));
    }
    for version in NEW {
        let new = rendered("customer.subscription.created", version);
        assert!(!has(&new, "current_period_end") && !has(&new, "current_period_start"));
        assert_eq!(new["items"]["data"][0]["current_period_end"], 1_790_000_000 + 30 * 86_400);
    }
}

#[test]
fn the_old_period_spans_all_items() {
    let mut two = newest("customer.subscription.created");
    let mut item = two["items"]["data"][0].clone();
    item["current_period_start"] = json!(1);
    item["current_period_end"] = json!(2);
    two["items"]["data"].as_array_mut().unwrap().push(item);
    let old = render(two, Acacia);
    assert_eq!(old["current_period_start"], 1);
    assert_eq!(old["current_period_end"], 1_790_000_000 + 30 * 86_400);
    assert_eq!(old["plan"], Value::Null);
}

#[test]
fn plan_and_quantity_stand_on_top_of_an_old_subscription() {
    for version in OLD {
        let old = rendered("customer.subscription.created", version);
        assert_eq!(old["plan"]["id"], "price_pro");
        assert_eq!(old["quantity"], 1);
        assert_eq!(old["items"]["data"][0]["price"]["id"], "price_pro");
    }
    assert!(!has(&rendered("customer.subscription.created", Endive), "plan"));
}

#[test]
fn intent_and_charge_name_their_invoice_before_basil_only() {
    for event_type in ["payment_intent.succeeded", "charge.succeeded"] {
        for version in OLD {
            assert_eq!(rendered(event_type, version)["invoice"], alice().invoice);
        }
        for version in NEW {
            assert!(!has(&rendered(event_type, version), "invoice"));
        }
    }
}

#[test]
fn a_2020_intent_carries_its_charges_and_later_ones_the_latest() {
    let old = rendered("payment_intent.succeeded", V2020_08_27);
    assert!(!has(&old, "latest_charge"));
    assert_eq!(old["charges"]["total_count"], 1);
    let charge = &old["charges"]["data"][0];
    let mut alone = rendered("charge.succeeded", V2020_08_27);
    assert_eq!(charge["id"], alone["id"]);
    assert_eq!((&charge["status"], &charge["amount_captured"]), (&alone["status"], &json!(2000)));
    assert_eq!(charge["refunds"], alone["refunds"].take());
    assert_eq!(rendered("payment_intent.created", V2020_08_27)["charges"]["data"], json!([]));
    for version in [Acacia, Basil, Endive] {
        let new = rendered("payment_intent.succeeded", version);
        assert_eq!(new["latest_charge"], alice().charge);
        assert!(!has(&new, "charges"));
    }
}

#[test]
fn a_failed_2020_intent_carries_a_failed_charge() {
    let old = rendered("payment_intent.payment_failed", V2020_08_27);
    let charge = &old["charges"]["data"][0];
    assert_eq!((&charge["status"], &charge["paid"]), (&json!("failed"), &json!(false)));
    assert_eq!(charge["failure_code"], "card_declined");
    assert_eq!(charge["outcome"]["reason"], "insufficient_funds");
    assert_eq!(charge["payment_method"], alice().payment_method);
}

#[test]
fn a_2020_charge_carries_its_refunds_and_later_ones_do_not() {
    let old = rendered("charge.refunded", V2020_08_27);
    assert_eq!(old["refunds"]["data"][0]["id"], alice().refund);
    assert_eq!(old["refunds"]["data"][0]["amount"], 2000);
    assert_eq!(old["refunds"]["data"][0]["charge"], old["id"]);
    assert_eq!(rendered("charge.succeeded", V2020_08_27)["refunds"]["data"], json!([]));
    for version in [Acacia, Basil, Endive] {
        let mut expanded = newest("charge.refunded");
        expanded["refunds"] = json!({ "object": "list", "data": [] });
        assert!(!has(&render(expanded, version), "refunds"));
    }
}

#[test]
fn old_subscriptions_and_invoices_have_one_discount_with_its_coupon() {
    let discount = json!({
        "id": "di_1", "object": "discount",
        "source": { "type": "coupon", "coupon": { "id": "SPRING", "object": "coupon", "percent_off": 25 } },
    });
    for event_type in ["customer.subscription.created", "invoice.paid"] {
        let mut discounted = newest(event_type);
        discounted["discounts"] = json!([discount]);
        for version in OLD {
            let old = render(discounted.clone(), version);
            assert_eq!(old["discount"]["coupon"]["percent_off"], 25);
            assert_eq!(rendered(event_type, version)["discount"], Value::Null);
        }
        for version in NEW {
            assert!(!has(&render(discounted.clone(), version), "discount"));
        }
        discounted["discounts"] = json!(["di_1"]);
        assert_eq!(render(discounted, Acacia)["discount"]["id"], "di_1");
    }
}

#[test]
fn a_discount_holds_its_coupon_itself_before_clover() {
    let mut customer = newest("customer.created");
    customer["discount"] =
        json!({ "id": "di_1", "object": "discount", "source": { "type": "coupon", "coupon": "SPRING" } });
    for version in [V2020_08_27, Acacia, Basil] {
        let discount = render(customer.clone(), version)["discount"].take();
        assert_eq!(discount["coupon"]["id"], "SPRING");
        assert!(!has(&discount, "source"));
    }
    assert_eq!(render(customer.clone(), Endive)["discount"], customer["discount"]);
}

#[test]
fn a_cancellation_by_the_portal_is_told_the_classic_way_before_endive() {
    let mut ending = newest("customer.subscription.updated");
    ending["cancel_at"] = ending["items"]["data"][0]["current_period_end"].clone();
    for version in [V2020_08_27, Acacia, Basil] {
        assert_eq!(render(ending.clone(), version)["cancel_at_period_end"], true);
    }
    assert_eq!(render(ending.clone(), Endive)["cancel_at_period_end"], false);
    ending["cancel_at"] = json!(1_790_000_001);
    assert_eq!(render(ending, Acacia)["cancel_at_period_end"], false);
}

#[test]
fn billing_mode_and_the_reason_of_a_pause_are_unknown_before_endive() {
    for version in [V2020_08_27, Acacia, Basil] {
        let old = rendered("customer.subscription.paused", version);
        assert!(!has(&old, "billing_mode") && !has(&old, "status_details"));
        assert_eq!(old["status"], "paused");
        assert!(!has(&rendered("invoice.marked_uncollectible", version), "status_details"));
    }
    let new = rendered("customer.subscription.paused", Endive);
    assert_eq!(new["status_details"]["paused"]["subscription"]["type"], "pause_requested");
    assert_eq!(new["billing_mode"]["type"], "flexible");
}

#[test]
fn an_unfinished_session_names_its_subscription_before_basil_only() {
    for version in OLD {
        let old = rendered("checkout.session.expired", version);
        assert_eq!(old["subscription"], alice().subscription);
    }
    for version in NEW {
        let new = rendered("checkout.session.expired", version);
        assert_eq!((&new["subscription"], &new["invoice"]), (&Value::Null, &Value::Null));
        assert_eq!(rendered("checkout.session.completed", version)["subscription"], alice().subscription);
    }
}

#[test]
fn the_ui_mode_has_its_old_name_before_endive() {
    for (new_name, old_name) in [("hosted_page", "hosted"), ("embedded_page", "embedded"), ("elements", "custom")] {
        let mut session = newest("checkout.session.completed");
        session["ui_mode"] = json!(new_name);
        assert_eq!(render(session.clone(), Basil)["ui_mode"], old_name);
        assert_eq!(render(session, Endive)["ui_mode"], new_name);
    }
    let mut without = newest("checkout.session.completed");
    without["ui_mode"] = Value::Null;
    assert_eq!(render(without, Basil)["ui_mode"], Value::Null);
}

#[test]
fn customer_account_is_unknown_before_endive() {
    let objects = ["customer.created", "customer.subscription.created", "invoice.paid", "payment_intent.created"];
    for event_type in objects.into_iter().chain(["checkout.session.completed", "refund.created"]) {
        for version in [V2020_08_27, Acacia, Basil] {
            assert!(!has(&rendered(event_type, version), "customer_account"), "{event_type}");
        }
        assert!(has(&rendered(event_type, Endive), "customer_account"), "{event_type}");
    }
}

#[test]
fn old_prices_and_plans_say_how_usage_is_added_up() {
    for version in OLD {
        let price = rendered("price.created", version);
        assert!(has(&price["recurring"], "aggregate_usage") && !has(&price, "aggregate_usage"));
        let item = rendered("customer.subscription.created", version)["items"]["data"][0].take();
        assert!(has(&item["plan"], "aggregate_usage"));
    }
    assert!(!has(&rendered("price.created", Basil)["recurring"], "aggregate_usage"));
}

#[test]
fn product_refund_and_dispute_keep_their_values_in_every_version() {
    for event_type in ["product.created", "refund.created", "charge.dispute.created", "invoice_payment.paid"] {
        let new = newest(event_type);
        for version in ApiVersion::ALL {
            for (key, value) in render(new.clone(), version).as_object().unwrap() {
                assert_eq!(&new[key], value, "{event_type} {key}");
            }
        }
    }
}

#[test]
fn objects_of_unknown_kinds_and_non_objects_pass_through() {
    for value in [json!({ "object": "coupon", "id": "SPRING" }), json!({ "a": [1] }), json!("x"), Value::Null] {
        assert_eq!(render(value.clone(), V2020_08_27), value);
    }
}

#[test]
fn objects_that_lack_everything_are_rendered_without_harm() {
    for kind in [
        "subscription",
        "subscription_item",
        "invoice",
        "line_item",
        "payment_intent",
        "charge",
        "checkout.session",
        "customer",
        "discount",
        "price",
        "plan",
    ] {
        for version in ApiVersion::ALL {
            assert_eq!(render(json!({ "object": kind }), version)["object"], kind);
        }
    }
}

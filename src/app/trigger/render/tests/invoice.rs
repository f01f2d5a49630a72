//! The rows about invoices and their lines.

use serde_json::{Value, json};

use super::super::render;
use super::ApiVersion::{Acacia, Basil, Endive, V2020_08_27};
use super::{NEW, OLD, alice, has, newest, rendered};

#[test]
fn an_old_invoice_names_its_subscription_on_top() {
    for version in OLD {
        let old = rendered("invoice.paid", version);
        assert_eq!(old["subscription"], alice().subscription);
        assert_eq!(old["subscription_details"]["metadata"]["user_id"], "alice");
        assert!(!has(&old, "parent"));
    }
    for version in NEW {
        let new = rendered("invoice.paid", version);
        assert!(!has(&new, "subscription"));
        assert_eq!(new["parent"]["subscription_details"]["subscription"], alice().subscription);
    }
}

#[test]
fn an_old_invoice_names_intent_and_charge_and_a_new_webhook_names_neither() {
    for version in OLD {
        let old = rendered("invoice.paid", version);
        assert_eq!(old["payment_intent"], alice().payment_intent);
        assert_eq!(old["charge"], alice().charge);
        assert!(!has(&old, "payments"));
        assert_eq!(rendered("invoice.payment_failed", version)["charge"], alice().charge);
        assert_eq!(rendered("invoice.finalized", version)["charge"], Value::Null);
        assert_eq!(rendered("invoice.created", version)["payment_intent"], Value::Null);
    }
    for version in NEW {
        let new = rendered("invoice.paid", version);
        assert!(!has(&new, "payments") && !has(&new, "payment_intent") && !has(&new, "charge"));
        let mut with_secret = newest("invoice.finalized");
        with_secret["confirmation_secret"] = json!({ "client_secret": "x" });
        assert!(!has(&render(with_secret, version), "confirmation_secret"));
    }
}

#[test]
fn an_old_payment_by_charge_is_found_too() {
    let mut invoice = newest("invoice.paid");
    invoice["payments"]["data"][0]["payment"] = json!({ "type": "charge", "charge": "ch_1" });
    let old = render(invoice, Acacia);
    assert_eq!((&old["charge"], &old["payment_intent"]), (&json!("ch_1"), &Value::Null));
}

#[test]
fn an_old_invoice_says_paid_in_a_flag() {
    for version in OLD {
        assert_eq!(rendered("invoice.paid", version)["paid"], true);
        assert_eq!(rendered("invoice.paid", version)["paid_out_of_band"], false);
        assert_eq!(rendered("invoice.payment_failed", version)["paid"], false);
        let mut by_hand = newest("invoice.paid");
        by_hand["amount_paid_off_stripe"] = json!(2000);
        assert_eq!(render(by_hand, version)["paid_out_of_band"], true);
    }
    for version in NEW {
        assert!(!has(&rendered("invoice.paid", version), "paid"));
        assert!(has(&rendered("invoice.paid", version), "amount_paid_off_stripe"));
    }
}

#[test]
fn old_invoice_taxes_are_a_sum_and_amounts() {
    let mut taxed = newest("invoice.paid");
    let tax = json!({
        "amount": 400, "tax_behavior": "inclusive", "tax_rate_details": { "tax_rate": "txr_1" },
        "taxability_reason": "standard_rated", "taxable_amount": 1600, "type": "tax_rate_details",
    });
    taxed["total_taxes"] = json!([tax]);
    taxed["lines"]["data"][0]["taxes"] = json!([tax]);
    let old_tax = json!({
        "amount": 400, "inclusive": true, "tax_rate": "txr_1",
        "taxability_reason": "standard_rated", "taxable_amount": 1600,
    });
    for version in OLD {
        let old = render(taxed.clone(), version);
        assert_eq!(old["tax"], 400);
        assert_eq!(old["total_tax_amounts"], json!([old_tax]));
        assert_eq!(old["lines"]["data"][0]["tax_amounts"], json!([old_tax]));
        assert!(!has(&old, "total_taxes") && !has(&old["lines"]["data"][0], "taxes"));
        assert_eq!(rendered("invoice.paid", version)["tax"], Value::Null);
    }
    assert_eq!(render(taxed.clone(), Basil)["total_taxes"], taxed["total_taxes"]);
}

#[test]
fn an_old_line_carries_price_plan_and_where_it_comes_from() {
    for version in OLD {
        let line = rendered("invoice.paid", version)["lines"]["data"][0].take();
        assert_eq!(line["type"], "subscription");
        assert_eq!(line["proration"], false);
        assert_eq!(line["subscription"], alice().subscription);
        assert_eq!(line["subscription_item"], alice().item);
        assert_eq!(line["price"]["id"], "price_pro");
        assert_eq!(line["price"]["unit_amount"], 2000);
        assert_eq!(line["price"]["product"], alice().product);
        assert_eq!(line["price"]["recurring"]["interval"], "month");
        assert_eq!(line["plan"]["amount"], 2000);
        assert!(!has(&line, "parent") && !has(&line, "pricing") && !has(&line, "subtotal"));
    }
    let basil = rendered("invoice.paid", Basil)["lines"]["data"][0].take();
    assert_eq!(basil["pricing"]["price_details"]["price"], "price_pro");
    assert!(!has(&basil, "price") && !has(&basil, "subtotal"));
    assert_eq!(rendered("invoice.paid", Endive)["lines"]["data"][0]["subtotal"], 2000);
}

#[test]
fn an_old_line_of_an_invoice_item_has_a_one_time_price_and_no_plan() {
    let mut invoice = newest("invoice.paid");
    invoice["lines"]["data"][0]["parent"] = json!({
        "type": "invoice_item_details", "subscription_item_details": null,
        "invoice_item_details": { "invoice_item": "ii_1", "proration": true, "subscription": "sub_1" },
    });
    let line = render(invoice.clone(), Acacia)["lines"]["data"][0].take();
    assert_eq!((&line["type"], &line["invoice_item"]), (&json!("invoiceitem"), &json!("ii_1")));
    assert_eq!((&line["proration"], &line["subscription"]), (&json!(true), &json!("sub_1")));
    assert_eq!((&line["price"]["type"], &line["plan"]), (&json!("one_time"), &Value::Null));
    invoice["lines"]["data"][0]["pricing"] = Value::Null;
    assert_eq!(render(invoice, Acacia)["lines"]["data"][0]["price"], Value::Null);
}

#[test]
fn a_yearly_line_has_a_yearly_price() {
    let mut invoice = newest("invoice.paid");
    invoice["lines"]["data"][0]["period"]["end"] = json!(1_790_000_000 + 365 * 86_400);
    let line = render(invoice, V2020_08_27)["lines"]["data"][0].take();
    assert_eq!(line["price"]["recurring"]["interval"], "year");
    assert_eq!(line["plan"]["interval"], "year");
}

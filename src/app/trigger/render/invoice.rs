//! Invoices and their lines in older shapes. Must never invent what the object does not have.
//! Called by `render` only.

use serde_json::{Value, json};

use super::super::shape::{self, merge};
use super::{ApiVersion, SampleObject, billing, get, id_of, put, text};

pub(super) fn invoice(invoice: &mut SampleObject, version: ApiVersion) {
    let payments = invoice.remove("payments").unwrap_or_default();
    invoice.remove("confirmation_secret");
    if version >= ApiVersion::Basil {
        return;
    }
    payment_on_top(invoice, &payments);
    parent_on_top(invoice);
    billing::first_discount(invoice);
    let taxes = get(invoice, "total_taxes").clone();
    put(invoice, "tax", tax_sum(&taxes));
    put(invoice, "total_tax_amounts", tax_amounts(&taxes));
    let paid = text(invoice, "status") == "paid";
    put(invoice, "paid", paid);
    let off_stripe = get(invoice, "amount_paid_off_stripe").as_i64().unwrap_or_default();
    put(invoice, "paid_out_of_band", paid && off_stripe > 0);
}

/// The default payment stands for the invoice: older shapes knew one.
fn payment_on_top(invoice: &mut SampleObject, payments: &Value) {
    let list = payments["data"].as_array().map_or(&[][..], Vec::as_slice);
    let chosen = list.iter().find(|payment| payment["is_default"] == true).or(list.first());
    let payment = chosen.map_or(&Value::Null, |chosen| &chosen["payment"]);
    let intent = &payment["payment_intent"];
    let charge = if intent.is_object() { &intent["latest_charge"] } else { &payment["charge"] };
    put(invoice, "payment_intent", id_of(intent));
    put(invoice, "charge", id_of(charge));
}

fn parent_on_top(invoice: &mut SampleObject) {
    let parent = get(invoice, "parent").clone();
    let of_subscription = &parent["subscription_details"];
    put(invoice, "subscription", of_subscription["subscription"].clone());
    put(invoice, "subscription_details", json!({ "metadata": of_subscription["metadata"] }));
    put(invoice, "quote", parent["quote_details"]["quote"].clone());
}

fn tax_sum(taxes: &Value) -> Option<i64> {
    let list = taxes.as_array().filter(|list| !list.is_empty())?;
    Some(list.iter().filter_map(|tax| tax["amount"].as_i64()).sum())
}

fn tax_amounts(taxes: &Value) -> Vec<Value> {
    taxes.as_array().map_or(&[][..], Vec::as_slice).iter().map(tax_amount).collect()
}

fn tax_amount(tax: &Value) -> Value {
    json!({
        "amount": tax["amount"],
        "inclusive": tax["tax_behavior"] == "inclusive",
        "tax_rate": tax["tax_rate_details"]["tax_rate"],
        "taxability_reason": tax["taxability_reason"],
        "taxable_amount": tax["taxable_amount"],
    })
}

pub(super) fn line(line: &mut SampleObject, version: ApiVersion) {
    if version >= ApiVersion::Basil {
        return;
    }
    let parent = get(line, "parent").clone();
    let of_item = parent["type"] == "subscription_item_details";
    put(line, "type", if of_item { "subscription" } else { "invoiceitem" });
    let details = &parent[if of_item { "subscription_item_details" } else { "invoice_item_details" }];
    for key in ["proration_details", "subscription", "subscription_item", "invoice_item"] {
        put(line, key, details[key].clone());
    }
    put(line, "proration", details["proration"] == true);
    let taxes = tax_amounts(get(line, "taxes"));
    put(line, "tax_amounts", taxes);
    put(line, "tax_rates", json!([]));
    let (price, plan) = price_and_plan(line);
    put(line, "price", price);
    put(line, "plan", plan);
}

/// Older lines carried both whole. The price comes from the line where it is expanded, else from what the
/// line tells of it; a one-time price has no plan.
fn price_and_plan(line: &SampleObject) -> (Value, Value) {
    let pricing = get(line, "pricing");
    let details = &pricing["price_details"];
    let price_id = id_of(&details["price"]);
    if price_id.is_null() {
        return (Value::Null, Value::Null);
    }
    let find = |name: &str| match name {
        "price_id" => Some(price_id.clone()),
        "product" => Some(id_of(&details["product"])),
        "now" => Some(get(line, "period")["start"].clone()),
        _ => None,
    };
    let unit_decimal = &pricing["unit_amount_decimal"];
    let unit = unit_decimal.as_str().and_then(|decimal| decimal.parse::<i64>().ok());
    let interval = interval(get(line, "period"));
    let common = json!({ "currency": get(line, "currency"), "livemode": get(line, "livemode") });
    let mut price = shape::build("price", &find);
    merge(&mut price, common.clone());
    merge(&mut price, json!({ "unit_amount": unit, "unit_amount_decimal": unit_decimal }));
    if text(line, "type") == "invoiceitem" {
        merge(&mut price, json!({ "recurring": null, "type": "one_time" }));
        return (expanded_or(&details["price"], price), Value::Null);
    }
    merge(&mut price, json!({ "recurring": { "interval": interval } }));
    let mut plan = shape::build("plan", &find);
    merge(&mut plan, common);
    merge(&mut plan, json!({ "amount": unit, "amount_decimal": unit_decimal, "interval": interval }));
    (expanded_or(&details["price"], price), plan)
}

fn expanded_or(reference: &Value, made: Value) -> Value {
    if reference.is_object() { reference.clone() } else { made }
}

/// A line tells its period, not its price's interval.
fn interval(period: &Value) -> &'static str {
    let length_s = period["end"].as_i64().zip(period["start"].as_i64()).map(|(end, start)| end.saturating_sub(start));
    if length_s > Some(100 * 86_400) { "year" } else { "month" }
}

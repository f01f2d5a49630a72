//! Payment intents, charges and checkout sessions in older shapes. Must never invent what the object does not have.
//! Called by `render` only.

use serde_json::{Value, json};

use super::super::shape::{self, merge};
use super::{ApiVersion, SampleObject, get, id_of, put, text};

pub(super) fn payment_intent(intent: &mut SampleObject, version: ApiVersion) {
    invoice_until_basil(intent, version);
    if version >= ApiVersion::Acacia {
        return;
    }
    let charges: Vec<Value> = match intent.remove("latest_charge") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(id)) => vec![charge_of(intent, &id)],
        Some(expanded) => vec![expanded],
    };
    let url = format!("/v1/charges?payment_intent={}", text(intent, "id"));
    put(intent, "charges", list(charges, &url));
}

pub(super) fn charge(charge: &mut SampleObject, version: ApiVersion) {
    invoice_until_basil(charge, version);
    if version >= ApiVersion::Acacia {
        charge.remove("refunds");
    } else if !get(charge, "refunds").is_object() {
        let refunded = get(charge, "amount_refunded").as_i64().is_some_and(|amount| amount > 0);
        let refunds = if refunded { vec![refund_of(charge)] } else { Vec::new() };
        let url = format!("/v1/charges/{}/refunds", text(charge, "id"));
        put(charge, "refunds", list(refunds, &url));
    }
}

pub(super) fn session(session: &mut SampleObject, version: ApiVersion) {
    let old_mode = match text(session, "ui_mode") {
        "hosted_page" => Some("hosted"),
        "embedded_page" => Some("embedded"),
        "elements" => Some("custom"),
        _ => None,
    };
    if let Some(mode) = old_mode.filter(|_| version < ApiVersion::Endive) {
        put(session, "ui_mode", mode);
    }
    // Since basil the subscription is made on completion, before that with the session's first attempt.
    let unfinished = text(session, "mode") == "subscription" && text(session, "status") != "complete";
    if version >= ApiVersion::Basil && unfinished {
        put(session, "subscription", Value::Null);
        put(session, "invoice", Value::Null);
    }
}

fn invoice_until_basil(object: &mut SampleObject, version: ApiVersion) {
    let invoice = object.remove("invoice").unwrap_or_default();
    if version < ApiVersion::Basil {
        put(object, "invoice", id_of(&invoice));
    }
}

/// The charge that an id alone speaks of, as far as its payment intent tells.
fn charge_of(intent: &SampleObject, id: &str) -> Value {
    let error = get(intent, "last_payment_error");
    let method = match get(intent, "payment_method") {
        Value::Null => &error["payment_method"],
        method => method,
    };
    let mut charge = shape::build("charge", &|name| match name {
        "charge" => Some(json!(id)),
        "payment_intent" => Some(get(intent, "id").clone()),
        "payment_method" => Some(id_of(method)),
        "customer" => Some(id_of(get(intent, "customer"))),
        "invoice" => Some(get(intent, "invoice").clone()),
        "now" => Some(get(intent, "created").clone()),
        "transaction" => Some(json!(id.replacen("ch_", "txn_", 1))),
        "token" => Some(json!(id)),
        _ => Some(Value::Null),
    });
    merge(&mut charge, json!({ "amount": get(intent, "amount"), "amount_captured": get(intent, "amount_received") }));
    for key in ["currency", "description", "livemode", "metadata"] {
        charge[key] = get(intent, key).clone();
    }
    if text(intent, "status") != "succeeded" {
        merge(&mut charge, failure(error));
    }
    charge
}

fn failure(error: &Value) -> Value {
    json!({
        "balance_transaction": null,
        "captured": false,
        "failure_code": error["code"],
        "failure_message": error["message"],
        "outcome": {
            "advice_code": error["advice_code"],
            "network_decline_code": error["network_decline_code"],
            "network_status": "declined_by_network",
            "reason": error["decline_code"],
            "seller_message": "The bank declined the payment.",
            "type": "issuer_declined",
        },
        "paid": false,
        "receipt_url": null,
        "status": "failed",
    })
}

/// One refund of everything that was refunded; its id follows from the charge's.
fn refund_of(charge: &SampleObject) -> Value {
    let mut refund = shape::build("refund", &|name| match name {
        "refund" => Some(json!(text(charge, "id").replacen("ch_", "re_", 1))),
        "charge" => Some(get(charge, "id").clone()),
        "now" => Some(get(charge, "created").clone()),
        "transaction" => Some(get(charge, "balance_transaction").clone()),
        same_key => Some(id_of(get(charge, same_key))),
    });
    refund["amount"] = get(charge, "amount_refunded").clone();
    refund["currency"] = get(charge, "currency").clone();
    refund
}

fn list(data: Vec<Value>, url: &str) -> Value {
    json!({ "object": "list", "total_count": data.len(), "data": data, "has_more": false, "url": url })
}

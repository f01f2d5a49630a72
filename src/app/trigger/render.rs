//! From the newest shape to an older one as a webhook would carry it: includable parts that a webhook
//! leaves out are removed. Must never change what the object says, only where it stands; what an
//! older shape needs and the object does not have stays `null`. Called by `event`, and by tests that build
//! the same history in several versions.

mod billing;
mod invoice;
mod payment;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::ApiVersion;

type SampleObject = Map<String, Value>;

/// `object` as a webhook of `version` would carry it; nested objects too. An object of an unknown kind stays
/// as it is. What older shapes show of an invoice's payments is read from its `payments` (with the payment
/// intent expanded, if the charge matters), of the invoice of a payment intent or charge from `invoice`:
/// see [`super::object`].
#[must_use]
pub fn render(mut object: Value, version: ApiVersion) -> Value {
    walk(&mut object, version);
    object
}

/// Parents before children: a subscription takes over what its items are about to lose.
fn walk(value: &mut Value, version: ApiVersion) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|element| walk(element, version)),
        Value::Object(object) => {
            downgrade(object, version);
            object.values_mut().for_each(|member| walk(member, version));
        }
        _ => {}
    }
}

fn downgrade(object: &mut SampleObject, version: ApiVersion) {
    let kind = text(object, "object").to_owned();
    match kind.as_str() {
        "subscription" => billing::subscription(object, version),
        "discount" => billing::discount(object, version),
        "price" | "plan" => billing::usage(object, version),
        "invoice" => invoice::invoice(object, version),
        "line_item" => invoice::line(object, version),
        "payment_intent" => payment::payment_intent(object, version),
        "charge" => payment::charge(object, version),
        "checkout.session" => payment::session(object, version),
        _ => {}
    }
    for (since, of, keys) in ADDED {
        if version < *since && *of == kind {
            remove(object, keys);
        }
    }
}

/// Keys that came with a release or between it and the one before. (Stripe may show added keys to older
/// versions, too. Leaving them out is the harder test for a reader.)
const ADDED: &[(ApiVersion, &str, &[&str])] = &[
    (ApiVersion::Endive, "customer", &["business_name", "customer_account", "individual_name"]),
    (
        ApiVersion::Endive,
        "subscription",
        &[
            "billing_mode",
            "billing_schedules",
            "customer_account",
            "managed_payments",
            "presentment_details",
            "status_details",
        ],
    ),
    (ApiVersion::Endive, "subscription_item", &["billed_until", "current_trial"]),
    (ApiVersion::Basil, "subscription_item", &["current_period_end", "current_period_start"]),
    (ApiVersion::Endive, "invoice", &["customer_account", "status_details"]),
    (ApiVersion::Basil, "invoice", &["amount_overpaid", "amount_paid_off_stripe", "parent", "total_taxes"]),
    (ApiVersion::Endive, "line_item", &["quantity_decimal", "subtotal"]),
    (ApiVersion::Basil, "line_item", &["parent", "pricing", "taxes"]),
    (
        ApiVersion::Endive,
        "payment_intent",
        &[
            "allowed_payment_method_types",
            "customer_account",
            "excluded_payment_method_types",
            "managed_payments",
            "presentment_details",
        ],
    ),
    (ApiVersion::Endive, "charge", &["presentment_details"]),
    (ApiVersion::Endive, "refund", &["customer", "customer_account", "payment_method"]),
    (ApiVersion::Basil, "dispute", &["enhanced_eligibility_types"]),
    (
        ApiVersion::Endive,
        "checkout.session",
        &[
            "allowed_payment_method_types",
            "branding_settings",
            "customer_account",
            "excluded_payment_method_types",
            "integration_identifier",
            "managed_payments",
            "origin_context",
            "presentment_details",
            "wallet_options",
        ],
    ),
    (ApiVersion::Basil, "checkout.session", &["adaptive_pricing", "collected_information", "permissions"]),
];

fn remove(object: &mut SampleObject, keys: &[&str]) {
    for key in keys {
        object.remove(*key);
    }
}

fn put(object: &mut SampleObject, key: &str, value: impl Into<Value>) {
    object.insert(key.to_owned(), value.into());
}

/// The member, or `null`.
fn get<'a>(object: &'a SampleObject, key: &str) -> &'a Value {
    object.get(key).unwrap_or(&Value::Null)
}

fn text<'a>(object: &'a SampleObject, key: &str) -> &'a str {
    get(object, key).as_str().unwrap_or_default()
}

/// The id behind an expandable field: of a string, of an object, or `null`.
fn id_of(reference: &Value) -> Value {
    if reference.is_object() { reference["id"].clone() } else { reference.clone() }
}

/// An expandable field where an older shape always had the object: an id alone becomes an object that knows
/// its id and kind.
fn as_object(reference: &Value, kind: &str) -> Value {
    match reference {
        Value::String(id) => json!({ "id": id, "object": kind }),
        other => other.clone(),
    }
}

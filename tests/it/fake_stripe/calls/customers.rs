//! Customers. Deleting one ends its subscriptions; what is left answers `deleted`.

use serde_json::{Value, json};

use super::super::params::{Answer, Params, Refusal};
use super::super::state::State;
use super::{payments, subscriptions};

const TEXTS: [&str; 7] = ["email", "name", "phone", "description", "business_name", "individual_name", "tax_exempt"];
const KNOWN: &str = "email name phone description business_name individual_name tax_exempt payment_method \
    preferred_locales[#] address[*] shipping[*] metadata[*] invoice_settings[default_payment_method]";

pub fn create(state: &mut State, params: &Params) -> Answer {
    params.allow(KNOWN)?;
    let mut customer = state.draft("customer");
    for name in TEXTS.iter().filter(|name| **name != "tax_exempt").chain(&["address", "shipping", "currency"]) {
        customer[*name] = Value::Null;
    }
    customer["preferred_locales"] = json!([]);
    customer["invoice_settings"]["default_payment_method"] = Value::Null;
    fill(params, &mut customer)?;
    let id = customer["id"].as_str().unwrap_or_default().to_owned();
    let method = match params.text("payment_method") {
        Some(method) => Some(payments::method(state, method, None)?),
        None => None,
    };
    if let Some(method) = method {
        customer["fake_method"] = payments::attach(state, &method, &id)["id"].clone();
    }
    Ok(state.create("customer", customer))
}

pub fn update(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow(KNOWN)?;
    let customer = state.live("customer", id, "id")?;
    let mut changed = customer.clone();
    fill(params, &mut changed)?;
    if let Some(method) = params.text("invoice_settings[default_payment_method]") {
        let method = payments::method(state, method, Some(id))?;
        if method["customer"] != id {
            let message = "The customer does not have a payment method with this ID; attach it first.";
            return Err(Refusal::invalid("resource_missing", "invoice_settings[default_payment_method]", message));
        }
        changed["invoice_settings"]["default_payment_method"] = method["id"].clone();
    }
    Ok(state.change(&customer, "customer.updated", |old| *old = changed))
}

fn fill(params: &Params, customer: &mut Value) -> Result<(), Refusal> {
    if let Some(email) = params.text("email")
        && (!email.contains('@') || email.chars().count() > 512)
    {
        return Err(Refusal::invalid("email_invalid", "email", "Invalid email address"));
    }
    for name in TEXTS.iter().filter(|name| params.has(name)) {
        customer[*name] = json!(params.text(name));
    }
    for name in ["address", "shipping"] {
        if params.unset(name) {
            customer[name] = Value::Null;
        } else if params.has(name) {
            let mut address = json!({ "city": null, "country": null, "line1": null, "line2": null });
            for (key, value) in params.inner(name).0.as_object().into_iter().flatten() {
                address[key.as_str()] = value.clone();
            }
            customer[name] = address;
        }
    }
    if params.has("preferred_locales") {
        customer["preferred_locales"] = json!(params.texts("preferred_locales"));
    }
    match params.has("metadata") {
        true => params.metadata("metadata", &mut customer["metadata"]),
        false => Ok(()),
    }
}

pub fn delete(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow("")?;
    let customer = state.live("customer", id, "id")?;
    for subscription in subscriptions::of(state, id) {
        subscriptions::end(state, &subscription, Some("cancellation_requested"));
    }
    let deleted = json!({ "id": id, "object": "customer", "deleted": true });
    state.objects.insert("customer", deleted.clone());
    state.emit("customer.deleted", &customer, None);
    Ok(deleted)
}

//! Payment methods, payment intents, charges and refunds. Cards are Stripe's test tokens: `pm_card_visa` pays,
//! `pm_card_visa_chargeDeclined…` does not, `pm_card_authenticationRequired` asks, `pm_usBankAccount` takes its time.

use serde_json::{Value, json};

use super::super::params::{Answer, Params, Refusal};
use super::super::state::State;

const KNOWN: &str = "amount currency customer payment_method automatic_payment_methods[enabled] \
    automatic_payment_methods[allow_redirects] confirm off_session setup_future_usage capture_method receipt_email \
    error_on_requires_action description statement_descriptor statement_descriptor_suffix return_url metadata[*] \
    allowed_payment_method_types[#] shipping[*]";

/// The stored method, or a new one for a test token.
pub fn method(state: &mut State, id: &str, customer: Option<&str>) -> Answer {
    if id.starts_with("pm_card_") || id == "pm_usBankAccount" {
        let mut method = state.draft("payment_method");
        method["customer"] = Value::Null;
        method["fake_card"] = json!(id);
        state.objects.insert("payment_method", method.clone());
        return Ok(method);
    }
    let method = state.named("payment_method", id, "payment_method")?;
    if method["customer"].is_string() && method["customer"].as_str() != customer && customer.is_some() {
        let message = "The payment method belongs to another customer.";
        return Err(Refusal::invalid("payment_method_customer_mismatch", "payment_method", message));
    }
    Ok(method)
}

pub fn attach(state: &mut State, method: &Value, customer: &str) -> Value {
    state.change(method, "payment_method.attached", |method| method["customer"] = json!(customer))
}

pub fn attach_call(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow("customer")?;
    params.require(&["customer"])?;
    let customer = params.text("customer").unwrap_or_default();
    state.live("customer", customer, "customer")?;
    let method = method(state, id, Some(customer))?;
    Ok(attach(state, &method, customer))
}

pub fn create(state: &mut State, params: &Params) -> Answer {
    if params.has("payment_method_types") {
        let message = "payment_method_types is no longer supported; use allowed_payment_method_types.";
        return Err(Refusal::invalid("payment_method_types_no_longer_supported", "payment_method_types", message));
    }
    params.allow(KNOWN)?;
    params.require(&["amount", "currency"])?;
    let amount = amount(params)?;
    let confirm = params.bool("confirm")?.unwrap_or(false);
    if let Some(name) = ["off_session", "return_url", "error_on_requires_action"].iter().find(|name| params.has(name))
        && !confirm
    {
        return Err(Refusal::invalid("parameter_invalid", name, &format!("{name} can only be used with confirm=true")));
    }
    let redirects = params.word("automatic_payment_methods[allow_redirects]", "always|never")? != Some("never");
    if confirm && params.bool("automatic_payment_methods[enabled]")? == Some(true) && redirects {
        params.require(&["return_url"])?;
    }
    params.word("setup_future_usage", "off_session|on_session")?;
    params.word("capture_method", "automatic|automatic_async|manual")?;
    let customer = params.text("customer");
    if let Some(customer) = customer {
        state.live("customer", customer, "customer")?;
    }
    let card = match params.text("payment_method") {
        Some(id) => Some(method(state, id, customer)?),
        None if confirm => return Err(Refusal::invalid("parameter_missing", "payment_method", "Nothing to pay with")),
        None => None,
    };
    let off_session = params.bool("off_session")?.unwrap_or(false);
    let mut intent = draft(state, amount, params.text("currency").unwrap_or_default(), customer);
    params.metadata("metadata", &mut intent["metadata"])?;
    for name in ["description", "receipt_email", "setup_future_usage", "capture_method"] {
        if params.has(name) {
            intent[name] = json!(params.text(name));
        }
    }
    if card.is_some() {
        intent["status"] = json!("requires_confirmation");
        intent["payment_method"] = card.as_ref().map(|card| card["id"].clone()).unwrap_or_default();
    }
    let intent = state.create("payment_intent", intent);
    if confirm { pay(state, &intent, &card.unwrap_or_default(), off_session) } else { Ok(intent) }
}

fn amount(params: &Params) -> Result<i64, Refusal> {
    let amount = params.int("amount")?.unwrap_or_default();
    let currency = params.text("currency").unwrap_or_default();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(Refusal::invalid("parameter_invalid", "currency", "Invalid currency"));
    }
    match amount {
        ..50 => Err(Refusal::invalid("amount_too_small", "amount", "Amount must be at least $0.50")),
        100_000_000.. => Err(Refusal::invalid("amount_too_large", "amount", "Amount has at most 8 digits")),
        amount => Ok(amount),
    }
}

/// A payment intent of nothing but this; not stored.
pub fn draft(state: &mut State, amount: i64, currency: &str, customer: Option<&str>) -> Value {
    let mut intent = state.draft("payment_intent");
    let secret = format!("{}_secret_fake", intent["id"].as_str().unwrap_or_default());
    for (name, value) in [
        ("amount", json!(amount)),
        ("currency", json!(currency)),
        ("customer", json!(customer)),
        ("client_secret", json!(secret)),
        ("description", Value::Null),
        ("setup_future_usage", Value::Null),
        ("invoice", Value::Null),
        ("payment_method", Value::Null),
        ("status", json!("requires_payment_method")),
    ] {
        intent[name] = value;
    }
    intent
}

pub fn confirm(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow("payment_method return_url off_session error_on_requires_action setup_future_usage receipt_email")?;
    let intent = state.named("payment_intent", id, "id")?;
    require_status(&intent, &["requires_payment_method", "requires_confirmation", "requires_action"])?;
    let card = params.text("payment_method").or(intent["payment_method"].as_str());
    let card = card.ok_or_else(|| {
        Refusal::invalid("payment_intent_unexpected_state", "payment_method", "Give a payment method to confirm with")
    })?;
    let card = method(state, card, intent["customer"].as_str())?;
    pay(state, &intent, &card, params.bool("off_session")?.unwrap_or(false))
}

fn require_status(intent: &Value, allowed: &[&str]) -> Result<(), Refusal> {
    let status = intent["status"].as_str().unwrap_or_default();
    if allowed.contains(&status) {
        return Ok(());
    }
    let message = format!("This PaymentIntent has a status of {status}; allowed: {}.", allowed.join(", "));
    Err(Refusal::state("payment_intent_unexpected_state", &message))
}

/// Charges the card: the intent afterwards, or 402.
pub fn pay(state: &mut State, intent: &Value, card: &Value, off_session: bool) -> Answer {
    let token = card["fake_card"].as_str().unwrap_or("pm_card_visa");
    let declined = match token {
        token if token.contains("InsufficientFunds") => Some(("card_declined", "insufficient_funds")),
        token if token.contains("Declined") || token.contains("Fail") => Some(("card_declined", "generic_decline")),
        token if token.contains("authenticationRequired") && off_session => {
            Some(("authentication_required", "authentication_required"))
        }
        _ => None,
    };
    if let Some((code, reason)) = declined {
        return decline(state, intent, card, (code, reason));
    }
    let waits = match token {
        token if token.contains("authenticationRequired") => Some("requires_action"),
        "pm_usBankAccount" => Some("processing"),
        _ if intent["capture_method"] == "manual" => Some("requires_capture"),
        _ => None,
    };
    if let Some(status) = waits {
        let event = if status == "requires_capture" { "amount_capturable_updated" } else { status };
        return Ok(state.change(intent, &format!("payment_intent.{event}"), |intent| {
            intent["status"] = json!(status);
            intent["payment_method"] = card["id"].clone();
            if status == "requires_action" {
                let redirect = json!({ "url": "https://hooks.stripe.com/3d_secure", "return_url": null });
                intent["next_action"] = json!({ "type": "redirect_to_url", "redirect_to_url": redirect });
            }
        }));
    }
    let charge = charge(state, intent, card, None);
    Ok(state.change(intent, "payment_intent.succeeded", |intent| {
        intent["status"] = json!("succeeded");
        intent["amount_received"] = intent["amount"].clone();
        intent["latest_charge"] = charge["id"].clone();
        intent["payment_method"] = card["id"].clone();
        intent["next_action"] = Value::Null;
        intent["last_payment_error"] = Value::Null;
    }))
}

fn decline(state: &mut State, intent: &Value, card: &Value, (code, reason): (&str, &str)) -> Answer {
    let charge = charge(state, intent, card, Some(reason));
    let mut error = json!({
        "type": "card_error", "code": code, "decline_code": reason, "message": "Your card was declined.",
        "charge": charge["id"], "payment_method": card,
    });
    let failed = state.change(intent, "payment_intent.payment_failed", |intent| {
        intent["status"] = json!("requires_payment_method");
        intent["latest_charge"] = charge["id"].clone();
        intent["payment_method"] = Value::Null;
        intent["last_payment_error"] = error.clone();
    });
    error["payment_intent"] = failed;
    super::super::view::without_own(&mut error);
    Err(Refusal { status: 402, error, executed: true })
}

fn charge(state: &mut State, intent: &Value, card: &Value, declined: Option<&str>) -> Value {
    let mut charge = state.draft("charge");
    for name in ["amount", "currency", "customer", "description", "metadata", "invoice"] {
        charge[name] = intent[name].clone();
    }
    charge["payment_intent"] = intent["id"].clone();
    charge["payment_method"] = card["id"].clone();
    charge["amount_captured"] = if declined.is_some() { json!(0) } else { intent["amount"].clone() };
    charge["paid"] = json!(declined.is_none());
    charge["captured"] = json!(declined.is_none());
    charge["status"] = json!(if declined.is_some() { "failed" } else { "succeeded" });
    charge["fake_card"] = card["fake_card"].clone();
    if let Some(reason) = declined {
        charge["failure_code"] = json!("card_declined");
        charge["failure_message"] = json!("Your card was declined.");
        charge["outcome"]["reason"] = json!(reason);
        charge["balance_transaction"] = Value::Null;
    }
    state.create_quietly("charge", &charge);
    state.emit(if declined.is_some() { "charge.failed" } else { "charge.succeeded" }, &charge, None);
    charge
}

pub fn cancel(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow("cancellation_reason")?;
    let reason = params.word("cancellation_reason", "duplicate|fraudulent|requested_by_customer|abandoned")?;
    let intent = state.named("payment_intent", id, "id")?;
    let open = ["requires_payment_method", "requires_confirmation", "requires_action", "requires_capture"];
    require_status(&intent, &[&open[..], &["processing"]].concat())?;
    let now_s = state.now_s();
    Ok(state.change(&intent, "payment_intent.canceled", |intent| {
        intent["status"] = json!("canceled");
        intent["canceled_at"] = json!(now_s);
        intent["cancellation_reason"] = json!(reason);
    }))
}

pub fn refund(state: &mut State, params: &Params) -> Answer {
    params.allow("payment_intent charge amount reason metadata[*] instructions_email")?;
    params.exclusive(&["payment_intent", "charge"])?;
    let reason = params.word("reason", "duplicate|fraudulent|requested_by_customer")?;
    let charge = match (params.text("charge"), params.text("payment_intent")) {
        (Some(charge), _) => state.named("charge", charge, "charge")?,
        (_, Some(intent)) => {
            let intent = state.named("payment_intent", intent, "payment_intent")?;
            require_status(&intent, &["succeeded"])?;
            state.named("charge", intent["latest_charge"].as_str().unwrap_or_default(), "payment_intent")?
        }
        _ => return Err(Refusal::invalid("parameter_missing", "charge", "Specify a charge or a payment_intent.")),
    };
    let money = |name: &str| charge[name].as_i64().unwrap_or_default();
    let left = if charge["paid"] == true { money("amount_captured") - money("amount_refunded") } else { 0 };
    let amount = params.int("amount")?.unwrap_or(left);
    if left == 0 {
        return Err(Refusal::state("charge_already_refunded", "Charge has already been refunded."));
    }
    if amount < 1 || amount > left {
        let message = format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left})");
        return Err(Refusal::state("amount_too_large", &message));
    }
    let mut refund = state.draft("refund");
    for name in ["currency", "customer", "payment_intent", "payment_method"] {
        refund[name] = charge[name].clone();
    }
    refund["charge"] = charge["id"].clone();
    refund["amount"] = json!(amount);
    refund["reason"] = json!(reason);
    let slow = charge["fake_card"].as_str().is_some_and(|card| card.contains("pendingRefund"));
    refund["status"] = json!(if slow { "pending" } else { "succeeded" });
    params.metadata("metadata", &mut refund["metadata"])?;
    let refund = state.create("refund", refund);
    state.change(&charge, "charge.refunded", |charge| {
        let refunded = charge["amount_refunded"].as_i64().unwrap_or_default() + amount;
        charge["amount_refunded"] = json!(refunded);
        charge["refunded"] = json!(refunded == charge["amount"].as_i64().unwrap_or_default());
    });
    Ok(refund)
}

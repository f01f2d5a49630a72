//! Checkout sessions and portal sessions: what Stripe refuses, and what completing one makes.

use serde_json::{Value, json};

use super::super::params::{Answer, Params, Refusal};
use super::super::state::State;
use super::super::view::list_of;
use super::subscriptions::{self, Start};
use super::{customers, payments};

const KNOWN: &str = "mode success_url cancel_url customer customer_email client_reference_id metadata[*] \
    line_items[#][price] line_items[#][quantity] line_items[#][price_data][*] subscription_data[metadata][*] \
    subscription_data[trial_period_days] subscription_data[trial_end] subscription_data[description] \
    subscription_data[trial_settings][end_behavior][missing_payment_method] payment_intent_data[metadata][*] \
    payment_intent_data[description] payment_intent_data[setup_future_usage] payment_method_collection \
    allow_promotion_codes discounts[#][coupon] discounts[#][promotion_code] automatic_tax[enabled] \
    customer_update[address] customer_update[name] customer_update[shipping] tax_id_collection[enabled] \
    billing_address_collection expires_at locale currency customer_creation invoice_creation[enabled] \
    saved_payment_method_options[*] consent_collection[*] allowed_payment_method_types[#] ui_mode";

pub fn create(state: &mut State, params: &Params) -> Answer {
    if params.has("payment_method_types") {
        let message = "payment_method_types is no longer supported; use allowed_payment_method_types.";
        return Err(Refusal::invalid("payment_method_types_no_longer_supported", "payment_method_types", message));
    }
    params.allow(KNOWN)?;
    params.require(&["mode", "success_url"])?;
    let mode = params.word("mode", "subscription|payment|setup")?.unwrap_or_default().to_owned();
    params.exclusive(&["customer", "customer_email"])?;
    params.exclusive(&["allow_promotion_codes", "discounts"])?;
    params.exclusive(&["subscription_data[trial_period_days]", "subscription_data[trial_end]"])?;
    belongs(params, "subscription_data", mode == "subscription")?;
    belongs(params, "payment_intent_data", mode == "payment")?;
    belongs(params, "invoice_creation", mode == "payment")?;
    belongs(params, "customer_creation", mode != "subscription")?;
    belongs(params, "customer_update", params.has("customer"))?;
    params.word("billing_address_collection", "auto|required")?;
    params.word("payment_method_collection", "if_required|always")?;
    params.word("ui_mode", "hosted_page|embedded_page|elements|form")?;
    within(params, "discounts", params.list("discounts").len() < 2)?;
    within(
        params,
        "client_reference_id",
        params.text("client_reference_id").is_none_or(|id| id.chars().count() <= 200),
    )?;
    let now_s = state.now_s();
    let expires_at = params.int("expires_at")?.unwrap_or(now_s + 86_400);
    within(params, "expires_at", (now_s + 1800..=now_s + 86_400).contains(&expires_at))?;
    let trial_days = params.int("subscription_data[trial_period_days]")?;
    within(params, "subscription_data[trial_period_days]", trial_days.is_none_or(|days| days >= 1))?;
    let trial_end = params.int("subscription_data[trial_end]")?;
    within(params, "subscription_data[trial_end]", trial_end.is_none_or(|end| end >= now_s + 2 * 86_400))?;
    taxes(state, params)?;
    let lines = if mode == "setup" { Vec::new() } else { lines(state, params, &mode)? };
    let coupons = subscriptions::coupons(state, params)?;
    let mut session = state.draft("checkout.session");
    let id = session["id"].as_str().unwrap_or_default().to_owned();
    let sum: i64 = lines.iter().filter_map(|line| line["amount_total"].as_i64()).sum();
    for name in ["customer", "client_reference_id", "customer_email", "success_url", "cancel_url", "locale"] {
        session[name] = json!(params.text(name));
    }
    for (name, value) in [
        ("mode", json!(mode)),
        ("status", json!("open")),
        ("payment_status", json!("unpaid")),
        ("expires_at", json!(expires_at)),
        ("url", json!(format!("https://checkout.stripe.com/c/pay/{id}"))),
        ("amount_subtotal", json!(sum)),
        ("amount_total", json!(sum)),
        ("allow_promotion_codes", json!(params.bool("allow_promotion_codes")?)),
        ("customer_details", Value::Null),
        ("subscription", Value::Null),
        ("invoice", Value::Null),
        ("fake_line_items", json!(lines)),
        ("fake_trial_end", json!(trial_end.or(trial_days.map(|days| now_s + days * 86_400)))),
        ("fake_coupons", json!(coupons)),
        ("fake_customer_creation", json!(params.text("customer_creation"))),
    ] {
        session[name] = value;
    }
    params.metadata("metadata", &mut session["metadata"])?;
    for name in ["subscription_data", "payment_intent_data"] {
        let mut metadata = json!({});
        params.metadata(&format!("{name}[metadata]"), &mut metadata)?;
        session[format!("fake_{name}")] = metadata;
    }
    Ok(state.create("checkout.session", session))
}

fn belongs(params: &Params, name: &str, allowed: bool) -> Result<(), Refusal> {
    if allowed || !params.has(name) {
        return Ok(());
    }
    Err(Refusal::invalid("parameter_invalid", name, &format!("You can not pass `{name}` with these parameters.")))
}

fn within(params: &Params, name: &str, fits: bool) -> Result<(), Refusal> {
    if fits || !params.has(name) {
        return Ok(());
    }
    Err(Refusal::invalid("parameter_invalid", name, &format!("{name} is out of its bounds.")))
}

fn taxes(state: &mut State, params: &Params) -> Result<(), Refusal> {
    let Some(id) = params.text("customer") else { return Ok(()) };
    let customer = state.live("customer", id, "customer")?;
    let updated = |name: &str| params.text(&format!("customer_update[{name}]")) == Some("auto");
    let placed = !customer["address"].is_null() || updated("address") || updated("shipping");
    if params.bool("automatic_tax[enabled]")? == Some(true) && !placed {
        let message = "Automatic tax needs a valid address of the customer, or customer_update[address]=auto.";
        return Err(Refusal::invalid("customer_tax_location_invalid", "automatic_tax", message));
    }
    if params.bool("tax_id_collection[enabled]")? == Some(true) && !updated("name") {
        let message = "Tax ID collection of an existing customer needs customer_update[name]=auto.";
        return Err(Refusal::invalid("parameter_missing", "customer_update[name]", message));
    }
    Ok(())
}

fn lines(state: &mut State, params: &Params, mode: &str) -> Result<Vec<Value>, Refusal> {
    params.require(&["line_items"])?;
    let mut lines = Vec::new();
    for (index, item) in params.list("line_items").iter().enumerate() {
        item.exclusive(&["price", "price_data"])?;
        let name = format!("line_items[{index}][price]");
        let price = match item.text("price") {
            Some(id) => state.named("price", id, &name)?,
            None => price_of(state, item, &name)?,
        };
        if price["active"] != true {
            return Err(Refusal::invalid("price_inactive", &name, "The price specified is inactive."));
        }
        let Some(quantity) = item.int("quantity")?.filter(|quantity| *quantity > 0) else {
            let name = format!("line_items[{index}][quantity]");
            return Err(Refusal::invalid("parameter_missing", &name, "Quantity is required."));
        };
        let amount = price["unit_amount"].as_i64().unwrap_or_default() * quantity;
        lines.push(json!({
            "id": format!("li_F{index:08}"), "object": "item", "amount_subtotal": amount, "amount_total": amount,
            "currency": price["currency"], "description": "Item", "price": price, "quantity": quantity,
        }));
    }
    let recurring = lines.iter().filter(|line| line["price"]["recurring"].is_object()).count();
    let fits = if mode == "subscription" { recurring > 0 && recurring <= 20 } else { recurring == 0 };
    if fits && lines.len() <= 100 {
        return Ok(lines);
    }
    let message = format!("{recurring} recurring prices do not fit the mode {mode}");
    Err(Refusal::invalid("parameter_invalid", "line_items", &message))
}

/// A price made on the spot.
fn price_of(state: &mut State, item: &Params, name: &str) -> Answer {
    let data = item.inner("price_data");
    if !data.has("currency") || !data.has("unit_amount") {
        return Err(Refusal::invalid("parameter_missing", name, "Give a price, or price_data."));
    }
    let mut price = state.draft("price");
    price["unit_amount"] = json!(data.int("unit_amount")?);
    price["currency"] = json!(data.text("currency"));
    match data.text("recurring[interval]") {
        Some(interval) => price["recurring"]["interval"] = json!(interval),
        None => price["recurring"] = Value::Null,
    }
    Ok(price)
}

pub fn expire(state: &mut State, id: &str, params: &Params) -> Answer {
    params.allow("")?;
    let session = state.named("checkout.session", id, "id")?;
    if session["status"] != "open" {
        return Err(Refusal::state("", "Only Checkout Sessions with a status of open can be expired."));
    }
    Ok(expired(state, &session))
}

pub fn expired(state: &mut State, session: &Value) -> Value {
    state.change(session, "checkout.session.expired", |session| {
        session["status"] = json!("expired");
        session["url"] = Value::Null;
    })
}

/// The customer pays with this card: what Stripe makes then, with all its events. `None`: the card was declined, the
/// session stays open.
pub fn complete(state: &mut State, session: &Value, card: &str, email: &str) -> Option<Value> {
    assert_eq!(session["status"], "open", "only an open session can be completed");
    assert!(session["expires_at"].as_i64() > Some(state.now_s()), "the session has expired");
    let mode = session["mode"].as_str().unwrap_or_default();
    let email = session["customer_email"].as_str().unwrap_or(email);
    let wants = mode == "subscription" || session["fake_customer_creation"] == "always";
    let customer = match session["customer"].as_str() {
        Some(id) => state.objects.get("customer", id),
        None if wants => customers::create(state, &Params(json!({ "email": email, "name": "Jenny Rosen" }))).ok(),
        None => None,
    };
    let id = customer.as_ref().map(|customer| customer["id"].as_str().unwrap_or_default().to_owned());
    let card = payments::method(state, card, id.as_deref()).unwrap();
    let card = id.as_ref().map_or(card.clone(), |id| payments::attach(state, &card, id));
    let mut changes = json!({ "customer": id, "status": "complete", "url": null, "payment_status": "paid" });
    changes["customer_details"] = json!({ "email": email, "name": "Jenny Rosen", "address": null, "phone": null });
    match mode {
        "subscription" => {
            let start = start_of(session, id.clone().unwrap_or_default(), card.clone());
            let (subscription, paid) = subscriptions::begin(state, start, false);
            if paid.is_err() {
                state.undo(&subscription);
                return None;
            }
            state.emit("customer.subscription.created", &subscription, None);
            changes["subscription"] = subscription["id"].clone();
            changes["invoice"] = subscription["latest_invoice"].clone();
            if subscription["status"] == "trialing" {
                changes["payment_status"] = json!("no_payment_required");
            }
        }
        "payment" => {
            let amount = session["amount_total"].as_i64().unwrap_or_default();
            let mut intent = payments::draft(state, amount, "usd", id.as_deref());
            intent["metadata"] = session["fake_payment_intent_data"].clone();
            let intent = state.create("payment_intent", intent);
            let paid = payments::pay(state, &intent, &card, false).ok()?;
            changes["payment_intent"] = paid["id"].clone();
            changes["payment_status"] = json!(if paid["status"] == "succeeded" { "paid" } else { "unpaid" });
        }
        _ => {
            let mut setup = state.draft("setup_intent");
            setup["customer"] = json!(id);
            setup["payment_method"] = card["id"].clone();
            setup["status"] = json!("succeeded");
            changes["setup_intent"] = state.create("setup_intent", setup)["id"].clone();
            changes["payment_status"] = json!("no_payment_required");
        }
    }
    Some(state.change(session, "checkout.session.completed", |session| {
        for (name, value) in changes.as_object().into_iter().flatten() {
            session[name.as_str()] = value.clone();
        }
    }))
}

fn start_of(session: &Value, customer: String, card: Value) -> Start {
    let lines = session["fake_line_items"].as_array().into_iter().flatten();
    let recurring = lines.filter(|line| line["price"]["recurring"].is_object());
    Start {
        customer,
        items: recurring.map(|line| (line["price"].clone(), line["quantity"].as_i64().unwrap_or(1))).collect(),
        card: Some(card),
        trial_end: session["fake_trial_end"].as_i64(),
        metadata: session["fake_subscription_data"].clone(),
        coupons: session["fake_coupons"].as_array().cloned().unwrap_or_default(),
    }
}

pub fn portal(state: &mut State, params: &Params) -> Answer {
    let flows = "payment_method_update|subscription_cancel|subscription_update|subscription_update_confirm|\
                 customer_update|subscription_pause";
    params.allow(
        "customer return_url configuration locale flow_data[type] flow_data[subscription_cancel][subscription] \
         flow_data[subscription_update][subscription] flow_data[subscription_pause][subscription] \
         flow_data[subscription_update_confirm][subscription] flow_data[subscription_update_confirm][items][#][id] \
         flow_data[subscription_update_confirm][items][#][price] \
         flow_data[subscription_update_confirm][items][#][quantity] flow_data[after_completion][*]",
    )?;
    params.require(&["customer"])?;
    let customer = params.text("customer").unwrap_or_default().to_owned();
    state.live("customer", &customer, "customer")?;
    let flow = params.word("flow_data[type]", flows)?;
    if params.has("flow_data") {
        params.require(&["flow_data[type]"])?;
    }
    if let Some(flow) = flow.filter(|flow| flow.starts_with("subscription_")) {
        let name = format!("flow_data[{flow}][subscription]");
        params.require(&[&name])?;
        let subscription = state.named("subscription", params.text(&name).unwrap_or_default(), &name)?;
        if subscription["customer"] != customer || subscription["status"] == "canceled" {
            return Err(Refusal::missing("subscription", subscription["id"].as_str().unwrap_or_default(), &name));
        }
    }
    let mut session = state.draft("billing_portal.session");
    let id = session["id"].as_str().unwrap_or_default().to_owned();
    session["customer"] = json!(customer);
    session["return_url"] = json!(params.text("return_url"));
    session["locale"] = json!(params.text("locale"));
    session["flow"] = flow.map(|flow| json!({ "type": flow })).unwrap_or_default();
    session["url"] = json!(format!("https://billing.stripe.com/p/session/{id}"));
    Ok(state.create("billing_portal.session", session))
}

/// The line items of a session, as a list of its own.
pub fn line_items(session: &Value) -> Value {
    let url = format!("/v1/checkout/sessions/{}/line_items", session["id"].as_str().unwrap_or_default());
    list_of(session["fake_line_items"].as_array().cloned().unwrap_or_default(), &url)
}

//! Kinds that are made, changed and deleted without rules among themselves: one table says what each takes.

use serde_json::{Value, json};
use tilld::app::trigger::ApiVersion;

use super::super::mail::Endpoint;
use super::super::params::{Answer, Params, Refusal};
use super::super::state::State;
use super::super::store::row;

/// What a POST takes; a star marks what a new one needs.
fn known(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "product" => "name* id active description metadata[*] images[#] unit_label url tax_code",
        "price" => {
            "currency* product unit_amount active nickname lookup_key metadata[*] recurring[interval] \
             recurring[interval_count] product_data[name] tax_behavior"
        }
        "coupon" => {
            "duration* id percent_off amount_off currency duration_in_months max_redemptions name redeem_by metadata[*]"
        }
        "promotion_code" => {
            "promotion[type]* promotion[coupon] code active customer expires_at max_redemptions metadata[*] \
             restrictions[*]"
        }
        "tax_rate" => {
            "display_name* inclusive* percentage* active country description jurisdiction state tax_type metadata[*]"
        }
        "entitlements.feature" => "name* lookup_key* active metadata[*]",
        "webhook_endpoint" => "url* enabled_events* api_version connect description metadata[*]",
        "payment_method" | "setup_intent" => "metadata[*]",
        _ => return None,
    })
}

fn allowed(kind: &str, params: &Params) -> Result<&'static str, Refusal> {
    let none = || Refusal::invalid("", "", "Unrecognized request URL").with_status(404);
    let known = known(kind).ok_or_else(none)?;
    let lists = known.replace('*', "").replace("[]", "[*]").replace("enabled_events", "enabled_events[#]");
    params.allow(&lists)?;
    Ok(known)
}

pub fn create(state: &mut State, kind: &'static str, params: &Params) -> Answer {
    let known = allowed(kind, params)?;
    let needed: Vec<&str> = known.split_whitespace().filter_map(|name| name.strip_suffix('*')).collect();
    params.require(&needed.into_iter().filter(|name| !name.ends_with('[')).collect::<Vec<_>>())?;
    let mut object = state.draft(kind);
    match kind {
        "coupon" => {
            params.exclusive(&["percent_off", "amount_off"])?;
            params.word("duration", "once|repeating|forever")?;
        }
        "price" => {
            params.exclusive(&["product", "product_data"])?;
            if !params.has("recurring") {
                (object["recurring"], object["type"]) = (Value::Null, json!("one_time"));
            }
            if let Some(product) = params.text("product") {
                state.named("product", product, "product")?;
            }
        }
        "promotion_code" => {
            let coupon = params.text("promotion[coupon]").unwrap_or_default();
            state.named("coupon", coupon, "promotion[coupon]")?;
        }
        _ => {}
    }
    if let Some(id) = params.text("id") {
        if state.objects.get(kind, id).is_some() {
            return Err(Refusal::invalid("resource_already_exists", "id", "It exists already."));
        }
        object["id"] = json!(id);
    }
    fill(params, &mut object)?;
    if kind == "webhook_endpoint" {
        return endpoint(state, object, params);
    }
    Ok(state.create(kind, object))
}

pub fn update(state: &mut State, kind: &'static str, id: &str, params: &Params) -> Answer {
    allowed(kind, params)?;
    let old = state.named(kind, id, "id")?;
    let fixed: &[&str] = match kind {
        "price" => &["unit_amount", "currency", "product", "recurring"],
        "coupon" => &["percent_off", "amount_off", "duration", "id"],
        "webhook_endpoint" => &["api_version"],
        _ => &["id"],
    };
    if let Some(name) = fixed.iter().find(|name| params.has(name)) {
        return Err(Refusal::invalid("parameter_unknown", name, &format!("Received unknown parameter: {name}")));
    }
    let mut new = old.clone();
    fill(params, &mut new)?;
    Ok(state.change(&old, &format!("{kind}.updated"), |object| *object = new))
}

pub fn delete(state: &mut State, kind: &'static str, id: &str, params: &Params) -> Answer {
    params.allow("")?;
    if !["product", "coupon", "webhook_endpoint"].contains(&kind) {
        return Err(Refusal::invalid("", "", "Unrecognized request URL").with_status(404));
    }
    let object = state.named(kind, id, "id")?;
    state.objects.remove(kind, id);
    state.mail.endpoints.iter_mut().filter(|endpoint| endpoint.id == id).for_each(|endpoint| endpoint.events.clear());
    if row(kind).3 != "-" {
        state.emit(&format!("{kind}.deleted"), &object, None);
    }
    Ok(json!({ "id": id, "object": kind, "deleted": true }))
}

/// Lays the parameters over the object; numbers and booleans by their names.
fn fill(params: &Params, object: &mut Value) -> Result<(), Refusal> {
    const INTS: [&str; 8] = [
        "unit_amount",
        "amount_off",
        "duration_in_months",
        "max_redemptions",
        "redeem_by",
        "expires_at",
        "interval_count",
        "trial_period_days",
    ];
    if params.has("metadata") {
        params.metadata("metadata", &mut object["metadata"])?;
    }
    for (name, given) in params.0.as_object().into_iter().flatten() {
        let name = name.as_str();
        object[name] = match (name, given) {
            ("metadata" | "expand" | "connect" | "product_data", _) => continue,
            (name, Value::String(_)) if INTS.contains(&name) => json!(params.int(name)?),
            ("active" | "inclusive", _) => json!(params.bool(name)?),
            ("percent_off" | "percentage", Value::String(text)) => {
                json!(text.parse::<f64>().map_err(|_| Refusal::invalid("parameter_invalid", name, "Invalid number"))?)
            }
            ("enabled_events" | "images", _) => json!(params.texts(name)),
            (_, Value::String(text)) if text.is_empty() => Value::Null,
            (_, Value::String(text)) => json!(text),
            (_, map) => {
                let mut inner = object[name].take();
                if !inner.is_object() {
                    inner = json!({});
                }
                for (key, value) in map.as_object().into_iter().flatten() {
                    let number = value.as_str().and_then(|text| text.parse::<i64>().ok());
                    inner[key] = number.filter(|_| INTS.contains(&key.as_str())).map_or(value.clone(), |n| json!(n));
                }
                inner
            }
        };
    }
    if object["object"] == "price" {
        object["unit_amount_decimal"] = json!(object["unit_amount"].as_i64().map(|amount| amount.to_string()));
    }
    Ok(())
}

/// An endpoint gets the events from now on; its secret is told this once.
fn endpoint(state: &mut State, mut object: Value, params: &Params) -> Answer {
    let version = match params.text("api_version") {
        Some(version) => ApiVersion::parse(version)
            .map_err(|error| Refusal::invalid("parameter_invalid", "api_version", &error.to_string()))?,
        None => state.version,
    };
    object["api_version"] = json!(params.text("api_version"));
    let id = object["id"].as_str().unwrap_or_default().to_owned();
    let secret = format!("whsec_{id}");
    state.mail.endpoints.push(Endpoint {
        id,
        url: params.text("url").unwrap_or_default().to_owned(),
        secret: secret.clone(),
        version,
        events: params.texts("enabled_events"),
        thin: false,
    });
    let mut told = state.create("webhook_endpoint", object);
    told["secret"] = json!(secret);
    Ok(told)
}

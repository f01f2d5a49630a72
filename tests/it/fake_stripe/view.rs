//! How objects are shown: in the version asked for, nested lists cut at ten, expanded where asked.

use serde_json::{Value, json};
use tilld::app::trigger::{ApiVersion, render};

use super::calls::checkout;
use super::params::{Answer, Refusal};
use super::state::State;
use super::store::{KINDS, row};

/// So many members of a nested list are shown.
pub const NESTED: usize = 10;
const MAX_DEPTH: usize = 4;

/// `value` as a client of `version` sees it that asks for these expansions.
pub fn view(state: &mut State, value: Value, expand: &[String], version: ApiVersion) -> Answer {
    // Events keep the version that they were made in.
    let is_event = |value: &Value| value["object"] == "event";
    let fixed = is_event(&value) || value["data"].get(0).is_some_and(is_event);
    let mut shown = if fixed { value } else { render(value, version) };
    match shown.get_mut("data") {
        Some(Value::Array(members)) => members.iter_mut().for_each(cut),
        _ => cut(&mut shown),
    }
    for path in expand {
        descend(state, &mut shown, &path.split('.').collect::<Vec<_>>(), version)?;
    }
    without_own(&mut shown);
    Ok(shown)
}

/// Refuses paths that are too deep, before anything is done.
pub fn check(expand: &[String]) -> Result<(), Refusal> {
    for path in expand {
        let parts: Vec<&str> = path.split('.').collect();
        let depth = parts.len() - usize::from(parts[0] == "data");
        if depth > MAX_DEPTH || parts.iter().any(|part| part.is_empty()) {
            let message = format!("You cannot expand more than {MAX_DEPTH} levels of a property: {path}");
            return Err(Refusal::invalid("property_expansion_max_depth", "expand", &message));
        }
    }
    Ok(())
}

/// Cuts the lists below an object to their first page.
pub fn cut(object: &mut Value) {
    match object {
        Value::Object(map) => {
            let is_list = map.get("object").is_some_and(|kind| kind == "list");
            if let Some(Value::Array(data)) = map.get_mut("data").filter(|_| is_list)
                && data.len() > NESTED
            {
                data.truncate(NESTED);
                map.insert("has_more".to_owned(), json!(true));
            }
            map.values_mut().for_each(cut);
        }
        Value::Array(list) => list.iter_mut().for_each(cut),
        _ => {}
    }
}

fn descend(state: &mut State, value: &mut Value, path: &[&str], version: ApiVersion) -> Result<(), Refusal> {
    let Some((key, rest)) = path.split_first() else { return Ok(()) };
    if let Value::Array(list) = value {
        return list.iter_mut().try_for_each(|member| descend(state, member, path, version));
    }
    if let Some(list) = includable(state, value, key, version) {
        value[*key] = list;
    }
    let cannot = || {
        let message = format!("This property cannot be expanded ({key}).");
        Err(Refusal::invalid("property_expansion_invalid", "expand", &message))
    };
    match value.get_mut(*key) {
        None => cannot(),
        Some(Value::Null) => Ok(()),
        Some(Value::String(id)) => match state.objects.find(id) {
            Some(object) => {
                let mut object = render(object, version);
                cut(&mut object);
                descend(state, &mut object, rest, version)?;
                value[*key] = object;
                Ok(())
            }
            None => cannot(),
        },
        Some(Value::Array(list)) if *key != "data" && rest.is_empty() => {
            for member in list {
                let found = member.as_str().and_then(|id| state.objects.find(id));
                *member = found.map_or(member.take(), |object| render(object, version));
            }
            Ok(())
        }
        Some(inner @ (Value::Object(_) | Value::Array(_))) => descend(state, inner, rest, version),
        Some(_) => cannot(),
    }
}

/// Lists that are left out unless asked for.
fn includable(state: &mut State, of: &Value, key: &str, version: ApiVersion) -> Option<Value> {
    let id = of["id"].as_str()?;
    let (kind, by, url) = match (of["object"].as_str()?, key) {
        ("invoice", "payments") => ("invoice_payment", "invoice", format!("/v1/invoice_payments?invoice={id}")),
        ("charge", "refunds") => ("refund", "charge", format!("/v1/charges/{id}/refunds")),
        ("customer", "subscriptions") => ("subscription", "customer", format!("/v1/customers/{id}/subscriptions")),
        ("checkout.session", "line_items") => {
            let mut list = checkout::line_items(&state.objects.get("checkout.session", id)?);
            cut(&mut list);
            return Some(list);
        }
        _ => return None,
    };
    let places: Vec<u64> = state.objects.places(kind, None, false).collect();
    let all = places.into_iter().map(|place| state.objects.at(row(kind).0, place));
    let mine = all.filter(|object| object[by] == id).map(|object| render(object, version)).collect();
    let mut list = list_of(mine, &url);
    cut(&mut list);
    Some(list)
}

/// Takes away what is the fake's own.
pub fn without_own(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !key.starts_with("fake_"));
            map.values_mut().for_each(without_own);
        }
        Value::Array(list) => list.iter_mut().for_each(without_own),
        _ => {}
    }
}

/// A whole list.
pub fn list_of(data: Vec<Value>, url: &str) -> Value {
    json!({ "object": "list", "data": data, "has_more": false, "url": url })
}

/// The kind whose list is at this path.
pub fn kind_at(path: &str) -> Option<&'static str> {
    KINDS.iter().find(|(kind, known, ..)| *known == path && *kind != "discount").map(|(kind, ..)| *kind)
}

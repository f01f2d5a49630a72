//! `--set path=value`: changes one value of a finished event. Knows JSON, and one habit of Stripe: `data.previous_attributes`
//! of an `*.updated` event holds the old values of what it changed. Must never decide
//! whether a value makes sense: wrong events are what some tests want. Called by `event` only.

use serde_json::{Map, Value, json};

use super::TriggerError;
use super::nearest::nearest;

/// Sets the value at a dotted path from the event's root. Missing objects on the way are created; a list takes
/// an index, and the index of its length appends. `value` is JSON if it reads as JSON, else text.
///
/// # Errors
/// A path with an empty part, through a scalar, or beside a list.
pub(super) fn apply(event: &mut Value, path: &str, value: &str) -> Result<(), TriggerError> {
    let parts: Vec<&str> = path.split('.').collect();
    if parts.contains(&"") {
        return Err(TriggerError::EmptyPart { path: path.to_owned() });
    }
    let new = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    let attribute = updated_attribute(event, &parts);
    let before = attribute.map(|key| event["data"]["object"][key].clone());
    let mut place = &mut *event;
    for depth in 0..parts.len() {
        place = step(place, path, &parts[..=depth])?;
    }
    *place = new;
    if let (Some(key), Some(old)) = (attribute, before) {
        remember(&mut event["data"], key, old);
    }
    Ok(())
}

/// What is to be said where the event does not have this path; nothing of metadata, whose keys are people's own, and of the
/// end of a list.
pub(super) fn note(event: &Value, path: &str) -> Option<String> {
    let (mut place, mut above) = (event, Vec::new());
    for part in path.split('.') {
        let next = match place {
            Value::Object(object) => match object.get(part) {
                Some(next) => next,
                None if above.last() == Some(&"metadata") => return None,
                None => {
                    let whole = |key: &str| above.iter().copied().chain([key]).collect::<Vec<_>>().join(".");
                    let near = nearest(part, object.keys().map(String::as_str)).map(whole);
                    let hint = near.map_or_else(String::new, |near| format!(": did you mean {near}?"));
                    return Some(format!("--set {path}: the event had no {}, it was added{hint}", whole(part)));
                }
            },
            Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
        place = next;
        above.push(part);
    }
    None
}

/// The top-level key of the object that this path changes, if the event has old values.
fn updated_attribute<'a>(event: &Value, parts: &[&'a str]) -> Option<&'a str> {
    let has_old_values = event["type"].as_str().is_some_and(|kind| kind.ends_with(".updated"));
    match parts {
        ["data", "object", key, ..] if has_old_values && event["data"]["object"].is_object() => Some(key),
        _ => None,
    }
}

fn remember(data: &mut Value, key: &str, old: Value) {
    if data["object"][key] == old {
        return;
    }
    if data["previous_attributes"].is_null() {
        data["previous_attributes"] = json!({});
    }
    if let Some(previous) = data["previous_attributes"].as_object_mut() {
        previous.entry(key).or_insert(old);
    }
}

/// One part down; `so_far` ends with that part.
fn step<'v>(place: &'v mut Value, path: &str, so_far: &[&str]) -> Result<&'v mut Value, TriggerError> {
    let (part, above) = so_far.split_last().map_or(("", so_far), |(part, above)| (*part, above));
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    match place {
        Value::Object(object) => Ok(object.entry(part).or_insert(Value::Null)),
        Value::Array(list) => {
            let len = list.len();
            let not_an_index = || TriggerError::NotAnIndex { path: path.to_owned(), part: part.to_owned(), len };
            let index: usize = part.parse().map_err(|_| not_an_index())?;
            if index == len {
                list.push(Value::Null);
            }
            list.get_mut(index).ok_or_else(not_an_index)
        }
        scalar => {
            Err(TriggerError::NotAContainer { path: path.to_owned(), part: above.join("."), found: type_name(scalar) })
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        _ => "string",
    }
}

//! The JSON templates and how they are filled. A placeholder is `<name>`: as a whole string it becomes a
//! value of any type (`"<now+3d>"`, `"<price>"`, `"<id:cn_1>"`), inside a longer string it becomes text. Filled values are
//! not filled again, so a user may be called `<price>`. Must never know an API version. Called by `event`, and by
//! `render` where an older shape carries a whole object.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::ids::Ids;
use crate::base::object_kind::ObjectKind;
use crate::objects::kinds;

/// Puts a value in place of a placeholder's name.
pub(super) type ShapeFinder<'a> = &'a dyn Fn(&str) -> Option<Value>;

/// In a change: the key is taken away.
const ABSENT: &str = "<absent>";

/// The examples of the kinds that have one. Each is a template of the object, and the events that are made from it: their
/// type, what they say, and what they change in the object and in the old values (`like`: the same as another event).
static EXAMPLES: LazyLock<Vec<(&ObjectKind, Value)>> =
    LazyLock::new(|| kinds::all().map(|kind| (kind, parse(kind.example))).collect());

/// The old form of a price; not a kind of its own.
const PLAN: &str = include_str!("shapes/plan.json");

fn events_of(example: &Value) -> impl Iterator<Item = &Value> {
    example["events"].as_array().into_iter().flatten()
}

/// `(type, what the event says)` of all that can be made.
pub(super) fn event_types() -> impl Iterator<Item = (&'static str, &'static str)> {
    let text = |event: &'static Value, key: &str| event[key].as_str().unwrap_or_default();
    EXAMPLES
        .iter()
        .flat_map(|(_, example)| events_of(example))
        .map(move |event| (text(event, "type"), text(event, "says")))
}

/// The kind whose object an event of this type carries, and the event in its example.
fn find(event_type: &str) -> Option<(&'static ObjectKind, &'static Value)> {
    EXAMPLES
        .iter()
        .find_map(|(kind, example)| Some((*kind, events_of(example).find(|event| event["type"] == event_type)?)))
}

/// The kind whose object an event of this (known) type carries.
pub(super) fn kind_of(event_type: &str) -> &'static ObjectKind {
    find(event_type).map_or(&ObjectKind::PLAIN, |(kind, _)| kind)
}

/// The filled template of an object of this kind, or of a plan; null where there is none.
pub(super) fn build(object: &str, find: ShapeFinder) -> Value {
    let of_kind = || EXAMPLES.iter().find(|(kind, _)| kind.object == object);
    let mut shape = match object {
        "plan" => parse(PLAN),
        _ => of_kind().map(|(_, example)| example["object"].clone()).unwrap_or_default(),
    };
    fill(&mut shape, find);
    shape
}

/// What an event of this (known) type changes: `object`, a patch, and `previous_attributes`.
pub(super) fn change(event_type: &str, find_value: ShapeFinder) -> Value {
    let of = |event_type: &str| find(event_type).map(|(_, event)| event.clone()).unwrap_or_default();
    let mut change = match of(event_type) {
        event if event["like"].is_string() => of(event["like"].as_str().unwrap_or_default()),
        event => event,
    };
    fill(&mut change, find_value);
    change
}

/// Whom and what a template is about.
pub(super) struct SampleCast<'a> {
    pub(super) ids: Ids,
    pub(super) user: Option<&'a str>,
    pub(super) price_id: &'a str,
    pub(super) now_s: i64,
}

impl SampleCast<'_> {
    /// The value of a placeholder; `None` leaves it standing.
    pub(super) fn find(&self, name: &str) -> Option<Value> {
        if let Some(offset) = name.strip_prefix("now") {
            return Some(json!(self.now_s.saturating_add(offset_s(offset)?)));
        }
        if let Some(prefix) = name.strip_prefix("id:") {
            return Some(json!(self.ids.of(prefix)));
        }
        let ids = &self.ids;
        Some(match name {
            "customer" => json!(ids.customer),
            "subscription" => json!(ids.subscription),
            "item" => json!(ids.item),
            "invoice" => json!(ids.invoice),
            "line" => json!(ids.line),
            "invoice_payment" => json!(ids.invoice_payment),
            "payment_intent" => json!(ids.payment_intent),
            "charge" => json!(ids.charge),
            "transaction" => json!(ids.transaction),
            "refund" => json!(ids.refund),
            "dispute" => json!(ids.dispute),
            "session" => json!(ids.session),
            "payment_method" => json!(ids.payment_method),
            "product" => json!(ids.product),
            "token" => json!(ids.token),
            "prefix" => json!(ids.invoice_prefix),
            "price_id" => json!(self.price_id),
            "price" => build("price", &|name| self.find(name)),
            "plan" => build("plan", &|name| self.find(name)),
            "user" => json!(self.user),
            "user_metadata" => self.user.map_or_else(|| json!({}), |user| json!({ "user_id": user })),
            "name" => json!(self.user.unwrap_or("Jenny Rosen")),
            "email" => json!(self.email()),
            _ => return None,
        })
    }

    fn email(&self) -> String {
        match self.user {
            Some(address) if address.contains('@') => address.to_owned(),
            user => format!("{}@example.com", user.unwrap_or("jenny.rosen")),
        }
    }
}

/// Lays `patch` over `target`: objects are merged, the elements of a list are named by their index,
/// anything else replaces. An empty patch (`null`) at the top changes nothing.
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else { return };
    for (key, new) in patch {
        match target {
            Value::Array(list) => {
                if let Some(old) = key.parse().ok().and_then(|index: usize| list.get_mut(index)) {
                    merge(old, new);
                }
            }
            Value::Object(object) => merge_key(object, key, new),
            _ => *target = Value::Object(Map::from_iter([(key, new)])),
        }
    }
}

fn merge_key(object: &mut Map<String, Value>, key: String, new: Value) {
    match object.get_mut(&key) {
        _ if new == ABSENT => {
            object.remove(&key);
        }
        Some(old) if new.is_object() && !old.is_null() => merge(old, new),
        _ => {
            object.insert(key, new);
        }
    }
}

fn fill(value: &mut Value, find: ShapeFinder) {
    match value {
        Value::String(text) => {
            if let Some(filled) = filled(text, find) {
                *value = filled;
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|element| fill(element, find)),
        Value::Object(object) => object.values_mut().for_each(|member| fill(member, find)),
        _ => {}
    }
}

fn filled(text: &str, find: ShapeFinder) -> Option<Value> {
    let (before, rest) = text.split_once('<')?;
    let (name, after) = rest.split_once('>')?;
    let value = find(name)?;
    if before.is_empty() && after.is_empty() {
        return Some(value);
    }
    let after = filled(after, find).unwrap_or_else(|| json!(after));
    Some(json!(format!("{before}{}{}", value.as_str()?, after.as_str()?)))
}

/// `""`, `"+3d"`, `"-1h"` in seconds.
fn offset_s(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let unit_s = if text.ends_with('d') { 86_400 } else { 3_600 };
    let count: i64 = text.strip_suffix(['d', 'h'])?.parse().ok()?;
    Some(count * unit_s)
}

/// The templates are part of the program; a test checks that each of them parses.
fn parse(source: &str) -> Value {
    serde_json::from_str(source).unwrap_or_default()
}

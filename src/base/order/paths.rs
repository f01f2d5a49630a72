//! Comparing objects at the paths that changed. Null and absent are the same. Pure. Called by `chain`.

use std::collections::BTreeSet;

use serde_json::Value;

/// Paths within an object, as JSON pointers.
#[derive(Default)]
pub(super) struct Paths(BTreeSet<String>);

impl Paths {
    /// Adds every path at which two states differ. Lists of one length are compared element by element.
    pub(super) fn add_changes(&mut self, before: &Value, after: &Value) {
        self.add_below(&mut String::new(), before, after);
    }

    fn add_below(&mut self, at: &mut String, before: &Value, after: &Value) {
        let length = at.len();
        match (before, after) {
            (Value::Object(old), Value::Object(new)) => {
                for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                    at.push('/');
                    at.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    self.add_below(at, old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
                    at.truncate(length);
                }
            }
            (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    at.push('/');
                    at.push_str(&index.to_string());
                    self.add_below(at, old, new);
                    at.truncate(length);
                }
            }
            (old, new) if old == new => {}
            _ => {
                self.0.insert(at.clone());
            }
        }
    }

    /// Whether two states have the same values at all of these paths.
    pub(super) fn agree(&self, one: &Value, other: &Value) -> bool {
        let at = |value: &Value, path: &str| value.pointer(path).map(without_nulls).unwrap_or_default();
        self.0.iter().all(|path| at(one, path) == at(other, path))
    }
}

/// Whether `object` has every old value that is named.
pub(super) fn names(previous: &Value, object: &Value) -> bool {
    match (previous, object) {
        (Value::Object(old), Value::Object(now)) => {
            old.iter().all(|(key, value)| names(value, now.get(key).unwrap_or(&Value::Null)))
        }
        (previous, object) => without_nulls(previous) == without_nulls(object),
    }
}

/// The object before a change: its old values put back.
pub(super) fn undone(object: &Value, previous: &Value) -> Value {
    fn put_back(object: &mut Value, previous: &Value) {
        match (object, previous) {
            (Value::Object(now), Value::Object(old)) => {
                for (key, value) in old {
                    put_back(now.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (object, previous) => *object = previous.clone(),
        }
    }
    let mut before = object.clone();
    put_back(&mut before, previous);
    without_nulls(&before)
}

/// The value with null as absent, all the way down.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

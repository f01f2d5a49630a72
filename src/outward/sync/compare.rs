//! Compares an object in the mirror with the same object from the API. Pure. The two may be rendered in
//! different API versions, so only what both have is compared; what is an id in one and an expanded object in the other
//! is the same if the ids are. Called by `drift`.

use serde_json::{Map, Value};

/// How many fields are named for one object at most.
const MAX_FIELDS: usize = 20;

/// Keys that say nothing about the object's state: links and secrets that Stripe makes for each answer or each reader, and
/// what is said about a list rather than in it.
pub(crate) const IGNORED: &[&str] = &[
    "client_secret",
    "confirmation_secret",
    "has_more",
    "hosted_invoice_url",
    "invoice_pdf",
    "pdf",
    "receipt_url",
    "total_count",
    "url",
];

/// Keys whose entries people choose: an entry that only one side has is a difference, not another API version.
const FREE: &[&str] = &["metadata"];

/// Dotted names of the fields that differ.
#[must_use]
pub(crate) fn differing(here: &Value, there: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(here, there, "", &mut found);
    found
}

fn compare(here: &Value, there: &Value, path: &str, found: &mut Vec<String>) {
    if found.len() >= MAX_FIELDS || here == there {
        return;
    }
    match (here, there) {
        (Value::Object(here), Value::Object(there)) => objects(here, there, path, found),
        (Value::Object(object), Value::String(id)) | (Value::String(id), Value::Object(object))
            if object.get("id").and_then(Value::as_str) == Some(id) => {}
        (Value::Array(here), Value::Array(there)) if here.len() == there.len() => members(here, there, path, found),
        _ => found.push(path.to_owned()),
    }
}

fn objects(here: &Map<String, Value>, there: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    if let (Some(here), Some(there)) = (list(here), list(there)) {
        return lists(here, there, &below(path, "data"), found);
    }
    if let (Some(ours), Some(theirs)) = (here.get("id"), there.get("id"))
        && ours != theirs
    {
        // Another object altogether: its fields do not matter.
        return found.push(path.to_owned());
    }
    for (key, value) in here.iter().filter(|(key, _)| !IGNORED.contains(&key.as_str())) {
        let Some(other) = there.get(key) else { continue };
        let path = below(path, key);
        if FREE.contains(&key.as_str()) && value.is_object() && other.is_object() {
            if value != other {
                found.push(path);
            }
        } else {
            compare(value, other, &path, found);
        }
    }
}

/// The members of an embedded list, and whether it is cut.
fn list(object: &Map<String, Value>) -> Option<(&[Value], bool)> {
    let is_list = object.get("object").and_then(Value::as_str) == Some("list");
    let members = object.get("data").filter(|_| is_list)?.as_array()?;
    Some((members, object.get("has_more").and_then(Value::as_bool) == Some(true)))
}

/// By the ids of the members, in their order; where a list is cut, as far as both go.
fn lists(here: (&[Value], bool), there: (&[Value], bool), path: &str, found: &mut Vec<String>) {
    let ((here, here_cut), (there, there_cut)) = (here, there);
    let both = here.len().min(there.len());
    let whole = (here.len() == both || there_cut) && (there.len() == both || here_cut);
    let ids = |members: &[Value]| members.iter().take(both).map(|m| m.get("id").cloned()).collect::<Vec<_>>();
    if !whole || ids(here) != ids(there) {
        return found.push(path.to_owned());
    }
    members(&here[..both], &there[..both], path, found);
}

fn members(here: &[Value], there: &[Value], path: &str, found: &mut Vec<String>) {
    for (index, (here, there)) in here.iter().zip(there).enumerate() {
        compare(here, there, &below(path, &index.to_string()), found);
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(here: Value, there: Value) -> Vec<String> {
        differing(&here, &there)
    }

    #[test]
    fn differing_fields_are_named_with_their_way() {
        let here = json!({ "id": "x", "status": "active", "plan": { "amount": 1, "name": "a" }, "tags": ["a", "b"] });
        let there =
            json!({ "id": "x", "status": "canceled", "plan": { "amount": 2, "name": "a" }, "tags": ["a", "c"] });
        assert_eq!(fields(here, there), ["plan.amount", "status", "tags.1"]);
        assert_eq!(fields(json!({ "a": [1] }), json!({ "a": [1, 2] })), ["a"]);
        assert_eq!(fields(json!({ "a": null }), json!({ "a": 1 })), ["a"]);
    }

    #[test]
    fn what_only_one_version_has_is_no_difference_but_metadata_is() {
        let none: [&str; 0] = [];
        assert_eq!(fields(json!({ "old": 1, "a": { "b": 1 } }), json!({ "new": 1, "a": { "c": 1 } })), none);
        assert_eq!(fields(json!({ "metadata": { "a": "1" } }), json!({ "metadata": {} })), ["metadata"]);
    }

    #[test]
    fn an_id_and_the_object_of_that_id_are_the_same() {
        let none: [&str; 0] = [];
        let expanded = json!({ "customer": { "id": "cus_1", "name": "Zoe" } });
        assert_eq!(fields(json!({ "customer": "cus_1" }), expanded.clone()), none);
        assert_eq!(fields(expanded.clone(), json!({ "customer": "cus_1" })), none);
        assert_eq!(fields(expanded.clone(), json!({ "customer": "cus_2" })), ["customer"]);
        assert_eq!(fields(expanded, json!({ "customer": { "id": "cus_2", "name": "Ann" } })), ["customer"]);
        assert_eq!(fields(json!({ "d": ["di_1"] }), json!({ "d": [{ "id": "di_1" }] })), none);
    }

    #[test]
    fn lists_are_compared_by_ids_in_order_then_member_by_member_as_far_as_both_go() {
        let none: [&str; 0] = [];
        let list = |ids: &[&str], more: bool| {
            let data: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "n": 1 })).collect();
            json!({ "items": { "object": "list", "data": data, "has_more": more, "url": "/v1/x" } })
        };
        assert_eq!(fields(list(&["a", "b"], false), list(&["b", "a"], false)), ["items.data"]);
        assert_eq!(fields(list(&["a", "b"], false), list(&["a"], false)), ["items.data"]);
        assert_eq!(fields(list(&["a", "b"], false), list(&["a"], true)), none);
        assert_eq!(fields(list(&["a"], true), list(&["a", "b"], false)), none);
        assert_eq!(fields(list(&["a"], false), list(&["a", "b"], true)), ["items.data"]);
        let mut other = list(&["a", "b"], false);
        other["items"]["data"][1]["n"] = json!(2);
        assert_eq!(fields(list(&["a", "b"], false), other), ["items.data.1.n"]);
    }

    #[test]
    fn links_and_secrets_are_not_compared() {
        for key in IGNORED {
            let mut here = json!({ "id": "x", "deep": {} });
            let mut there = here.clone();
            (here[*key], there[*key]) = (json!("one"), json!("other"));
            (here["deep"][*key], there["deep"][*key]) = (json!("one"), json!("other"));
            assert!(fields(here, there).is_empty(), "{key}");
        }
    }
}

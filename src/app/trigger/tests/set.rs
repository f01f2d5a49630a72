//! The rules of `--set`.

use serde_json::{Value, json};

use super::super::{ApiVersion, Spec, TriggerError, event, notes};
use super::spec;

fn with_set(event_type: &str, pairs: &[(&str, &str)]) -> Result<Value, TriggerError> {
    let set: Vec<(String, String)> = pairs.iter().map(|(path, value)| (path.to_string(), value.to_string())).collect();
    event(&Spec { set: &set, ..spec(event_type) })
}

#[test]
fn set_reads_json_where_the_value_is_json_and_text_elsewhere() {
    let pairs = [
        ("data.object.status", "past_due"),
        ("created", "1700000000"),
        ("livemode", "true"),
        ("data.object.schedule", "null"),
        ("data.object.metadata", r#"{"a":"b"}"#),
        ("data.object.default_tax_rates", "[1]"),
        ("data.object.description", r#""12""#),
        ("account", ""),
    ];
    let event = with_set("customer.subscription.created", &pairs).unwrap();
    assert_eq!(event["data"]["object"]["status"], "past_due");
    assert_eq!(event["created"], 1_700_000_000);
    assert_eq!(event["livemode"], true);
    assert_eq!(event["data"]["object"]["schedule"], Value::Null);
    assert_eq!(event["data"]["object"]["metadata"], json!({ "a": "b" }));
    assert_eq!(event["data"]["object"]["default_tax_rates"], json!([1]));
    assert_eq!(event["data"]["object"]["description"], "12");
    assert_eq!(event["account"], "");
}

#[test]
fn set_follows_indexes_makes_what_is_missing_and_appends() {
    let pairs = [
        ("data.object.items.data.0.price.id", "price_x"),
        ("data.object.pause_collection.behavior", "void"),
        ("data.object.new.deep.key", "1"),
        ("data.object.items.data.1.id", "si_second"),
    ];
    let object = with_set("customer.subscription.created", &pairs).unwrap()["data"]["object"].take();
    assert_eq!(object["items"]["data"][0]["price"]["id"], "price_x");
    assert_eq!(object["pause_collection"], json!({ "behavior": "void" }));
    assert_eq!(object["new"], json!({ "deep": { "key": 1 } }));
    assert_eq!(object["items"]["data"][1], json!({ "id": "si_second" }));
}

#[test]
fn set_is_applied_in_order_and_after_the_version() {
    let set = [
        ("data.object.current_period_end".to_owned(), "5".to_owned()),
        ("data.object.current_period_end".to_owned(), "6".to_owned()),
    ];
    for version in ApiVersion::ALL {
        let event = event(&Spec { version, set: &set, ..spec("customer.subscription.created") }).unwrap();
        assert_eq!(event["data"]["object"]["current_period_end"], 6);
    }
}

#[test]
fn set_through_a_scalar_names_the_part() {
    let error = with_set("invoice.paid", &[("data.object.status.x", "1")]).unwrap_err();
    assert_eq!(
        error,
        TriggerError::NotAContainer {
            path: "data.object.status.x".into(),
            part: "data.object.status".into(),
            found: "string"
        }
    );
    assert!(error.to_string().contains("`data.object.status` is a string"));
}

#[test]
fn set_beside_a_list_or_with_an_empty_part_is_refused() {
    for (path, part) in [("data.object.lines.data.first", "first"), ("data.object.lines.data.2", "2")] {
        let error = with_set("invoice.paid", &[(path, "1")]).unwrap_err();
        assert_eq!(error, TriggerError::NotAnIndex { path: path.into(), part: part.into(), len: 1 });
    }
    for path in ["", "data..object", ".data", "data."] {
        let error = with_set("invoice.paid", &[(path, "1")]).unwrap_err();
        assert_eq!(error, TriggerError::EmptyPart { path: path.into() });
    }
}

#[test]
fn set_on_an_updated_event_leaves_the_old_value_in_previous_attributes() {
    let pairs = [("data.object.status", "past_due"), ("data.object.items.data.0.quantity", "3")];
    let data = with_set("customer.subscription.updated", &pairs).unwrap()["data"].take();
    assert_eq!(data["previous_attributes"]["status"], "active");
    assert_eq!(data["previous_attributes"]["items"]["data"][0]["quantity"], 1);
    assert_eq!(data["previous_attributes"]["default_payment_method"], Value::Null);
}

#[test]
fn set_keeps_previous_attributes_that_are_there_and_adds_none_without_a_change() {
    let pairs = [
        ("data.previous_attributes.status", "trialing"),
        ("data.object.status", "past_due"),
        ("data.object.currency", "usd"),
        ("data.object.cancel_at", "7"),
        ("data.object.cancel_at", "8"),
    ];
    let previous = with_set("customer.subscription.updated", &pairs).unwrap()["data"]["previous_attributes"].take();
    assert_eq!(previous, json!({ "cancel_at": null, "default_payment_method": null, "status": "trialing" }));
    let created = with_set("customer.subscription.created", &[("data.object.status", "past_due")]).unwrap();
    assert!(created["data"].get("previous_attributes").is_none());
}

#[test]
fn a_path_that_is_not_there_is_named_with_the_nearest_unless_it_is_a_key_of_metadata() {
    let said = |pairs: &[(&str, &str)]| {
        let set: Vec<(String, String)> = pairs.iter().map(|(path, _)| (path.to_string(), "3".to_owned())).collect();
        notes(&Spec { set: &set, ..spec("customer.subscription.updated") }).unwrap()
    };
    assert_eq!(
        said(&[("data.objec", "3")]),
        ["--set data.objec: the event had no data.objec, it was added: did you mean data.object?"]
    );
    assert!(
        said(&[("data.object.items.data.0.quantitty", "3")])[0].contains("mean data.object.items.data.0.quantity?")
    );
    assert_eq!(
        said(&[("data.object.zzz.deep", "3")]),
        ["--set data.object.zzz.deep: the event had no data.object.zzz, it was added"]
    );
    let known = [("data.object.metadata.mine", "3"), ("data.object.status", "3"), ("data.object.items.data.1", "3")];
    assert_eq!(said(&known), Vec::<String>::new());
}

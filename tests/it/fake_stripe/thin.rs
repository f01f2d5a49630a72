//! Thin events: each snapshot event has a twin that names its object only.

use serde_json::{Value, json};

use super::store::row;

/// Ids of snapshot events, and of their thin twins, start so.
const SNAPSHOT: &str = "evt_F";
const THIN: &str = "evt_T";

/// The id of the snapshot event that this one is the twin of.
pub fn snapshot_id(thin: &str) -> Option<String> {
    thin.strip_prefix(THIN).map(|number| format!("{SNAPSHOT}{number}"))
}

/// The thin twin of an event; `whole`: as it is read, not as it is sent.
pub fn of(event: &Value, context: Option<&str>, whole: bool) -> Value {
    let object = &event["data"]["object"];
    let created = jiff::Timestamp::from_second(event["created"].as_i64().unwrap_or_default()).unwrap_or_default();
    let kind = object["object"].as_str().unwrap_or_default();
    let url = format!("/v1/{}/{}", row(kind).1, object["id"].as_str().unwrap_or_default());
    let number = event["id"].as_str().and_then(|id| id.strip_prefix(SNAPSHOT)).unwrap_or_default();
    let mut thin = json!({
        "id": format!("{THIN}{number}"),
        "object": "v2.core.event",
        "type": format!("v1.{}", event["type"].as_str().unwrap_or_default()),
        "livemode": false,
        "created": created.to_string(),
        "context": context,
        "reason": null,
        "related_object": { "id": object["id"], "type": kind, "url": url },
    });
    if whole {
        thin["snapshot_event"] = event["id"].clone();
    }
    thin
}

//! Events as tests want them: those of `tilld trigger`, at a time of their own and with values changed.

use serde_json::Value;
use tilld::app::trigger::{self, ApiVersion, SampleEnvelope, Spec};

/// An event about `user`'s object at `created`, with values of `data.object` changed by dotted path.
pub fn event(event_type: &str, user: &str, created: i64, set: &[(&str, Value)]) -> Value {
    event_in(ApiVersion::CURRENT, event_type, user, created, set)
}

/// As [`event`], rendered in the shape of `version`.
pub fn event_in(version: ApiVersion, event_type: &str, user: &str, created: i64, set: &[(&str, Value)]) -> Value {
    let nonce = format!("{created} {set:?}");
    let set: Vec<(String, String)> =
        set.iter().map(|(path, value)| (format!("data.object.{path}"), value.to_string())).collect();
    let user = Some(user);
    let spec = Spec { event_type, version, user, price_id: "price_pro", now_s: created, nonce: &nonce, set: &set };
    trigger::event(&spec).unwrap()
}

/// An event of a type that trigger does not know, around any object.
pub fn raw(id: &str, event_type: &str, created: i64, object: Value) -> Value {
    let version = ApiVersion::CURRENT;
    let of = SampleEnvelope { id, event_type, created_s: created, version, livemode: false, previous_attributes: None };
    trigger::envelope(&of, object)
}

/// Every type that trigger knows, a second apart, about one user.
pub fn everything(user: &str, from: i64) -> Vec<Value> {
    trigger::event_types().iter().zip(from..).map(|((event_type, _), at)| event(event_type, user, at, &[])).collect()
}

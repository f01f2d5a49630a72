//! The factory of realistic Stripe events: what `tilld trigger`, the tests and the bench feed the daemon.
//!
//! Pure: time, user, price and nonce are arguments; the same arguments give the same event. It must never
//! sign, send, read a clock or draw a random number; its callers do. Called by `cli::trigger`. Objects are kept as JSON templates in
//! Stripe's newest shape, beside their kinds (`objects/shapes/*.json`), brought into the state of their event,
//! and turned into the shape of an older API version by [`render`].

mod catalog;
mod ids;
mod nearest;
mod render;
mod set;
mod shape;
mod version;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

pub use catalog::{event_types, event_types_of};
pub use ids::{Ids, ids};
pub use render::render;
pub use version::ApiVersion;

use shape::SampleCast;

/// What event to make. Two specs that differ in `nonce` alone give events that differ in `id` alone.
#[derive(Debug, Clone, Copy)]
pub struct Spec<'a> {
    /// A type of [`event_types`].
    pub event_type: &'a str,
    /// The shape of the object, and the `api_version` of the envelope.
    pub version: ApiVersion,
    /// The application's user; all objects of one user refer to each other. `None`: one anonymous set.
    pub user: Option<&'a str>,
    /// The price of the subscription's only item.
    pub price_id: &'a str,
    /// `created` of the event in unix seconds; the times in the object lie around it.
    pub now_s: i64,
    /// Makes the event id unique.
    pub nonce: &'a str,
    /// `(dotted path from the event's root, value)`, applied in order, after the version.
    pub set: &'a [(String, String)],
}

/// The parts of an event around its object (docs.stripe.com/api/events/object).
#[derive(Debug, Clone)]
pub struct SampleEnvelope<'a> {
    /// `evt_…`
    pub id: &'a str,
    /// `resource.verb`
    pub event_type: &'a str,
    /// Unix seconds; Stripe's resolution is one second.
    pub created_s: i64,
    /// The version that `data.object` was rendered in.
    pub version: ApiVersion,
    /// Live or test mode.
    pub livemode: bool,
    /// Old values of what an `*.updated` event changed.
    pub previous_attributes: Option<Value>,
}

/// Why no event was made. Every message names the argument and what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TriggerError {
    /// The type is not in the catalog.
    #[error("{event_type:?} is not a known event type: {}`tilld trigger --list` shows all", did_you_mean(*nearest))]
    UnknownType {
        /// What was asked for.
        event_type: String,
        /// The known type that is spelled nearly like it, if one is.
        nearest: Option<&'static str>,
    },
    /// The API version is not one that can be rendered.
    #[error("{given:?} is not a known API version: use one of {known}")]
    UnknownVersion {
        /// What was asked for.
        given: String,
        /// All versions, comma-separated.
        known: String,
    },
    /// A path of `--set` has an empty part.
    #[error("--set {path}: a part of the path is empty; write it as `data.object.status`")]
    EmptyPart {
        /// The path as given.
        path: String,
    },
    /// A path of `--set` goes on below something that holds nothing.
    #[error("--set {path}: `{part}` is a {found} and has nothing below it; set `{part}` itself")]
    NotAContainer {
        /// The path as given.
        path: String,
        /// The path up to the obstacle.
        part: String,
        /// The JSON type that is there.
        found: &'static str,
    },
    /// A path of `--set` beyond the end of a list.
    #[error("--set {path}: `{part}` is not a position in a list of {len}; use 0 to {len} ({len} appends)")]
    NotAnIndex {
        /// The path as given.
        path: String,
        /// The part that should have been an index.
        part: String,
        /// Length of the list.
        len: usize,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("did you mean {name}? "))
}

/// The paths of `spec.set` that the event did not have, one sentence for each. They are set all the same: Stripe leaves out
/// what is empty, and adds fields.
///
/// # Errors
/// As [`event`].
pub fn notes(spec: &Spec) -> Result<Vec<String>, TriggerError> {
    let mut made = event(&Spec { set: &[], ..*spec })?;
    let mut notes = Vec::new();
    for (path, value) in spec.set {
        notes.extend(set::note(&made, path));
        set::apply(&mut made, path, value)?;
    }
    Ok(notes)
}

/// The whole event, as Stripe would deliver it to an endpoint of `spec.version`.
///
/// # Errors
/// An unknown type; a path of `spec.set` that cannot be followed.
pub fn event(spec: &Spec) -> Result<Value, TriggerError> {
    let (object, previous_attributes) = object_and_previous(spec)?;
    let envelope_of = SampleEnvelope {
        id: &ids::event_id(spec),
        event_type: spec.event_type,
        created_s: spec.now_s,
        version: spec.version,
        livemode: false,
        previous_attributes,
    };
    let mut event = envelope(&envelope_of, render(object, spec.version));
    for (path, value) in spec.set {
        set::apply(&mut event, path, value)?;
    }
    Ok(event)
}

/// The object of an event before [`render`]: Stripe's newest shape, with `payments` expanded and with the
/// `invoice` of payment intent and charge, which only older versions show. Build histories from this.
/// `version`, `nonce` and `set` of the spec have no influence.
///
/// # Errors
/// An unknown type.
pub fn object(spec: &Spec) -> Result<Value, TriggerError> {
    object_and_previous(spec).map(|(object, _)| object)
}

/// A whole object of a kind in Stripe's newest shape, of no user; `None`: the kind is not known.
#[must_use]
pub fn example(object: &str, now_s: i64) -> Option<Value> {
    let cast = SampleCast { ids: ids(""), user: None, price_id: "price_tilld_pro", now_s };
    Some(shape::build(object, &|name| cast.find(name))).filter(|shape| !shape.is_null())
}

/// Puts an object, already rendered, into an event.
#[must_use]
pub fn envelope(of: &SampleEnvelope, object: Value) -> Value {
    let mut data = json!({ "object": object });
    if let Some(previous) = &of.previous_attributes {
        data["previous_attributes"] = previous.clone();
    }
    json!({
        "id": of.id,
        "object": "event",
        "api_version": of.version.as_str(),
        "created": of.created_s,
        "data": data,
        "livemode": of.livemode,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": of.event_type,
    })
}

fn object_and_previous(spec: &Spec) -> Result<(Value, Option<Value>), TriggerError> {
    let kind = shape::kind_of(catalog::known(spec.event_type)?);
    let cast = SampleCast {
        ids: ids(spec.user.unwrap_or_default()),
        user: spec.user,
        price_id: spec.price_id,
        now_s: spec.now_s,
    };
    let find = |name: &str| cast.find(name);
    let mut change = shape::change(spec.event_type, &find);
    let mut object = shape::build(kind.object, &find);
    shape::merge(&mut object, change["object"].take());
    let previous = change["previous_attributes"].take();
    Ok((object, Some(previous).filter(|value| !value.is_null())))
}

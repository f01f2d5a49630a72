//! The whole of a stored event, for projecting: its object, and what it changed; or what a thin event names.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{EventError, EventObject, field, lossy, string_in, words};

/// The parts of a stored snapshot event that projecting needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The object, parsed.
    pub object: Value,
    /// The object as Stripe wrote it, for the mirror.
    pub object_text: String,
    /// On updates: the old values of what changed.
    pub previous_attributes: Option<Value>,
    /// The key of the request that caused it, where there was one.
    pub idempotency_key: Option<String>,
}

/// A stored event's body, read.
#[derive(Debug, Clone, PartialEq)]
pub enum EventContent {
    /// It shows its object.
    Snapshot(Snapshot),
    /// It only names it.
    Thin(Thin),
}

/// What a thin event names of its object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Thin {
    /// On whose behalf event and object are asked for; `None`: on our own.
    pub context: Option<String>,
    /// The object; `None` where the event has none.
    pub related: Option<RelatedObject>,
}

/// The object that a thin event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelatedObject {
    /// Stripe's id; a thing that an account has once has none.
    pub id: Option<String>,
    /// Its kind, for example `invoice`.
    pub kind: Option<String>,
    /// The path it is read from, for example `/v1/invoices/in_1`.
    pub url: Option<String>,
}

#[derive(Deserialize)]
struct RawSnapshot<'a> {
    object: Option<String>,
    #[serde(borrow)]
    data: Option<EventObject<RawSnapshotData<'a>>>,
    request: Option<Value>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    related_object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawSnapshotData<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
    previous_attributes: Option<Value>,
}

#[derive(Deserialize)]
struct RawRelated<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    url: Option<&'a RawValue>,
}

/// Reads a stored body for projecting. Half a character in a text (a lone surrogate) is read as a replacement character.
///
/// # Errors
/// When it is nested deeper than the parser allows (128 levels), or has a number that cannot be read.
pub fn content(text: &str) -> Result<EventContent, EventError> {
    match read_content(text) {
        Ok(content) => Ok(content),
        Err(error) => match lossy::repaired(text) {
            Cow::Owned(repaired) => read_content(&repaired),
            Cow::Borrowed(_) => Err(error),
        },
    }
}

fn read_content(text: &str) -> Result<EventContent, EventError> {
    let unreadable = |error: serde_json::Error| EventError::Unreadable(words(&error));
    let EventObject(raw): EventObject<RawSnapshot> = serde_json::from_str(text).map_err(unreadable)?;
    if raw.object.as_deref() == Some("v2.core.event") {
        return Ok(EventContent::Thin(thin(raw.context, raw.related_object)));
    }
    let EventObject(data) = raw.data.ok_or_else(|| field("data.object", "is missing".to_owned()))?;
    let request = raw.request.as_ref();
    let key = request.and_then(|request| request.get("idempotency_key")).and_then(Value::as_str);
    Ok(EventContent::Snapshot(Snapshot {
        object: serde_json::from_str(data.object.get()).map_err(unreadable)?,
        object_text: data.object.get().to_owned(),
        previous_attributes: data.previous_attributes,
        idempotency_key: key.map(str::to_owned),
    }))
}

/// What cannot be read counts as absent.
fn thin(context: Option<&RawValue>, related: Option<&RawValue>) -> Thin {
    let related = related.and_then(|raw| serde_json::from_str::<EventObject<RawRelated>>(raw.get()).ok());
    let related = related.map(|EventObject(raw)| RelatedObject {
        id: string_in(raw.id),
        kind: string_in(raw.kind),
        url: string_in(raw.url),
    });
    Thin { context: string_in(context), related }
}

impl Snapshot {
    /// An object that no event shows: one that was read from the API.
    ///
    /// # Errors
    /// As [`content`].
    pub(crate) fn of_object(text: &str) -> Result<Self, EventError> {
        let (object, object_text) = match serde_json::from_str(text) {
            Ok(object) => (object, text.to_owned()),
            Err(_) => {
                let text = lossy::repaired(text);
                let object = serde_json::from_str(&text).map_err(|error| EventError::Unreadable(words(&error)))?;
                (object, text.into_owned())
            }
        };
        Ok(Self { object, object_text, previous_attributes: None, idempotency_key: None })
    }
}

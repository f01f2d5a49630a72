//! The envelope of an event: what ingest needs to know of it, and the whole of it for projecting. Knows no object's
//! shape beyond `id` and `object`, no database, no clock. Called by `http::webhook`, `objects` and `jobs::worker`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{lossy, object};

mod content;

pub use content::{EventContent, Snapshot, Thin, content};

/// Longest event id or type that is stored. Stripe's are at most 255 characters; this leaves room.
pub const MAX_NAME_CHARS: usize = 1024;
/// The id of every sample event that Stripe's dashboard sends, whatever its type: each type is kept as one of its own.
pub const SAMPLE_ID: &str = "evt_00000000000000";
/// The one object that has no id and is kept all the same: by its customer, who has one of them.
pub(crate) const SUMMARY: &str = "entitlements.active_entitlement_summary";
/// Newest of Stripe's API versions that is known here, without its name.
const NEWEST_KNOWN: &str = "2026-09-30";
/// Largest `created`: the last second of the year 9999.
const MAX_CREATED_S: i64 = 253_402_300_799;

/// Which of Stripe's two event formats it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `object: "event"`, carries its object.
    Snapshot,
    /// `object: "v2.core.event"`, names its object only.
    Thin,
}

/// What is known of an event without reading its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventEnvelope {
    /// `evt_…`, unique per event.
    pub id: String,
    /// `resource.verb`.
    pub event_type: String,
    /// Snapshot or thin.
    pub format: Format,
    /// Unix seconds.
    pub created: i64,
    /// Mode; `None` when it does not say.
    pub livemode: Option<bool>,
    /// The account it names, by itself or as the last one of its context; `None` is our own.
    pub account: Option<String>,
    /// Version that the data is rendered in.
    pub api_version: Option<String>,
    /// `data.object.object`, or the thin event's `related_object.type`.
    pub object_type: Option<String>,
    /// `data.object.id`, or the thin event's `related_object.id`.
    pub object_id: Option<String>,
}

/// Why a signed body is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not UTF-8, so not JSON.
    #[error("the body is not UTF-8 (byte {0}), so it is not JSON")]
    NotUtf8(usize),
    /// Not JSON, or not of an event's form.
    #[error("the body is not a Stripe event: {0}")]
    NotAnEvent(String),
    /// Stored, since its envelope could be read, but the rest of it cannot.
    #[error(
        "the event is beyond what can be read (128 levels of nesting, numbers of 64 bits, whole characters): {0}; \
         it stays in the log as it came"
    )]
    Unreadable(String),
    /// A field is missing or has an impossible value.
    #[error("the body is not a Stripe event: `{field}` {problem}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// An object and nothing else: serde takes a list for a struct, too, its values in the order of the fields.
struct EventObject<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for EventObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = EventObject<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EventObject<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(EventObject)
    }
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    livemode: Option<&'a RawValue>,
    #[serde(borrow)]
    account: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<EventObject<RawData<'a>>>,
    #[serde(borrow)]
    related_object: Option<EventObject<RawObject<'a>>>,
}

#[derive(Deserialize)]
struct RawData<'a> {
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawObject<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    customer: Option<&'a RawValue>,
}

/// The id that an object is kept by.
#[must_use]
pub fn id_of(object: &Value) -> Option<&str> {
    let text = |name: &str| object.get(name)?.as_str().filter(|text| !text.is_empty());
    let by_customer = || text("customer").filter(|_| text("object") == Some(SUMMARY));
    text("id").or_else(by_customer)
}

/// Whether an API version is newer than any that is known here, so that its shapes may be read wrongly.
#[must_use]
pub(crate) fn is_newer_than_known(api_version: &str) -> bool {
    api_version.get(..NEWEST_KNOWN.len()).is_some_and(|date| date > NEWEST_KNOWN)
}

/// Says once that events come in an API version that is newer than any known here.
pub(crate) fn log_version(envelope: &EventEnvelope) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let Some(version) = envelope.api_version.as_deref().filter(|version| is_newer_than_known(version)) else { return };
    if !TOLD.swap(true, Ordering::Relaxed) {
        log::warn!(
            event_id = envelope.id;
            "events come in API version {version}, newer than {NEWEST_KNOWN}, the newest that this tilld knows: what moved \
             since is not found; update tilld, or give the webhook endpoint an older version at Stripe"
        );
    }
}

/// Reads the envelope of a signed body. The object is passed over without being built.
///
/// # Errors
/// When it is not UTF-8, not JSON, or lacks what every event has.
pub fn envelope(body: &[u8]) -> Result<EventEnvelope, EventError> {
    let text = std::str::from_utf8(body).map_err(|error| EventError::NotUtf8(error.valid_up_to()))?;
    let EventObject(raw): EventObject<RawEnvelope> = serde_json::from_str(text).map_err(not_an_event)?;
    let format = match typed::<String>("object", raw.object, "a text")?.as_deref() {
        Some("event") => Format::Snapshot,
        Some("v2.core.event") => Format::Thin,
        Some(other) => return Err(field("object", format!("is {:?}, not \"event\"", shorten(other)))),
        None => return Err(field("object", "is missing".to_owned())),
    };
    let (object_type, object_id) = object_of(&raw, format)?;
    let account = match format {
        // Events of an organization's destination name the account they are of by their context (docs.stripe.com/get-started/
        // account/orgs); what leads to one is treated as what names it.
        Format::Snapshot => typed("account", raw.account, "a text")?
            .filter(|account: &String| !account.is_empty())
            .or_else(|| string_in(raw.context).and_then(|context| account_of(&context))),
        Format::Thin => string_in(raw.context).and_then(|context| account_of(&context)),
    };
    let event_type = name("type", typed("type", raw.event_type, "a text")?)?;
    let id = name("id", typed("id", raw.id, "a text")?)?;
    Ok(EventEnvelope {
        id: if id == SAMPLE_ID { format!("{id}:{event_type}") } else { id },
        event_type,
        format,
        created: created(raw.created, format)?,
        livemode: typed("livemode", raw.livemode, "true or false")?,
        account,
        api_version: typed("api_version", raw.api_version, "a text")?,
        object_type,
        object_id,
    })
}

/// A field's value where it is of the right type. The error names the field and never quotes it: it may be personal.
fn typed<'a, T: Deserialize<'a>>(
    which: &'static str,
    raw: Option<&'a RawValue>,
    expected: &str,
) -> Result<Option<T>, EventError> {
    raw.map_or(Ok(None), |raw| serde_json::from_str(raw.get())).map_err(|_| field(which, format!("is not {expected}")))
}

fn object_of(raw: &RawEnvelope, format: Format) -> Result<(Option<String>, Option<String>), EventError> {
    let (id, kind) = match format {
        Format::Snapshot => {
            let Some(text) = raw.data.as_ref().and_then(|data| data.0.object) else {
                return Err(field("data.object", "is missing".to_owned()));
            };
            if !text.get().starts_with('{') {
                return Err(field("data.object", "is not an object".to_owned()));
            }
            let object: RawObject = serde_json::from_str(text.get()).map_err(not_an_event)?;
            let kind = string_in(object.object);
            let by_customer = || string_in(object.customer).filter(|_| kind.as_deref() == Some(SUMMARY));
            let id = string_in(object.id).or_else(by_customer);
            return Ok((kind, id));
        }
        Format::Thin => raw.related_object.as_ref().map_or((None, None), |object| (object.0.id, object.0.kind)),
    };
    Ok((string_in(kind), string_in(id)))
}

/// The text of a JSON string; anything else counts as absent, since no id is taken from a number.
fn string_in(raw: Option<&RawValue>) -> Option<String> {
    let read = |text: &str| serde_json::from_str::<String>(text);
    let text = raw.and_then(|raw| read(raw.get()).or_else(|_| read(&lossy::repaired(raw.get()))).ok());
    text.filter(|text| !text.is_empty())
}

/// The account that a context leads to: the last of its path.
fn account_of(context: &str) -> Option<String> {
    context.rsplit('/').find(|account| !account.is_empty()).map(str::to_owned)
}

fn name(which: &'static str, value: Option<String>) -> Result<String, EventError> {
    let value = value.ok_or_else(|| field(which, "is missing".to_owned()))?;
    if value.is_empty() {
        return Err(field(which, "is empty".to_owned()));
    }
    if value.chars().count() > MAX_NAME_CHARS {
        return Err(field(which, format!("is longer than {MAX_NAME_CHARS} characters")));
    }
    if value.chars().any(char::is_control) {
        return Err(field(which, "has a control character in it".to_owned()));
    }
    Ok(value)
}

fn created(raw: Option<&RawValue>, format: Format) -> Result<i64, EventError> {
    let text = raw.ok_or_else(|| field("created", "is missing".to_owned()))?.get();
    let seconds = match format {
        Format::Snapshot => serde_json::from_str(text).ok().as_ref().and_then(object::number),
        Format::Thin => serde_json::from_str::<String>(text)
            .ok()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .map(jiff::Timestamp::as_second),
    };
    seconds.filter(|seconds| (0..=MAX_CREATED_S).contains(seconds)).ok_or_else(|| {
        field("created", format!("is {}, not a time (unix seconds, or RFC 3339 in a thin event)", shorten(text)))
    })
}

/// Where reading failed. The parser would quote a value of the wrong type, which may be personal.
fn words(error: &serde_json::Error) -> String {
    if error.is_data() {
        format!("a value has the wrong type at line {} column {}", error.line(), error.column())
    } else {
        error.to_string()
    }
}

fn not_an_event(error: serde_json::Error) -> EventError {
    EventError::NotAnEvent(words(&error))
}

fn field(field: &'static str, problem: String) -> EventError {
    EventError::Field { field, problem }
}

/// The beginning of a value, for an error text.
fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn problem(body: &str) -> String {
        envelope(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_envelope_is_read_without_its_object_being_understood() {
        let body = r#"{"id":"evt_1","object":"event","type":"a.b","created":7,"livemode":true,"account":"acct_1",
            "api_version":null,"data":{"object":{"id":"x_1","object":"thing","deep":[[[{}]]]}},"request":"req_1"}"#;
        let read = envelope(body.as_bytes()).unwrap();
        assert_eq!((read.id.as_str(), read.event_type.as_str(), read.created), ("evt_1", "a.b", 7));
        assert_eq!((read.object_type.as_deref(), read.object_id.as_deref()), (Some("thing"), Some("x_1")));
        assert_eq!((read.livemode, read.account.as_deref(), read.api_version), (Some(true), Some("acct_1"), None));
    }

    #[test]
    fn a_thin_event_has_a_time_in_words_and_a_related_object() {
        let body = r#"{"id":"evt_2","object":"v2.core.event","type":"v1.invoice.paid","created":"2026-01-02T03:04:05.678Z",
            "related_object":{"id":"in_1","type":"invoice","url":"/v1/invoices/in_1"}}"#;
        let read = envelope(body.as_bytes()).unwrap();
        assert_eq!((read.format, read.created), (Format::Thin, 1_767_323_045));
        assert_eq!((read.object_type.as_deref(), read.object_id.as_deref()), (Some("invoice"), Some("in_1")));
        let EventContent::Thin(thin) = content(body).unwrap() else { unreachable!("it is thin") };
        let related = thin.related.unwrap();
        assert_eq!((related.url.as_deref(), thin.context), (Some("/v1/invoices/in_1"), None));
    }

    #[test]
    fn a_thin_event_is_of_the_account_that_its_context_leads_to() {
        let of = |context: &str| {
            let start =
                r#"{"id":"evt_2","object":"v2.core.event","type":"t","created":"2026-01-02T03:04:05Z","context":"#;
            let body = format!("{start}{context}}}");
            let EventContent::Thin(thin) = content(&body).unwrap() else { unreachable!("it is thin") };
            (envelope(body.as_bytes()).unwrap().account, thin.context)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of(r#""acct_1""#), (text("acct_1"), text("acct_1")));
        assert_eq!(of(r#""acct_1/acct_2""#), (text("acct_2"), text("acct_1/acct_2")));
        for none in ["null", r#""""#, "7"] {
            assert_eq!(of(none), (None, None), "{none}");
        }
    }

    #[test]
    fn half_a_character_in_a_text_is_replaced_and_the_rest_is_read() {
        let body = r#"{"id":"evt_1","object":"event","type":"t","created":1,"data":{"object":
            {"id":"a","why":"x\ud83dy","pair":"\ud83d\ude00","no":"\\ud83d"}}}"#;
        assert!(envelope(body.as_bytes()).is_ok());
        let EventContent::Snapshot(snapshot) = content(body).unwrap() else { unreachable!("it is a snapshot") };
        assert_eq!(snapshot.object["why"], "x\u{fffd}y");
        assert_eq!((&snapshot.object["pair"], &snapshot.object["no"]), (&"😀".into(), &"\\ud83d".into()));
        assert!(serde_json::from_str::<Value>(&snapshot.object_text).is_ok(), "and the mirror can be read again");
        assert_eq!(Snapshot::of_object(r#"{"id":"a","why":"\udc00"}"#).unwrap().object["why"], "\u{fffd}");
    }

    #[test]
    fn a_sample_of_the_dashboard_is_known_by_its_type_and_a_summary_by_its_customer() {
        let body = r#"{"id":"evt_00000000000000","object":"event","type":"invoice.paid","created":-0,"data":{"object":
            {"object":"entitlements.active_entitlement_summary","customer":"cus_1"}}}"#;
        let read = envelope(body.as_bytes()).unwrap();
        assert_eq!((read.id.as_str(), read.created), ("evt_00000000000000:invoice.paid", 0));
        assert_eq!(read.object_id.as_deref(), Some("cus_1"));
    }

    #[test]
    fn a_version_that_came_later_is_newer_than_known_and_none_other() {
        assert!(is_newer_than_known("2026-10-28.fjord"));
        for known in ["2026-09-30.endive", "2020-08-27", "", "é"] {
            assert!(!is_newer_than_known(known), "{known}");
        }
    }

    #[test]
    fn a_body_that_is_not_an_event_is_refused_with_the_field_named() {
        assert!(matches!(envelope(b"{\"id\":\"\xff\"}"), Err(EventError::NotUtf8(7))));
        assert!(problem("[]").contains("not a Stripe event"));
        let personal = problem(
            r#"{"object":"event","type":"t","created":1,"id":{"mail":"zoe@example.com"},"data":{"object":{}}}"#,
        );
        assert!(personal.contains("`id` is not a text") && !personal.contains("zoe"), "{personal}");
        assert!(problem(r#"{"object":"charge"}"#).contains("`object` is \"charge\""));
        assert!(problem(r#"{"object":"event","id":"e","type":"t","created":1}"#).contains("`data.object` is missing"));
        for created in ["-1", "1e30", "99999999999999999999", "\"1\"", "null", "1.5"] {
            let body =
                format!(r#"{{"object":"event","id":"e","type":"t","created":{created},"data":{{"object":{{}}}}}}"#);
            assert!(problem(&body).contains("`created`"), "{created}");
        }
        for list in [
            r#"["evt_1","event"]"#,
            r#"{"object":"event","id":"e","type":"t","created":1,"data":[{"id":"x"}]}"#,
            r#"{"object":"v2.core.event","id":"e","type":"t","created":"2026-01-02T03:04:05Z","related_object":["x"]}"#,
        ] {
            assert!(problem(list).contains("a value has the wrong type"), "{list}");
        }
        let control = r#"{"object":"event","id":"e\u0000","type":"t","created":1,"data":{"object":{}}}"#;
        assert!(problem(control).contains("`id` has a control character"));
    }
}

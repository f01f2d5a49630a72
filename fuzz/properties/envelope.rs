//! What must hold of an event's envelope, whatever the body. The input is the body.

use serde_json::Value;
use tilld::stripe::event::{self, EventContent, EventEnvelope, EventError, Format, MAX_NAME_CHARS};
use tilld::stripe::object;

pub fn check(body: &[u8]) {
    let read = event::envelope(body);
    let envelope = match read {
        Ok(envelope) => envelope,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() < 600, "the body is quoted: {} bytes", text.len());
            return;
        }
    };
    for name in [&envelope.id, &envelope.event_type] {
        let length = name.chars().count();
        assert!((1..=MAX_NAME_CHARS).contains(&length) && !name.chars().any(char::is_control), "{name:?}");
    }
    let text = std::str::from_utf8(body).expect("an envelope is only read from UTF-8");
    assert_eq!(event::envelope(format!("\n {text}\t\r\n").as_bytes()).as_ref(), Ok(&envelope), "white space around it");
    let value = serde_json::from_str::<Value>(text).ok();
    if let Some(value) = &value {
        check_same(&envelope, value);
    }
    match event::content(text) {
        Ok(EventContent::Snapshot(snapshot)) => {
            assert_eq!(envelope.format, Format::Snapshot);
            assert!(snapshot.object.is_object());
            assert_eq!(serde_json::from_str::<Value>(&snapshot.object_text).ok().as_ref(), Some(&snapshot.object));
            assert_eq!(event::id_of(&snapshot.object), envelope.object_id.as_deref());
            assert_eq!(text_of(snapshot.object.get("object")), envelope.object_type.as_deref());
            if let Some(value) = &value {
                assert_eq!(value.pointer("/data/object"), Some(&snapshot.object));
                let previous = value.pointer("/data/previous_attributes").filter(|previous| !previous.is_null());
                assert_eq!(previous, snapshot.previous_attributes.as_ref());
                let key = value.pointer("/request/idempotency_key").and_then(Value::as_str);
                assert_eq!(key, snapshot.idempotency_key.as_deref());
            }
        }
        Ok(EventContent::Thin(_)) => assert_eq!(envelope.format, Format::Thin),
        Err(EventError::Unreadable(_)) => {}
        Err(error) => panic!("the envelope was read, so the rest is there: {error}"),
    }
}

/// The envelope says what any reader of the whole body would.
fn check_same(envelope: &EventEnvelope, value: &Value) {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let of_sample = |id: &str| envelope.id == format!("{id}:{}", envelope.event_type);
    assert!(text("id").is_some_and(|id| if id == event::SAMPLE_ID { of_sample(id) } else { id == envelope.id }));
    assert_eq!(text("type"), Some(envelope.event_type.as_str()));
    let account = match envelope.format {
        Format::Snapshot => text("account").filter(|account| !account.is_empty()),
        Format::Thin => text("context").and_then(|path| path.rsplit('/').find(|account| !account.is_empty())),
    };
    assert_eq!(account, envelope.account.as_deref());
    assert_eq!(text("api_version"), envelope.api_version.as_deref());
    assert_eq!(value.get("livemode").and_then(Value::as_bool), envelope.livemode);
    let (format, created, object_type, object_id) = match envelope.format {
        Format::Snapshot => ("event", object::number(&value["created"]), "/data/object/object", "/data/object/id"),
        Format::Thin => {
            let created = text("created").and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let created = created.map(jiff::Timestamp::as_second);
            ("v2.core.event", created, "/related_object/type", "/related_object/id")
        }
    };
    assert_eq!(text("object"), Some(format));
    assert_eq!(created, Some(envelope.created));
    assert_eq!(text_of(value.pointer(object_type)), envelope.object_type.as_deref());
    let summary = value.pointer("/data/object").filter(|_| envelope.format == Format::Snapshot).and_then(event::id_of);
    assert_eq!(summary.or(text_of(value.pointer(object_id))), envelope.object_id.as_deref());
}

/// An empty text counts as absent.
fn text_of(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

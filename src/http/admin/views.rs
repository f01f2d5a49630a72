//! Events, retries and dead letters as JSON, for the admin API and the command line. Times in unix seconds. It must never read
//! the database.

use serde_json::{Value, json};

use crate::store::dead_letters::DeadLetter;
use crate::store::inbox::{EventEntry, FailedAttempt};
use crate::store::retries::Retry;

/// An event of the log.
#[must_use]
pub fn event(entry: &EventEntry) -> Value {
    json!({
        "id": entry.event_id, "type": entry.event_type, "created": entry.event_created,
        "received": entry.received_ms.div_euclid(1000), "livemode": entry.livemode, "account": entry.account,
        "source": entry.source, "api_version": entry.api_version, "status": entry.status, "attempts": entry.attempts, "error": entry.error,
    })
}

/// A stored body: as JSON if it can be parsed, else as text.
#[must_use]
pub fn payload(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// A failed attempt.
#[must_use]
pub fn attempt((number, at_ms, error): &FailedAttempt) -> Value {
    json!({"attempt": number, "at": at_ms.div_euclid(1000), "error": error})
}

/// A row of the retry queue.
#[must_use]
pub fn retry(retry: &Retry) -> Value {
    json!({
        "id": retry.event_id, "type": retry.event_type, "retry_count": retry.retry_count,
        "max_retries": retry.max_retries, "next_retry_at": retry.due_ms.div_euclid(1000),
        "last_error": retry.last_error, "created": retry.created_at_ms.div_euclid(1000),
    })
}

/// A dead letter.
#[must_use]
pub fn dead_letter(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.event_id, "type": letter.event_type, "retry_count": letter.retry_count, "error": letter.error,
        "received": letter.received_ms.div_euclid(1000), "created": letter.created_at_ms.div_euclid(1000),
    })
}

//! What operators see, as types: each field with its meaning, its unit and an example. Times in unix seconds. It must
//! never read the database. Used by the admin API and the command line.

mod outbox;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::store::dead_letters::DeadLetter;
use crate::store::inbox::{EventEntry, FailedAttempt};
use crate::store::retries::Retry;

pub(super) use outbox::{
    OperationView, OutboxDetailsView, OutboxRetriedView, OutboxRowView, operation, outbox_details, outbox_row,
};

/// An event of the log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct EventView {
    /// Stripe's id.
    #[schemars(example = &"evt_1NG8Du2eZvKYlo2CUI79vXWy")]
    id: String,
    /// What happened to what, in Stripe's words.
    #[schemars(example = &"invoice.paid")]
    r#type: String,
    /// When Stripe made it, unix seconds.
    #[schemars(example = 1_767_225_600)]
    created: i64,
    /// When tilld received it, unix seconds.
    #[schemars(example = 1_767_225_601)]
    received: i64,
    /// Whether it is of Stripe's live mode; null: it did not say.
    #[schemars(example = false)]
    livemode: Option<bool>,
    /// The connected account that it is about; null: the own one.
    #[schemars(example = &"acct_1NG8Du2eZvKYlo2C")]
    account: Option<String>,
    /// What brought it: `webhook`, or `api` where Stripe was asked.
    #[schemars(extend("enum" = ["webhook", "api"]), example = &"webhook")]
    source: String,
    /// Stripe's API version that its body is written in; null: it did not say.
    #[schemars(example = &"2026-09-30.endive")]
    api_version: Option<String>,
    /// Where it stands: `pending`, `processed`, `ignored`, `retrying` or `dead`.
    #[schemars(extend("enum" = ["pending", "processed", "ignored", "retrying", "dead"]), example = &"processed")]
    status: String,
    /// Attempts that were made to project it.
    #[schemars(example = 1)]
    attempts: u32,
    /// Why the newest attempt failed, or why it is ignored; null: neither.
    #[schemars(example = &"unknown type")]
    error: Option<String>,
}

/// An event of the log with its body.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventDetails")]
pub(crate) struct EventDetailsView {
    /// The event.
    #[serde(flatten)]
    pub event: EventView,
    /// Its body, as Stripe sent it; a text if it is not JSON.
    #[schemars(example = json!({"id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event"}))]
    pub payload: Value,
}

/// An event of the log.
#[must_use]
pub(crate) fn event(entry: &EventEntry) -> EventView {
    EventView {
        id: entry.event_id.clone(),
        r#type: entry.event_type.clone(),
        created: entry.event_created,
        received: entry.received_ms.div_euclid(1000),
        livemode: entry.livemode,
        account: entry.account.clone(),
        source: entry.source.clone(),
        api_version: entry.api_version.clone(),
        status: entry.status.clone(),
        attempts: entry.attempts,
        error: entry.error.clone(),
    }
}

/// A stored body: as JSON if it can be parsed, else as text.
#[must_use]
pub(crate) fn payload(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// An attempt to project an event that failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FailedAttempt")]
pub(crate) struct AttemptView {
    /// Its number, from 1.
    #[schemars(example = 1)]
    attempt: i64,
    /// When it failed, unix seconds.
    #[schemars(example = 1_767_225_602)]
    at: i64,
    /// Why it failed.
    #[schemars(example = &"the customer is missing")]
    error: String,
}

/// A failed attempt.
#[must_use]
pub(crate) fn attempt((number, at_ms, error): &FailedAttempt) -> AttemptView {
    AttemptView { attempt: i64::from(*number), at: at_ms.div_euclid(1000), error: error.clone() }
}

/// An event that failed and waits for its next attempt.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Retry")]
pub(crate) struct RetryView {
    /// Stripe's id of the event.
    #[schemars(example = &"evt_1NG8Du2eZvKYlo2CUI79vXWy")]
    id: String,
    /// Its type.
    #[schemars(example = &"invoice.paid")]
    r#type: String,
    /// Attempts that failed.
    #[schemars(example = 2)]
    retry_count: u32,
    /// Attempts after which it is a dead letter.
    #[schemars(example = 8)]
    max_retries: u32,
    /// When the next attempt is due, unix seconds.
    #[schemars(example = 1_767_225_690)]
    next_retry_at: i64,
    /// Why the newest attempt failed.
    #[schemars(example = &"the customer is missing")]
    last_error: String,
    /// When it failed first, unix seconds.
    #[schemars(example = 1_767_225_602)]
    created: i64,
}

/// A row of the retry queue.
#[must_use]
pub(crate) fn retry(retry: &Retry) -> RetryView {
    RetryView {
        id: retry.event_id.clone(),
        r#type: retry.event_type.clone(),
        retry_count: retry.retry_count,
        max_retries: retry.max_retries,
        next_retry_at: retry.due_ms.div_euclid(1000),
        last_error: retry.last_error.clone(),
        created: retry.created_at_ms.div_euclid(1000),
    }
}

/// An event that was given up.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub(crate) struct DeadLetterView {
    /// Stripe's id of the event.
    #[schemars(example = &"evt_1NG8Du2eZvKYlo2CUI79vXWy")]
    id: String,
    /// Its type.
    #[schemars(example = &"invoice.paid")]
    r#type: String,
    /// Attempts that were made.
    #[schemars(example = 8)]
    retry_count: u32,
    /// Why the last one failed.
    #[schemars(example = &"the customer is missing")]
    error: String,
    /// When the event was received, unix seconds.
    #[schemars(example = 1_767_225_600)]
    received: i64,
    /// When it was given up, unix seconds.
    #[schemars(example = 1_767_232_800)]
    created: i64,
}

/// A dead letter with its attempts and its body.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterDetails")]
pub(crate) struct DeadLetterDetailsView {
    /// The dead letter.
    #[serde(flatten)]
    pub letter: DeadLetterView,
    /// The attempts that failed, the oldest first.
    pub attempts: Vec<AttemptView>,
    /// The body, as Stripe sent it; a text if it is not JSON; null: it is no longer kept.
    #[schemars(example = json!({"id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event"}))]
    pub payload: Value,
}

/// A dead letter.
#[must_use]
pub(crate) fn dead_letter(letter: &DeadLetter) -> DeadLetterView {
    DeadLetterView {
        id: letter.event_id.clone(),
        r#type: letter.event_type.clone(),
        retry_count: letter.retry_count,
        error: letter.error.clone(),
        received: letter.received_ms.div_euclid(1000),
        created: letter.created_at_ms.div_euclid(1000),
    }
}

/// Dead letters that are pending again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Replayed")]
pub(crate) struct ReplayedView {
    /// How many.
    #[schemars(example = 1)]
    pub replayed: usize,
    /// Stripe's ids of the events.
    #[schemars(example = ["evt_1NG8Du2eZvKYlo2CUI79vXWy"])]
    pub event_ids: Vec<String>,
}

/// What was discarded.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Discarded")]
pub(crate) struct DiscardedView {
    /// Its id.
    #[schemars(example = &"17")]
    pub id: String,
    /// Always true.
    #[schemars(extend("const" = true), example = true)]
    pub discarded: bool,
}

//! `stripe_webhooks_log`: the inbox. Appending, and every change of an event's state. Each
//! change says from which state it may come, so that a late worker cannot undo a decision.

mod claim;
mod list;
pub mod search;
pub mod traces;

use rusqlite::named_params;

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row;
use crate::stripe::event::EventEnvelope;

pub(crate) use claim::{
    ClaimRange, PendingEvent, any_pending, claim_next, claim_suspect, clear_claim, find_claim, list_pending,
};
pub(crate) use list::{
    EventEntry, EventFilter, FailedAttempt, Health, SiblingEvent, SiblingKey, find_log_id, find_newest,
    find_newest_version, find_of_mode, find_payload, is_awaited, list_attempts, list_siblings, newest_log_id,
};
pub use list::{find, health, list};

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptOutcome {
    /// A row was added.
    New,
    /// The same event again.
    Duplicate,
    /// The id is known, but with another type, time or object: somebody reuses ids.
    Conflicting,
}

/// What brought an event first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// Stripe sent it.
    Webhook,
    /// It was asked for.
    Api,
}

impl EventSource {
    /// The word in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Api => "api",
        }
    }
}

/// States of an event, as the column has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// Waits for the worker.
    Pending,
    /// Projected into the tables.
    Processed,
    /// Kept, perhaps mirrored, but nothing typed follows from it.
    Ignored,
    /// Failed, waits for its due time.
    Retrying,
    /// Given up; an operator decides.
    Dead,
}

impl EventStatus {
    /// All of them, in the order of an event's life.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Processed, Self::Ignored, Self::Retrying, Self::Dead];

    /// The word in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::Ignored => "ignored",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

const INSERT: &str = "INSERT INTO stripe_webhooks_log
    (event_id, event_type, livemode, account, api_version, event_created, object_type, object_id, source,
     created_at_ms, data)
    VALUES (:event_id, :event_type, :livemode, :account, :api_version, :event_created, :object_type, :object_id,
            :source, :received_ms, :data)
    ON CONFLICT (event_id) DO NOTHING";

/// Appends an event, once per id.
pub fn accept(
    tx: &Tx,
    event: &EventEnvelope,
    body: &str,
    source: EventSource,
    received_ms: i64,
) -> Result<AcceptOutcome, StoreError> {
    let added = tx.execute_named(
        INSERT,
        named_params! {
            ":event_id": event.id, ":event_type": event.event_type, ":livemode": event.livemode,
            ":account": event.account, ":api_version": event.api_version, ":event_created": event.created,
            ":object_type": event.object_type, ":object_id": event.object_id,
            ":source": source.as_str(), ":received_ms": received_ms, ":data": body,
        },
    )?;
    if added == 1 { Ok(AcceptOutcome::New) } else { compare(tx, event) }
}

const SAME: &str = "SELECT event_type = ?2 AND event_created = ?3 AND object_id IS ?4
    FROM stripe_webhooks_log WHERE event_id = ?1";

/// Bodies may differ rightly (`pending_webhooks` counts down, two endpoints have two API versions); what happened
/// to which object and when may not.
fn compare(tx: &Tx, event: &EventEnvelope) -> Result<AcceptOutcome, StoreError> {
    let params = (&event.id, &event.event_type, event.created, &event.object_id);
    let same: bool = tx.get(SAME, params, row::only)?;
    Ok(if same { AcceptOutcome::Duplicate } else { AcceptOutcome::Conflicting })
}

/// Whether an event still waits for the worker.
pub(crate) fn is_pending(reader: &StoreReader, log_id: i64) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM stripe_webhooks_log WHERE id = ?1 AND status = 'pending'";
    Ok(reader.find(SQL, [log_id], |_| Ok(()))?.is_some())
}

/// How an event ended up after an attempt that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventCompletion {
    /// Its facts are in the typed tables.
    Processed,
    /// Only the mirror has it; no typed table has it.
    Mirrored,
    /// Nothing was taken from it, and why.
    Ignored(String),
}

impl EventCompletion {
    fn columns(&self) -> (EventStatus, bool, Option<&String>) {
        match self {
            Self::Processed => (EventStatus::Processed, true, None),
            Self::Mirrored => (EventStatus::Ignored, true, None),
            Self::Ignored(reason) => (EventStatus::Ignored, false, Some(reason)),
        }
    }
}

/// What completing an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletedEvent {
    /// It was projected or ignored for the first time.
    First,
    /// The same once more: it was replayed.
    Again,
    /// Nothing: it was no longer pending, and its changes must be undone.
    NotPending,
}

macro_rules! complete {
    ($finished:literal) => {
        concat!(
            "UPDATE stripe_webhooks_log SET status = ?2, processed = ?3, processing_error = ?4, processing_attempts = ?5,
             processed_at_ms = ?6",
            $finished
        )
    };
}
const COMPLETE_FIRST: &str = complete!(
    ", finished_at_ms = ?6 WHERE id = ?1 AND status = 'pending' AND status <> 'processed' AND finished_at_ms IS NULL"
);
const COMPLETE_AGAIN: &str = complete!(" WHERE id = ?1 AND status = 'pending' AND status <> 'processed'");

/// Marks a pending event as done.
pub fn complete(
    tx: &Tx,
    log_id: i64,
    completion: &EventCompletion,
    attempt: u32,
    now_ms: i64,
) -> Result<CompletedEvent, StoreError> {
    let (status, processed, reason) = completion.columns();
    let params = (log_id, status.as_str(), processed, reason, attempt, now_ms);
    if tx.execute(COMPLETE_FIRST, params)? == 1 {
        return Ok(CompletedEvent::First);
    }
    let changed = tx.execute(COMPLETE_AGAIN, params)?;
    Ok(if changed == 1 { CompletedEvent::Again } else { CompletedEvent::NotPending })
}

const FETCHED: &str =
    "UPDATE stripe_webhooks_log SET status = ?2, processed = ?3, processing_error = ?4, processed_at_ms = ?5
    WHERE event_id = ?1 AND status = 'ignored' AND status <> 'processed' AND processed = 0";

/// What a thin event names has been fetched, and how the event ended up by that. `false`: it no longer waits for that.
pub fn fetched(tx: &Tx, event_id: &str, completion: &EventCompletion, now_ms: i64) -> Result<bool, StoreError> {
    let (status, processed, reason) = completion.columns();
    Ok(tx.execute(FETCHED, (event_id, status.as_str(), processed, reason, now_ms))? == 1)
}

const FAIL: &str = "UPDATE stripe_webhooks_log SET status = ?2, processing_error = ?3, processing_attempts = ?4
    WHERE event_id = ?1 AND status = 'pending' AND status <> 'processed'";
const ADD_ATTEMPT: &str =
    "INSERT INTO webhook_attempts (stripe_event_id, attempt, at_ms, error) VALUES (?1, ?2, ?3, ?4)";

/// A failed attempt, for the log.
pub struct AttemptFailure<'a> {
    /// Which event.
    pub event_id: &'a str,
    /// Number of the attempt.
    pub attempt: u32,
    /// Why.
    pub error: &'a str,
    /// When.
    pub at_ms: i64,
}

/// Moves a pending event to `status` after a failed attempt, and keeps the attempt's error.
pub fn fail(tx: &Tx, failure: &AttemptFailure, status: EventStatus) -> Result<bool, StoreError> {
    let changed = tx.execute(FAIL, (failure.event_id, status.as_str(), failure.error, failure.attempt))?;
    if changed == 1 {
        tx.execute(ADD_ATTEMPT, (failure.event_id, failure.attempt, failure.at_ms, failure.error))?;
    }
    Ok(changed == 1)
}

const RELEASE: &str = "UPDATE stripe_webhooks_log SET status = 'pending' WHERE event_id = ?1 AND status = 'retrying' AND status <> 'processed'";

/// A retry is due: the event waits for the worker again.
pub fn release(tx: &Tx, event_id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(RELEASE, [event_id])? == 1)
}

// The time of the last projection stays where the event's facts are in the tables, so that `rebuild` knows that they belong
// there, however long the event waits and whatever becomes of it. From an ignored event nothing was taken.
const REPLAY: &str = "UPDATE stripe_webhooks_log SET status = 'pending', processed = 0, processing_error = NULL,
    processing_attempts = 0, processed_at_ms = iif(status = 'ignored' AND processed = 0, NULL, processed_at_ms)
    WHERE event_id = ?1";

/// Any event, whatever its state, waits for the worker again, with its attempts forgotten.
pub fn replay(tx: &Tx, event_id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(REPLAY, [event_id])? == 1)
}

const REPLAY_ALL: &str = "UPDATE stripe_webhooks_log SET status = 'pending', processed = 0, processing_error = NULL,
    processing_attempts = 0, processed_at_ms = iif(status = 'ignored' AND processed = 0, NULL, processed_at_ms)
    WHERE status <> 'pending' AND (?1 IS NULL OR event_type = ?1)";

/// All events, or those of a type, wait for the worker again. How many.
pub fn replay_all(tx: &Tx, event_type: Option<&str>) -> Result<usize, StoreError> {
    for queue in ["webhook_retry_queue", "webhook_dead_letter_queue"] {
        tx.execute(&format!("DELETE FROM {queue} WHERE ?1 IS NULL OR event_type = ?1"), [event_type])?;
    }
    tx.execute(REPLAY_ALL, [event_type])
}

// What was projected before a replay failed is in the tables still.
const DISCARD: &str = "UPDATE stripe_webhooks_log SET status = 'ignored', processed = (processed_at_ms IS NOT NULL)
    WHERE event_id = ?1 AND status = 'dead' AND status <> 'processed'";

/// A dead event is kept as ignored.
pub fn discard(tx: &Tx, event_id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(DISCARD, [event_id])? == 1)
}

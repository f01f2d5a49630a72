//! `stripe_webhooks_log`: the inbox. Appending, the worker's claim, and every change of an event's state. Each
//! change says from which state it may come, so that a late worker cannot undo a decision.

use rusqlite::{Row, named_params};

use super::{Reader, StoreError, Tx};
use crate::stripe::event::Envelope;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// A row was added.
    New,
    /// The same event again.
    Duplicate,
    /// The id is known, but with another type, time or object: somebody reuses ids.
    Conflicting,
}

/// States of an event, as the column has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
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

impl Status {
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

/// An event that waits for its projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Place in the log.
    pub log_id: i64,
    /// Stripe's id.
    pub event_id: String,
    /// `resource.verb`.
    pub event_type: String,
    /// Unix seconds.
    pub event_created: i64,
    /// Mode, where it said.
    pub livemode: Option<bool>,
    /// Connect account.
    pub account: Option<String>,
    /// Attempts made before.
    pub attempts: u32,
    /// When it was received.
    pub received_ms: i64,
    /// The body.
    pub data: String,
}

/// An event as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Stripe's id.
    pub event_id: String,
    /// `resource.verb`.
    pub event_type: String,
    /// Unix seconds, Stripe's.
    pub event_created: i64,
    /// Unix milliseconds, ours.
    pub received_ms: i64,
    /// Mode, where it said.
    pub livemode: Option<bool>,
    /// Connect account.
    pub account: Option<String>,
    /// Version that its data is rendered in.
    pub api_version: Option<String>,
    /// Its state.
    pub status: String,
    /// Attempts made.
    pub attempts: u32,
    /// Newest failure or reason.
    pub error: Option<String>,
}

/// An event of an object's set, as the order guard compares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// Stripe's id.
    pub event_id: String,
    /// `resource.verb`.
    pub event_type: String,
    /// Unix seconds.
    pub event_created: i64,
    /// The body.
    pub data: String,
}

const INSERT: &str = "INSERT INTO stripe_webhooks_log
    (event_id, event_type, livemode, account, api_version, event_created, object_type, object_id, created_at_ms, data)
    VALUES (:event_id, :event_type, :livemode, :account, :api_version, :event_created, :object_type, :object_id,
            :received_ms, :data)
    ON CONFLICT (event_id) DO NOTHING";

/// Appends an event, once per id.
///
/// # Errors
/// When the database cannot take it.
pub fn accept(tx: &Tx, event: &Envelope, body: &str, received_ms: i64) -> Result<Accepted, StoreError> {
    let added = tx.execute(
        INSERT,
        named_params! {
            ":event_id": event.id, ":event_type": event.event_type, ":livemode": event.livemode,
            ":account": event.account, ":api_version": event.api_version, ":event_created": event.created,
            ":object_type": event.object_type, ":object_id": event.object_id, ":received_ms": received_ms, ":data": body,
        },
    )?;
    if added == 1 { Ok(Accepted::New) } else { compare(tx, event) }
}

const SAME: &str = "SELECT event_type = ?2 AND event_created = ?3 AND object_id IS ?4
    FROM stripe_webhooks_log WHERE event_id = ?1";

/// Bodies may differ rightly (`pending_webhooks` counts down, two endpoints have two API versions); what happened
/// to which object and when may not.
fn compare(tx: &Tx, event: &Envelope) -> Result<Accepted, StoreError> {
    let params = (&event.id, &event.event_type, event.created, &event.object_id);
    let same: bool = tx.get(SAME, params, |row| row.get(0))?;
    Ok(if same { Accepted::Duplicate } else { Accepted::Conflicting })
}

const NEXT_RANGE: &str = "SELECT min(id), max(id) FROM
    (SELECT id FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed' ORDER BY id LIMIT ?1)";
const SET_CLAIM: &str = "INSERT INTO worker_claim (id, first_log_id, last_log_id, claimed_at_ms) VALUES (1, ?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET first_log_id = ?1, last_log_id = ?2, claimed_at_ms = ?3";
const CLEAR_CLAIM: &str = "DELETE FROM worker_claim";

/// Events from `first` to `last` place in the log, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First place.
    pub first: i64,
    /// Last place.
    pub last: i64,
}

/// Writes down which pending events the worker takes next, oldest first, so that a crash can be laid to them.
/// `None`: nothing is pending, and no claim stands.
///
/// # Errors
/// When the database cannot take it.
pub fn claim_next(tx: &Tx, limit: u32, now_ms: i64) -> Result<Option<Range>, StoreError> {
    let range =
        tx.get(NEXT_RANGE, [limit], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let (Some(first), Some(last)) = range else {
        tx.execute(CLEAR_CLAIM, [])?;
        return Ok(None);
    };
    tx.execute(SET_CLAIM, (first, last, now_ms))?;
    Ok(Some(Range { first, last }))
}

const FIND_CLAIM: &str = "SELECT first_log_id, last_log_id FROM worker_claim";

/// The claim that a former process left behind.
///
/// # Errors
/// When the database cannot be read.
pub fn find_claim(reader: &Reader) -> Result<Option<Range>, StoreError> {
    reader.find(FIND_CLAIM, [], |row| Ok(Range { first: row.get(0)?, last: row.get(1)? }))
}

const COUNT_ATTEMPT: &str = "UPDATE stripe_webhooks_log SET processing_attempts = processing_attempts + 1
    WHERE id = ?1 AND status = 'pending' AND status <> 'processed' RETURNING processing_attempts";

/// Counts an attempt before it is made, and narrows the claim to what is still suspected. The number of the attempt;
/// `None` when the event is no longer pending.
///
/// # Errors
/// When the database cannot take it.
pub fn claim_suspect(tx: &Tx, suspects: Range, now_ms: i64) -> Result<Option<u32>, StoreError> {
    tx.execute(SET_CLAIM, (suspects.first, suspects.last, now_ms))?;
    tx.find(COUNT_ATTEMPT, [suspects.first], |row| row.get(0))
}

/// Forgets the claim.
///
/// # Errors
/// When the database cannot take it.
pub fn clear_claim(tx: &Tx) -> Result<(), StoreError> {
    tx.execute(CLEAR_CLAIM, []).map(|_| ())
}

const LIST_PENDING: &str = "SELECT id, event_id, event_type, event_created, livemode, account, processing_attempts,
    created_at_ms, data FROM stripe_webhooks_log
    WHERE status = 'pending' AND status <> 'processed' AND id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3";

/// Pending events within a range of the log.
///
/// # Errors
/// When the database cannot be read.
pub fn list_pending(reader: &Reader, range: Range, limit: u32) -> Result<Vec<Pending>, StoreError> {
    reader.list(LIST_PENDING, (range.first, range.last, limit), |row| {
        Ok(Pending {
            log_id: row.get(0)?,
            event_id: row.get(1)?,
            event_type: row.get(2)?,
            event_created: row.get(3)?,
            livemode: row.get(4)?,
            account: row.get(5)?,
            attempts: row.get(6)?,
            received_ms: row.get(7)?,
            data: row.get(8)?,
        })
    })
}

/// Whether an event still waits for the worker.
///
/// # Errors
/// When the database cannot be read.
pub fn is_pending(reader: &Reader, log_id: i64) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM stripe_webhooks_log WHERE id = ?1 AND status = 'pending'";
    Ok(reader.find(SQL, [log_id], |_| Ok(()))?.is_some())
}

/// How an event ended up after an attempt that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// Its facts are in the typed tables.
    Processed,
    /// Only the mirror has it; no typed table speaks of it.
    Mirrored,
    /// Nothing was taken from it, and why.
    Ignored(String),
}

const COMPLETE: &str = "UPDATE stripe_webhooks_log
    SET status = ?2, processed = ?3, processing_error = ?4, processing_attempts = ?5, processed_at_ms = ?6
    WHERE id = ?1 AND status = 'pending' AND status <> 'processed'";

/// Marks a pending event as done. `false`: it was no longer pending, and its changes must be undone.
///
/// # Errors
/// When the database cannot take it.
pub fn complete(tx: &Tx, log_id: i64, completion: &Completion, attempt: u32, now_ms: i64) -> Result<bool, StoreError> {
    let (status, processed, reason) = match completion {
        Completion::Processed => (Status::Processed, true, None),
        Completion::Mirrored => (Status::Ignored, true, None),
        Completion::Ignored(reason) => (Status::Ignored, false, Some(reason)),
    };
    let changed = tx.execute(COMPLETE, (log_id, status.as_str(), processed, reason, attempt, now_ms))?;
    Ok(changed == 1)
}

const FAIL: &str = "UPDATE stripe_webhooks_log SET status = ?2, processing_error = ?3, processing_attempts = ?4
    WHERE event_id = ?1 AND status = 'pending' AND status <> 'processed'";
const ADD_ATTEMPT: &str =
    "INSERT INTO webhook_attempts (stripe_event_id, attempt, at_ms, error) VALUES (?1, ?2, ?3, ?4)";

/// A failed attempt, for the log.
pub struct Failure<'a> {
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
///
/// # Errors
/// When the database cannot take it.
pub fn fail(tx: &Tx, failure: &Failure, status: Status) -> Result<bool, StoreError> {
    let changed = tx.execute(FAIL, (failure.event_id, status.as_str(), failure.error, failure.attempt))?;
    if changed == 1 {
        tx.execute(ADD_ATTEMPT, (failure.event_id, failure.attempt, failure.at_ms, failure.error))?;
    }
    Ok(changed == 1)
}

const RELEASE: &str = "UPDATE stripe_webhooks_log SET status = 'pending' WHERE event_id = ?1 AND status = 'retrying' AND status <> 'processed'";

/// A retry is due: the event waits for the worker again.
///
/// # Errors
/// When the database cannot take it.
pub fn release(tx: &Tx, event_id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(RELEASE, [event_id])? == 1)
}

const REPLAY: &str = "UPDATE stripe_webhooks_log SET status = 'pending', processed = 0, processing_error = NULL,
    processing_attempts = 0, processed_at_ms = NULL WHERE event_id = ?1";

/// Any event, whatever its state, waits for the worker again, with its attempts forgotten.
///
/// # Errors
/// When the database cannot take it.
pub fn replay(tx: &Tx, event_id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(REPLAY, [event_id])? == 1)
}

const REPLAY_ALL: &str = "UPDATE stripe_webhooks_log SET status = 'pending', processed = 0, processing_error = NULL,
    processing_attempts = 0, processed_at_ms = NULL WHERE status <> 'pending' AND (?1 IS NULL OR event_type = ?1)";

/// All events, or those of a type, wait for the worker again. How many.
///
/// # Errors
/// When the database cannot take it.
pub fn replay_all(tx: &Tx, event_type: Option<&str>) -> Result<usize, StoreError> {
    for queue in ["webhook_retry_queue", "webhook_dead_letter_queue"] {
        tx.execute(&format!("DELETE FROM {queue} WHERE ?1 IS NULL OR event_type = ?1"), [event_type])?;
    }
    tx.execute(REPLAY_ALL, [event_type])
}

const DISCARD: &str = "UPDATE stripe_webhooks_log SET status = 'ignored' WHERE event_id = ?1 AND status = 'dead' AND status <> 'processed'";

/// A dead event is kept as ignored.
///
/// # Errors
/// When the database cannot take it.
pub fn discard(tx: &Tx, event_id: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(DISCARD, [event_id])? == 1)
}

/// What a list of events is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this type.
    pub event_type: Option<String>,
    /// Only this state.
    pub status: Option<Status>,
    /// Only what was received before this event.
    pub before: Option<String>,
}

const ENTRY: &str = "event_id, event_type, event_created, created_at_ms, livemode, account, api_version, status,
    processing_attempts, processing_error";

fn entry(row: &Row) -> rusqlite::Result<Entry> {
    Ok(Entry {
        event_id: row.get(0)?,
        event_type: row.get(1)?,
        event_created: row.get(2)?,
        received_ms: row.get(3)?,
        livemode: row.get(4)?,
        account: row.get(5)?,
        api_version: row.get(6)?,
        status: row.get(7)?,
        attempts: row.get(8)?,
        error: row.get(9)?,
    })
}

/// Events, newest first.
///
/// # Errors
/// When the database cannot be read.
pub fn list(reader: &Reader, filter: &Filter, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let status = match filter.status {
        None => "1",
        Some(Status::Processed) => "status = 'processed'",
        // Repeats the condition of the partial index.
        Some(_) => "status = :status AND status <> 'processed'",
    };
    let kind = if filter.event_type.is_some() { "event_type = :event_type" } else { ":event_type IS NULL" };
    let before = if filter.before.is_some() {
        "id < (SELECT id FROM stripe_webhooks_log WHERE event_id = :before)"
    } else {
        ":before IS NULL"
    };
    let sql = format!(
        "SELECT {ENTRY} FROM stripe_webhooks_log WHERE {status} AND {kind} AND {before} AND :status IS :status
         ORDER BY id DESC LIMIT :limit"
    );
    reader.list(
        &sql,
        named_params! {
            ":status": filter.status.map(Status::as_str), ":event_type": filter.event_type,
            ":before": filter.before, ":limit": limit,
        },
        entry,
    )
}

/// One event.
///
/// # Errors
/// When the database cannot be read.
pub fn find(reader: &Reader, event_id: &str) -> Result<Option<Entry>, StoreError> {
    reader.find(&format!("SELECT {ENTRY} FROM stripe_webhooks_log WHERE event_id = ?1"), [event_id], entry)
}

/// One event's body.
///
/// # Errors
/// When the database cannot be read.
pub fn find_payload(reader: &Reader, event_id: &str) -> Result<Option<String>, StoreError> {
    reader.find("SELECT data FROM stripe_webhooks_log WHERE event_id = ?1", [event_id], |row| row.get(0))
}

/// A failed attempt, as `events show` prints it: number, unix milliseconds, error.
pub type Attempt = (u32, i64, String);

/// Every failed attempt of an event, oldest first.
///
/// # Errors
/// When the database cannot be read.
pub fn list_attempts(reader: &Reader, event_id: &str) -> Result<Vec<Attempt>, StoreError> {
    const SQL: &str = "SELECT attempt, at_ms, error FROM webhook_attempts WHERE stripe_event_id = ?1 ORDER BY id";
    reader.list(SQL, [event_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

const SIBLINGS: &str = "SELECT event_id, event_type, event_created, data FROM stripe_webhooks_log
    WHERE object_id = ?1 AND processed = 1 AND object_type = ?2 AND livemode IS ?3 AND account IS ?4 AND event_id <> ?5
    ORDER BY event_created DESC, event_id DESC LIMIT ?6";

/// Which events belong to one object.
pub struct SiblingKey<'a> {
    /// `data.object.id`.
    pub object_id: &'a str,
    /// `data.object.object`.
    pub object_type: &'a str,
    /// Mode.
    pub livemode: Option<bool>,
    /// Connect account.
    pub account: Option<&'a str>,
}

/// The projected events of one object except `without`, newest first.
///
/// # Errors
/// When the database cannot be read.
pub fn list_siblings(reader: &Reader, key: &SiblingKey, without: &str, limit: u32) -> Result<Vec<Sibling>, StoreError> {
    let params = (key.object_id, key.object_type, key.livemode, key.account, without, limit);
    reader.list(SIBLINGS, params, |row| {
        Ok(Sibling { event_id: row.get(0)?, event_type: row.get(1)?, event_created: row.get(2)?, data: row.get(3)? })
    })
}

/// The inbox in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Events that wait for the worker.
    pub pending: i64,
    /// Events that wait for a retry.
    pub pending_retries: i64,
    /// Dead letters.
    pub dead_letters: i64,
    /// When the oldest pending event was received.
    pub oldest_pending_ms: Option<i64>,
    /// When the newest event was received.
    pub last_event_ms: Option<i64>,
}

const HEALTH: &str = "SELECT
    (SELECT count(*) FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed'),
    (SELECT count(*) FROM webhook_retry_queue),
    (SELECT count(*) FROM webhook_dead_letter_queue),
    (SELECT created_at_ms FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed' ORDER BY id LIMIT 1),
    (SELECT created_at_ms FROM stripe_webhooks_log ORDER BY id DESC LIMIT 1)";

/// Counts for `/health/webhooks`.
///
/// # Errors
/// When the database cannot be read.
pub fn health(reader: &Reader) -> Result<Health, StoreError> {
    reader.get(HEALTH, [], |row| {
        Ok(Health {
            pending: row.get(0)?,
            pending_retries: row.get(1)?,
            dead_letters: row.get(2)?,
            oldest_pending_ms: row.get(3)?,
            last_event_ms: row.get(4)?,
        })
    })
}

//! The log as it is read: lists for people, the events of one object for the order guard, counts for health.

use rusqlite::named_params;

use super::{EventSource, EventStatus};
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader};

columns! {
    /// An event as lists show it.
    pub struct EventEntry {
        /// Stripe's id.
        event_id: String,
        /// `resource.verb`.
        event_type: String,
        /// Unix seconds, Stripe's.
        event_created: i64,
        /// Unix milliseconds, ours.
        received_ms: i64 = "created_at_ms",
        /// Mode, where it said.
        livemode: Option<bool>,
        /// Connect account.
        account: Option<String>,
        /// Version that its data is rendered in.
        api_version: Option<String>,
        /// What brought it: `webhook` or `api`.
        source: String,
        /// Its state.
        status: String,
        /// Attempts made.
        attempts: u32 = "processing_attempts",
        /// Newest failure or reason.
        error: Option<String> = "processing_error",
    }
}

columns! {
    /// An event of an object's set, as the order guard compares it.
    pub struct SiblingEvent {
        /// Stripe's id.
        event_id: String,
        /// `resource.verb`.
        event_type: String,
        /// Unix seconds.
        event_created: i64,
        /// The body.
        data: String,
        /// Its place in the log.
        log_id: i64 = "id",
    }
}

/// What a list of events is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only this type.
    pub event_type: Option<String>,
    /// Only this state.
    pub status: Option<EventStatus>,
    /// Only what was received before this event.
    pub before: Option<String>,
}

/// Events, newest first.
pub fn list(reader: &StoreReader, filter: &EventFilter, limit: u32) -> Result<Vec<EventEntry>, StoreError> {
    let status = match filter.status {
        None => "1",
        Some(EventStatus::Processed) => "status = 'processed'",
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
        "SELECT {} FROM stripe_webhooks_log WHERE {status} AND {kind} AND {before} AND :status IS :status
         ORDER BY id DESC LIMIT :limit",
        EventEntry::COLUMNS
    );
    reader.list(
        &sql,
        named_params! {
            ":status": filter.status.map(EventStatus::as_str), ":event_type": filter.event_type,
            ":before": filter.before, ":limit": limit,
        },
        EventEntry::read,
    )
}

/// One event.
pub fn find(reader: &StoreReader, event_id: &str) -> Result<Option<EventEntry>, StoreError> {
    const SQL: &str = select!(EventEntry, "FROM stripe_webhooks_log WHERE event_id = ?1");
    reader.find(SQL, [event_id], EventEntry::read)
}

/// One event's body.
pub(crate) fn find_payload(reader: &StoreReader, event_id: &str) -> Result<Option<String>, StoreError> {
    reader.find("SELECT data FROM stripe_webhooks_log WHERE event_id = ?1", [event_id], row::only)
}

/// A failed attempt, as `events show` prints it: number, unix milliseconds, error.
pub type FailedAttempt = (u32, i64, String);

/// Every failed attempt of an event, oldest first.
pub(crate) fn list_attempts(reader: &StoreReader, event_id: &str) -> Result<Vec<FailedAttempt>, StoreError> {
    const SQL: &str = "SELECT attempt, at_ms, error FROM webhook_attempts WHERE stripe_event_id = ?1 ORDER BY id";
    reader.list(SQL, [event_id], row::tuple)
}

// An event that is replayed waits, or has failed since, but its facts are in the tables still: it stays one of the set.
// From an ignored one nothing was taken.
const SIBLINGS: &str = select!(
    SiblingEvent,
    "FROM stripe_webhooks_log
    WHERE object_id = ?1 AND processed_at_ms IS NOT NULL AND (processed = 1 OR status <> 'ignored')
        AND object_type = ?2 AND coalesce(livemode, 0) = ?3 AND account IS ?4 AND event_id <> ?5
    ORDER BY event_created DESC, event_id DESC LIMIT ?6"
);

/// Which events belong to one object.
pub struct SiblingKey<'a> {
    /// `data.object.id`.
    pub object_id: &'a str,
    /// `data.object.object`.
    pub object_type: &'a str,
    /// Mode; an event that does not say counts as test mode.
    pub livemode: bool,
    /// Connect account.
    pub account: Option<&'a str>,
}

/// The events of one object that were projected, replayed ones among them, except `without`; newest first.
pub(crate) fn list_siblings(
    reader: &StoreReader,
    key: &SiblingKey,
    without: &str,
    limit: u32,
) -> Result<Vec<SiblingEvent>, StoreError> {
    let (object_id, object_type) = (key.object_id, key.object_type);
    let params = (object_id, object_type, key.livemode, key.account, without, limit);
    reader.list(SIBLINGS, params, SiblingEvent::read)
}

columns! {
    /// The inbox in numbers.
    #[derive(Copy)]
    pub struct Health {
        /// Events that wait for the worker.
        pending: i64 = "(SELECT count(*) FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed')",
        /// Events that wait for a retry.
        pending_retries: i64 = "(SELECT count(*) FROM webhook_retry_queue)",
        /// Dead letters.
        dead_letters: i64 = "(SELECT count(*) FROM webhook_dead_letter_queue)",
        /// When the oldest pending event was received.
        oldest_pending_ms: Option<i64> = "(SELECT created_at_ms FROM stripe_webhooks_log
            WHERE status = 'pending' AND status <> 'processed' ORDER BY id LIMIT 1)",
        /// When the newest event was received that a webhook brought, if it is among the newest thousand.
        last_event_ms: Option<i64> = "(SELECT created_at_ms FROM stripe_webhooks_log WHERE source = 'webhook'
            AND id > (SELECT max(id) FROM stripe_webhooks_log) - 1000 ORDER BY id DESC LIMIT 1)",
        /// When the newest was received that was asked for, if it is.
        last_asked_ms: Option<i64> = "(SELECT created_at_ms FROM stripe_webhooks_log WHERE source = 'api'
            AND id > (SELECT max(id) FROM stripe_webhooks_log) - 1000 ORDER BY id DESC LIMIT 1)",
    }
}

const NEWEST: &str = "SELECT created_at_ms FROM stripe_webhooks_log WHERE (?1 IS NULL OR source = ?1)
    AND id > (SELECT max(id) FROM stripe_webhooks_log) - 1000 ORDER BY id DESC LIMIT 1";

/// When the newest event was received, of this source or of any, if it is among the newest thousand.
pub(crate) fn find_newest(reader: &StoreReader, source: Option<EventSource>) -> Result<Option<i64>, StoreError> {
    reader.find(NEWEST, [source.map(EventSource::as_str)], row::only)
}

/// Counts for `/health/webhooks`.
pub fn health(reader: &StoreReader) -> Result<Health, StoreError> {
    reader.get(select!(Health, ""), [], Health::read)
}

/// The newest event's row number in the log, 0 when the log is empty.
pub(crate) fn newest_log_id(reader: &StoreReader) -> Result<i64, StoreError> {
    reader.get("SELECT coalesce(max(id), 0) FROM stripe_webhooks_log", [], row::only)
}

/// Whether an event about this object waits for the worker.
pub(crate) fn is_awaited(reader: &StoreReader, object_id: &str) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM stripe_webhooks_log WHERE status = 'pending' AND object_id = ?1 LIMIT 1";
    Ok(reader.find(SQL, [object_id], |_| Ok(()))?.is_some())
}

/// An event's row number in the log.
pub(crate) fn find_log_id(reader: &StoreReader, event_id: &str) -> Result<Option<i64>, StoreError> {
    reader.find("SELECT id FROM stripe_webhooks_log WHERE event_id = ?1", [event_id], row::only)
}

const OF_MODE: &str = "SELECT event_id FROM
    (SELECT id, event_id, livemode, account FROM stripe_webhooks_log ORDER BY id DESC LIMIT 1000)
    WHERE livemode = ?1 AND account IS NULL ORDER BY id DESC LIMIT 1";

/// The newest event of a mode among the newest thousand; those of connected accounts come in both modes and do not count.
pub(crate) fn find_of_mode(reader: &StoreReader, livemode: bool) -> Result<Option<String>, StoreError> {
    reader.find(OF_MODE, [livemode], row::only)
}

const NEWEST_VERSION: &str =
    "SELECT max(api_version) FROM (SELECT api_version FROM stripe_webhooks_log ORDER BY id DESC LIMIT 1000)";

/// The newest API version among the newest thousand events.
pub(crate) fn find_newest_version(reader: &StoreReader) -> Result<Option<String>, StoreError> {
    reader.get(NEWEST_VERSION, [], row::only)
}

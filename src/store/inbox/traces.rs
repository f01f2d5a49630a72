//! One event and what it left: its row without the body, its rows in the audit log and in a subscription's history, the
//! object that rests on it, and what was read of that object. It must never change anything, nor read without an index.
//! Called by the dashboard.

use super::EventEntry;
use crate::store::audit::AuditEntry;
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader};

const DETAIL: &str = select!(EventDetail, "FROM stripe_webhooks_log WHERE event_id = ?1");
const AUDIT: &str = select!(AuditEntry, "FROM audit_log WHERE stripe_event_id = ?1 ORDER BY id LIMIT 50");
const HISTORY: &str = select!(HistoryTrace, "FROM subscription_events WHERE stripe_event_id = ?1");
const RESTS_ON: &str =
    select!(RestsOn, "FROM mirror WHERE object = ?1 AND id = ?2 AND livemode = ?3 AND account = coalesce(?4, '')");
const READINGS: &str = select!(ReadingTrace, "FROM api_readings WHERE object_id = ?1 ORDER BY id DESC LIMIT ?2");
columns! {
    /// One event as its page shows it.
    pub(crate) struct EventDetail {
        /// What lists show.
        entry: EventEntry = EventEntry::COLUMNS => EventEntry::take,
        /// `data.object.object`.
        object_type: Option<String>,
        /// `data.object.id`.
        object_id: Option<String>,
        /// Its facts are in the tables.
        processed: bool,
        /// When it was last projected, unix milliseconds.
        processed_at_ms: Option<i64>,
        /// Length of its body.
        body_bytes: i64 = "octet_length(data)",
    }
}

/// One event, with what its page shows.
pub(crate) fn find_detail(reader: &StoreReader, event_id: &str) -> Result<Option<EventDetail>, StoreError> {
    reader.find(DETAIL, [event_id], EventDetail::read)
}

/// The rows of the audit log that an event caused.
pub(crate) fn list_audit(reader: &StoreReader, event_id: &str) -> Result<Vec<AuditEntry>, StoreError> {
    reader.list(AUDIT, [event_id], AuditEntry::read)
}

columns! {
    /// What an event added to the history of a subscription.
    pub(crate) struct HistoryTrace {
        /// `sub_…`.
        subscription_id: String = "stripe_subscription_id",
        /// The subscription's status in it; `None` for an event about an invoice.
        status: Option<String>,
        /// A payment is missing.
        delinquent: Option<bool>,
        /// Stripe does not collect.
        collection_paused: Option<bool>,
        /// Latest end of its items, unix seconds.
        period_end: Option<i64>,
    }
}

/// What an event added to the history of a subscription.
pub(crate) fn find_history(reader: &StoreReader, event_id: &str) -> Result<Option<HistoryTrace>, StoreError> {
    reader.find(HISTORY, [event_id], HistoryTrace::read)
}

columns! {
    /// What the newest known state of an object rests on.
    pub(crate) struct RestsOn {
        /// An event, or a reading.
        event_id: String,
        /// Unix seconds.
        event_created: i64,
        /// The object was deleted at Stripe.
        deleted: bool,
        /// Several events of one second, whose order is not certain.
        ambiguous: bool,
    }
}

/// What the object of an event rests on now.
pub(crate) fn find_rests_on(reader: &StoreReader, detail: &EventDetail) -> Result<Option<RestsOn>, StoreError> {
    let livemode = detail.entry.livemode.unwrap_or(false);
    reader.find(RESTS_ON, (&detail.object_type, &detail.object_id, livemode, &detail.entry.account), RestsOn::read)
}

columns! {
    /// When an object was read from the API.
    #[derive(Copy)]
    pub(crate) struct ReadingTrace {
        /// Unix seconds, in Stripe's time.
        read_at: i64,
        /// When it was taken over, unix milliseconds.
        taken_at_ms: i64,
        /// It showed what was known already.
        repeats: bool = "data IS NULL",
    }
}

/// The newest readings of an object.
pub(crate) fn list_readings(
    reader: &StoreReader,
    object_id: &str,
    limit: u32,
) -> Result<Vec<ReadingTrace>, StoreError> {
    reader.list(READINGS, (object_id, limit), ReadingTrace::read)
}

/// Its statements, for the test that none of them reads a whole table.
#[doc(hidden)]
pub const STATEMENTS: [&str; 5] = [DETAIL, AUDIT, HISTORY, RESTS_ON, READINGS];

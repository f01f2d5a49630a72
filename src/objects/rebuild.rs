//! The tables of a fresh file beside the present one, which is attached as `old`: the log and the readings, which are read to
//! be projected again, what is taken over as it is, and what differs in the end. It must never change the present file.
//! Called by `jobs::rebuild` alone.

mod compare;
mod tables;
mod take_over;

use crate::store::engine::row::{self, columns, select};
use crate::store::inbox::PendingEvent;
use crate::store::mirror::ApiReading;
use crate::store::{StoreError, StoreReader};

pub(crate) use compare::{Difference, differences};
pub(crate) use take_over::Copying;
pub(crate) use take_over::{
    answer_before, finish, has_history_of_readings, list_changed_answers, list_linked_customers, start,
};

columns! {
    /// An event of the old log, and what had become of it.
    pub(crate) struct LoggedEvent {
        /// The event.
        pending: PendingEvent = PendingEvent::COLUMNS => PendingEvent::take,
        /// When it was applied to the tables, unix milliseconds; `None`: it was not.
        processed_ms: Option<i64> = "iif(processed = 1, processed_at_ms, NULL)",
        /// It waits for the worker.
        waits: bool = "status = 'pending'",
    }
}

const LIST_EVENTS: &str = select!(LoggedEvent, "FROM old.stripe_webhooks_log WHERE id > ?1 ORDER BY id LIMIT ?2");

/// Events of the old log after this row number, in its order.
pub(crate) fn list_events(reader: &StoreReader, after: i64, limit: u32) -> Result<Vec<LoggedEvent>, StoreError> {
    reader.list(LIST_EVENTS, (after, limit), LoggedEvent::read)
}

/// How many events the old log has.
pub(crate) fn count_events(reader: &StoreReader) -> Result<u64, StoreError> {
    let count: i64 = reader.get("SELECT count(*) FROM old.stripe_webhooks_log", [], row::only)?;
    Ok(count.unsigned_abs())
}

columns! {
    /// A reading of the old file.
    pub(crate) struct KeptReading {
        /// The `event_id` of a row that rests on it.
        reading_id: String,
        /// The object as Stripe wrote it.
        text: String,
        /// When it was read.
        reading: ApiReading = ApiReading::COLUMNS => ApiReading::take,
        /// Whether it is of live mode.
        livemode: bool,
        /// Connect account; empty is our own.
        account: String,
        /// Its lists were completed.
        completed: bool,
        /// When it was taken over, unix milliseconds.
        taken_ms: i64,
    }
}

const LIST_READINGS: &str = select!(
    KeptReading,
    "FROM (SELECT r.id, r.reading_id, coalesce(r.data, s.data, json_extract(l.data, '$.data.object')) AS text,
            r.read_at, r.read_log_id, r.sent_ms, r.livemode, r.account, r.completed, r.taken_at_ms AS taken_ms
        FROM old.api_readings r
        LEFT JOIN old.api_readings s ON s.id = r.same_reading_id
        LEFT JOIN old.stripe_webhooks_log l ON l.id = r.same_log_id
        WHERE r.before_log_id > ?1 AND r.before_log_id <= ?2) ORDER BY id"
);
// In a file from before there was a table of readings: those that its rows rest on, or keep beside an event.
const LIST_READINGS_OF_MIRROR: &str = select!(
    KeptReading,
    "FROM (SELECT event_id AS reading_id, data AS text, read_at, read_log_id,
            CAST(substr(event_id, 7 + length(id)) AS INTEGER) AS sent_ms, livemode, account, 1 AS completed, 0 AS taken_ms
        FROM (SELECT id, livemode, account, event_id, data, read_at, read_log_id FROM old.stripe_objects
              WHERE event_id LIKE 'read:%'
              UNION ALL SELECT id, livemode, account, read_event_id, read_data, read_at, read_log_id
              FROM old.stripe_objects WHERE read_event_id IS NOT NULL))
    WHERE read_log_id >= ?1 AND read_log_id < ?2 ORDER BY read_log_id, sent_ms"
);

/// Readings that were taken over after the event `after` and before the event `until`, in their order.
pub(crate) fn list_readings(reader: &StoreReader, after: i64, until: i64) -> Result<Vec<KeptReading>, StoreError> {
    let sql = if has_history_of_readings(reader)? { LIST_READINGS } else { LIST_READINGS_OF_MIRROR };
    reader.list(sql, (after, until), KeptReading::read)
}

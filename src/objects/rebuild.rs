//! The tables of a fresh file beside the present one, which is attached as `old`: the log and the readings, which are read to
//! be projected again, what is taken over as it is, and what differs in the end. It must never change the present file.
//! Called by `jobs::rebuild` alone.

mod compare;
mod readings;
mod tables;
mod take_over;

use crate::store::engine::row::{self, columns, select};
use crate::store::inbox::PendingEvent;
use crate::store::{StoreError, StoreReader};

pub(crate) use compare::{Difference, differences};
pub(crate) use readings::{KeptReading, ReadingCursor, keep_unprojected};
pub(crate) use take_over::{
    Copying, answer_before, copy_waiting, finish, has_history_of_readings, list_changed_answers, list_linked_customers,
    put_back_replayed, start,
};

// What a replay leaves of an event that was projected before. A discarded one is known by the error that it was given up for.
const REPLAYED: &str = "(processed_at_ms IS NOT NULL AND (status = 'pending' OR status = 'retrying' OR status = 'dead'
    OR (status = 'ignored' AND processed = 1 AND processing_error IS NOT NULL)))";

columns! {
    /// An event of the old log, and what had become of it.
    pub(crate) struct LoggedEvent {
        /// The event.
        pending: PendingEvent = PendingEvent::COLUMNS => PendingEvent::take,
        /// When it was last applied to the tables, unix milliseconds; `None`: it was not.
        processed_ms: Option<i64> = constcat::concat!("iif(processed = 1 OR ", REPLAYED, ", processed_at_ms, NULL)"),
        /// It waits for the worker, and was never projected.
        waits: bool = "status = 'pending' AND processed_at_ms IS NULL",
        /// Its facts are in the tables, and yet it is not done: a replay, which waits, failed or was discarded.
        replayed: bool = REPLAYED,
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

/// Events that wait for the worker or a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitingEvents {
    /// Never projected: nothing of them is in the tables.
    pub(crate) new: u64,
    /// Projected before they were replayed.
    pub(crate) replayed: u64,
}

const COUNT_WAITING: &str = "SELECT count(*) - count(processed_at_ms), count(processed_at_ms)
    FROM old.stripe_webhooks_log WHERE (status = 'pending' OR status = 'retrying') AND status <> 'processed'";

/// How many events of the old log wait.
pub(crate) fn count_waiting(reader: &StoreReader) -> Result<WaitingEvents, StoreError> {
    let (new, replayed): (i64, i64) = reader.get(COUNT_WAITING, [], row::tuple)?;
    Ok(WaitingEvents { new: new.unsigned_abs(), replayed: replayed.unsigned_abs() })
}

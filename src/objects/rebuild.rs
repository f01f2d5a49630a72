//! The tables of a fresh file beside the present one, which is attached as `old`: the log and the readings, which are read to
//! be projected again, what is taken over as it is, and what differs in the end. It must never change the present file.
//! Called by `jobs::rebuild` alone.

mod compare;
mod readings;
mod take_over;

use crate::store::inbox::PendingEvent;
use crate::store::{StoreError, StoreReader};

pub use compare::{Difference, differences};
pub(crate) use readings::{KeptReading, ReadingCursor, keep_unprojected};
pub(crate) use take_over::Copying;
pub use take_over::{answer_before, finish, has_history_of_readings, list_changed_answers, list_said_customers, start};
pub(crate) use take_over::{copy_waiting, put_back_replayed};

/// An event of the old log, and what had become of it.
pub struct Logged {
    /// The event.
    pub pending: PendingEvent,
    /// When it was last applied to the tables, unix milliseconds; `None`: it was not.
    pub processed_ms: Option<i64>,
    /// It waits for the worker, and was never projected.
    pub waits: bool,
    /// Its facts are in the tables, and yet it is not done: a replay, which waits, failed or was discarded.
    pub replayed: bool,
}

// What a replay leaves of an event that was projected before. A discarded one is known by the error that it was given up for.
const REPLAYED: &str = "(processed_at_ms IS NOT NULL AND (status = 'pending' OR status = 'retrying' OR status = 'dead'
    OR (status = 'ignored' AND processed = 1 AND processing_error IS NOT NULL)))";

/// Events of the old log after this row number, in its order.
pub fn list_events(reader: &StoreReader, after: i64, limit: u32) -> Result<Vec<Logged>, StoreError> {
    let sql = format!(
        "SELECT id, event_id, event_type, event_created, livemode, account, processing_attempts, created_at_ms, data,
            iif(processed = 1 OR {REPLAYED}, processed_at_ms, NULL), status = 'pending' AND processed_at_ms IS NULL,
            {REPLAYED}
         FROM old.stripe_webhooks_log WHERE id > ?1 ORDER BY id LIMIT ?2"
    );
    reader.list(&sql, (after, limit), |row| {
        let pending = PendingEvent {
            log_id: row.get(0)?,
            event_id: row.get(1)?,
            event_type: row.get(2)?,
            event_created: row.get(3)?,
            livemode: row.get(4)?,
            account: row.get(5)?,
            attempts: row.get(6)?,
            received_ms: row.get(7)?,
            data: row.get(8)?,
        };
        Ok(Logged { pending, processed_ms: row.get(9)?, waits: row.get(10)?, replayed: row.get(11)? })
    })
}

/// How many events the old log has.
pub fn count_events(reader: &StoreReader) -> Result<u64, StoreError> {
    let count: i64 = reader.get("SELECT count(*) FROM old.stripe_webhooks_log", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Events that wait for the worker or a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingEvents {
    /// Never projected: nothing of them is in the tables.
    pub new: u64,
    /// Projected before they were replayed.
    pub replayed: u64,
}

const COUNT_WAITING: &str = "SELECT count(*) - count(processed_at_ms), count(processed_at_ms)
    FROM old.stripe_webhooks_log WHERE (status = 'pending' OR status = 'retrying') AND status <> 'processed'";

/// How many events of the old log wait.
pub fn count_waiting(reader: &StoreReader) -> Result<WaitingEvents, StoreError> {
    let (new, replayed): (i64, i64) = reader.get(COUNT_WAITING, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(WaitingEvents { new: new.unsigned_abs(), replayed: replayed.unsigned_abs() })
}

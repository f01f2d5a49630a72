//! The kept readings of the old file, one after the other in the order in which they were taken over, read in pages: a first
//! sync leaves very many between two events. It must never change their order. Called by `jobs::rebuild`.

use std::collections::VecDeque;

use super::has_history_of_readings;
use crate::store::engine::row::{columns, select};
use crate::store::mirror::ApiReading;
use crate::store::{StoreError, StoreReader, Tx};

columns! {
    /// A reading of the old file.
    pub(crate) struct KeptReading {
        /// Its number in the order.
        id: i64,
        /// It was taken over before this event, and after all before that.
        before_log_id: i64,
        /// The `event_id` of a row that rests on it.
        reading_id: String,
        /// The object as Stripe wrote it; `None`: the row that has it is gone.
        text: Option<String>,
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

/// Readings in memory at once; each has a body.
const PAGE: u32 = 100;

const LIST: &str = select!(
    KeptReading,
    "FROM (SELECT r.id, r.before_log_id, r.reading_id,
            coalesce(r.data, s.data, json_extract(l.data, '$.data.object')) AS text, r.read_at, r.read_log_id, r.sent_ms,
            r.livemode, r.account, r.completed, r.taken_at_ms AS taken_ms
        FROM old.api_readings r
        LEFT JOIN old.api_readings s ON s.id = r.same_reading_id
        LEFT JOIN old.stripe_webhooks_log l ON l.id = r.same_log_id
        WHERE r.id > ?1 ORDER BY r.id LIMIT ?2)"
);

// In a file from before there was a table of readings: those that its rows rest on, or keep beside an event.
const ORDER_OF_MIRROR: &str = "CREATE TEMP TABLE mirror_readings AS
    SELECT row_number() OVER (ORDER BY read_log_id, CAST(substr(reading_id, 7 + length(id)) AS INTEGER)) AS number, *
    FROM (SELECT object, id, livemode, account, event_id AS reading_id, 0 AS beside, read_at, read_log_id
          FROM old.stripe_objects WHERE event_id LIKE 'read:%'
          UNION ALL SELECT object, id, livemode, account, read_event_id, 1, read_at, read_log_id
          FROM old.stripe_objects WHERE read_event_id IS NOT NULL)";
const LIST_OF_MIRROR: &str = select!(
    KeptReading,
    "FROM (SELECT r.number AS id, r.read_log_id + 1 AS before_log_id, r.reading_id,
            iif(r.beside, o.read_data, o.data) AS text, r.read_at, r.read_log_id,
            CAST(substr(r.reading_id, 7 + length(r.id)) AS INTEGER) AS sent_ms, r.livemode, r.account, 1 AS completed,
            0 AS taken_ms
        FROM temp.mirror_readings r
        JOIN old.stripe_objects o
            ON o.object = r.object AND o.id = r.id AND o.livemode = r.livemode AND o.account = r.account
        WHERE r.number > ?1 ORDER BY r.number LIMIT ?2)"
);

/// Where the rebuild is in the readings.
pub(crate) struct ReadingCursor {
    sql: &'static str,
    page: VecDeque<KeptReading>,
    last: i64,
    is_read: bool,
}

impl ReadingCursor {
    /// At the first reading.
    pub(crate) fn new(tx: &Tx) -> Result<Self, StoreError> {
        let sql = if has_history_of_readings(tx)? {
            LIST
        } else {
            tx.execute(ORDER_OF_MIRROR, [])?;
            tx.execute("CREATE UNIQUE INDEX temp.mirror_readings_number ON mirror_readings (number)", [])?;
            LIST_OF_MIRROR
        };
        Ok(Self { sql, page: VecDeque::new(), last: 0, is_read: false })
    }

    /// The next reading, if it was taken over before that event.
    pub(crate) fn next_before(&mut self, reader: &StoreReader, log_id: i64) -> Result<Option<KeptReading>, StoreError> {
        if self.page.is_empty() && !self.is_read {
            self.page = list(reader, self.sql, self.last)?.into();
            self.is_read = self.page.is_empty();
            self.last = self.page.back().map_or(self.last, |kept| kept.id);
        }
        let is_due = self.page.front().is_some_and(|kept| kept.before_log_id <= log_id);
        Ok(if is_due { self.page.pop_front() } else { None })
    }
}

fn list(reader: &StoreReader, sql: &str, after: i64) -> Result<Vec<KeptReading>, StoreError> {
    reader.list(sql, (after, PAGE), KeptReading::read)
}

const KEEP: &str =
    "INSERT INTO main.api_readings (reading_id, object, object_id, livemode, account, read_at, read_log_id,
        sent_ms, before_log_id, completed, taken_at_ms, data)
    SELECT reading_id, object, object_id, livemode, account, read_at, read_log_id, sent_ms, before_log_id, completed,
        taken_at_ms, ?2 FROM old.api_readings WHERE id = ?1";

/// Keeps a reading that could not be projected, so that a later program may. Without a body there is nothing to keep.
pub(crate) fn keep_unprojected(tx: &Tx, kept: &KeptReading) -> Result<(), StoreError> {
    let Some(text) = &kept.text else { return Ok(()) };
    if has_history_of_readings(tx)? {
        tx.execute(KEEP, (kept.id, text))?;
    }
    Ok(())
}

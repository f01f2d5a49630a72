//! `api_readings`: what was read from the API and decided something. Beside the log it is what the tables of objects are
//! made from, so a reading that a row took over is kept; one that only repeats what is there is kept without its body.
//! It must never be listed as an event. Called by the order guard in `objects`, and read by `objects::rebuild`.

use rusqlite::named_params;

use super::{StoreError, Tx};
use crate::store::engine::row;
use crate::store::mirror::{ApiReading, BodyLocation, ObjectKey};

/// A reading on its way into the table.
#[derive(Debug, Clone, Copy)]
pub struct NewReading<'a> {
    /// What `event_id` is where a row rests on it.
    pub reading_id: &'a str,
    /// What was read.
    pub key: ObjectKey<'a>,
    /// When.
    pub reading: ApiReading,
    /// Its lists were completed.
    pub completed: bool,
    /// The object as Stripe wrote it.
    pub data: &'a str,
    /// Whose body shows the same; then this one's is not stored.
    pub same: Option<BodyLocation>,
    /// Unix milliseconds.
    pub now_ms: i64,
}

// A reading stands after the newest event that has been projected, for it may rest on that, and after the reading before it.
// An old event that waits once more (a replay, a retry) does not bring it before others.
const ADD: &str = "INSERT INTO api_readings
    (reading_id, object, object_id, livemode, account, read_at, read_log_id, sent_ms, before_log_id, completed,
     taken_at_ms, same_log_id, same_reading_id, data)
    VALUES (:reading_id, :object, :object_id, :livemode, :account, :read_at, :read_log_id, :sent_ms,
        max(coalesce((SELECT id + 1 FROM stripe_webhooks_log WHERE processed_at_ms IS NOT NULL ORDER BY id DESC LIMIT 1), 1),
            coalesce((SELECT before_log_id FROM api_readings ORDER BY id DESC LIMIT 1), 1)),
        :completed, :now_ms, :same_log_id, :same_reading_id, :data)";

/// Keeps a reading; its row number.
pub(crate) fn add(tx: &Tx, new: &NewReading) -> Result<i64, StoreError> {
    let (key, reading) = (new.key, new.reading);
    let (same_log_id, same_reading_id) = new.same.map_or((None, None), BodyLocation::columns);
    let params = named_params! {
        ":reading_id": new.reading_id, ":object": key.object, ":object_id": key.id, ":livemode": key.livemode,
        ":account": key.account, ":read_at": reading.at_s, ":read_log_id": reading.log_id,
        ":sent_ms": reading.sent_ms, ":completed": new.completed, ":now_ms": new.now_ms,
        ":same_log_id": same_log_id, ":same_reading_id": same_reading_id,
        ":data": new.same.is_none().then_some(new.data),
    };
    tx.execute_named(ADD, params)?;
    tx.get("SELECT last_insert_rowid()", [], row::only)
}

const DROP_MIDDLE: &str = "DELETE FROM api_readings WHERE data IS NULL AND reading_id = ?5
    AND NOT EXISTS (SELECT 1 FROM subscription_events WHERE stripe_event_id = ?5)
    AND id = (SELECT max(id) FROM api_readings WHERE object_id = ?1 AND object = ?2 AND livemode = ?3 AND account = ?4)
    AND EXISTS (SELECT 1 FROM api_readings f WHERE f.object_id = ?1 AND f.object = ?2 AND f.livemode = ?3
        AND f.account = ?4 AND f.id < api_readings.id AND (f.id = api_readings.same_reading_id
            OR f.same_reading_id = api_readings.same_reading_id OR f.same_log_id = api_readings.same_log_id))";

/// Deletes the last reading of an object, which a row rests on as `event_id` and the one that comes now repeats, if it
/// was a repeat itself, so that of a row of repeats the first and the last are kept. One that is part of a subscription's
/// history stays.
pub(crate) fn drop_middle(tx: &Tx, key: ObjectKey, event_id: &str) -> Result<(), StoreError> {
    tx.execute(DROP_MIDDLE, (key.id, key.object, key.livemode, key.account, event_id)).map(|_| ())
}

//! `mirror`: the newest state of every object that came in an event or a reading. It stores no body, but says where the body
//! is; the view `stripe_objects` has both together. It must never decide which state is the newest. Called by the order
//! guard in `objects`, and by whoever reads an object as Stripe wrote it.

use rusqlite::named_params;

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{self, CellResult, RowReader, columns, select};
use crate::stripe::event::{self, EventContent};

/// Which object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectKey<'a> {
    /// Its kind, for example `subscription`.
    pub object: &'a str,
    /// Stripe's id.
    pub id: &'a str,
    /// Mode.
    pub livemode: bool,
    /// Connect account; empty is our own.
    pub account: &'a str,
}

columns! {
    /// What the order guard needs to know of the row as it is.
    #[derive(Copy)]
    pub struct RowState {
        /// `created` of the event that the row rests on.
        event_created: i64,
        /// A tombstone.
        deleted: bool,
        /// Its status cannot be left.
        terminal: bool,
        /// Several events of its second were compared.
        contested: bool,
        /// The newest reading from the API that the row took over.
        read: Option<ApiReading> = "read_at, read_log_id" => take_reading,
    }
}

columns! {
    /// When an object was read from the API: what came before that is contained in what was read.
    #[derive(Copy)]
    pub struct ApiReading {
        /// Unix seconds, in Stripe's time.
        at_s: i64 = "read_at",
        /// The newest event in the log when the request was sent.
        log_id: i64 = "read_log_id",
        /// When it was sent, unix milliseconds by our clock; 0 where it is no longer known. Orders readings among themselves.
        sent_ms: i64,
    }
}

impl ApiReading {
    /// Whether an event was there before the object was read, so that it adds nothing.
    #[must_use]
    pub fn contains(self, log_id: i64, event_created: i64) -> bool {
        log_id <= self.log_id || event_created < self.at_s
    }
}

/// The mirror does not keep when a request was sent.
fn take_reading(cells: &mut RowReader) -> CellResult<Option<ApiReading>> {
    let (at_s, log_id): (Option<i64>, Option<i64>) = (cells.take()?, cells.take()?);
    Ok(at_s.zip(log_id).map(|(at_s, log_id)| ApiReading { at_s, log_id, sent_ms: 0 }))
}

const FIND: &str = select!(RowState, "FROM mirror WHERE object = ?1 AND id = ?2 AND livemode = ?3 AND account = ?4");

/// The row's state.
pub(crate) fn find_state(reader: &StoreReader, key: ObjectKey) -> Result<Option<RowState>, StoreError> {
    reader.find(FIND, (key.object, key.id, key.livemode, key.account), RowState::read)
}

/// Where the body of an object is: everything is stored once, where it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLocation {
    /// The event with this row number in the log.
    Event(i64),
    /// The reading with this row number, which has a text of its own.
    Reading(i64),
}

impl BodyLocation {
    pub(super) fn columns(self) -> (Option<i64>, Option<i64>) {
        match self {
            Self::Event(log_id) => (Some(log_id), None),
            Self::Reading(id) => (None, Some(id)),
        }
    }

    /// The table's CHECK says that one of the two columns has a value.
    fn take(cells: &mut RowReader) -> CellResult<Self> {
        let (log_id, reading_id): (Option<i64>, Option<i64>) = (cells.take()?, cells.take()?);
        log_id.map(Self::Event).or(reading_id.map(Self::Reading)).ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
}

/// The newest version of an object.
pub struct ObjectVersion<'a> {
    /// What the guard needs.
    pub state: &'a RowState,
    /// The event it rests on.
    pub event_id: &'a str,
    /// The order of its second is not certain.
    pub ambiguous: bool,
    /// Where its body is.
    pub body: BodyLocation,
    /// What it rests on says no more than that it is deleted, and the body is an earlier one.
    pub last_words: bool,
    /// The newest reading while its content counts where one more event comes: the row rests on it, or on an event of the
    /// same second.
    pub counted_reading: Option<i64>,
}

const PUT: &str = "INSERT INTO mirror
    (object, id, livemode, account, event_created, event_id, deleted, terminal, contested, ambiguous, log_id, reading_id,
     last_words, read_at, read_log_id, counted_reading_id)
    VALUES (:object, :id, :livemode, :account, :event_created, :event_id, :deleted, :terminal, :contested, :ambiguous,
            :log_id, :reading_id, :last_words, :read_at, :read_log_id, :counted_reading_id)
    ON CONFLICT (object, id, livemode, account) DO UPDATE SET event_created = :event_created, event_id = :event_id,
        deleted = :deleted, terminal = :terminal, contested = :contested, ambiguous = :ambiguous, log_id = :log_id,
        reading_id = :reading_id, last_words = :last_words, read_at = :read_at, read_log_id = :read_log_id,
        counted_reading_id = :counted_reading_id";

/// Replaces what the mirror has of an object.
pub fn put(tx: &Tx, key: ObjectKey, version: &ObjectVersion) -> Result<(), StoreError> {
    let state = version.state;
    let (log_id, reading_id) = version.body.columns();
    let params = named_params! {
        ":object": key.object, ":id": key.id, ":livemode": key.livemode, ":account": key.account,
        ":event_created": state.event_created, ":event_id": version.event_id, ":deleted": state.deleted,
        ":terminal": state.terminal, ":contested": state.contested, ":ambiguous": version.ambiguous,
        ":log_id": log_id, ":reading_id": reading_id, ":last_words": version.last_words,
        ":read_at": state.read.map(|read| read.at_s), ":read_log_id": state.read.map(|read| read.log_id),
        ":counted_reading_id": version.counted_reading,
    };
    tx.execute_named(PUT, params).map(|_| ())
}

columns! {
    /// The mirror's row of an object, without the object itself.
    pub struct HeldReading {
        /// `created` of the event that the row rests on, or the time of the reading.
        event_created: i64 = "m.event_created",
        /// The event that the row rests on.
        event_id: String = "m.event_id",
        /// A tombstone.
        deleted: bool = "m.deleted",
        /// The newest reading that the row took over.
        read: Option<ApiReading> = "m.read_at, m.read_log_id" => take_reading,
        /// Where the body is.
        body: BodyLocation = "m.log_id, m.reading_id" => BodyLocation::take,
        /// See [`ObjectVersion::last_words`].
        last_words: bool = "m.last_words",
        /// See [`ObjectVersion::counted_reading`]: its `event_id`, and its row number.
        counted: Option<(String, i64)> = "k.reading_id, k.id" => take_counted,
    }
}

fn take_counted(cells: &mut RowReader) -> CellResult<Option<(String, i64)>> {
    Ok(Option::zip(cells.take()?, cells.take()?))
}

const FIND_HELD: &str = select!(
    HeldReading,
    "FROM mirror m LEFT JOIN api_readings k ON k.id = m.counted_reading_id
    WHERE m.object = ?1 AND m.id = ?2 AND m.livemode = ?3 AND m.account = ?4"
);

/// The mirror's row of an object.
pub(crate) fn find_held(reader: &StoreReader, key: ObjectKey) -> Result<Option<HeldReading>, StoreError> {
    reader.find(FIND_HELD, (key.object, key.id, key.livemode, key.account), HeldReading::read)
}

/// A mirrored object.
pub struct Mirrored {
    /// Created of the event it rests on, or the time of the reading.
    pub event_created: i64,
    /// The event it rests on.
    pub event_id: String,
    /// A tombstone.
    pub deleted: bool,
    /// The newest reading that the row took over.
    pub read: Option<ApiReading>,
    /// Its JSON.
    pub data: String,
}

/// The object as the mirror has it.
///
/// # Errors
/// When the database cannot be read, or the body is gone.
pub fn find(reader: &StoreReader, key: ObjectKey) -> Result<Option<Mirrored>, StoreError> {
    find_held(reader, key)?.map(|held| with_data(reader, held)).transpose()
}

fn with_data(reader: &StoreReader, held: HeldReading) -> Result<Mirrored, StoreError> {
    let data = data_of(reader, &held)?;
    let HeldReading { event_created, event_id, deleted, read, .. } = held;
    Ok(Mirrored { event_created, event_id, deleted, read, data })
}

/// The JSON of what a row holds.
///
/// # Errors
/// When the database cannot be read, or the body is gone.
pub(crate) fn data_of(reader: &StoreReader, held: &HeldReading) -> Result<String, StoreError> {
    let data = object_text(reader, held.body)?;
    if held.last_words { as_deleted(&data) } else { Ok(data) }
}

/// The object that a body shows, as Stripe wrote it.
///
/// # Errors
/// When the body is gone or cannot be read.
pub fn object_text(reader: &StoreReader, body: BodyLocation) -> Result<String, StoreError> {
    let lost = |what: &str| StoreError::Sql(format!("{body:?} of the mirror {what}"));
    match body {
        BodyLocation::Event(log_id) => {
            const SQL: &str = "SELECT data FROM stripe_webhooks_log WHERE id = ?1";
            let text: String = reader.find(SQL, [log_id], row::only)?.ok_or_else(|| lost("is not in the log"))?;
            match event::content(&text) {
                Ok(EventContent::Snapshot(snapshot)) => Ok(snapshot.object_text),
                Ok(EventContent::Thin(_)) => Err(lost("shows no object")),
                Err(error) => Err(lost(&error.to_string())),
            }
        }
        BodyLocation::Reading(id) => {
            const SQL: &str = "SELECT data FROM api_readings WHERE id = ?1";
            let text: Option<Option<String>> = reader.find(SQL, [id], row::only)?;
            text.flatten().ok_or_else(|| lost("has no text"))
        }
    }
}

// A reading that repeats what was there has no body of its own.
const BODY_OF: &str = "SELECT same_log_id, iif(same_log_id IS NULL, coalesce(same_reading_id, id), NULL)
    FROM api_readings WHERE id = ?1";

/// Where the body of a reading is.
///
/// # Errors
/// When the reading is gone.
pub(crate) fn body_of(reader: &StoreReader, reading_id: i64) -> Result<BodyLocation, StoreError> {
    reader.get(BODY_OF, [reading_id], |row| BodyLocation::take(&mut RowReader::of(row)))
}

/// The last known state of an object that is gone, marked as deleted.
fn as_deleted(text: &str) -> Result<String, StoreError> {
    let unreadable = |error: serde_json::Error| StoreError::Sql(format!("an object of the mirror: {error}"));
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(unreadable)?;
    object.insert("deleted".to_owned(), true.into());
    serde_json::to_string(&object).map_err(unreadable)
}

const LIST_PRESENT: &str = "SELECT id, livemode FROM mirror
    WHERE object = ?1 AND id > ?2 AND account = '' AND deleted = 0 AND (?3 IS NULL OR livemode = ?3)
    ORDER BY id LIMIT ?4";

/// Our own account's objects of a kind that are not deleted, by id after `after`: id and mode. `livemode`: only those of
/// that mode.
pub(crate) fn list_present(
    reader: &StoreReader,
    object: &str,
    livemode: Option<bool>,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, bool)>, StoreError> {
    reader.list(LIST_PRESENT, (object, after, livemode, limit), row::tuple)
}

/// How many there are of them.
pub(crate) fn count_present(reader: &StoreReader, object: &str) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM mirror WHERE object = ?1 AND account = '' AND deleted = 0";
    reader.get(SQL, [object], row::only)
}

//! `stripe_objects`: the mirror, the newest JSON of every object that any event showed.

use rusqlite::named_params;

use super::{Reader, StoreError, Tx};

/// Which object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Its kind, for example `subscription`.
    pub object: &'a str,
    /// Stripe's id.
    pub id: &'a str,
    /// Mode.
    pub livemode: bool,
    /// Connect account; empty is our own.
    pub account: &'a str,
}

/// What the order guard needs to know of the row as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Created of the event it rests on.
    pub event_created: i64,
    /// A tombstone.
    pub deleted: bool,
    /// Its status cannot be left.
    pub terminal: bool,
    /// Several events of its second were compared.
    pub contested: bool,
    /// The newest reading from the API that the row took over.
    pub read: Option<Reading>,
}

/// When an object was read from the API: what came before that is in what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Unix seconds, in Stripe's time.
    pub at_s: i64,
    /// The newest event in the log when the request was sent.
    pub log_id: i64,
    /// When it was sent, unix milliseconds by our clock; 0 where it is no longer known. Orders readings among themselves.
    pub sent_ms: i64,
}

impl Reading {
    /// Whether an event was there before the object was read, so that it says nothing new.
    #[must_use]
    pub fn contains(self, log_id: i64, event_created: i64) -> bool {
        log_id <= self.log_id || event_created < self.at_s
    }
}

/// The two columns of a reading.
fn reading(at_s: Option<i64>, log_id: Option<i64>) -> Option<Reading> {
    at_s.zip(log_id).map(|(at_s, log_id)| Reading { at_s, log_id, sent_ms: 0 })
}

const FIND: &str = "SELECT event_created, deleted, terminal, contested, read_at, read_log_id FROM stripe_objects
    WHERE object = ?1 AND id = ?2 AND livemode = ?3 AND account = ?4";

/// The row's state.
///
/// # Errors
/// When the database cannot be read.
pub fn find_state(reader: &Reader, key: Key) -> Result<Option<State>, StoreError> {
    reader.find(FIND, (key.object, key.id, key.livemode, key.account), |row| {
        Ok(State {
            event_created: row.get(0)?,
            deleted: row.get(1)?,
            terminal: row.get(2)?,
            contested: row.get(3)?,
            read: reading(row.get(4)?, row.get(5)?),
        })
    })
}

/// The newest version of an object.
pub struct Version<'a> {
    /// What the guard needs.
    pub state: &'a State,
    /// The event it rests on.
    pub event_id: &'a str,
    /// Its order could not be told for certain.
    pub ambiguous: bool,
    /// The object as Stripe wrote it.
    pub data: &'a str,
    /// A reading of the row's second that it does not rest on, but that still counts where one more event comes.
    pub kept: Option<Kept<'a>>,
}

/// The content of a reading: its `event_id`, and the object as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'a> {
    /// As the row's `event_id` would be.
    pub event_id: &'a str,
    /// The object as Stripe wrote it.
    pub data: &'a str,
}

const PUT: &str = "INSERT INTO stripe_objects
    (object, id, livemode, account, event_created, event_id, deleted, terminal, contested, ambiguous, data,
     read_at, read_log_id, read_event_id, read_data)
    VALUES (:object, :id, :livemode, :account, :event_created, :event_id, :deleted, :terminal, :contested, :ambiguous,
            :data, :read_at, :read_log_id, :read_event_id, :read_data)
    ON CONFLICT (object, id, livemode, account) DO UPDATE SET event_created = :event_created, event_id = :event_id,
        deleted = :deleted, terminal = :terminal, contested = :contested, ambiguous = :ambiguous, data = :data,
        read_at = :read_at, read_log_id = :read_log_id, read_event_id = :read_event_id, read_data = :read_data";

/// Replaces what the mirror has of an object.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, key: Key, version: &Version) -> Result<(), StoreError> {
    let state = version.state;
    let params = named_params! {
        ":object": key.object, ":id": key.id, ":livemode": key.livemode, ":account": key.account,
        ":event_created": state.event_created, ":event_id": version.event_id, ":deleted": state.deleted,
        ":terminal": state.terminal, ":contested": state.contested, ":ambiguous": version.ambiguous,
        ":data": version.data, ":read_at": state.read.map(|read| read.at_s),
        ":read_log_id": state.read.map(|read| read.log_id),
        ":read_event_id": version.kept.map(|kept| kept.event_id), ":read_data": version.kept.map(|kept| kept.data),
    };
    tx.execute_named(PUT, params).map(|_| ())
}

/// A mirrored object: created and id of its event, whether it is deleted, and its JSON.
pub struct Mirrored {
    /// What the guard knows of it.
    pub event_created: i64,
    /// The event it rests on.
    pub event_id: String,
    /// A tombstone.
    pub deleted: bool,
    /// The newest reading that the row took over.
    pub read: Option<Reading>,
    /// Its JSON.
    pub data: String,
    /// A reading that it does not rest on and that still counts: its `event_id`, and the object as it was read.
    pub kept: Option<(String, String)>,
}

const FIND_DATA: &str = "SELECT event_created, event_id, deleted, data, read_at, read_log_id, read_event_id, read_data
    FROM stripe_objects
    WHERE object = ?1 AND id = ?2 AND livemode = ?3 AND account = ?4";

/// The object as the mirror has it.
///
/// # Errors
/// When the database cannot be read.
pub fn find(reader: &Reader, key: Key) -> Result<Option<Mirrored>, StoreError> {
    reader.find(FIND_DATA, (key.object, key.id, key.livemode, key.account), |row| {
        Ok(Mirrored {
            event_created: row.get(0)?,
            event_id: row.get(1)?,
            deleted: row.get(2)?,
            data: row.get(3)?,
            read: reading(row.get(4)?, row.get(5)?),
            kept: Option::zip(row.get(6)?, row.get(7)?),
        })
    })
}

const LIST_PRESENT: &str = "SELECT id, livemode FROM stripe_objects
    WHERE object = ?1 AND id > ?2 AND account = '' AND deleted = 0 AND (?3 IS NULL OR livemode = ?3)
    ORDER BY id LIMIT ?4";

/// Our own account's objects of a kind that are not deleted, by id after `after`: id and mode. `livemode`: only those of
/// that mode.
///
/// # Errors
/// When the database cannot be read.
pub fn list_present(
    reader: &Reader,
    object: &str,
    livemode: Option<bool>,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, bool)>, StoreError> {
    reader.list(LIST_PRESENT, (object, after, livemode, limit), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// How many there are of them.
///
/// # Errors
/// When the database cannot be read.
pub fn count_present(reader: &Reader, object: &str) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM stripe_objects WHERE object = ?1 AND account = '' AND deleted = 0";
    reader.get(SQL, [object], |row| row.get(0))
}

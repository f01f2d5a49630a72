//! A fresh file beside the present one, for `rebuild`: both in one connection and one transaction, so that what is read of
//! the present one is of one moment. It must never change the present file. Called by `jobs::rebuild` alone.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{connection, schema};
use crate::store::{OpenError, Tx};

/// A new file in the making, with the present one attached as `old`.
pub struct FreshFile {
    connection: Connection,
    path: PathBuf,
}

impl FreshFile {
    /// Makes a file at `path`, which must not be there, and begins. `old`: what it is made from.
    ///
    /// # Errors
    /// When one of the files cannot be used.
    pub fn begin(path: &Path, old: &Path, now_ms: i64) -> Result<Self, OpenError> {
        require_log(old)?;
        schema::up(path, now_ms)?;
        let fresh = Self { connection: open(path, old)?, path: path.to_owned() };
        Ok(fresh)
    }

    /// Leave to write, as in the writer thread.
    #[must_use]
    pub fn tx(&self) -> Tx<'_> {
        Tx::new(&self.connection, &self.connection)
    }

    /// Puts all of it on disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn commit(self) -> Result<(), OpenError> {
        let failed = |error: rusqlite::Error| OpenError::of(&self.path, &error);
        self.connection.execute_batch("COMMIT; DETACH old; PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed)?;
        self.connection.close().map_err(|(_, error)| OpenError::of(&self.path, &error))?;
        let synced = std::fs::File::open(&self.path).and_then(|file| file.sync_all());
        synced.map_err(|error| OpenError::Unusable { path: self.path.clone(), reason: error.to_string() })
    }
}

/// Refuses a file of another program, or an empty one, before anything is made.
fn require_log(old: &Path) -> Result<(), OpenError> {
    const SQL: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'stripe_webhooks_log'";
    let tables = connection::open_reader(old).and_then(|file| file.query_row(SQL, [], |row| row.get::<_, i64>(0)));
    match tables.map_err(|error| OpenError::of(old, &error))? {
        0 => Err(OpenError::NoLog { path: old.to_owned() }),
        _ => Ok(()),
    }
}

/// Nothing of the new file counts until it is whole and synced, so it is not synced before.
fn open(path: &Path, old: &Path) -> Result<Connection, OpenError> {
    let unusable = |error: rusqlite::Error| OpenError::of(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let fresh = Connection::open_with_flags(path, flags).map_err(unusable)?;
    connection::prepare_fresh(&fresh).map_err(unusable)?;
    let attached = fresh.execute("ATTACH ?1 AS old", [read_only(old)]);
    attached.map_err(|error| OpenError::of(old, &error))?;
    fresh.execute_batch("BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON").map_err(unusable)?;
    Ok(fresh)
}

/// The name of a file that is only read (sqlite.org/uri.html).
fn read_only(path: &Path) -> String {
    let mut name = "file:".to_owned();
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    name + "?mode=ro"
}

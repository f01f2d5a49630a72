//! Opens SQLite connections the one way this program uses them. Called by `engine` and `schema`.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::store::{StoreError, Tx};

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same, after the file was found locked for that long.
const SHORT_TIMEOUT: Duration = Duration::from_millis(100);
/// Pages that the writer keeps, as SQLite's `cache_size` takes it: KiB when negative. A commit's pages must fit, or they
/// are written before it and again after.
const WRITER_CACHE_KIB: i64 = -8_192;
/// The same for one that makes a whole file.
const FRESH_CACHE_KIB: i64 = -65_536;
/// The same for each that reads; the system's own cache lies behind it.
const READER_CACHE_KIB: i64 = -1024;
/// Longest write-ahead log that is kept once nobody needs it, in bytes: what a long read or a replicator has made of it is
/// given back (sqlite.org/pragma.html#pragma_journal_size_limit).
pub(crate) const LOG_BYTES: i64 = 32 * 1024 * 1024;
/// Prepared statements kept per connection; more than the program has.
const STATEMENT_CACHE: usize = 256;

/// The one connection that writes. `synchronous=FULL`: a commit that returned survives a power cut.
pub(crate) fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    // One thread uses it, so it needs no lock of its own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // SQLite opens a file that it may not write as one to be read, and says nothing.
    if connection.is_readonly("main")? {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        let text = "this user has no right to write it, or its file system is mounted read-only";
        return Err(rusqlite::Error::SqliteFailure(error, Some(text.to_owned())));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// How the writer waits for another process that writes. Who finds the file locked waits [`BUSY_TIMEOUT`] once; while
/// it stays locked, those behind are refused after [`SHORT_TIMEOUT`], so that they are answered in time and the queue
/// does not add up their waits.
#[derive(Default)]
pub(crate) struct BusyWait {
    is_short: bool,
}

impl BusyWait {
    /// Begins the writer's transaction. A failure other than a lock does not go away by waiting.
    pub(crate) fn begin(&mut self, tx: &Tx) -> Result<(), StoreError> {
        let begun = tx.execute("BEGIN IMMEDIATE", []);
        if begun.is_err() != self.is_short {
            self.is_short = begun.is_err();
            // Were it refused, the wait would stay as it is; nothing depends on it but time.
            let _ = tx.connection.busy_timeout(if self.is_short { SHORT_TIMEOUT } else { BUSY_TIMEOUT });
        }
        begun.map(|_| ())
    }
}

/// Does something for which others are waited for no longer than [`SHORT_TIMEOUT`].
pub(crate) fn waiting_shortly<T>(connection: &Connection, work: impl FnOnce() -> T) -> T {
    // As above, nothing depends on it but time.
    let _ = connection.busy_timeout(SHORT_TIMEOUT);
    let done = work();
    let _ = connection.busy_timeout(BUSY_TIMEOUT);
    done
}

/// Sets a connection up that makes a file of which nothing counts until it is whole and synced.
pub(crate) fn prepare_fresh(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", FRESH_CACHE_KIB)?;
    keep_statements(connection)
}

/// A connection that cannot change anything.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
    // A sort in a file would need a disk with room and a free descriptor.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// Undoes what a process was killed in the middle of while the file had no log yet, as in its first start. A reader cannot
/// do that, and would get an error about a file that cannot be written.
pub(crate) fn roll_back(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // SQLite does it before the first read.
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))
}

/// Keeps statements prepared, and their plans with them. Without the plan guarantee SQLite looks at the values bound to
/// them and prepares many of ours (`LIMIT ?`, partial indexes) again at every execution.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(())
}

//! Opens SQLite connections the one way this program uses them. Called by `store` and `store::schema`.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages that the writer keeps, as SQLite's `cache_size` takes it: KiB when negative. A commit's pages must fit, or they
/// are written before it and again after.
const WRITER_CACHE_KIB: i64 = -16_384;
/// Prepared statements kept per connection; more than the program has.
const STATEMENT_CACHE: usize = 256;

/// The one connection that writes. `synchronous=FULL`: a commit that returned survives a power cut.
pub(super) fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    // One thread uses it, so it needs no lock of its own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// A connection that cannot change anything.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// Keeps statements prepared, and their plans with them. Without the plan guarantee SQLite looks at the values bound to
/// them and prepares many of ours (`LIMIT ?`, partial indexes) again at every execution.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(())
}

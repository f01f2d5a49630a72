//! What can go wrong in the database, by what the caller can do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode as Code;
use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA, SQLITE_READONLY_ROLLBACK};

use crate::base::metrics::MetricsError;
use crate::base::verdict::FailureVerdict;

/// What to do with a file that SQLite finds damaged; each message says it once.
const REPAIR: &str = "stop tilld, move the file with its -wal and -shm away, put a backup in its place, start again, and resend the events since then from Stripe's dashboard";

/// A failed read or write.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, the file is locked, read-only or unreadable now. The same call may succeed later.
    #[error("the database cannot take this now: {0}")]
    Unavailable(String),
    /// The file is not what was written. No event is at fault, and nothing may be built on it.
    #[error("the database file is damaged: {0}; {REPAIR}")]
    Damaged(String),
    /// The statement or the data is at fault; the same call fails again.
    #[error("database error: {0}")]
    Sql(String),
    /// What is to be written, or was read, is not JSON as its column has it.
    #[error("JSON that cannot be used: {0}")]
    Json(String),
    /// A row that must be there is not, or has not been written.
    #[error("{0}")]
    Missing(&'static str),
    /// What an object or an event says cannot be taken; what was written with it is undone.
    #[error("{0}")]
    Content(String),
    /// The closure panicked; its changes were undone.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The writer thread has ended.
    #[error("the database writer has stopped")]
    Stopped,
}

/// Why a database file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is counted could not be set up.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The file or its folder cannot be used.
    #[error("cannot open database {path}: {reason}; check that the folder exists, is writable and has room")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// SQLite's or the system's words.
        reason: String,
    },
    /// The file, or the file system it is on, cannot be written.
    #[error(
        "database {path} cannot be written: {reason}; give this user the right to write the file and its folder, and see that the file system is not mounted read-only"
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// SQLite's or the system's words.
        reason: String,
    },
    /// It holds something else than what a database holds, or less.
    #[error("database {path} is damaged or no database: {reason}; nothing was changed; {backups}; {REPAIR}", backups = named(backups))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
        /// Copies that lie beside it, newest first.
        backups: Vec<PathBuf>,
    },
    /// Another process works on it.
    #[error(
        "database {path} is in use by {holder}, which holds the lock {lock}; stop that tilld, or choose another `database`"
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The lock's file.
        lock: PathBuf,
        /// Who, as far as is known.
        holder: String,
    },
    /// The file was written by a newer tilld.
    #[error(
        "database {path} has schema {found}, this tilld knows up to {known}; use a newer tilld, or `tilld migrate down` of the newer one"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Newest version of this program.
        known: u32,
    },
    /// A SQLite file of another program.
    #[error("{path} is a database of another program (it has tables, but no tilld schema); choose another `database`")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file to rebuild from that has no log.
    #[error("{path} is not a tilld database: it has no table stripe_webhooks_log; nothing was changed")]
    NoLog {
        /// The file.
        path: PathBuf,
    },
    /// Another file was to take its place.
    #[error("database {path} was not replaced: {reason}; nothing was changed")]
    NotReplaced {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It was made before the first release, by steps that no longer exist.
    #[error(
        "{path} was made by a tilld from before the first release; `tilld rebuild --from {path} --into NEW` makes a file of today from its log"
    )]
    Unreleased {
        /// The file.
        path: PathBuf,
    },
    /// A migration failed; the file is as it was.
    #[error("migrating database {path} failed, nothing was changed: {reason}")]
    Migration {
        /// The file.
        path: PathBuf,
        /// What refinery or SQLite said.
        reason: String,
    },
    /// The schema is older than the program and migrating was not asked for.
    #[error(
        "database {path} has schema {found}, this tilld needs {known}; run `tilld migrate up` (a running `tilld serve` does it at start)"
    )]
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Version needed.
        known: u32,
    },
    /// A thread could not be started.
    #[error("cannot start the writer thread: {0}")]
    Thread(#[from] std::io::Error),
}

fn named(backups: &[PathBuf]) -> String {
    if backups.is_empty() {
        return "no backup of it lies in its folder".to_owned();
    }
    let names: Vec<String> = backups.iter().map(|backup| backup.display().to_string()).collect();
    format!("backups beside it, newest first: {}", names.join(", "))
}

impl OpenError {
    /// Why SQLite could not open or ask the file at `path`.
    pub(crate) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, mut reason) = (path.to_owned(), words(error));
        if error.sqlite_extended_error_code() == Some(SQLITE_READONLY_ROLLBACK) {
            reason.push_str("; a process was killed while it wrote it for the first time: `tilld serve` mends that");
        }
        match fault(error) {
            SqliteFault::Damage => {
                let backups = super::damage::backups(&path);
                Self::Damaged { path, reason, backups }
            }
            _ if error.sqlite_error_code() == Some(Code::ReadOnly) => Self::ReadOnly { path, reason },
            _ => Self::Unusable { path, reason },
        }
    }

    /// What to add where SQLite's words do not say it: it calls a full disk an I/O error as often as not.
    pub(crate) fn advice(error: &rusqlite::Error) -> Option<&'static str> {
        (fault(error) == SqliteFault::Surroundings).then_some("; check that its folder is writable and has room")
    }
}

/// Who is at fault, by SQLite's result code (sqlite.org/rescode.html).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SqliteFault {
    /// Disk, file system, permissions, memory, another process: it may pass.
    Surroundings,
    /// The content of the file.
    Damage,
    /// The statement, or the values in it.
    Call,
}

fn fault(error: &rusqlite::Error) -> SqliteFault {
    let Some(code) = error.sqlite_error_code() else { return SqliteFault::Call };
    match code {
        // A checksum of the file system or of a VFS did not match: what was read is not what was written.
        Code::SystemIoFailure
            if matches!(error.sqlite_extended_error_code(), Some(SQLITE_IOERR_CORRUPTFS | SQLITE_IOERR_DATA)) =>
        {
            SqliteFault::Damage
        }
        Code::DatabaseCorrupt | Code::NotADatabase => SqliteFault::Damage,
        Code::DiskFull
        | Code::DatabaseBusy
        | Code::DatabaseLocked
        | Code::ReadOnly
        | Code::SystemIoFailure
        | Code::CannotOpen
        | Code::OutOfMemory
        | Code::PermissionDenied
        // The locks of WAL were not to be had in time, or the file system has none.
        | Code::FileLockingProtocolFailed
        // The file has grown beyond what the file system can hold.
        | Code::NoLargeFileSupport
        // The transaction was rolled back beneath a statement, which says nothing about that statement.
        | Code::OperationAborted
        | Code::OperationInterrupted
        // Another process changed the schema again and again while the statement was prepared.
        | Code::SchemaChanged => SqliteFault::Surroundings,
        _ => SqliteFault::Call,
    }
}

/// SQLite's words and number: "disk I/O error" has thirty kinds (sqlite.org/rescode.html).
fn words(error: &rusqlite::Error) -> String {
    match error.sqlite_extended_error_code() {
        Some(number) if error.sqlite_error_code() == Some(Code::DatabaseBusy) => {
            format!("{error}: another process, such as `tilld rebuild`, keeps it from others (SQLite {number})")
        }
        Some(number) => format!("{error} (SQLite {number})"),
        None => error.to_string(),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match fault(&error) {
            SqliteFault::Surroundings => Self::Unavailable(words(&error)),
            SqliteFault::Damage => Self::Damaged(words(&error)),
            SqliteFault::Call => Self::Sql(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

impl StoreError {
    /// What can be done about it: what the database cannot take now is nobody's attempt.
    #[must_use]
    pub fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Unavailable(_) | Self::Damaged(_) | Self::Stopped => FailureVerdict::Wait,
            Self::Sql(_) | Self::Json(_) | Self::Missing(_) | Self::Content(_) | Self::Panicked(_) => {
                FailureVerdict::Retry
            }
        }
    }

    /// Whether only an operator can help.
    #[must_use]
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn of(code: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    #[test]
    fn what_the_surroundings_refuse_is_unavailable_and_comes_again() {
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_BUSY_RECOVERY,
            ffi::SQLITE_BUSY_SNAPSHOT,
            ffi::SQLITE_BUSY_TIMEOUT,
            ffi::SQLITE_LOCKED,
            ffi::SQLITE_LOCKED_SHAREDCACHE,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_READONLY_RECOVERY,
            ffi::SQLITE_READONLY_CANTLOCK,
            ffi::SQLITE_READONLY_ROLLBACK,
            ffi::SQLITE_READONLY_DBMOVED,
            ffi::SQLITE_READONLY_CANTINIT,
            ffi::SQLITE_READONLY_DIRECTORY,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_IOERR_SHORT_READ,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_IOERR_TRUNCATE,
            ffi::SQLITE_IOERR_FSTAT,
            ffi::SQLITE_IOERR_LOCK,
            ffi::SQLITE_IOERR_NOMEM,
            ffi::SQLITE_IOERR_SHMOPEN,
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_IOERR_SHMLOCK,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_CANTOPEN_ISDIR,
            ffi::SQLITE_CANTOPEN_SYMLINK,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_PERM,
            ffi::SQLITE_PROTOCOL,
            ffi::SQLITE_NOLFS,
            ffi::SQLITE_ABORT_ROLLBACK,
            ffi::SQLITE_INTERRUPT,
            ffi::SQLITE_SCHEMA,
        ] {
            let error = of(code);
            assert!(matches!(error, StoreError::Unavailable(_)), "{code}: {error}");
            assert!(error.to_string().ends_with(&format!("(SQLite {code})")), "{error}");
        }
    }

    #[test]
    fn damage_is_nobody_s_attempt_and_says_what_to_do() {
        for code in [
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_CORRUPT_INDEX,
            ffi::SQLITE_CORRUPT_SEQUENCE,
            ffi::SQLITE_CORRUPT_VTAB,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_IOERR_CORRUPTFS,
            ffi::SQLITE_IOERR_DATA,
        ] {
            let error = of(code);
            assert!(matches!(error, StoreError::Damaged(_)), "{code}: {error}");
            assert!(error.to_string().contains("put a backup in its place"), "{error}");
        }
    }

    #[test]
    fn a_wrong_statement_or_value_is_the_call_s_own_fault() {
        for code in [
            ffi::SQLITE_ERROR,
            ffi::SQLITE_CONSTRAINT,
            ffi::SQLITE_CONSTRAINT_CHECK,
            ffi::SQLITE_MISMATCH,
            ffi::SQLITE_TOOBIG,
            ffi::SQLITE_RANGE,
            ffi::SQLITE_MISUSE,
            ffi::SQLITE_INTERNAL,
        ] {
            assert!(matches!(of(code), StoreError::Sql(_)), "{code}");
        }
        assert!(matches!(StoreError::from(rusqlite::Error::QueryReturnedNoRows), StoreError::Sql(_)));
    }

    #[test]
    fn a_file_that_cannot_be_opened_says_which_of_three_things_is_wrong() {
        let open = |code: i32| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            OpenError::of(Path::new("/nowhere/tilld.db"), &error)
        };
        assert!(matches!(open(ffi::SQLITE_NOTADB), OpenError::Damaged { .. }));
        assert!(matches!(open(ffi::SQLITE_READONLY_DIRECTORY), OpenError::ReadOnly { .. }));
        assert!(matches!(open(ffi::SQLITE_CANTOPEN), OpenError::Unusable { .. }));
    }
}

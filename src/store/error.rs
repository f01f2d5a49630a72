//! What can go wrong in the database, by what the caller can do about it.

use std::path::PathBuf;

/// A failed read or write.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, the file is locked, read-only or unreadable now. The same call may succeed later.
    #[error("the database cannot take this now: {0}")]
    Unavailable(String),
    /// The statement or the data is at fault; the same call fails again.
    #[error("database error: {0}")]
    Sql(String),
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
    /// The file or its folder cannot be used.
    #[error("cannot open database {path}: {reason}; check that the folder exists and is writable")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// SQLite's or the system's words.
        reason: String,
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

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(
                Code::DiskFull
                | Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::ReadOnly
                | Code::SystemIoFailure
                | Code::CannotOpen
                | Code::OutOfMemory
                | Code::PermissionDenied,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Sql(error.to_string()),
        }
    }
}

impl StoreError {
    /// A commit error, told to everyone whose change was in it.
    pub(super) fn shared(&self) -> Self {
        match self {
            Self::Unavailable(text) => Self::Unavailable(text.clone()),
            Self::Sql(text) => Self::Sql(text.clone()),
            Self::Panicked(text) => Self::Panicked(text.clone()),
            Self::Stopped => Self::Stopped,
        }
    }
}

//! The database: one writer thread with group commit, read-only connections beside it, one file per table.
//! Only here is SQL. It must never decide anything about billing. Called by every flow, by the API and the CLI.

pub mod audit;
pub mod charges;
pub mod checkout_sessions;
mod connection;
pub mod customers;
pub mod dead_letters;
pub mod disputes;
pub mod effective;
mod error;
pub mod inbox;
pub mod invoices;
pub mod objects;
pub mod payment_failures;
pub mod payment_intents;
pub mod retries;
pub mod schema;
pub mod settings;
pub mod subscription_events;
pub mod subscriptions;
pub mod users;
mod writer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

pub use error::{OpenError, StoreError};
pub(crate) use writer::in_savepoint;

use crate::thread::{Handle, Threads};

/// Writes waiting for the writer thread at most; more callers wait in line.
const WRITE_QUEUE: usize = 1024;
/// Read-only connections kept open.
const READERS: usize = 4;
/// How long a read waits for a free connection before it reports the store as unavailable.
const READER_WAIT: Duration = Duration::from_secs(5);

/// A handle to the database; cheap to clone. The writer thread ends when the last handle is gone.
#[derive(Clone)]
pub struct Store {
    jobs: Sender<writer::Job>,
    idle: (Sender<Connection>, Receiver<Connection>),
    path: PathBuf,
}

impl Store {
    /// Opens a migrated database and starts its writer thread.
    ///
    /// # Errors
    /// When the file cannot be used or its schema is not the one this program knows.
    pub fn open(path: &Path, threads: &Threads) -> Result<(Self, Handle), OpenError> {
        schema::require_current(path)?;
        let unusable =
            |error: rusqlite::Error| OpenError::Unusable { path: path.to_owned(), reason: error.to_string() };
        let connection = connection::open_writer(path).map_err(unusable)?;
        let idle = bounded(READERS);
        for _ in 0..READERS {
            // The channel holds exactly as many as are made here.
            let _ = idle.0.send(connection::open_reader(path).map_err(unusable)?);
        }
        let (jobs, waiting) = bounded(WRITE_QUEUE);
        let handle = threads.spawn("writer", move || writer::run(connection, &waiting))?;
        Ok((Self { jobs, idle, path: path.to_owned() }, handle))
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the writer thread and returns after its commit is on disk.
    ///
    /// # Errors
    /// Its own error, [`StoreError::Panicked`], or the commit's; in each case nothing of it was kept.
    pub fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    {
        let (job, answered) = writer::job(work);
        self.jobs.send(job).map_err(|_| StoreError::Stopped)?;
        answered.recv().map_err(|_| StoreError::Stopped)?
    }

    /// Whether the writer thread answers within `within`, be it with an error: a full disk is no dead thread, and no
    /// restart helps it. Changes nothing, and writes nothing to the disk.
    #[must_use]
    pub fn writer_answers(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let (job, answered) = writer::job(|_| Ok(()));
        self.jobs.send_deadline(job, deadline).is_ok() && answered.recv_deadline(deadline).is_ok()
    }

    /// Runs `work` on a read-only connection that sees one consistent state.
    ///
    /// # Errors
    /// Its own error, or [`StoreError::Unavailable`] when no connection became free in time.
    pub fn read<T>(&self, work: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let connection = self
            .idle
            .1
            .recv_timeout(READER_WAIT)
            .map_err(|_| StoreError::Unavailable("all read connections are busy".to_owned()))?;
        let lease = Lease { connection: Some(connection), home: &self.idle.0 };
        let Some(connection) = lease.connection.as_ref() else { return Err(StoreError::Stopped) };
        let snapshot = connection.unchecked_transaction()?;
        work(&Reader { connection: &snapshot })
    }
}

/// Brings a borrowed connection back, also when the reader panics.
struct Lease<'a> {
    connection: Option<Connection>,
    home: &'a Sender<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Room is certain: it was taken out of this channel.
            let _ = self.home.try_send(connection);
        }
    }
}

/// Leave to read.
pub struct Reader<'c> {
    connection: &'c Connection,
}

/// Leave to write, inside the writer thread's transaction. Reads too.
pub struct Tx<'c> {
    reader: Reader<'c>,
}

impl<'c> std::ops::Deref for Tx<'c> {
    type Target = Reader<'c>;

    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}

impl<'c> Tx<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self { reader: Reader { connection } }
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    fn savepoint(&self, sql: &str) -> Result<(), StoreError> {
        self.execute(sql, []).map(|_| ())
    }

    fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }
}

impl Reader<'_> {
    /// At most one row; `None` only when there is none.
    fn find<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        use rusqlite::OptionalExtension;
        Ok(self.connection.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    /// All rows, in the statement's order.
    fn list<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Exactly one row, for aggregates.
    fn get<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.query_row(params, read)?)
    }
}

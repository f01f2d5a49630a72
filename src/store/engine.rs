//! The database itself: one writer thread with group commit, read-only connections beside it, and the permission
//! to read ([`StoreReader`]) and to write ([`Tx`]). Connections exist only here. It must never know what a table means. Called by
//! the files of tables, in `store` and in `objects`.

pub(crate) mod checkpoint;
pub(crate) mod connection;
pub mod damage;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod fresh;
pub mod lock;
mod owner;
pub mod replace;
pub(crate) mod row;
pub mod schema;
pub(crate) mod statements;
pub(crate) mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::{Connection, Statement, ToSql};

use error::{OpenError, StoreError};
use writer::in_savepoint;

use crate::base::metrics::{MetricLabels, Metrics};
use crate::base::thread::{Handle, Threads};
use checkpoint::Checkpoints;
use file::{Damage, DatabaseFile};
use statements::Prepare;
use writer::{AfterWrite, Replies, WriterHelpers};

/// Writes waiting for the writer thread at most; more callers wait in line.
const WRITE_QUEUE: usize = 1024;
/// Read-only connections kept open: as many as threads answer the application, so that none waits for another's read.
const READERS: usize = 8;
/// How long a read waits for a free connection before it reports the store as unavailable.
const READER_WAIT: Duration = Duration::from_secs(5);

/// A handle to the database; cheap to clone. The writer thread ends when the last handle is gone.
#[derive(Clone)]
pub struct Store {
    jobs: Sender<writer::WriteJob>,
    idle: (Sender<Connection>, Receiver<Connection>),
    path: PathBuf,
    damage: Arc<Damage>,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Opens a migrated database and starts its writer thread.
    ///
    /// # Errors
    /// When the file cannot be used or its schema is not the one this program knows.
    pub fn open(path: &Path, threads: &Threads) -> Result<(Self, Handle), OpenError> {
        Self::open_counting(path, threads, Arc::new(Metrics::new(&MetricLabels::default())?))
    }

    /// As [`Store::open`], with the counters of this process. They come with the database because whoever counts
    /// something has it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_counting(path: &Path, threads: &Threads, metrics: Arc<Metrics>) -> Result<(Self, Handle), OpenError> {
        schema::require_current(path)?;
        let unusable = |error: rusqlite::Error| OpenError::of(path, &error);
        let file = DatabaseFile::of(path)?;
        let mut connection = connection::open_writer(path).map_err(unusable)?;
        file.confirm_opened()?;
        let copier = connection::open_writer(path).map_err(unusable)?;
        let checkpoints = Checkpoints::start(&mut connection, copier, threads)?;
        let helpers = WriterHelpers { checkpoints, replies: Replies::start(threads)?, metrics: Arc::clone(&metrics) };
        let idle = bounded(READERS);
        for _ in 0..READERS {
            // The channel holds exactly as many as are made here.
            let _ = idle.0.send(connection::open_reader(path).map_err(unusable)?);
        }
        let (jobs, waiting) = bounded(WRITE_QUEUE);
        let handle = threads.spawn("writer", move || writer::run(connection, helpers, &file, &waiting))?;
        Ok((Self { jobs, idle, path: path.to_owned(), damage: Arc::new(Damage::of(path)), metrics }, handle))
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What this process counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Runs `work` on the writer thread and returns after its commit is on disk. Once the file was found damaged,
    /// nothing is written any more: what we do not acknowledge, Stripe sends again to the backup that replaces the file.
    ///
    /// # Errors
    /// Its own error, [`StoreError::Panicked`], or the commit's; in each case nothing of it was kept, or only in a file
    /// that was replaced.
    pub fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    {
        self.begin(work)?.wait()
    }

    /// As [`Store::write`], but returns at once; the caller does something else before it asks for the result.
    ///
    /// # Errors
    /// When nothing can be written any more.
    pub fn begin<T, F>(&self, work: F) -> Result<BegunWrite<'_, T>, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(|tx| in_savepoint(tx, work))
    }

    /// Runs `work`, which changes something by one statement at most, and hands what became of it to `done`, after the
    /// commit, on a thread of the store. SQLite undoes a statement that fails by itself, so there is no savepoint,
    /// which would copy every page it touches.
    pub(crate) fn write_one_then<T, F, D>(&self, work: F, done: D)
    where
        T: Send + 'static,
        F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
        D: FnOnce(Result<T, StoreError>) + Send + 'static,
    {
        if let Err(error) = self.damage.confirm() {
            return done(Err(error));
        }
        let damage = Arc::clone(&self.damage);
        let job = writer::job_then(work, move |outcome| done(damage.noting(outcome)));
        if let Err(refused) = self.jobs.send(job)
            && let AfterWrite::Reply(reply) = refused.into_inner()(Err(StoreError::Stopped))
        {
            reply(Ok(()));
        }
    }

    fn submit<T, F>(&self, work: F) -> Result<BegunWrite<'_, T>, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    {
        self.damage.confirm()?;
        let (job, answered) = writer::job(work);
        self.jobs.send(job).map_err(|_| StoreError::Stopped)?;
        Ok(BegunWrite { store: self, answered })
    }

    /// Whether the writer thread answers within `within`, be it with an error: a full disk does not mean a dead thread, and a
    /// restart would not help. Changes nothing, and writes nothing to the disk.
    #[must_use]
    pub(crate) fn writer_answers(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let (job, answered) = writer::job(|_| Ok(()));
        self.jobs.send_deadline(job, deadline).is_ok() && answered.recv_deadline(deadline).is_ok()
    }

    /// Runs `work` on a read-only connection that sees one consistent state.
    ///
    /// # Errors
    /// Its own error, or [`StoreError::Unavailable`] when no connection became free in time.
    pub fn read<T>(&self, work: impl FnOnce(&StoreReader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let connection = self
            .idle
            .1
            .recv_timeout(READER_WAIT)
            .map_err(|_| StoreError::Unavailable("all read connections are busy".to_owned()))?;
        let borrowed = BorrowedReader { connection: Some(connection), home: &self.idle.0 };
        let Some(connection) = borrowed.connection.as_ref() else { return Err(StoreError::Stopped) };
        let outcome = connection
            .unchecked_transaction()
            .map_err(StoreError::from)
            .and_then(|snapshot| work(&StoreReader { connection: &snapshot, statements: &*snapshot }));
        self.damage.noting(outcome)
    }
}

/// A write that is under way.
pub struct BegunWrite<'s, T> {
    store: &'s Store,
    answered: Receiver<Result<T, StoreError>>,
}

impl<T> BegunWrite<'_, T> {
    /// Waits until it is on disk.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn wait(self) -> Result<T, StoreError> {
        let outcome = self.answered.recv().map_err(|_| StoreError::Stopped)?;
        self.store.damage.noting(outcome)
    }
}

/// Brings a borrowed connection back, also when the reader panics.
struct BorrowedReader<'a> {
    connection: Option<Connection>,
    home: &'a Sender<Connection>,
}

impl Drop for BorrowedReader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Room is certain: it was taken out of this channel.
            let _ = self.home.try_send(connection);
        }
    }
}

/// The permission to read.
pub struct StoreReader<'c> {
    connection: &'c Connection,
    statements: &'c dyn Prepare,
}

/// The permission to write, inside the writer thread's transaction. Reads too.
pub struct Tx<'c> {
    reader: StoreReader<'c>,
}

impl<'c> std::ops::Deref for Tx<'c> {
    type Target = StoreReader<'c>;

    fn deref(&self) -> &StoreReader<'c> {
        &self.reader
    }
}

impl<'c> Tx<'c> {
    fn new(connection: &'c Connection, statements: &'c dyn Prepare) -> Self {
        Self { reader: StoreReader { connection, statements } }
    }

    pub(crate) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        self.once(sql, |statement| statement.execute(params))
    }

    /// As `execute`, for statements with many parameters: they are bound by position, which SQLite finds faster than names,
    /// so they must be given in the order in which the statement first names them.
    pub(crate) fn execute_named(&self, sql: &str, params: &[(&str, &dyn ToSql)]) -> Result<usize, StoreError> {
        self.once(sql, |statement| {
            if statement.parameter_count() != params.len() {
                return Err(rusqlite::Error::InvalidParameterCount(params.len(), statement.parameter_count()));
            }
            for (position, (name, value)) in (1..).zip(params) {
                debug_assert_eq!(statement.parameter_name(position), Some(*name), "parameters out of order: {sql}");
                statement.raw_bind_parameter(position, value)?;
            }
            statement.raw_execute()
        })
    }

    fn savepoint(&self, sql: &str) -> Result<(), StoreError> {
        self.execute(sql, []).map(|_| ())
    }

    fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }
}

impl StoreReader<'_> {
    /// Uses the prepared statement once.
    fn once<T>(&self, sql: &str, run: impl FnOnce(&mut Statement) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let (mut run, mut result) = (Some(run), None);
        self.statements.with(sql, &mut |statement| {
            result = run.take().map(|run| run(statement)).transpose()?;
            Ok(())
        })?;
        result.ok_or(StoreError::Missing("a statement was not run"))
    }

    /// At most one row; `None` only when there is none.
    pub(crate) fn find<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        use rusqlite::OptionalExtension;
        self.once(sql, |statement| statement.query_row(params, read).optional())
    }

    /// All rows, in the statement's order.
    pub(crate) fn list<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.once(sql, |statement| statement.query_map(params, read)?.collect())
    }

    /// Exactly one row, for aggregates.
    pub(crate) fn get<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.once(sql, |statement| statement.query_row(params, read))
    }
}

//! The writer thread: group commit. It runs what is waiting inside one `BEGIN IMMEDIATE`, each job in a savepoint of its
//! own unless it is a single statement, commits once, and only then wakes the callers that wait. What the others want done
//! after their commit, such as answering a webhook, is done on a thread of its own: the writer has better things to do,
//! and one thread that answers a whole group wakes up once where a thread for each would wake up many times. It must never
//! answer before the commit. Called by `engine`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

use super::checkpoint::Checkpoints;
use super::connection::BusyWait;
use super::file::DatabaseFile;
use super::statements::Statements;
use crate::base::metrics::Metrics;
use crate::base::thread::{Handle, Threads, panic_text};
use crate::store::{StoreError, Tx};

/// Jobs committed together at most: bounds the time that the first of them waits.
const MAX_GROUP: usize = 256;

/// Groups that wait for their replies at most; then the writer waits, too.
const REPLY_QUEUE: usize = 16;

/// Learns how the commit of its job went.
type AfterCommit = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What is to be done after the commit.
pub(crate) enum AfterWrite {
    /// The caller waits, and is woken by this.
    Wake(AfterCommit),
    /// It does not; the thread of [`Replies`] does this.
    Reply(AfterCommit),
}

/// One write: runs in the group's transaction (or gets the reason why it cannot), and gives what is to be done after the commit.
pub(crate) type WriteJob = Box<dyn FnOnce(Result<&Tx, StoreError>) -> AfterWrite + Send>;

/// Wraps a closure into a job and the receiver of its result.
pub(crate) fn job<T, F>(work: F) -> (WriteJob, Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
{
    let (answer, answered) = bounded(1);
    let job: WriteJob = Box::new(move |tx: Result<&Tx, StoreError>| {
        let outcome = tx.and_then(|tx| caught(|| work(tx)));
        AfterWrite::Wake(Box::new(move |commit| {
            // A caller that has gone away needs no answer.
            let _ = answer.send(after(commit, outcome));
        }))
    });
    (job, answered)
}

/// Wraps a closure into a job whose result is handed to `done`.
pub(crate) fn job_then<T, F, D>(work: F, done: D) -> WriteJob
where
    T: Send + 'static,
    F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    D: FnOnce(Result<T, StoreError>) + Send + 'static,
{
    Box::new(move |tx: Result<&Tx, StoreError>| {
        let outcome = tx.and_then(|tx| caught(|| work(tx)));
        AfterWrite::Reply(Box::new(move |commit| done(after(commit, outcome))))
    })
}

fn after<T>(commit: Result<(), StoreError>, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
    outcome.and_then(|value| commit.map(|()| value))
}

/// Makes an error of a panic.
fn caught<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(StoreError::Panicked(panic_text(panic.as_ref())).into()))
}

/// Runs `work` so that its failure or panic undoes its own changes and nobody else's.
pub(crate) fn in_savepoint<T, E: From<StoreError>>(tx: &Tx, work: impl FnOnce(&Tx) -> Result<T, E>) -> Result<T, E> {
    tx.savepoint("SAVEPOINT job")?;
    let outcome = caught(|| work(tx));
    if outcome.is_err() {
        // SQLite may already have rolled the whole transaction back (disk full); then there is nothing to undo.
        if !tx.is_open() {
            return outcome;
        }
        tx.savepoint("ROLLBACK TO job")?;
    }
    tx.savepoint("RELEASE job")?;
    outcome
}

/// The threads that take from the writer what can be done beside it.
pub(crate) struct WriterHelpers {
    pub(crate) checkpoints: Checkpoints,
    pub(crate) replies: Replies,
    pub(crate) metrics: Arc<Metrics>,
}

/// The thread's loop; ends when every sender is gone and the queue is empty.
pub(crate) fn run(connection: Connection, helpers: WriterHelpers, file: &DatabaseFile, jobs: &Receiver<WriteJob>) {
    let statements = Statements::of(&connection);
    let tx = Tx::new(&connection, &statements);
    let mut busy = BusyWait::default();
    while let Ok(first) = jobs.recv() {
        let group = std::iter::once(first).chain(jobs.try_iter()).take(MAX_GROUP);
        let (done, outcome) = match busy.begin(&tx) {
            Ok(()) => commit_group(&tx, group, file, &helpers.metrics),
            // Each job gets the reason why it cannot run; then there is nothing that could have been committed.
            Err(error) => (group.map(|job| job(Err(error.clone()))).collect(), Ok(())),
        };
        report(done, &outcome, &helpers.replies);
        helpers.checkpoints.after_commit(&connection);
    }
    helpers.replies.stop();
    helpers.checkpoints.stop();
    // Leaves one file behind where it can; a reader that is still open keeps the log, which loses nothing.
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        log::info!("checkpoint at stop was not possible: {error}");
    }
}

fn commit_group(
    tx: &Tx,
    group: impl Iterator<Item = WriteJob>,
    file: &DatabaseFile,
    metrics: &Metrics,
) -> (Vec<AfterWrite>, Result<(), StoreError>) {
    let mut done = Vec::new();
    for job in group {
        done.push(job(Ok(tx)));
        if !tx.is_open() {
            break;
        }
    }
    let began = Instant::now();
    let finished = finish(tx);
    metrics.commit(began.elapsed());
    (done, finished.and_then(|()| file.confirm()))
}

fn report(done: Vec<AfterWrite>, outcome: &Result<(), StoreError>, replies: &Replies) {
    let mut group = Vec::new();
    for then in done {
        match then {
            AfterWrite::Wake(wake) => wake(outcome.clone()),
            AfterWrite::Reply(reply) => group.push(reply),
        }
    }
    replies.send(group, outcome.clone());
}

fn finish(tx: &Tx) -> Result<(), StoreError> {
    if !tx.is_open() {
        return Err(StoreError::Unavailable("SQLite rolled the transaction back; is the disk full?".to_owned()));
    }
    tx.execute("COMMIT", []).map(|_| ()).inspect_err(|_| {
        // It may have been rolled back already.
        if tx.is_open()
            && let Err(rollback) = tx.execute("ROLLBACK", [])
        {
            log::warn!("rollback after a failed commit: {rollback}");
        }
    })
}

/// A group that was committed, or was not.
type ReplyGroup = (Vec<AfterCommit>, Result<(), StoreError>);

/// The thread that answers those who do not wait, as the writer sees it.
pub(crate) struct Replies {
    groups: Sender<ReplyGroup>,
    thread: Handle,
}

impl Replies {
    pub(crate) fn start(threads: &Threads) -> std::io::Result<Self> {
        let (groups, waiting) = bounded(REPLY_QUEUE);
        let thread = threads.spawn("replies", move || reply_all(&waiting))?;
        Ok(Self { groups, thread })
    }

    fn send(&self, group: Vec<AfterCommit>, committed: Result<(), StoreError>) {
        if !group.is_empty() {
            // The thread lives as long as the writer.
            let _ = self.groups.send((group, committed));
        }
    }

    /// Does what is left, and ends the thread.
    fn stop(self) {
        drop(self.groups);
        self.thread.join();
    }
}

fn reply_all(groups: &Receiver<ReplyGroup>) {
    while let Ok((group, committed)) = groups.recv() {
        for reply in group {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| reply(committed.clone()))) {
                log::error!("panic after a commit: {}", panic_text(panic.as_ref()));
            }
        }
    }
}

//! The writer thread: group commit. It runs what is waiting inside one `BEGIN IMMEDIATE`, each job in a savepoint of its
//! own unless it is a single statement, commits once, and only then wakes those who wait and hands the others to
//! `replies`. It must never answer before the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, bounded};
use rusqlite::Connection;

use super::checkpoint::Checkpoints;
use super::connection::Patience;
use super::place::Place;
use super::replies::Replies;
use super::statements::Statements;
use super::{StoreError, Tx};
use crate::thread::panic_text;

/// Jobs committed together at most: bounds the time that the first of them waits.
const MAX_GROUP: usize = 256;

/// Tells a job's caller how the commit went.
pub(super) type Tell = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What is to be done after the commit.
pub(super) enum Then {
    /// The caller waits.
    Wake(Tell),
    /// It does not; this is done by `replies`.
    Apart(Tell),
}

/// One write: runs in the group's transaction (or is told why it cannot), and gives what is to be done after the commit.
pub(super) type Job = Box<dyn FnOnce(Result<&Tx, StoreError>) -> Then + Send>;

/// Wraps a closure into a job and the receiver of its result.
pub(super) fn job<T, F>(work: F) -> (Job, Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
{
    let (answer, answered) = bounded(1);
    let job: Job = Box::new(move |tx: Result<&Tx, StoreError>| {
        let outcome = tx.and_then(|tx| caught(|| work(tx)));
        Then::Wake(Box::new(move |commit| {
            // A caller that has gone away needs no answer.
            let _ = answer.send(after(commit, outcome));
        }))
    });
    (job, answered)
}

/// Wraps a closure into a job whose result is handed to `done`.
pub(super) fn job_then<T, F, D>(work: F, done: D) -> Job
where
    T: Send + 'static,
    F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    D: FnOnce(Result<T, StoreError>) + Send + 'static,
{
    Box::new(move |tx: Result<&Tx, StoreError>| {
        let outcome = tx.and_then(|tx| caught(|| work(tx)));
        Then::Apart(Box::new(move |commit| done(after(commit, outcome))))
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
pub(super) struct Aside {
    pub(super) checkpoints: Checkpoints,
    pub(super) replies: Replies,
}

/// The thread's loop; ends when every sender is gone and the queue is empty.
pub(super) fn run(connection: Connection, aside: Aside, place: &Place, jobs: &Receiver<Job>) {
    let statements = Statements::of(&connection);
    let tx = Tx::new(&connection, &statements);
    let mut patience = Patience::default();
    while let Ok(first) = jobs.recv() {
        let group = std::iter::once(first).chain(jobs.try_iter()).take(MAX_GROUP);
        let (those, outcome) = match patience.begin(&tx) {
            Ok(()) => commit_group(&tx, group, place),
            // Each job is told why it cannot run; then there is nothing that could have been committed.
            Err(error) => (group.map(|job| job(Err(error.clone()))).collect(), Ok(())),
        };
        tell(those, &outcome, &aside.replies);
        aside.checkpoints.after_commit(&connection);
    }
    aside.replies.stop();
    aside.checkpoints.stop();
    // Leaves one file behind where it can; a reader that is still open keeps the log, which loses nothing.
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        log::info!("checkpoint at stop was not possible: {error}");
    }
}

fn commit_group(tx: &Tx, group: impl Iterator<Item = Job>, place: &Place) -> (Vec<Then>, Result<(), StoreError>) {
    let mut those = Vec::new();
    for job in group {
        those.push(job(Ok(tx)));
        if !tx.is_open() {
            break;
        }
    }
    (those, finish(tx).and_then(|()| place.confirm()))
}

fn tell(those: Vec<Then>, outcome: &Result<(), StoreError>, replies: &Replies) {
    let mut apart = Vec::new();
    for then in those {
        match then {
            Then::Wake(tell) => tell(outcome.clone()),
            Then::Apart(tell) => apart.push(tell),
        }
    }
    replies.tell(apart, outcome.clone());
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

//! The writer thread: group commit. It runs what is waiting inside one `BEGIN IMMEDIATE`, each job in a
//! savepoint of its own, commits once, and only then answers everyone. It must never answer before the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

use super::checkpoint::Checkpoints;
use super::connection::Patience;
use super::place::Place;
use super::statements::Statements;
use super::{StoreError, Tx};
use crate::thread::panic_text;

/// Jobs committed together at most: bounds the time that the first of them waits.
const MAX_GROUP: usize = 256;

/// Tells a job's caller how the commit went.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// One write: runs in the group's transaction (or is told why it cannot), and gives what is to be done after the commit.
pub(super) type Job = Box<dyn FnOnce(Result<&Tx, StoreError>) -> Reply + Send>;

/// Wraps a closure into a job and the receiver of its result.
pub(super) fn job<T, F>(work: F) -> (Job, Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
{
    let (answer, answered) = bounded(1);
    let job: Job = Box::new(move |tx: Result<&Tx, StoreError>| {
        let outcome = tx.and_then(|tx| caught(|| work(tx)));
        Box::new(move |commit| reply(&answer, outcome, commit))
    });
    (job, answered)
}

fn reply<T>(answer: &Sender<Result<T, StoreError>>, outcome: Result<T, StoreError>, commit: Result<(), StoreError>) {
    // A caller that has gone away needs no answer.
    let _ = answer.send(outcome.and_then(|value| commit.map(|()| value)));
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

/// The thread's loop; ends when every sender is gone and the queue is empty.
pub(super) fn run(connection: Connection, checkpoints: Checkpoints, place: &Place, jobs: &Receiver<Job>) {
    let statements = Statements::of(&connection);
    let tx = Tx::new(&connection, &statements);
    let mut patience = Patience::default();
    while let Ok(first) = jobs.recv() {
        match patience.begin(&tx) {
            Ok(()) => commit_group(&tx, group(first, jobs), place),
            Err(error) => refuse(&error, group(first, jobs)),
        }
        checkpoints.after_commit(&connection);
    }
    checkpoints.stop();
    // Leaves one file behind where it can; a reader that is still open keeps the log, which loses nothing.
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        log::info!("checkpoint at stop was not possible: {error}");
    }
}

fn group(first: Job, jobs: &Receiver<Job>) -> impl Iterator<Item = Job> {
    std::iter::once(first).chain(jobs.try_iter()).take(MAX_GROUP)
}

fn refuse(error: &StoreError, group: impl Iterator<Item = Job>) {
    group.for_each(|job| job(Err(error.clone()))(Ok(())));
}

fn commit_group(tx: &Tx, group: impl Iterator<Item = Job>, place: &Place) {
    let mut replies = Vec::new();
    for job in group {
        replies.push(job(Ok(tx)));
        if !tx.is_open() {
            break;
        }
    }
    let committed = finish(tx).and_then(|()| place.confirm());
    replies.into_iter().for_each(|reply| reply(committed.clone()));
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

//! Makes the tables again: the log and the kept readings are projected into a fresh file, in the order in which they
//! were received, without effects; what is not derived is copied. Comparing it with the present file shows whether
//! every table is a function of what is kept. It must never send anything or change the file that it reads. Called by
//! `app::cli::rebuild` and by the tests.

use std::path::Path;

use crate::base::retry::RetryPolicy;
use crate::base::verdict::FailureVerdict;
use crate::jobs::at_start::relink;
use crate::jobs::retrier::{self, Failed};
use crate::notify::NotifyContext;
use crate::notify::settings::{NoticeSettings, NotifyBasis};
use crate::notify::{self, app_events};
use crate::objects::reading::{ApiObject, ReadingOutcome};
use crate::objects::rebuild as file;
use crate::objects::rebuild::{Copying, Difference, KeptReading, LoggedEvent};
use crate::objects::{self, ProjectionContext, ProjectionError, customer};
use crate::store::engine::fresh::FreshFile;
use crate::store::engine::schema;
use crate::store::inbox;
use crate::store::{OpenError, StoreError, Tx, in_savepoint};
use crate::stripe::event::{self, EventContent};

/// Events that are read at once.
const PAGE: u32 = 200;

/// Why the rebuild failed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// One of the files.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A kept reading.
    #[error("the kept reading of {id} cannot be projected: {error}")]
    Reading {
        /// The object's id.
        id: String,
        /// Why.
        error: String,
    },
}

/// What a rebuild needs.
#[derive(Clone, Copy)]
pub struct RebuildTask<'a> {
    /// The file with the log.
    pub from: &'a Path,
    /// The new file, which must not exist yet.
    pub into: &'a Path,
    /// The rules, and the endpoints that are notified of changed answers.
    pub context: &'a NotifyContext,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// What a rebuild did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Events projected.
    pub events: u64,
    /// Of these, those that failed: they are dead letters now.
    pub failed: u64,
    /// Readings that were projected.
    pub readings: u64,
    /// Readings that were older than what was there already.
    pub late: u64,
    /// Users whose answer is another one now, of which the application is notified.
    pub changed: u64,
}

/// Reports progress: events done, and of how many.
pub type Report<'a> = &'a dyn Fn(u64, u64);

/// Makes the new file.
///
/// # Errors
/// When a file cannot be used; the new one is useless then.
pub fn rebuild(task: RebuildTask, report: Report) -> Result<Rebuilt, RebuildError> {
    let fresh = FreshFile::begin(task.into, task.from, task.now_ms)?;
    let mut done = project(&fresh.tx(), task, report)?;
    done.changed = announce_changes(&fresh.tx(), NotifyBasis::of(task.context, task.now_ms))?;
    schema::note_rules(&fresh.tx())?;
    fresh.commit()?;
    Ok(done)
}

/// Makes the new file only to compare it, and keeps nothing of it.
///
/// # Errors
/// As [`rebuild`].
pub fn check(task: RebuildTask, report: Report) -> Result<(Rebuilt, Vec<Difference>), RebuildError> {
    let fresh = FreshFile::begin(task.into, task.from, task.now_ms)?;
    let done = project(&fresh.tx(), task, report)?;
    let found = file::differences(&fresh.tx(), task.now_ms.div_euclid(1000))?;
    Ok((done, found))
}

fn project(tx: &Tx, task: RebuildTask, report: Report) -> Result<Rebuilt, RebuildError> {
    let context = without_effects(task.context);
    file::start(tx)?;
    let (copying, total) = (Copying::new(tx)?, file::count_events(tx)?);
    let (mut done, mut events, mut last) = (Rebuilt::default(), 0_u64, -1);
    let mut waiting = Vec::new();
    loop {
        let page = file::list_events(tx, last, PAGE)?;
        if page.is_empty() {
            break;
        }
        for logged in &page {
            let log_id = logged.pending.log_id;
            take_readings(tx, last, log_id, &context, &mut done)?;
            if logged.waits {
                // The worker has not projected it yet; it follows after all that was.
                waiting.push(log_id);
            } else {
                take_event(tx, logged, &copying, &context, &mut done)?;
            }
            last = log_id;
        }
        events = events.saturating_add(page.len().try_into().unwrap_or(u64::MAX));
        report(events, total);
    }
    take_readings(tx, last, i64::MAX, &context, &mut done)?;
    waiting.into_iter().try_for_each(|log_id| copying.as_it_was(tx, log_id))?;
    for customer_id in file::list_linked_customers(tx)? {
        customer::ensure(tx, &customer_id)?;
    }
    notify::with_notices(tx, &context, task.now_ms, |basis| {
        relink::refresh_within(tx, basis).map_err(ProjectionError::from)
    })
    .map_err(StoreError::from)?;
    file::finish(tx)?;
    Ok(done)
}

/// The same rules without anybody to notify and without fetches.
fn without_effects(context: &NotifyContext) -> NotifyContext {
    let notices = NoticeSettings { warning_s: context.notices.warning_s, ..NoticeSettings::default() };
    NotifyContext { projection: ProjectionContext { fetches: false, ..context.projection.clone() }, notices }
}

/// Projects an event if it had been projected, else only copies it. What a thin event named is among the readings.
fn take_event(
    tx: &Tx,
    logged: &LoggedEvent,
    copying: &Copying,
    context: &NotifyContext,
    done: &mut Rebuilt,
) -> Result<(), StoreError> {
    let pending = &logged.pending;
    let is_thin = || matches!(event::content(&pending.data), Ok(EventContent::Thin(_)));
    let Some(now_ms) = logged.processed_ms.filter(|_| !is_thin()) else {
        return copying.as_it_was(tx, pending.log_id);
    };
    copying.as_pending(tx, pending.log_id)?;
    done.events = done.events.saturating_add(1);
    let attempt = pending.attempts;
    let projected = in_savepoint(tx, |tx| {
        let completion = notify::project(tx, &objects::read(pending)?, context, now_ms)?;
        inbox::complete(tx, pending.log_id, &completion, attempt, now_ms)?;
        Ok::<_, ProjectionError>(())
    });
    let Err(error) = projected else { return Ok(()) };
    if let (FailureVerdict::Wait, ProjectionError::Store(error)) = (error.verdict(), &error) {
        return Err(error.clone());
    }
    done.failed = done.failed.saturating_add(1);
    let (attempt, error) = (attempt.max(1), error.to_string());
    let failed = Failed { pending, attempt, error: &error, basis: NotifyBasis::of(context, now_ms) };
    let never = RetryPolicy { max_attempts: 1, base_delay_s: 1, max_delay_s: 1 };
    retrier::record(tx, &failed, FailureVerdict::GiveUp, never).map(|_| ())
}

/// Projects the readings that were taken between two events.
fn take_readings(
    tx: &Tx,
    after: i64,
    until: i64,
    context: &NotifyContext,
    done: &mut Rebuilt,
) -> Result<(), RebuildError> {
    for kept in file::list_readings(tx, after, until)? {
        let taken = take_reading(tx, &kept, context)?;
        let count = if taken == ReadingOutcome::Taken { &mut done.readings } else { &mut done.late };
        *count = count.saturating_add(1);
    }
    Ok(())
}

fn take_reading(tx: &Tx, kept: &KeptReading, context: &NotifyContext) -> Result<ReadingOutcome, RebuildError> {
    let failed =
        |error: &dyn std::error::Error| RebuildError::Reading { id: kept.reading_id.clone(), error: error.to_string() };
    let object = ApiObject::new(&kept.text, kept.reading).map_err(|error| failed(&error))?.of_mode(kept.livemode);
    let object = object.of_account(Some(kept.account.clone()).filter(|account| !account.is_empty()));
    let object = if kept.completed { object.completed() } else { object };
    in_savepoint(tx, |tx| notify::absorb(tx, &object, context, kept.taken_ms)).map_err(|error| failed(&error))
}

/// Notifies the application of answers that differ from those in the former file.
fn announce_changes(tx: &Tx, basis: NotifyBasis) -> Result<u64, StoreError> {
    let changed = file::list_changed_answers(tx)?;
    for user_id in &changed {
        app_events::stored_answer_changed(tx, user_id, file::answer_before(tx, user_id)?.as_ref(), basis)?;
    }
    Ok(changed.len().try_into().unwrap_or(u64::MAX))
}

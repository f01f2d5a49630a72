//! Makes the tables again: the log and the kept readings are projected into a fresh file, in the order in which they
//! were received, without effects; what is not derived is copied. Comparing it with the present file shows whether
//! every table is a function of what is kept. It must never send anything or change the file that it reads. Called by
//! `app::cli::rebuild` and by the tests.

use std::path::Path;

use crate::base::retry::RetryPolicy;
use crate::base::verdict::FailureVerdict;
use crate::jobs::at_start::{recompute, relink};
use crate::jobs::retrier::{self, Failed};
use crate::notify::NotifyContext;
use crate::notify::settings::{NoticeSettings, NotifyBasis};
use crate::notify::{self, app_events};
use crate::objects::reading::{ApiObject, ReadingOutcome};
use crate::objects::rebuild as file;
use crate::objects::rebuild::{Copying, Difference, KeptReading, LoggedEvent, ReadingCursor};
use crate::objects::subscription::mrr;
use crate::objects::{self, ProjectionContext, ProjectionError, customer};
use crate::store::engine::fresh::FreshFile;
use crate::store::engine::schema;
use crate::store::inbox;
use crate::store::{OpenError, StoreError, Tx, in_savepoint};
use crate::stripe::event::{self, EventContent, EventError};

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
    /// Of these, those that failed: they are dead letters now, or wait as before where they were replayed.
    pub failed: u64,
    /// Readings that could not be projected; they are kept as they are.
    pub failed_readings: u64,
    /// Readings that were projected.
    pub readings: u64,
    /// Readings that were older than what was there already.
    pub late: u64,
    /// Users whose answer is another one now, of which the application is notified.
    pub changed: u64,
}

/// What a check has found.
#[derive(Debug)]
pub struct CheckOutcome {
    /// What was projected for it.
    pub done: Rebuilt,
    /// Every value that would be another.
    pub found: Vec<Difference>,
    /// What it cannot compare, or only in part; one sentence each.
    pub limits: Vec<String>,
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
pub fn check(task: RebuildTask, report: Report) -> Result<CheckOutcome, RebuildError> {
    let fresh = FreshFile::begin(task.into, task.from, task.now_ms)?;
    let done = project(&fresh.tx(), task, report)?;
    let found = file::differences(&fresh.tx(), task.now_ms.div_euclid(1000))?;
    let limits = limits(&fresh.tx(), task.context)?;
    Ok(CheckOutcome { done, found, limits })
}

/// Why values may differ, or are not there to be compared, though nothing is wrong. The settings are those of the old file.
fn limits(tx: &Tx, context: &NotifyContext) -> Result<Vec<String>, StoreError> {
    let waiting = file::count_waiting(tx)?;
    let mut limits = Vec::new();
    if waiting.new > 0 {
        limits.push(format!("{} events wait to be projected: nothing of them is compared", waiting.new));
    }
    if waiting.replayed > 0 {
        let count = waiting.replayed;
        limits
            .push(format!("{count} replayed events wait: what they made before is compared, not what they will make"));
    }
    if recompute::is_other_policy(tx, context)? {
        limits.push(
            "plans or periods differ from those that the tables were computed with: answers may differ until the daemon has \
             started with them"
                .to_owned(),
        );
    }
    if relink::are_other_rules(tx, context)? {
        limits.push(
            "the rules of [link] differ from those that the tables were computed with: owners and answers may differ until \
             the daemon has started with them"
                .to_owned(),
        );
    }
    Ok(limits)
}

fn project(tx: &Tx, task: RebuildTask, report: Report) -> Result<Rebuilt, RebuildError> {
    let context = without_effects(task.context);
    file::start(tx)?;
    let (copying, total) = (Copying::new(tx)?, file::count_events(tx)?);
    let mut readings = ReadingCursor::new(tx)?;
    let (mut done, mut events, mut last) = (Rebuilt::default(), 0_u64, -1);
    loop {
        let page = file::list_events(tx, last, PAGE)?;
        if page.is_empty() {
            break;
        }
        for logged in &page {
            let log_id = logged.pending.log_id;
            take_readings(tx, &mut readings, log_id, &context, &mut done)?;
            if !logged.waits {
                take_event(tx, logged, &copying, &context, &mut done)?;
            }
            last = log_id;
        }
        events = events.saturating_add(page.len().try_into().unwrap_or(u64::MAX));
        report(events, total);
    }
    take_readings(tx, &mut readings, i64::MAX, &context, &mut done)?;
    file::copy_waiting(tx)?;
    for customer_id in file::list_linked_customers(tx)? {
        customer::ensure(tx, &customer_id)?;
    }
    notify::with_notices(tx, &context, task.now_ms, |basis| {
        relink::refresh_within(tx, basis).map_err(ProjectionError::from)
    })
    .map_err(StoreError::from)?;
    mrr::refresh_due(tx, task.now_ms.div_euclid(1000), u32::MAX).map_err(StoreError::from)?;
    file::put_back_replayed(tx)?;
    file::finish(tx)?;
    Ok(done)
}

/// The same rules without anybody to notify and without fetches.
fn without_effects(context: &NotifyContext) -> NotifyContext {
    let notices = NoticeSettings { warning_s: context.notices.warning_s, ..NoticeSettings::default() };
    NotifyContext { projection: ProjectionContext { fetches: false, ..context.projection.clone() }, notices }
}

/// Projects an event if it had been projected, else only copies it. What a thin event named is among the readings. One that
/// was replayed since counts as projected until all are; then its state is put back.
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
    if logged.replayed {
        log::warn!(event_id = pending.event_id; "a replayed event cannot be projected any more: {error}");
        return Ok(());
    }
    let (attempt, error) = (attempt.max(1), error.to_string());
    let failed = Failed { pending, attempt, error: &error, basis: NotifyBasis::of(context, now_ms) };
    let never = RetryPolicy { max_attempts: 1, base_delay_s: 1, max_delay_s: 1 };
    retrier::record(tx, &failed, FailureVerdict::GiveUp, never).map(|_| ())
}

/// Projects the readings that were taken over before an event and are not projected yet.
fn take_readings(
    tx: &Tx,
    readings: &mut ReadingCursor,
    until: i64,
    context: &NotifyContext,
    done: &mut Rebuilt,
) -> Result<(), StoreError> {
    while let Some(kept) = readings.next_before(tx, until)? {
        let count = match take_reading(tx, &kept, context) {
            Ok(ReadingOutcome::Taken) => &mut done.readings,
            Ok(_) => &mut done.late,
            Err(KeptReadingError::Projection(ProjectionError::Store(error)))
                if error.verdict() == FailureVerdict::Wait =>
            {
                return Err(error);
            }
            Err(error) => {
                log::warn!(reading_id = kept.reading_id; "a kept reading cannot be projected: {error}");
                file::keep_unprojected(tx, &kept)?;
                &mut done.failed_readings
            }
        };
        *count = count.saturating_add(1);
    }
    Ok(())
}

/// Why a kept reading cannot be projected.
#[derive(Debug, thiserror::Error)]
enum KeptReadingError {
    /// The row that has its body is gone.
    #[error("its body is gone")]
    NoBody,
    /// Its body.
    #[error(transparent)]
    Body(#[from] EventError),
    /// The projection.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
}

fn take_reading(tx: &Tx, kept: &KeptReading, context: &NotifyContext) -> Result<ReadingOutcome, KeptReadingError> {
    let text = kept.text.as_deref().ok_or(KeptReadingError::NoBody)?;
    let object = ApiObject::new(text, kept.reading)?.of_mode(kept.livemode);
    let object = object.of_account(Some(kept.account.clone()).filter(|account| !account.is_empty()));
    let object = if kept.completed { object.completed() } else { object };
    Ok(in_savepoint(tx, |tx| notify::absorb(tx, &object, context, kept.taken_ms))?)
}

/// Notifies the application of answers that differ from those in the former file.
fn announce_changes(tx: &Tx, basis: NotifyBasis) -> Result<u64, StoreError> {
    let changed = file::list_changed_answers(tx)?;
    for user_id in &changed {
        app_events::stored_answer_changed(tx, user_id, file::answer_before(tx, user_id)?.as_ref(), basis)?;
    }
    Ok(changed.len().try_into().unwrap_or(u64::MAX))
}

//! The worker: projects pending events, oldest first, a batch at a time, with one commit for the batch. If an event of
//! a batch fails, the batch is rolled back and projected again, each event in a savepoint of its own. While the writer
//! has a batch, the next one is read. It must never lose a row, nor let one row stop the others. Run by `app::daemon`;
//! tests drive [`Worker::step`].
//!
//! A batch is claimed (`worker_claim`) before it is touched, in the commit of the batch before it. So a row that kills
//! the process is found at the next start among the rows of that claim; these are then projected one by one, each
//! attempt counted before it is made, until the culprit is a dead letter.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::base::metrics::EventOutcome;
use crate::base::retry::RetryPolicy;
use crate::base::thread::{Pulse, panic_text};
use crate::base::verdict::FailureVerdict;
use crate::jobs::retrier::{self, RetryTicket};
use crate::jobs::step::{LoopContext, NextStep, StepCause, StepJob};
use crate::notify;
use crate::notify::NotifyContext;
use crate::notify::settings::NotifyBasis;
use crate::objects::{self, ProjectedEvent, ProjectionError};
use crate::store::figures::FinishedEvents;
use crate::store::inbox::{self, ClaimRange, CompletedEvent, EventCompletion, EventStatus, PendingEvent};
use crate::store::{BegunWrite, Store, StoreError, Tx, in_savepoint};
use crate::stripe::event::EventContent;

/// The most events in one commit: limits how long a request waits for the writer.
const BATCH: u32 = 96;
/// How often the table is read without a bell: a bell may be lost, and other processes have none.
const POLL: Duration = Duration::from_millis(500);

/// How an event is projected; tests pass functions that fail.
pub type WorkerProject = fn(&Tx, &ProjectedEvent, &NotifyContext, i64) -> Result<EventCompletion, ProjectionError>;

/// What a step of the worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerStep {
    /// Nothing was pending.
    Idle,
    /// A batch was projected; there may be more.
    Worked,
}

/// Projects pending events.
pub struct Worker {
    store: Store,
    context: Arc<NotifyContext>,
    policy: RetryPolicy,
    tickets: Sender<RetryTicket>,
    /// The bell of the fetch thread, rung after thin events.
    fetches: Option<Sender<()>>,
    project: WorkerProject,
    claimed: Option<ClaimRange>,
    /// Events after the claimed ones that are read already.
    ahead: Vec<BatchWork>,
    /// The suspect whose attempt this process has counted, and the number of that attempt. If the database then fails,
    /// that was no attempt at the event, and it is not counted again.
    counted: Option<(i64, u32)>,
    /// When the step in hand began.
    began: Instant,
}

/// What became of each event of a batch, `None` where it was no longer pending, and the next claim.
type BatchResult = (Vec<Option<AttemptEnd>>, Option<ClaimRange>);

/// What became of an event.
#[derive(Clone, Copy)]
struct AttemptEnd {
    outcome: EventOutcome,
    /// It was projected or ignored for the first time.
    is_first: bool,
}

/// An event of the present batch.
struct BatchWork {
    pending: PendingEvent,
    attempt: u32,
    event: Result<ProjectedEvent, ProjectionError>,
}

impl Worker {
    /// A worker that projects with [`notify::project`].
    #[must_use]
    pub fn new(store: Store, context: Arc<NotifyContext>, policy: RetryPolicy, tickets: Sender<RetryTicket>) -> Self {
        Self {
            store,
            context,
            policy,
            tickets,
            fetches: None,
            project: notify::project,
            claimed: None,
            ahead: Vec::new(),
            counted: None,
            began: Instant::now(),
        }
    }

    /// The same worker with the bell of the fetch thread.
    #[must_use]
    pub(crate) fn with_fetches(self, bell: Sender<()>) -> Self {
        Self { fetches: Some(bell), ..self }
    }

    /// The same worker with another projection.
    #[must_use]
    pub fn with_project(self, project: WorkerProject) -> Self {
        Self { project, ..self }
    }

    /// Projects the next batch.
    ///
    /// # Errors
    /// When the database failed; then nothing of the batch was kept, and the next step repeats it.
    pub fn step(&mut self, now_ms: i64) -> Result<WorkerStep, StoreError> {
        self.began = Instant::now();
        if self.claimed.is_none() {
            if !self.store.read(inbox::any_pending)? {
                return Ok(WorkerStep::Idle);
            }
            self.claimed = self.store.write(move |tx| inbox::claim_next(tx, BATCH, now_ms))?;
        }
        let Some(range) = self.claimed else { return Ok(WorkerStep::Idle) };
        let batch = self.batch(range)?;
        let projecting = self.begin(&batch, now_ms)?;
        let ahead = self.read_ahead(range.last);
        self.claimed = self.finish(&batch, projecting.wait(), now_ms)?;
        self.ring_for_thin(&batch);
        self.ahead = ahead;
        Ok(WorkerStep::Worked)
    }

    /// A lost bell does no harm: the fetch thread also looks from time to time.
    fn ring_for_thin(&self, batch: &[BatchWork]) {
        let is_thin =
            |work: &BatchWork| work.event.as_ref().is_ok_and(|event| matches!(event.content, EventContent::Thin(_)));
        if let Some(bell) = self.fetches.as_ref().filter(|_| batch.iter().any(is_thin)) {
            let _ = bell.try_send(());
        }
    }

    /// The claimed events. Those that were read ahead are not read again.
    fn batch(&mut self, claimed: ClaimRange) -> Result<Arc<Vec<BatchWork>>, StoreError> {
        let mut batch = std::mem::take(&mut self.ahead);
        batch.retain(|work| (claimed.first..=claimed.last).contains(&work.pending.log_id));
        if batch.first().is_none_or(|work| work.pending.log_id != claimed.first) {
            batch.clear();
        }
        let first = batch.last().map_or(claimed.first, |work| work.pending.log_id.saturating_add(1));
        let rest = ClaimRange { first, last: claimed.last };
        batch.extend(self.store.read(|reader| inbox::list_pending(reader, rest, BATCH))?.into_iter().map(read));
        // Shared with the writer, so that this thread frees the parsed events.
        Ok(Arc::new(batch))
    }

    /// Reads the events after the present batch while the writer projects that: half of the work is reading.
    fn read_ahead(&self, last: i64) -> Vec<BatchWork> {
        let following = ClaimRange { first: last.saturating_add(1), last: i64::MAX };
        // If they cannot be read now, they are read with their batch, and then the failure counts.
        let pending = self.store.read(|reader| inbox::list_pending(reader, following, BATCH)).unwrap_or_default();
        pending.into_iter().map(read).collect()
    }

    /// Projects what a process that died had claimed, one row at a time.
    pub fn recover(&mut self, now_ms: i64, pulse: &Pulse) -> Result<(), StoreError> {
        let Some(mut suspects) = self.store.read(inbox::find_claim)? else { return Ok(()) };
        log::info!("the former process ended within a batch; its events are projected one by one");
        while let Some(pending) = self.store.read(|reader| inbox::list_pending(reader, suspects, 1))?.into_iter().next()
        {
            suspects.first = pending.log_id;
            self.try_suspect(pending, suspects, now_ms)?;
            suspects.first = suspects.first.saturating_add(1);
            // On a slow disk a whole batch, at two commits for each event, takes longer than the watchdog waits.
            pulse.beat();
        }
        self.store.write(inbox::clear_claim)
    }

    fn try_suspect(&mut self, pending: PendingEvent, suspects: ClaimRange, now_ms: i64) -> Result<(), StoreError> {
        self.began = Instant::now();
        let log_id = pending.log_id;
        if self.counted.is_none_or(|(counted, _)| counted != log_id) {
            if pending.attempts >= self.policy.max_attempts {
                let (context, event_type) = (Arc::clone(&self.context), pending.event_type.clone());
                self.store.write(move |tx| {
                    retrier::make_dead_letter_of_killer(tx, &pending, NotifyBasis::of(&context, now_ms))
                })?;
                self.store.metrics().event(&event_type, EventOutcome::Dead, None);
                return Ok(());
            }
            let attempt = self.store.write(move |tx| inbox::claim_suspect(tx, suspects, now_ms))?;
            self.counted = attempt.map(|attempt| (log_id, attempt));
        }
        match self.counted {
            Some((_, attempt)) => {
                let suspect = BatchWork { attempt, ..read(pending) };
                self.one_by_one(&Arc::new(vec![suspect]), now_ms, |_| Ok(()))
            }
            None => Ok(()),
        }
    }

    /// Has the writer project a batch and claim the next one in the same commit.
    ///
    /// The whole batch shares one savepoint at first: a savepoint copies every page that is changed within it, and an
    /// event rarely needs one of its own. If any event fails, all is rolled back, and [`Worker::finish`] projects them
    /// one by one.
    fn begin(&self, batch: &Arc<Vec<BatchWork>>, now_ms: i64) -> Result<BegunWrite<'_, BatchResult>, StoreError> {
        let (batch, terms) = (Arc::clone(batch), self.terms(now_ms));
        self.store.begin(move |tx| {
            let outcomes = batch.iter().map(|work| project_one(tx, work, &terms)).collect::<Result<Vec<_>, _>>()?;
            keep_figures(tx, &batch, &outcomes, now_ms)?;
            Ok((outcomes, inbox::claim_next(tx, BATCH, now_ms)?))
        })
    }

    fn finish(
        &self,
        batch: &Arc<Vec<BatchWork>>,
        outcome: Result<BatchResult, StoreError>,
        now_ms: i64,
    ) -> Result<Option<ClaimRange>, StoreError> {
        match outcome {
            Err(error) if is_events_fault(&error) => {
                self.one_by_one(batch, now_ms, move |tx| inbox::claim_next(tx, BATCH, now_ms))
            }
            outcome => {
                let (outcomes, next) = outcome?;
                self.count(batch, &outcomes, now_ms);
                Ok(next)
            }
        }
    }

    /// Counts what is committed.
    fn count(&self, batch: &[BatchWork], ends: &[Option<AttemptEnd>], now_ms: i64) {
        let took = self.began.elapsed();
        for (work, end) in batch.iter().zip(ends) {
            let Some(end) = end else { continue };
            let pending = &work.pending;
            let waited_ms = u64::try_from(now_ms.saturating_sub(pending.received_ms)).unwrap_or(0);
            let lag = end.is_first.then(|| Duration::from_millis(waited_ms) + took);
            self.store.metrics().event(&pending.event_type, end.outcome, lag);
        }
    }

    /// Projects each event in its own savepoint, and does `next` in the same commit. Failures are recorded, and the
    /// retry thread gets their tickets.
    fn one_by_one<T: Send + 'static>(
        &self,
        batch: &Arc<Vec<BatchWork>>,
        now_ms: i64,
        next: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (works, terms) = (Arc::clone(batch), self.terms(now_ms));
        let (outcomes, tickets, done) = self.store.write(move |tx| {
            let (mut outcomes, mut tickets) = (Vec::new(), Vec::new());
            for work in works.iter() {
                let (outcome, ticket) = project_or_record(tx, work, &terms)?;
                outcomes.push(outcome);
                tickets.extend(ticket);
            }
            keep_figures(tx, &works, &outcomes, now_ms)?;
            Ok((outcomes, tickets, next(tx)?))
        })?;
        self.count(batch, &outcomes, now_ms);
        for ticket in tickets {
            // If the channel is full, only the ticket is lost: the retry thread also reads the table.
            let _ = self.tickets.try_send(ticket);
        }
        Ok(done)
    }

    fn terms(&self, now_ms: i64) -> Terms {
        Terms { context: Arc::clone(&self.context), policy: self.policy, project: self.project, now_ms }
    }
}

impl StepJob for Worker {
    type Error = StoreError;

    fn name(&self) -> String {
        "events".to_owned()
    }

    fn correct(&mut self, cause: StepCause, now_ms: i64, around: &LoopContext) -> Result<(), StoreError> {
        if cause == StepCause::Start { self.recover(now_ms, around.pulse) } else { Ok(()) }
    }

    fn work(&mut self, now_ms: i64, _: &LoopContext) -> Result<NextStep, StoreError> {
        Ok(match self.step(now_ms)? {
            WorkerStep::Worked => NextStep::AtOnce,
            WorkerStep::Idle => NextStep::After(POLL),
        })
    }
}

/// Whether a failed batch may succeed event by event.
fn is_events_fault(error: &StoreError) -> bool {
    error.verdict() != FailureVerdict::Wait
}

fn read(mut pending: PendingEvent) -> BatchWork {
    let event = catch_unwind(|| objects::read(&pending))
        .unwrap_or_else(|panic| Err(ProjectionError::Panicked(panic_text(panic.as_ref()))));
    // The body is not needed any more; otherwise two batches of bodies would be in memory.
    pending.data = String::new();
    BatchWork { attempt: pending.attempts.saturating_add(1), pending, event }
}

#[derive(Clone)]
struct Terms {
    context: Arc<NotifyContext>,
    policy: RetryPolicy,
    project: WorkerProject,
    now_ms: i64,
}

/// Counts the events of a batch that were finished for the first time, in the same transaction.
fn keep_figures(tx: &Tx, batch: &[BatchWork], ends: &[Option<AttemptEnd>], now_ms: i64) -> Result<(), StoreError> {
    let mut finished = FinishedEvents::default();
    for (work, end) in batch.iter().zip(ends) {
        let Some(end) = end.filter(|end| end.is_first) else { continue };
        let is_processed = end.outcome == EventOutcome::Processed;
        let status = if is_processed { EventStatus::Processed } else { EventStatus::Ignored };
        finished.add(&work.pending.event_type, status.as_str(), (work.pending.received_ms, now_ms));
    }
    finished.put(tx)
}

/// Projects one event and completes it, unless it is no longer pending.
fn project_one(tx: &Tx, work: &BatchWork, terms: &Terms) -> Result<Option<AttemptEnd>, ProjectionError> {
    let log_id = work.pending.log_id;
    if !inbox::is_pending(tx, log_id)? {
        return Ok(None);
    }
    let event = work.event.as_ref().map_err(Clone::clone)?;
    let completion = (terms.project)(tx, event, &terms.context, terms.now_ms)?;
    let completed = inbox::complete(tx, log_id, &completion, work.attempt, terms.now_ms)?;
    let outcome = match completion {
        EventCompletion::Processed => EventOutcome::Processed,
        EventCompletion::Mirrored => EventOutcome::Mirrored,
        EventCompletion::Ignored(_) => EventOutcome::Ignored,
    };
    Ok(Some(AttemptEnd { outcome, is_first: completed == CompletedEvent::First }))
}

/// Projects one event in its own savepoint, and records its failure. `Err` only if the database is at fault.
fn project_or_record(
    tx: &Tx,
    work: &BatchWork,
    terms: &Terms,
) -> Result<(Option<AttemptEnd>, Option<RetryTicket>), StoreError> {
    let error = match in_savepoint(tx, |tx| project_one(tx, work, terms)) {
        Ok(outcome) => return Ok((outcome, None)),
        Err(error) => error,
    };
    match (error.verdict(), error) {
        (FailureVerdict::Wait, ProjectionError::Store(error)) => Err(error),
        (verdict, error) => {
            let (pending, error) = (&work.pending, error.to_string());
            let basis = NotifyBasis::of(&terms.context, terms.now_ms);
            let failed = retrier::Failed { pending, attempt: work.attempt, error: &error, basis };
            let ticket = retrier::record(tx, &failed, verdict, terms.policy)?;
            let outcome = if ticket.is_some() { EventOutcome::Retried } else { EventOutcome::Dead };
            Ok((Some(AttemptEnd { outcome, is_first: false }), ticket))
        }
    }
}

//! The worker thread: pending rows → projection. It takes them oldest first, a batch at a time, one commit for all; if an
//! event of a batch fails, the batch is undone and taken again, each event in a savepoint of its own. While the writer has
//! a batch, the next one is read. It must never lose a row, nor let one row stop the others.
//!
//! A batch is written down (`worker_claim`) before it is touched, in the commit of the batch before it. So a row that
//! takes the whole process with it is found at the next start among the rows of that claim; these are then taken one
//! by one, the attempt counted before it is made, until the culprit is a dead letter.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::base::retry::RetryPolicy;
use crate::base::thread::{Pulse, panic_text};
use crate::base::verdict::FailureVerdict;
use crate::jobs::retrier::{self, RetryTicket};
use crate::jobs::step::{LoopContext, NextStep, StepCause, StepJob};
use crate::notify;
use crate::notify::NotifyContext;
use crate::notify::settings::NotifyBasis;
use crate::objects::{self, ProjectedEvent, ProjectionError};
use crate::store::inbox::{self, ClaimRange, EventCompletion, PendingEvent};
use crate::store::{BegunWrite, Store, StoreError, Tx, in_savepoint};
use crate::stripe::event::EventContent;

/// Events projected in one commit at most: bounds how long a request waits for the writer.
const BATCH: u32 = 96;
/// How often the table is asked without a bell; the bell may be lost, and other processes ring none.
const POLL: Duration = Duration::from_millis(500);

/// How an event is applied; the tests put in functions that fail.
pub type WorkerProject = fn(&Tx, &ProjectedEvent, &NotifyContext, i64) -> Result<EventCompletion, ProjectionError>;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerStep {
    /// Nothing was pending.
    Idle,
    /// A batch was taken; more may wait.
    Worked,
}

/// Takes pending events into the tables.
pub struct Worker {
    store: Store,
    context: Arc<NotifyContext>,
    policy: RetryPolicy,
    tickets: Sender<RetryTicket>,
    /// Rung when a thin event was taken: `fetch` has something to do.
    fetches: Option<Sender<()>>,
    project: WorkerProject,
    claimed: Option<ClaimRange>,
    /// What follows the claimed events, read already.
    ahead: Vec<BatchWork>,
    /// The suspect whose attempt this process has counted, and its number: what the database could not take is no
    /// attempt of the event, and is not counted again.
    counted: Option<(i64, u32)>,
}

/// An event of the batch in hand.
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
        }
    }

    /// The same worker, which rings this bell after thin events.
    #[must_use]
    pub(crate) fn with_fetches(self, bell: Sender<()>) -> Self {
        Self { fetches: Some(bell), ..self }
    }

    /// The same worker with another way of applying an event.
    #[must_use]
    pub fn with_project(self, project: WorkerProject) -> Self {
        Self { project, ..self }
    }

    /// Takes the next batch.
    ///
    /// # Errors
    /// When the database could not take it; then nothing of the batch was kept, and it is taken again.
    pub fn step(&mut self, now_ms: i64) -> Result<WorkerStep, StoreError> {
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

    /// A bell that is lost is no loss: the outbox is looked at from time to time.
    fn ring_for_thin(&self, batch: &[BatchWork]) {
        let is_thin =
            |work: &BatchWork| work.event.as_ref().is_ok_and(|event| matches!(event.content, EventContent::Thin(_)));
        if let Some(bell) = self.fetches.as_ref().filter(|_| batch.iter().any(is_thin)) {
            let _ = bell.try_send(());
        }
    }

    /// The claimed events, read; those that were read ahead are not read again.
    fn batch(&mut self, claimed: ClaimRange) -> Result<Arc<Vec<BatchWork>>, StoreError> {
        let mut batch = std::mem::take(&mut self.ahead);
        batch.retain(|work| (claimed.first..=claimed.last).contains(&work.pending.log_id));
        if batch.first().is_none_or(|work| work.pending.log_id != claimed.first) {
            batch.clear();
        }
        let first = batch.last().map_or(claimed.first, |work| work.pending.log_id.saturating_add(1));
        let rest = ClaimRange { first, last: claimed.last };
        batch.extend(self.store.read(|reader| inbox::list_pending(reader, rest, BATCH))?.into_iter().map(read));
        // Shared with the writer, so that taking the parsed events apart again is this thread's work.
        Ok(Arc::new(batch))
    }

    /// Reads what comes after the batch in hand while the writer has it: half of the work is reading.
    fn read_ahead(&self, last: i64) -> Vec<BatchWork> {
        let following = ClaimRange { first: last.saturating_add(1), last: i64::MAX };
        // If it cannot be read now, it is read when it is its turn, and then the failure counts.
        let pending = self.store.read(|reader| inbox::list_pending(reader, following, BATCH)).unwrap_or_default();
        pending.into_iter().map(read).collect()
    }

    /// Deals with what a process that died left claimed. Its rows are taken one by one.
    ///
    /// # Errors
    /// When the database could not take it.
    pub fn recover(&mut self, now_ms: i64, pulse: &Pulse) -> Result<(), StoreError> {
        let Some(mut suspects) = self.store.read(inbox::find_claim)? else { return Ok(()) };
        log::info!("the former process ended within a batch; its events are taken one by one");
        while let Some(pending) = self.store.read(|reader| inbox::list_pending(reader, suspects, 1))?.into_iter().next()
        {
            suspects.first = pending.log_id;
            self.try_suspect(pending, suspects, now_ms)?;
            suspects.first = suspects.first.saturating_add(1);
            // On a slow disk a whole batch, two commits an event, takes longer than a turn may.
            pulse.beat();
        }
        self.store.write(inbox::clear_claim)
    }

    fn try_suspect(&mut self, pending: PendingEvent, suspects: ClaimRange, now_ms: i64) -> Result<(), StoreError> {
        let log_id = pending.log_id;
        if self.counted.is_none_or(|(counted, _)| counted != log_id) {
            if pending.attempts >= self.policy.max_attempts {
                let context = Arc::clone(&self.context);
                return self
                    .store
                    .write(move |tx| retrier::bury_killer(tx, &pending, NotifyBasis::of(&context, now_ms)));
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

    /// Has a batch projected, and the next one claimed in the same commit.
    ///
    /// It is taken as one first, in one savepoint: a savepoint copies every page that is touched in it, and an event
    /// rarely needs one of its own. If any event fails, all is undone, and [`Worker::finish`] takes them one by one.
    fn begin(
        &self,
        batch: &Arc<Vec<BatchWork>>,
        now_ms: i64,
    ) -> Result<BegunWrite<'_, Option<ClaimRange>>, StoreError> {
        let (batch, terms) = (Arc::clone(batch), self.terms(now_ms));
        self.store.begin(move |tx| {
            batch.iter().try_for_each(|work| project_one(tx, work, &terms))?;
            inbox::claim_next(tx, BATCH, now_ms)
        })
    }

    fn finish(
        &self,
        batch: &Arc<Vec<BatchWork>>,
        outcome: Result<Option<ClaimRange>, StoreError>,
        now_ms: i64,
    ) -> Result<Option<ClaimRange>, StoreError> {
        match outcome {
            Err(error) if is_events_fault(&error) => {
                self.one_by_one(batch, now_ms, move |tx| inbox::claim_next(tx, BATCH, now_ms))
            }
            outcome => outcome,
        }
    }

    /// Projects events each in its own savepoint, and does `next` in the same commit. What failed is written down, and
    /// its tickets are handed out.
    fn one_by_one<T: Send + 'static>(
        &self,
        batch: &Arc<Vec<BatchWork>>,
        now_ms: i64,
        next: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (batch, terms) = (Arc::clone(batch), self.terms(now_ms));
        let (tickets, done) = self.store.write(move |tx| {
            let mut tickets = Vec::new();
            for work in batch.iter() {
                tickets.extend(take(tx, work, &terms)?);
            }
            Ok((tickets, next(tx)?))
        })?;
        for ticket in tickets {
            // A full channel loses a ticket, not the retry: the retry thread reads the table, too.
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

/// Whether a failed batch may go better event by event.
fn is_events_fault(error: &StoreError) -> bool {
    error.verdict() != FailureVerdict::Wait
}

fn read(mut pending: PendingEvent) -> BatchWork {
    let event = catch_unwind(|| objects::read(&pending))
        .unwrap_or_else(|panic| Err(ProjectionError::Panicked(panic_text(panic.as_ref()))));
    // What was read of it is all that is needed; two batches of bodies are in memory otherwise.
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

/// Projects one event and completes it, unless it is no longer pending.
fn project_one(tx: &Tx, work: &BatchWork, terms: &Terms) -> Result<(), ProjectionError> {
    let log_id = work.pending.log_id;
    if !inbox::is_pending(tx, log_id)? {
        return Ok(());
    }
    let event = work.event.as_ref().map_err(Clone::clone)?;
    let completion = (terms.project)(tx, event, &terms.context, terms.now_ms)?;
    inbox::complete(tx, log_id, &completion, work.attempt, terms.now_ms)?;
    Ok(())
}

/// The same for an event on its own; its failure is written down. `Err` only where the database is at fault.
fn take(tx: &Tx, work: &BatchWork, terms: &Terms) -> Result<Option<RetryTicket>, StoreError> {
    let Err(error) = in_savepoint(tx, |tx| project_one(tx, work, terms)) else { return Ok(None) };
    match (error.verdict(), error) {
        (FailureVerdict::Wait, ProjectionError::Store(error)) => Err(error),
        (verdict, error) => {
            let (pending, error) = (&work.pending, error.to_string());
            let basis = NotifyBasis::of(&terms.context, terms.now_ms);
            let failed = retrier::Failed { pending, attempt: work.attempt, error: &error, basis };
            retrier::record(tx, &failed, verdict, terms.policy)
        }
    }
}

//! The worker thread: pending rows → projection. It takes them oldest first, a batch at a time, each in a savepoint of
//! its own and one commit for all. It must never lose a row, nor let one row stop the others.
//!
//! A batch is written down (`worker_claim`) before it is touched, in the commit of the batch before it. So a row that
//! takes the whole process with it is found at the next start among the rows of that claim; these are then taken one
//! by one, the attempt counted before it is made, until the culprit is a dead letter.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};

use crate::clock::Clock;
use crate::projection::{self, Context, Event, ProjectionError, Verdict};
use crate::retrier::{self, Ticket};
use crate::retry::RetryPolicy;
use crate::store::inbox::{self, Completion, Pending, Range};
use crate::store::{Store, StoreError, Tx, in_savepoint};
use crate::thread::{Pulse, Stop, panic_text};

/// Events projected in one commit at most: bounds how long a request waits for the writer.
const BATCH: u32 = 64;
/// How often the table is asked without a bell; the bell may be lost, and other processes ring none.
const POLL: Duration = Duration::from_millis(500);
/// Pause after the database could not take a batch.
const PAUSE: Duration = Duration::from_secs(1);

/// How an event is applied; the tests put in functions that fail.
pub type Project = fn(&Tx, &Event, &Context, i64) -> Result<Completion, ProjectionError>;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing was pending.
    Idle,
    /// A batch was taken; more may wait.
    Worked,
}

/// Takes pending events into the tables.
pub struct Worker {
    store: Store,
    context: Arc<Context>,
    policy: RetryPolicy,
    tickets: Sender<Ticket>,
    project: Project,
    claimed: Option<Range>,
    /// The suspect whose attempt this process has counted, and its number: what the database could not take is no
    /// attempt of the event, and is not counted again.
    counted: Option<(i64, u32)>,
}

/// An event of the batch in hand.
struct Work {
    pending: Pending,
    attempt: u32,
    event: Result<Event, ProjectionError>,
}

impl Worker {
    /// A worker that projects with [`projection::project`].
    #[must_use]
    pub fn new(store: Store, context: Arc<Context>, policy: RetryPolicy, tickets: Sender<Ticket>) -> Self {
        Self { store, context, policy, tickets, project: projection::project, claimed: None, counted: None }
    }

    /// The same worker with another way of applying an event.
    #[must_use]
    pub fn with_project(self, project: Project) -> Self {
        Self { project, ..self }
    }

    /// The thread's loop; `pulse` beats with each turn.
    pub fn run(mut self, bell: &Receiver<()>, stop: &Stop, clock: &dyn Clock, pulse: &Pulse) {
        let mut recovered = false;
        loop {
            pulse.beat();
            let wait = match self.turn(&mut recovered, clock.now_ms()) {
                Ok(Step::Worked) => Duration::ZERO,
                Ok(Step::Idle) => POLL,
                Err(StoreError::Stopped) => return,
                Err(error) => {
                    log::warn!("events wait: {error}; trying again in {} s", PAUSE.as_secs());
                    PAUSE
                }
            };
            select! {
                recv(stop.signal()) -> _ => return,
                recv(bell) -> _ => {},
                default(wait) => {},
            }
        }
    }

    fn turn(&mut self, recovered: &mut bool, now_ms: i64) -> Result<Step, StoreError> {
        if !*recovered {
            self.recover(now_ms)?;
            *recovered = true;
        }
        self.step(now_ms)
    }

    /// Takes the next batch.
    ///
    /// # Errors
    /// When the database could not take it; then nothing of the batch was kept, and it is taken again.
    pub fn step(&mut self, now_ms: i64) -> Result<Step, StoreError> {
        if self.claimed.is_none() {
            if !self.store.read(inbox::any_pending)? {
                return Ok(Step::Idle);
            }
            self.claimed = self.store.write(move |tx| inbox::claim_next(tx, BATCH, now_ms))?;
        }
        let Some(range) = self.claimed else { return Ok(Step::Idle) };
        let pending = self.store.read(|reader| inbox::list_pending(reader, range, BATCH))?;
        let batch = pending.into_iter().map(|pending| {
            let attempt = pending.attempts.saturating_add(1);
            read(pending, attempt)
        });
        self.claimed = self.apply(batch.collect(), now_ms, move |tx| inbox::claim_next(tx, BATCH, now_ms))?;
        Ok(Step::Worked)
    }

    /// Deals with what a process that died left claimed. Its rows are taken one by one.
    ///
    /// # Errors
    /// When the database could not take it.
    pub fn recover(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let Some(mut suspects) = self.store.read(inbox::find_claim)? else { return Ok(()) };
        log::info!("the former process ended within a batch; its events are taken one by one");
        while let Some(pending) = self.store.read(|reader| inbox::list_pending(reader, suspects, 1))?.into_iter().next()
        {
            suspects.first = pending.log_id;
            self.try_suspect(pending, suspects, now_ms)?;
            suspects.first = suspects.first.saturating_add(1);
        }
        self.store.write(inbox::clear_claim)
    }

    fn try_suspect(&mut self, pending: Pending, suspects: Range, now_ms: i64) -> Result<(), StoreError> {
        let log_id = pending.log_id;
        if self.counted.is_none_or(|(counted, _)| counted != log_id) {
            if pending.attempts >= self.policy.max_attempts {
                return self.store.write(move |tx| retrier::bury_killer(tx, &pending, now_ms));
            }
            let attempt = self.store.write(move |tx| inbox::claim_suspect(tx, suspects, now_ms))?;
            self.counted = attempt.map(|attempt| (log_id, attempt));
        }
        match self.counted {
            Some((_, attempt)) => self.apply(vec![read(pending, attempt)], now_ms, |_| Ok(())),
            None => Ok(()),
        }
    }

    /// Projects a batch and does `next` in the same commit, then hands out the tickets of what failed.
    fn apply<T: Send + 'static>(
        &self,
        batch: Vec<Work>,
        now_ms: i64,
        next: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (context, policy, project) = (Arc::clone(&self.context), self.policy, self.project);
        let (tickets, next) = self.store.write(move |tx| {
            let mut tickets = Vec::new();
            for work in batch {
                tickets.extend(take(tx, work, &Terms { context: &context, policy, project, now_ms })?);
            }
            Ok((tickets, next(tx)?))
        })?;
        for ticket in tickets {
            // A full channel loses a ticket, not the retry: the retry thread reads the table, too.
            let _ = self.tickets.try_send(ticket);
        }
        Ok(next)
    }
}

fn read(pending: Pending, attempt: u32) -> Work {
    let event = catch_unwind(|| projection::read(&pending))
        .unwrap_or_else(|panic| Err(ProjectionError::Panicked(panic_text(panic.as_ref()))));
    Work { pending, attempt, event }
}

struct Terms<'a> {
    context: &'a Context,
    policy: RetryPolicy,
    project: Project,
    now_ms: i64,
}

/// Projects one event and completes it, or writes its failure down. `Err` only where the database is at fault.
fn take(tx: &Tx, work: Work, terms: &Terms) -> Result<Option<Ticket>, StoreError> {
    let Work { pending, attempt, event } = work;
    if !inbox::is_pending(tx, pending.log_id)? {
        return Ok(None);
    }
    let outcome = event.and_then(|event| {
        in_savepoint(tx, |tx| {
            let completion = (terms.project)(tx, &event, terms.context, terms.now_ms)?;
            inbox::complete(tx, pending.log_id, &completion, attempt, terms.now_ms)?;
            Ok::<_, ProjectionError>(())
        })
    });
    let Err(error) = outcome else { return Ok(None) };
    match (error.verdict(), error) {
        (Verdict::Later, ProjectionError::Store(error)) => Err(error),
        (verdict, error) => {
            let failed =
                retrier::Failed { pending: &pending, attempt, error: &error.to_string(), now_ms: terms.now_ms };
            retrier::record(tx, &failed, verdict, terms.policy)
        }
    }
}

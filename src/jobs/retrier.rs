//! What follows from a failed attempt at an event (retry later, or dead letter), and the job that releases retries when
//! they are due. The table `webhook_retry_queue` is the truth: a ticket from the channel only wakes the thread, which
//! then reads what is due next. It must never project: a due event becomes pending again, and the worker's bell is
//! rung. [`record`] is called by `worker` and `rebuild`, the job is run by `app::daemon`.

use std::time::Duration;

use crossbeam_channel::Sender;

use crate::base::retry::{self, RetryPolicy};
use crate::base::verdict::FailureVerdict;
use crate::jobs::step::{LoopContext, NextStep, StepCause, StepJob};
use crate::notify::notice::dead_letter;
use crate::notify::settings::NotifyBasis;
use crate::store::dead_letters::{self, DeadLetter};
use crate::store::inbox::{self, AttemptFailure, EventStatus, PendingEvent};
use crate::store::retries::{self, Retry};
use crate::store::{Store, StoreError, Tx};

/// The table is read at least this often: a ticket may be lost, the clock may be changed, another process may write.
const POLL: Duration = Duration::from_secs(5);
/// Changes of the clock that do not matter, in milliseconds.
const SLACK_MS: i64 = 1000;
/// The most retries that are released in one commit.
const BATCH: u32 = 256;
/// Tickets that may wait for the retry thread; more are dropped, and found in the table.
pub const TICKETS: usize = 1024;

/// Wakes the retry thread: a retry is due at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryTicket {
    /// Unix milliseconds.
    pub due_ms: i64,
}

/// A failed attempt.
pub struct Failed<'a> {
    /// The event.
    pub pending: &'a PendingEvent,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// Why it failed.
    pub error: &'a str,
    /// The time, and who is notified of a dead letter.
    pub basis: NotifyBasis<'a>,
}

/// Records a failure: a retry later, or a dead letter.
pub fn record(
    tx: &Tx,
    failed: &Failed,
    verdict: FailureVerdict,
    policy: RetryPolicy,
) -> Result<Option<RetryTicket>, StoreError> {
    let jitter = retry::jitter_of(&failed.pending.event_id, failed.attempt);
    match (verdict, policy.due_ms(failed.attempt, failed.basis.now_ms, jitter)) {
        (FailureVerdict::GiveUp, _) | (_, None) => make_dead_letter(tx, failed).map(|()| None),
        (_, Some(due_ms)) => queue(tx, failed, due_ms, policy).map(Some),
    }
}

fn queue(tx: &Tx, failed: &Failed, due_ms: i64, policy: RetryPolicy) -> Result<RetryTicket, StoreError> {
    let pending = failed.pending;
    inbox::fail(tx, &failure(failed), EventStatus::Retrying)?;
    let retry = Retry {
        event_id: pending.event_id.clone(),
        event_type: pending.event_type.clone(),
        retry_count: failed.attempt,
        max_retries: policy.max_attempts,
        due_ms,
        last_error: failed.error.to_owned(),
        created_at_ms: failed.basis.now_ms,
    };
    retries::put(tx, &retry)?;
    log::warn!(
        event_id = pending.event_id, "type" = pending.event_type, attempt = failed.attempt, of = policy.max_attempts;
        "event failed, retried in {} s: {}",
        due_ms.saturating_sub(failed.basis.now_ms) / 1000,
        failed.error
    );
    Ok(RetryTicket { due_ms })
}

fn make_dead_letter(tx: &Tx, failed: &Failed) -> Result<(), StoreError> {
    let pending = failed.pending;
    inbox::fail(tx, &failure(failed), EventStatus::Dead)?;
    retries::remove(tx, &pending.event_id)?;
    let letter = DeadLetter {
        event_id: pending.event_id.clone(),
        event_type: pending.event_type.clone(),
        retry_count: failed.attempt,
        error: failed.error.to_owned(),
        received_ms: pending.received_ms,
        created_at_ms: failed.basis.now_ms,
    };
    dead_letters::put(tx, &letter)?;
    dead_letter::announce(tx, &letter, failed.basis)?;
    log::error!(
        event_id = pending.event_id, "type" = pending.event_type, attempts = failed.attempt;
        "event given up, see `tilld dead-letters show {}`: {}",
        pending.event_id,
        failed.error
    );
    Ok(())
}

/// Makes a dead letter of an event during whose last attempt the process died.
pub(crate) fn make_dead_letter_of_killer(
    tx: &Tx,
    pending: &PendingEvent,
    basis: NotifyBasis,
) -> Result<(), StoreError> {
    let error =
        format!("the process ended while this event was projected; given up after {} attempts", pending.attempts);
    make_dead_letter(tx, &Failed { pending, attempt: pending.attempts, error: &error, basis })
}

fn failure<'a>(failed: &Failed<'a>) -> AttemptFailure<'a> {
    AttemptFailure {
        event_id: &failed.pending.event_id,
        attempt: failed.attempt,
        error: failed.error,
        at_ms: failed.basis.now_ms,
    }
}

fn brought_forward(retry: Retry, policy: RetryPolicy, now_ms: i64) -> Option<Retry> {
    let delay_ms = policy.delay_ms(retry.retry_count, retry::jitter_of(&retry.event_id, retry.retry_count));
    let due_ms = now_ms.saturating_add_unsigned(delay_ms);
    (retry.due_ms.saturating_sub(due_ms) > SLACK_MS).then_some(Retry { due_ms, ..retry })
}

/// Makes events pending again when their retries are due.
pub struct Retrier {
    store: Store,
    bell: Sender<()>,
    policy: RetryPolicy,
}

impl Retrier {
    /// `bell` wakes the worker.
    #[must_use]
    pub fn new(store: Store, bell: Sender<()>, policy: RetryPolicy) -> Self {
        Self { store, bell, policy }
    }

    /// Releases the retries that are due. Returns how many.
    pub fn step(&self, now_ms: i64) -> Result<usize, StoreError> {
        let released = self.release_due(now_ms)?;
        if released > 0 {
            // If the channel is full, the worker is being woken already.
            let _ = self.bell.try_send(());
        }
        Ok(released)
    }

    /// A due time that is further away than its delay was set while the clock was ahead, in this process or in an
    /// earlier one. Such a retry would wait for as long as the clock was set back, so its due time is set again.
    fn bring_forward(&self, now_ms: i64) -> Result<(), StoreError> {
        let policy = self.policy;
        let soonest_ms = now_ms.saturating_add_unsigned(policy.delay_ms(1, 0.0));
        if self.store.read(|reader| retries::list_due_after(reader, soonest_ms, "", 1))?.is_empty() {
            return Ok(());
        }
        let moved = self.store.write(move |tx| {
            let (mut moved, mut after) = (0_usize, String::new());
            loop {
                let far = retries::list_due_after(tx, soonest_ms, &after, BATCH)?;
                let Some(last) = far.last() else { return Ok(moved) };
                after.clone_from(&last.event_id);
                for retry in far.into_iter().filter_map(|retry| brought_forward(retry, policy, now_ms)) {
                    retries::put(tx, &retry)?;
                    moved = moved.saturating_add(1);
                }
            }
        })?;
        if moved > 0 {
            log::warn!("retries were due later than their delay, as after a clock set back; brought forward: {moved}");
        }
        Ok(())
    }

    fn release_due(&self, now_ms: i64) -> Result<usize, StoreError> {
        if self.store.read(|reader| retries::list_due(reader, now_ms, 1))?.is_empty() {
            return Ok(0);
        }
        self.store.write(move |tx| {
            let due = retries::list_due(tx, now_ms, BATCH)?;
            for retry in &due {
                retries::remove(tx, &retry.event_id)?;
                inbox::release(tx, &retry.event_id)?;
            }
            Ok(due.len())
        })
    }
}

impl StepJob for Retrier {
    type Error = StoreError;

    fn name(&self) -> String {
        "retries".to_owned()
    }

    fn correct(&mut self, _: StepCause, now_ms: i64, _: &LoopContext) -> Result<(), StoreError> {
        self.bring_forward(now_ms)
    }

    fn work(&mut self, now_ms: i64, _: &LoopContext) -> Result<NextStep, StoreError> {
        self.step(now_ms)?;
        Ok(NextStep::due(self.store.read(retries::next_due_ms)?, now_ms, POLL))
    }
}

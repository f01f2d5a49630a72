//! The retry thread: tickets from a crossbeam channel, and the decision what a failure leads to. The table
//! `webhook_retry_queue` is the truth: a ticket only wakes the thread, which then reads there what is due next.
//! It must never project: a due event goes back to pending, and the worker is rung.

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

/// The table is read at least this often: a ticket may be lost, the clock may be set, another process may write.
const POLL: Duration = Duration::from_secs(5);
/// Steps of the clock that do not matter, in milliseconds.
const SLACK_MS: i64 = 1000;
/// Retries released in one commit at most.
const BATCH: u32 = 256;
/// Tickets that may wait for the retry thread; more are dropped, and found in the table.
pub const TICKETS: usize = 1024;

/// A due time, unix milliseconds, on its way to the retry thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryTicket {
    /// When.
    pub due_ms: i64,
}

/// A failed attempt.
pub struct Failed<'a> {
    /// The event.
    pub pending: &'a PendingEvent,
    /// Number of the attempt.
    pub attempt: u32,
    /// Why.
    pub error: &'a str,
    /// What is computed rests on this, and the time.
    pub basis: NotifyBasis<'a>,
}

/// Writes a failure down: due again later, or a dead letter.
///
/// # Errors
/// When the database cannot take it.
pub fn record(
    tx: &Tx,
    failed: &Failed,
    verdict: FailureVerdict,
    policy: RetryPolicy,
) -> Result<Option<RetryTicket>, StoreError> {
    let jitter = retry::jitter_of(&failed.pending.event_id, failed.attempt);
    match (verdict, policy.due_ms(failed.attempt, failed.basis.now_ms, jitter)) {
        (FailureVerdict::GiveUp, _) | (_, None) => bury(tx, failed).map(|()| None),
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
        "event failed, retried in {} s event_id={} type={} attempt={}/{}: {}",
        due_ms.saturating_sub(failed.basis.now_ms) / 1000,
        pending.event_id,
        pending.event_type,
        failed.attempt,
        policy.max_attempts,
        failed.error
    );
    Ok(RetryTicket { due_ms })
}

fn bury(tx: &Tx, failed: &Failed) -> Result<(), StoreError> {
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
        "event given up, see `tilld dead-letters show {}` event_id={} type={} attempts={}: {}",
        pending.event_id,
        pending.event_id,
        pending.event_type,
        failed.attempt,
        failed.error
    );
    Ok(())
}

/// Gives up an event that ended the process in the last of its attempts.
///
/// # Errors
/// When the database cannot take it.
pub(crate) fn bury_killer(tx: &Tx, pending: &PendingEvent, basis: NotifyBasis) -> Result<(), StoreError> {
    let error =
        format!("the process ended while this event was projected; given up after {} attempts", pending.attempts);
    bury(tx, &Failed { pending, attempt: pending.attempts, error: &error, basis })
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

/// Brings due events back to the worker.
pub struct Retrier {
    store: Store,
    bell: Sender<()>,
    policy: RetryPolicy,
}

impl Retrier {
    /// `bell` rings the worker.
    #[must_use]
    pub fn new(store: Store, bell: Sender<()>, policy: RetryPolicy) -> Self {
        Self { store, bell, policy }
    }

    /// Releases what is due; how many.
    ///
    /// # Errors
    /// When the database could not take it.
    pub fn step(&self, now_ms: i64) -> Result<usize, StoreError> {
        let released = self.release_due(now_ms)?;
        if released > 0 {
            // A full bell is a bell that rings.
            let _ = self.bell.try_send(());
        }
        Ok(released)
    }

    /// A due time further off than its own delay was set by a clock that was ahead of today's, in this process or in
    /// one before it. It would be waited for as long as the clock was set back; it is set anew instead.
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

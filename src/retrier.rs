//! The retry thread: tickets from a crossbeam channel, a heap of due times, and the decision what a failure leads to.
//! The table `webhook_retry_queue` is the truth; it is read at start, and again whenever tickets may have been lost.
//! It must never project: a due event goes back to pending, and the worker is rung.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};

use crate::clock::Clock;
use crate::notify::occasions;
use crate::notify::settings::NotifyBasis;
use crate::projection::Verdict;
use crate::retry::{self, RetryPolicy};
use crate::store::dead_letters::{self, DeadLetter};
use crate::store::inbox::{self, Failure, Pending, Status};
use crate::store::retries::{self, Retry};
use crate::store::{Store, StoreError, Tx};
use crate::thread::{Pulse, Stop};

/// The table is read at least this often: a ticket may be lost, the clock may be set, another process may write.
const POLL: Duration = Duration::from_secs(5);
/// Pause after the database could not be asked or written.
const PAUSE: Duration = Duration::from_secs(1);
/// The same, where only an operator can help.
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// Steps of the clock that do not matter, in milliseconds.
const SLACK_MS: i64 = 1000;
/// Retries released in one commit at most.
const BATCH: u32 = 256;
/// Tickets that may wait for the retry thread; more are dropped, and found in the table.
pub const TICKETS: usize = 1024;

/// A due time, unix milliseconds, on its way to the retry thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// When.
    pub due_ms: i64,
}

/// A failed attempt.
pub struct Failed<'a> {
    /// The event.
    pub pending: &'a Pending,
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
pub fn record(tx: &Tx, failed: &Failed, verdict: Verdict, policy: RetryPolicy) -> Result<Option<Ticket>, StoreError> {
    let jitter = retry::jitter_of(&failed.pending.event_id, failed.attempt);
    match (verdict, policy.verdict(failed.attempt, failed.basis.now_ms, jitter)) {
        (Verdict::Give, _) | (_, retry::Verdict::Exhausted) => bury(tx, failed).map(|()| None),
        (_, retry::Verdict::RetryAt { due_ms }) => queue(tx, failed, due_ms, policy).map(Some),
    }
}

fn queue(tx: &Tx, failed: &Failed, due_ms: i64, policy: RetryPolicy) -> Result<Ticket, StoreError> {
    let pending = failed.pending;
    inbox::fail(tx, &failure(failed), Status::Retrying)?;
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
    Ok(Ticket { due_ms })
}

fn bury(tx: &Tx, failed: &Failed) -> Result<(), StoreError> {
    let pending = failed.pending;
    inbox::fail(tx, &failure(failed), Status::Dead)?;
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
    occasions::dead_letter(tx, &letter, failed.basis)?;
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
pub fn bury_killer(tx: &Tx, pending: &Pending, basis: NotifyBasis) -> Result<(), StoreError> {
    let error =
        format!("the process ended while this event was projected; given up after {} attempts", pending.attempts);
    bury(tx, &Failed { pending, attempt: pending.attempts, error: &error, basis })
}

fn failure<'a>(failed: &Failed<'a>) -> Failure<'a> {
    Failure {
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
    due: BinaryHeap<Reverse<Ticket>>,
    /// What the clock said at the last look; a clock that says less was set back.
    looked_ms: Option<i64>,
}

impl Retrier {
    /// `bell` rings the worker.
    #[must_use]
    pub fn new(store: Store, bell: Sender<()>, policy: RetryPolicy) -> Self {
        Self { store, bell, policy, due: BinaryHeap::new(), looked_ms: None }
    }

    /// The thread's loop; `pulse` beats with each turn.
    pub fn run(mut self, tickets: &Receiver<Ticket>, stop: &Stop, clock: &dyn Clock, pulse: &Pulse) {
        loop {
            pulse.beat();
            let now_ms = clock.now_ms();
            let wait = match self.step(now_ms) {
                Ok(_) => self.wait(now_ms),
                Err(StoreError::Stopped) => return,
                Err(error) => {
                    let pause = if error.is_damage() { LONG_PAUSE } else { PAUSE };
                    log::warn!("retries wait: {error}; trying again in {} s", pause.as_secs());
                    pause
                }
            };
            select! {
                recv(stop.signal()) -> _ => return,
                recv(tickets) -> ticket => self.due.extend(ticket.ok().map(Reverse)),
                default(wait) => {},
            }
        }
    }

    fn wait(&self, now_ms: i64) -> Duration {
        let due = self.due.peek().map(|Reverse(ticket)| ticket.due_ms.saturating_sub(now_ms));
        due.map_or(POLL, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))).min(POLL)
    }

    /// Releases what is due; how many.
    ///
    /// # Errors
    /// When the database could not take it.
    pub fn step(&mut self, now_ms: i64) -> Result<usize, StoreError> {
        if self.looked_ms.is_none_or(|before| now_ms < before) {
            self.bring_forward(now_ms)?;
        }
        self.looked_ms = Some(now_ms);
        let released = self.release_due(now_ms)?;
        if released > 0 {
            // A full bell is a bell that rings.
            let _ = self.bell.try_send(());
        }
        self.due.clear();
        let next = self.store.read(retries::next_due_ms)?;
        self.due.extend(next.map(|due_ms| Reverse(Ticket { due_ms })));
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

//! Resolves operations whose outcome is not known, since the process died or the connection broke. While the key lives, the
//! same bytes are sent under it again, and Stripe answers as it did the first time; after that the object is searched for.
//! Called by `jobs::waiting`.

use std::time::Duration;

use super::outcome::{LONGEST_DOUBT_MS, OperationOutcome};
use super::{Calls, CallsError, lock_name};
use crate::store::stripe_operations::{self as table, Operation};
use crate::stripe::call::Priority;

/// How many operations one round resolves at most.
const BATCH: u32 = 64;

impl Calls {
    /// Brings forward operations that are due later than any can be from now on: they were dated by a clock that has been set
    /// back.
    pub fn bring_forward(&self, now_ms: i64) -> Result<(), CallsError> {
        let latest_ms = now_ms.saturating_add(LONGEST_DOUBT_MS);
        Ok(self.store.write(move |tx| table::bring_forward(tx, latest_ms, now_ms))?)
    }

    /// Resolves every open operation that is due and that no request is sending. How many were settled.
    pub fn recover(&self, now_ms: i64, stopped: &dyn Fn() -> bool) -> Result<usize, CallsError> {
        let open = self.store.read(|reader| table::list_open(reader, now_ms, BATCH))?;
        if !open.is_empty() {
            self.account.confirm(Priority::Interactive)?;
        }
        let mut settled = 0;
        for operation in open {
            if stopped() {
                break;
            }
            match self.recover_one(&operation) {
                Ok(known) => settled += usize::from(known),
                // One that cannot be resolved must not keep the others waiting.
                Err(error @ (CallsError::Answer(_) | CallsError::Stripe(_) | CallsError::Form(_))) => {
                    log::warn!(kind = operation.word; "the outcome of a call to Stripe is still not known: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(settled)
    }

    fn recover_one(&self, operation: &Operation) -> Result<bool, CallsError> {
        let name = lock_name(operation.user_id.as_deref(), operation.subject.as_deref(), &operation.path);
        // Whoever has the lock may be sending it.
        let Some(_lock) = self.locks.acquire(&name, Duration::ZERO) else { return Ok(false) };
        let key = operation.idempotency_key.clone();
        let found = self.store.read(move |reader| table::find(reader, &key))?;
        let Some(operation) = found.filter(|found| found.status.is_open()) else { return Ok(false) };
        let word = operation.word.clone();
        let outcome = self.resolve(operation)?;
        let settled = !matches!(outcome, OperationOutcome::InDoubt { .. });
        if settled {
            log::info!(kind = word, outcome = outcome_word(&outcome); "the outcome of a call to Stripe is known now");
        }
        Ok(settled)
    }
}

fn outcome_word(outcome: &OperationOutcome) -> &'static str {
    match outcome {
        OperationOutcome::Done(_) => "done",
        OperationOutcome::Refused(_) => "refused",
        OperationOutcome::NotDone(_) => "not_done",
        OperationOutcome::InDoubt { .. } => "in_doubt",
    }
}

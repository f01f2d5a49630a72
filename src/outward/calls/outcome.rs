//! The outcome of an operation: how Stripe's answer is read and stored. It must never decide what is sent. Called by `calls`.

use std::fmt::Display;

use serde_json::{Value, json};

use super::{Calls, CallsError, text_of};
use crate::base::retry::{RetryPolicy, jitter_of};
use crate::notify;
use crate::objects::payment_intent;
use crate::objects::reading::{ApiObject, RequestSent};
use crate::store::stripe_operations::{self as table, Operation, OperationStatus, SettledOperation};
use crate::store::{StoreError, Tx, audit};
use crate::stripe::call::{Call, Priority, StripeAnswer};
use crate::stripe::error::{StripeApiError, StripeError};
use crate::stripe::operation::{KeyRepeat, OperationKind};

/// When an outcome is asked for again: after 2 s, doubling up to an hour.
const DOUBT_RETRY: RetryPolicy = RetryPolicy { max_attempts: u32::MAX, base_delay_s: 2, max_delay_s: 3600 };
/// No outcome is asked for later than this, jitter included.
pub(super) const LONGEST_DOUBT_MS: i64 = 2 * 3600 * 1000;

/// After this time a stored 5xx is taken for Stripe's final answer.
const STORED_ANSWER_MS: i64 = 10 * 60 * 1000;

/// What Stripe made of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct DoneOperation {
    /// Stripe's answer.
    pub object: Value,
    /// The key it was done under.
    pub key: String,
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationOutcome {
    /// It is done.
    Done(DoneOperation),
    /// Stripe refused it.
    Refused(Box<StripeApiError>),
    /// Not known yet; the same key gets the outcome later.
    InDoubt {
        /// The key.
        key: String,
    },
    /// It was certainly not done.
    NotDone(StripeError),
}

impl OperationOutcome {
    /// The stored outcome of an operation that is settled for good.
    pub(super) fn of_stored(operation: &Operation) -> Option<Self> {
        let answer = operation.answer.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        match (operation.status, answer) {
            (OperationStatus::Done, Some(object)) => {
                Some(Self::Done(DoneOperation { object, key: operation.idempotency_key.clone() }))
            }
            (OperationStatus::Refused, Some(refusal)) => serde_json::from_value(refusal).ok().map(Self::Refused),
            (OperationStatus::Done | OperationStatus::Refused, None)
            | (OperationStatus::Sending | OperationStatus::InDoubt | OperationStatus::NotDone, _) => None,
        }
    }
}

impl Calls {
    /// Sends an operation whose row says that it is being sent, and stores the outcome.
    pub(super) fn send(&self, operation: &Operation) -> Result<OperationOutcome, CallsError> {
        let Some(known) = &operation.known else { return self.unknown(operation) };
        let has_key = known.kind.row().repeat == KeyRepeat::UnderKey;
        let call = Call {
            verb: known.verb,
            path: &operation.path,
            form: &operation.form,
            idempotency_key: has_key.then_some(operation.idempotency_key.as_str()),
            // Even if nobody waits for it: it is about money, and its user is locked, so it must not take minutes.
            priority: Priority::Interactive,
            context: None,
        };
        let now_ms = self.clock.now_ms();
        let now = self.store.read(|reader| RequestSent::now(reader, now_ms))?;
        let settled = match self.client.call_for(known.kind.word(), &call) {
            // A replayed answer was given when the key was first used; any other is of now.
            Ok(answer) if answer.replayed => self.settle_done(operation, &answer, sent_first(operation)),
            Ok(answer) => self.settle_done(operation, &answer, now),
            Err(error) => self.settle_error(operation, error),
        };
        settled.or_else(|error| match error {
            // Its row stays as sent, and it is resolved like one whose process died.
            CallsError::Store(error) => {
                log::error!("Stripe's answer could not be stored; it is asked for again: {error}");
                Ok(OperationOutcome::InDoubt { key: operation.idempotency_key.clone() })
            }
            // Something was done, but the answer cannot be read.
            CallsError::Answer(words) => self.mark_in_doubt(operation, &words),
            error => Err(error),
        })
    }

    /// A newer tilld has written it, whose outcome cannot be judged here: it is not sent, and stays in doubt.
    pub(super) fn unknown(&self, operation: &Operation) -> Result<OperationOutcome, CallsError> {
        let word = &operation.word;
        let what = match OperationKind::parse(word) {
            None => format!("what {word:?} is"),
            Some(_) => format!("all that {word:?} was asked for with"),
        };
        self.mark_in_doubt(operation, &format!("this tilld does not know {what}; the version that wrote it does"))
    }

    /// Stripe has done it: stores that, and projects the object of the answer, in one transaction.
    pub(super) fn settle_done(
        &self,
        operation: &Operation,
        answer: &StripeAnswer,
        sent: RequestSent,
    ) -> Result<OperationOutcome, CallsError> {
        let now_ms = self.clock.now_ms();
        let reading = sent.reading(answer.date_s, now_ms);
        let reading = ApiObject::new(&answer.text, reading).map_err(|error| CallsError::Answer(error.to_string()))?;
        let object = reading.object().clone();
        let Some(kind) = operation.known.as_ref().map(|known| known.kind) else { return self.unknown(operation) };
        if !kind.is_shown_by(&object) {
            return Err(CallsError::Answer(format!("it has no object that {} makes", kind.word())));
        }
        let settled = SettledOperation {
            status: OperationStatus::Done,
            object_id: text_of(&object, "id").map(str::to_owned),
            answer: Some(answer.text.clone()),
            request_id: answer.request_id.clone(),
            error: None,
        };
        let (context, done) = (std::sync::Arc::clone(&self.context), operation.clone());
        self.store.write(move |tx| {
            if kind.row().mirrored {
                absorb_or_log(tx, &reading, &context, now_ms)?;
            }
            note_key(tx, &done, settled.object_id.as_deref())?;
            settle(tx, &done, &settled, now_ms)
        })?;
        Ok(OperationOutcome::Done(DoneOperation { object, key: operation.idempotency_key.clone() }))
    }

    fn settle_error(&self, operation: &Operation, error: StripeError) -> Result<OperationOutcome, CallsError> {
        let was_in_doubt = operation.attempts > 1 && operation.status.is_open();
        let unknown = error.may_have_been_done() || (was_in_doubt && !error.settles_earlier_attempts());
        if unknown && self.is_final_failure(operation, &error) {
            return self.find_without_key(operation);
        }
        if unknown {
            return self.mark_in_doubt(operation, &error);
        }
        // Without a key, a repetition of what was done finds nothing left to do. Its subject shows which it was.
        let has_no_key = operation.known.as_ref().is_some_and(|known| known.kind.row().repeat == KeyRepeat::AsItIs);
        if has_no_key && error.api().is_some_and(|api| api.status == 404 && api.is_stripes()) {
            match self.look_at_subject(operation) {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error @ (CallsError::Stripe(_) | CallsError::Answer(_))) => {
                    return self.mark_in_doubt(operation, &error);
                }
                Err(error) => return Err(error),
            }
        }
        self.settle_refused(operation, error)
    }

    /// Whether Stripe will never give another answer under the key: it is a stored 5xx of a request that ended long ago. The
    /// objects show what came of that, without waiting until the key has expired.
    fn is_final_failure(&self, operation: &Operation, error: &StripeError) -> bool {
        let age_ms = self.clock.now_ms().saturating_sub(operation.first_sent_ms);
        error.api().is_some_and(|api| api.status >= 500 && api.facts.replayed) && age_ms >= STORED_ANSWER_MS
    }

    pub(super) fn settle_refused(
        &self,
        operation: &Operation,
        error: StripeError,
    ) -> Result<OperationOutcome, CallsError> {
        let refusal = error.api();
        // A declined card stays declined under its key; a wrong request may be corrected.
        let is_final = refusal.is_some_and(|refusal| refusal.status == 402);
        let settled = SettledOperation {
            status: if is_final { OperationStatus::Refused } else { OperationStatus::NotDone },
            object_id: None,
            answer: refusal.map(serde_json::to_string).transpose().map_err(StoreError::from)?,
            request_id: refusal.and_then(|refusal| refusal.facts.request_id.clone()),
            error: Some(error.to_string()),
        };
        self.write_settled(operation, settled)?;
        Ok(match error.api() {
            Some(refusal) => OperationOutcome::Refused(Box::new(refusal.clone())),
            None => OperationOutcome::NotDone(error),
        })
    }

    pub(super) fn write_settled(&self, operation: &Operation, settled: SettledOperation) -> Result<(), CallsError> {
        let (operation, now_ms) = (operation.clone(), self.clock.now_ms());
        Ok(self.store.write(move |tx| settle(tx, &operation, &settled, now_ms))?)
    }

    pub(super) fn mark_in_doubt(
        &self,
        operation: &Operation,
        error: &dyn Display,
    ) -> Result<OperationOutcome, CallsError> {
        let (id, key) = (operation.id, operation.idempotency_key.clone());
        let delay_ms = DOUBT_RETRY.delay_ms(operation.attempts, jitter_of(&key, operation.attempts));
        let next_ms = self.clock.now_ms().saturating_add_unsigned(delay_ms);
        log::warn!(
            kind = operation.word, subject = operation.subject.as_deref().unwrap_or("none");
            "the outcome of a call to Stripe is not known; it is asked for again in {} s: {error}",
            delay_ms / 1000,
        );
        let words = error.to_string();
        self.store.write(move |tx| table::doubt(tx, id, &words, next_ms))?;
        Ok(OperationOutcome::InDoubt { key })
    }
}

/// When an operation was sent first: a replayed answer shows nothing later.
fn sent_first(operation: &Operation) -> RequestSent {
    RequestSent { at_ms: operation.first_sent_ms, log_id: operation.sent_log_id }
}

/// What Stripe has done is done, even if its answer has an object that cannot be projected: the caller must get the
/// outcome, and an operator will look at its webhook.
fn absorb_or_log(
    tx: &Tx,
    object: &ApiObject,
    context: &crate::notify::NotifyContext,
    now_ms: i64,
) -> Result<(), StoreError> {
    use crate::objects::ProjectionError;
    match crate::store::in_savepoint(tx, |tx| notify::absorb(tx, object, context, now_ms)) {
        Ok(_) => Ok(()),
        Err(ProjectionError::Store(error)) => Err(error),
        Err(error) => {
            log::error!("an answer of Stripe's cannot be projected: {error}");
            Ok(())
        }
    }
}

/// Stores the key with the payment intent that its request made, where people look for it.
fn note_key(tx: &Tx, operation: &Operation, object_id: Option<&str>) -> Result<(), StoreError> {
    match object_id {
        Some(id) if operation.known.as_ref().is_some_and(|known| known.kind == OperationKind::PaymentIntentCreate) => {
            payment_intent::set_idempotency_key(tx, id, &operation.idempotency_key)
        }
        _ => Ok(()),
    }
}

/// Stores the outcome, with an entry in the audit log, once.
fn settle(tx: &Tx, operation: &Operation, settled: &SettledOperation, now_ms: i64) -> Result<(), StoreError> {
    if !table::settle(tx, operation.id, settled, now_ms)? {
        return Ok(());
    }
    let detail = json!({
        "outcome": settled.status.as_str(), "request_id": settled.request_id, "attempts": operation.attempts,
    });
    let entry = audit::NewEntry {
        at_ms: now_ms,
        actor: "api",
        action: &operation.word,
        user_id: operation.user_id.as_deref(),
        customer_id: None,
        subscription_id: None,
        subject: settled.object_id.as_deref().or(operation.subject.as_deref()),
        event_id: None,
        detail: &detail.to_string(),
    };
    audit::add(tx, &entry)
}

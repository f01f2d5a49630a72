//! How the outcome of a call is told: Stripe's own words under a status that says whose fault it is (contract §4). It
//! must never tell a caller or the log a secret. Called by the calls' handlers.

use serde_json::{Map, Value, json};

use super::CallResult;
use crate::http::response::{ErrorResponse, Response};
use crate::outward::calls::{CallsError, DoneOperation, OperationOutcome};
use crate::stripe::error::{StripeApiError, StripeError};

/// Tells what became of an operation; `shown` makes the answer from Stripe's.
pub(super) fn respond(outcome: OperationOutcome, shown: impl FnOnce(&DoneOperation) -> CallResult) -> CallResult {
    match outcome {
        OperationOutcome::Done(done) => shown(&done),
        OperationOutcome::Refused(refusal) => Ok(refused(&refusal)),
        OperationOutcome::InDoubt { key } => Ok(Response::json(202, &json!({"status": "in_doubt", "retry_with": key}))),
        OperationOutcome::NotDone(error) => Ok(not_done(&error)),
    }
}

/// Tells why something could not be read from Stripe.
pub(super) fn unread(error: CallsError) -> CallResult {
    match error {
        CallsError::Stripe(error) => Ok(error.api().map_or_else(|| not_done(&error), refused)),
        error => Err(error.into()),
    }
}

/// Stripe's own words, under a status that says whose fault it is.
fn refused(refusal: &StripeApiError) -> Response {
    let status = match refusal.status {
        // The caller's token is in order; ours is not.
        401 | 403 => 502,
        status @ (400 | 402 | 404 | 409 | 429) => status,
        400..=499 => 400,
        _ => 502,
    };
    let words = json!({
        "type": refusal.kind.as_deref().unwrap_or("api_error"), "code": refusal.code, "message": refusal.message,
        "decline_code": refusal.decline_code, "param": refusal.param, "payment_intent": refusal.payment_intent,
        "request_id": refusal.facts.request_id,
    });
    let kept = words.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let mut error: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    if matches!(refusal.status, 401 | 403) {
        error.insert("code".to_owned(), json!("stripe_key_refused"));
        log::error!("Stripe refuses stripe.api_key (status {}); `tilld check` says what it lacks", refusal.status);
    }
    Response::json(status, &json!({ "error": error }))
}

fn not_done(error: &StripeError) -> Response {
    log::warn!("a call to Stripe was not made: {error}");
    ErrorResponse::new(502, "stripe_unreachable", format!("{error}; nothing was done, try again")).into()
}

impl From<CallsError> for ErrorResponse {
    fn from(error: CallsError) -> Self {
        let words = error.to_string();
        match error {
            CallsError::Store(error) => error.into(),
            CallsError::Form(_) => Self::new(400, "parameter_invalid", words),
            CallsError::KeyReused => Self::new(409, "idempotency_key_reused", words),
            CallsError::Busy => Self::new(409, "request_in_progress", words),
            CallsError::Stripe(error) => match error.api().map(|api| api.status) {
                Some(401 | 403) => Self::new(502, "stripe_key_refused", words),
                Some(404) => Self::new(404, "resource_missing", words),
                Some(429) => Self::new(429, "rate_limit", words),
                _ => Self::new(502, "stripe_unreachable", words),
            },
            CallsError::Account(_) => {
                log::error!("{words}");
                Self::new(502, "stripe_key_refused", words)
            }
            CallsError::Key(_) | CallsError::Answer(_) => Self::internal(&words),
        }
    }
}

//! The answer for the outcome of a call: Stripe's own error under a status that says who is at fault (contract §4). It must never
//! show a secret to the caller or the log. Called by the handlers of calls.

use serde_json::{Map, Value, json};

use super::CallResult;
use crate::http::response::{ErrorResponse, Response};
use crate::outward::calls::{CallsError, DoneOperation, OperationOutcome};
use crate::stripe::error::{StripeApiError, StripeError};

/// The answer for the outcome of an operation. `view` makes it from what Stripe answered.
pub(super) fn respond(outcome: OperationOutcome, view: impl FnOnce(&DoneOperation) -> CallResult) -> CallResult {
    match outcome {
        OperationOutcome::Done(done) => view(&done),
        OperationOutcome::Refused(refusal) => Ok(refused(&refusal)),
        OperationOutcome::InDoubt { key } => Ok(Response::json(202, &json!({"status": "in_doubt", "retry_with": key}))),
        OperationOutcome::NotDone(error) => Ok(not_done(&error)),
    }
}

/// The answer if something could not be read from Stripe.
pub(super) fn read_failed(error: CallsError) -> CallResult {
    match error {
        CallsError::Stripe(error) => Ok(error.api().map_or_else(|| not_done(&error), refused)),
        error => Err(error.into()),
    }
}

/// Stripe's own error, under a status that says who is at fault.
fn refused(refusal: &StripeApiError) -> Response {
    let status = match refusal.status {
        // The caller's token is valid; our key is not.
        401 | 403 => 502,
        status @ (400 | 402 | 404 | 409 | 429) => status,
        400..=499 => 400,
        _ => 502,
    };
    let fields = json!({
        "type": refusal.kind.as_deref().unwrap_or("api_error"), "code": refusal.code, "message": refusal.message,
        "decline_code": refusal.decline_code, "param": refusal.param, "payment_intent": refusal.payment_intent,
        "request_id": refusal.facts.request_id,
    });
    let kept = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let mut error: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    if matches!(refusal.status, 401 | 403) {
        error.insert("code".to_owned(), json!("stripe_key_refused"));
        log::error!(
            "Stripe refuses stripe.api_key (status {}); `tilld check` shows which permission is missing",
            refusal.status
        );
    }
    Response::json(status, &json!({ "error": error }))
}

fn not_done(error: &StripeError) -> Response {
    log::warn!("a call to Stripe was not made: {error}");
    ErrorResponse::new(502, "stripe_unreachable", format!("{error}; nothing was done, try again")).into()
}

impl From<CallsError> for ErrorResponse {
    fn from(error: CallsError) -> Self {
        let message = error.to_string();
        match error {
            CallsError::Store(error) => error.into(),
            CallsError::Form(_) => Self::new(400, "parameter_invalid", message),
            CallsError::KeyReused => Self::new(409, "idempotency_key_reused", message),
            CallsError::Busy => Self::new(409, "request_in_progress", message),
            CallsError::Stripe(error) => match error.api().map(|api| api.status) {
                Some(401 | 403) => Self::new(502, "stripe_key_refused", message),
                Some(404) => Self::new(404, "resource_missing", message),
                Some(429) => Self::new(429, "rate_limit", message),
                _ => Self::new(502, "stripe_unreachable", message),
            },
            CallsError::Account(_) => {
                log::error!("{message}");
                Self::new(502, "stripe_key_refused", message)
            }
            CallsError::Key(_) | CallsError::Answer(_) => Self::internal(&message),
        }
    }
}

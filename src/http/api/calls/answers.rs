//! The answer for the outcome of a call: Stripe's own error under a status that says who is at fault (contract §4). It
//! must never show a secret to the caller or the log. Called by the handlers of calls.

use serde_json::{Map, Value, json};

use super::CallResult;
use crate::http::api::views::calls::InDoubtView;
use crate::http::error_code::ErrorCode;
use crate::http::response::{ErrorResponse, Response};
use crate::outward::calls::{CallsError, DoneOperation, OperationOutcome};
use crate::stripe::error::{StripeApiError, StripeError};

/// The answer for the outcome of an operation. `view` makes it from what Stripe answered.
pub(super) fn respond(outcome: OperationOutcome, view: impl FnOnce(&DoneOperation) -> CallResult) -> CallResult {
    match outcome {
        OperationOutcome::Done(done) => view(&done),
        OperationOutcome::Refused(refusal) => Ok(refused(&refusal)),
        OperationOutcome::InDoubt { key } => {
            Ok(Response::json(202, &InDoubtView { status: "in_doubt", retry_with: key }))
        }
        OperationOutcome::NotDone(error) => Err(not_done(&error)),
    }
}

/// The answer if something could not be read from Stripe.
pub(super) fn read_failed(error: CallsError) -> CallResult {
    match error {
        CallsError::Stripe(error) => error.api().map(refused).ok_or_else(|| not_done(&error)),
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

fn not_done(error: &StripeError) -> ErrorResponse {
    log::warn!("a call to Stripe was not made: {error}");
    ErrorResponse::new(ErrorCode::StripeUnreachable, format!("{error}; nothing was done, try again"))
}

impl From<CallsError> for ErrorResponse {
    fn from(error: CallsError) -> Self {
        let message = error.to_string();
        match error {
            CallsError::Store(error) => error.into(),
            CallsError::Form(_) => Self::new(ErrorCode::ParameterInvalid, message),
            CallsError::KeyReused => Self::new(ErrorCode::IdempotencyKeyReused, message),
            CallsError::Busy => Self::new(ErrorCode::RequestInProgress, message),
            CallsError::Stripe(error) => match error.api().map(|api| api.status) {
                Some(401 | 403) => Self::new(ErrorCode::StripeKeyRefused, message),
                Some(404) => Self::new(ErrorCode::ResourceMissing, message),
                Some(429) => Self::new(ErrorCode::RateLimit, message),
                _ => Self::new(ErrorCode::StripeUnreachable, message),
            },
            CallsError::Account(_) => {
                log::error!("{message}");
                Self::new(ErrorCode::StripeKeyRefused, message)
            }
            CallsError::Key(_) | CallsError::Answer(_) => Self::internal(&message),
        }
    }
}

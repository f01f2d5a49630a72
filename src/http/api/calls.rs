//! Calls to Stripe for the application (contract §4): what a request must say, and how the outcome is told. They may take
//! as long as Stripe does, so they are answered on threads of their own. It must never hold a rule of repeating: `calls`
//! does. Called by `api`.

use serde_json::{Map, Value, json};

use super::{Api, body_object, route, users};
use crate::calls::{Caller, Calls, CallsError, Customer, Done, Outcome, Refusal};
use crate::http::auth::Access::Api as Token;
use crate::http::request::Method::Post;
use crate::http::request::Request;
use crate::http::response::{ApiError, Response};
use crate::http::route::{self as table, Route, Segments};
use crate::store::users::User;

pub(super) const ROUTES: &[Route<Api>] = &[route(Post, "/api/v1/users/{user_id}/customer", Token, customer)];

/// Whether a request is one that may wait for Stripe.
#[must_use]
pub fn waits_for_stripe(request: &Request) -> bool {
    table::covers(ROUTES, request)
}

type Answered = Result<Response, ApiError>;

/// Longest `Idempotency-Key` (Stripe's limit).
const MAX_KEY_CHARS: usize = 255;

/// The way to Stripe, if there is one.
fn calls(api: &Api) -> Result<&Calls, ApiError> {
    let missing = "no stripe.api_key is configured, so nothing can be asked of Stripe: set STRIPE_API_KEY";
    api.calls.as_deref().ok_or_else(|| ApiError::new(503, "stripe_not_configured", missing))
}

/// The user that a request is about.
fn user(api: &Api, segments: &Segments) -> Result<User, ApiError> {
    users::find(api, users::user_id(segments))
}

/// Who asks: the `Idempotency-Key`, and everything that makes two requests the same.
fn caller(request: &Request, fields: &Map<String, Value>) -> Result<Caller, ApiError> {
    let key = request.unique_header("Idempotency-Key")?.map(str::trim);
    if let Some(key) = key
        && !((1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let message = format!("Idempotency-Key takes 1 to {MAX_KEY_CHARS} visible ASCII characters");
        return Err(ApiError::new(400, "idempotency_key_invalid", message));
    }
    // Fields of an object are kept in order of their names, so the text is the same for the same request.
    let said = format!("{} {} {}", request.method.as_str(), request.path, Value::Object(fields.clone()));
    Ok(Caller::new(key.map(str::to_owned), &said))
}

/// Tells what became of an operation; `shown` makes the answer from Stripe's.
fn told(outcome: Outcome, shown: impl FnOnce(&Done) -> Response) -> Response {
    match outcome {
        Outcome::Done(done) => shown(&done),
        Outcome::Refused(refusal) => refused(&refusal),
        Outcome::InDoubt { key } => Response::json(202, &json!({"status": "in_doubt", "retry_with": key})),
        Outcome::NotDone(error) => refused_by_us(&error.to_string()),
    }
}

/// Stripe's own words, under a status that says whose fault it is.
fn refused(refusal: &Refusal) -> Response {
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
        "request_id": refusal.request_id,
    });
    let kept = words.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let mut error: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    if matches!(refusal.status, 401 | 403) {
        error.insert("code".to_owned(), json!("stripe_key_refused"));
        log::error!("Stripe refuses stripe.api_key (status {}); `tilld check` says what it lacks", refusal.status);
    }
    Response::json(status, &json!({ "error": error }))
}

fn refused_by_us(words: &str) -> Response {
    log::warn!("a call to Stripe was not made: {words}");
    ApiError::new(502, "stripe_unreachable", format!("{words}; nothing was done, try again")).into()
}

impl From<CallsError> for ApiError {
    fn from(error: CallsError) -> Self {
        let words = error.to_string();
        match error {
            CallsError::Store(error) => error.into(),
            CallsError::Form(_) => Self::new(400, "parameter_invalid", words),
            CallsError::KeyReused => Self::new(409, "idempotency_key_reused", words),
            CallsError::Busy => Self::new(409, "request_in_progress", words),
            CallsError::Stripe(_) => Self::new(502, "stripe_unreachable", words),
            CallsError::Answer(_) => Self::internal(&words),
        }
    }
}

/// Refuses what a call does not know.
fn refuse_others(fields: &Map<String, Value>, known: &[&str]) -> Result<(), ApiError> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let message = format!("{key:?} is not a parameter of this call; there are: {}", known.join(", "));
            Err(ApiError::new(400, "parameter_unknown", message))
        }
    }
}

/// The user's customer, or the answer that says why there is none.
fn customer_of(calls: &Calls, user: &User) -> Result<Result<String, Response>, ApiError> {
    Ok(match calls.customer_of(user)? {
        Customer::Known(id) => Ok(id),
        Customer::Unmade(outcome) => Err(told(outcome, |_| Response::json(200, &json!({})))),
    })
}

/// Get or create the Stripe customer.
fn customer(api: &Api, request: &Request, segments: &Segments) -> Answered {
    let (calls, user) = (calls(api)?, user(api, segments)?);
    refuse_others(&body_object(request)?, &[])?;
    Ok(customer_of(calls, &user)?
        .map_or_else(|answer| answer, |id| Response::json(200, &json!({"user_id": user.id, "stripe_customer_id": id}))))
}

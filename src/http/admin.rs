//! The handlers for operators: events, retries and dead letters, the outbox, operations and the audit log. It must never
//! change a row itself: what an operator can do is in `jobs::operator`. Called through the table in `private`; its views
//! by the command line, too.

mod analytics;
mod audit;
mod dead_letters;
mod events;
mod operations;
mod outbox;
mod views;

use super::api::ApiHandler;
use super::error_code::ErrorCode;
use super::request::Request;
use super::response::{ErrorResponse, Response};
use super::route::parameters::TIMES;
use super::route::{PathSegments, Route};
use crate::jobs::operator::Operator;
use crate::store::{StoreError, Tx};

pub(crate) use views::{attempt, dead_letter, event, payload, retry};

pub(super) const ROUTES: &[&[Route<ApiHandler>]] =
    &[events::ROUTES, dead_letters::ROUTES, outbox::ROUTES, operations::ROUTES, audit::ROUTES, analytics::ROUTES];

type AdminResult = Result<Response, ErrorResponse>;

fn event_id(segments: &PathSegments) -> &str {
    segments.first().map_or("", String::as_str)
}

fn operator(api: &ApiHandler) -> Operator {
    Operator { actor: "api", now_ms: api.clock.now_ms() }
}

/// Makes a write after which events are pending again, and wakes the worker.
fn requeue<T: Send + 'static>(
    api: &ApiHandler,
    work: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ErrorResponse> {
    let done = api.store.write(work)?;
    // If the channel is full, the worker is being woken already.
    let _ = api.bell.try_send(());
    Ok(done)
}

/// A time of the query, unix seconds.
fn time_s(request: &Request, name: &'static str) -> Result<Option<i64>, ErrorResponse> {
    let Some(text) = request.parameter(name) else { return Ok(None) };
    let (least, most) = TIMES;
    match text.parse::<i64>().ok().filter(|time| (least..=most).contains(time)) {
        Some(time) => Ok(Some(time)),
        None => Err(ErrorResponse::parameter(name, format!("{name} must be a time in unix seconds, not {text:?}"))),
    }
}

/// The same in milliseconds.
fn time_ms(request: &Request, name: &'static str) -> Result<Option<i64>, ErrorResponse> {
    Ok(time_s(request, name)?.map(|time| time.saturating_mul(1000)))
}

/// One of some words in the query.
fn word(request: &Request, name: &'static str, words: &[&str]) -> Result<Option<String>, ErrorResponse> {
    match request.parameter(name) {
        Some(text) if !words.contains(&text.as_str()) => Err(ErrorResponse::parameter(
            name,
            format!("{text:?} is not a valid {name}; valid are {}", words.join(", ")),
        )),
        word => Ok(word),
    }
}

fn unknown_event(event_id: &str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::EventNotFound, format!("there is no event {event_id:?} in the log")).at("event_id")
}

//! The handlers for operators: the event log, the retry queue and the dead letters. It must never change a row itself:
//! what an operator can do is in `jobs::operator`. Called through the table in `private`; its views by the command
//! line, too.

pub(super) mod analytics;
mod views;

use serde_json::json;

use super::api::{ApiHandler, body_object};
use super::request::Request;
use super::response::{DEFAULT_LIMIT, ErrorResponse, MAX_LIMIT, PageView, Response};
use super::route::PathSegments;
use crate::jobs::operator::{self, Operator};
use crate::store::inbox::{self, EventFilter};
use crate::store::{StoreError, Tx, dead_letters, retries};

pub use views::{attempt, dead_letter, event, payload, retry};

type AdminResult = Result<Response, ErrorResponse>;

fn event_id(segments: &PathSegments) -> &str {
    segments.first().map_or("", String::as_str)
}

fn unknown_event(event_id: &str) -> ErrorResponse {
    ErrorResponse::new(404, "event_not_found", format!("there is no event {event_id:?} in the log")).at("event_id")
}

fn unknown_letter(event_id: &str) -> ErrorResponse {
    ErrorResponse::new(404, "dead_letter_not_found", format!("there is no dead letter of event {event_id:?}"))
        .at("event_id")
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

pub(super) fn list_events(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let status = request.parameter("status").map(|text| operator::parse_status(&text)).transpose();
    let filter = EventFilter {
        event_type: request.parameter("type"),
        status: status.map_err(|message| ErrorResponse::parameter("status", message))?,
        before: page.starting_after.clone(),
    };
    let entries = api.store.read(|reader| inbox::list(reader, &filter, page.fetch()))?;
    Ok(Response::list(entries.iter().map(event).collect(), &page))
}

pub(super) fn get_event(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let id = event_id(segments);
    let found = api.store.read(|reader| Ok((inbox::find(reader, id)?, inbox::find_payload(reader, id)?)))?;
    let (Some(entry), Some(payload)) = found else { return Err(unknown_event(id)) };
    let mut view = event(&entry);
    view["payload"] = views::payload(&payload);
    Ok(Response::json(200, &view))
}

pub(super) fn replay_event(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let (id, operator) = (event_id(segments).to_owned(), operator(api));
    match requeue(api, move |tx| operator::replay(tx, &id, operator))? {
        true => respond_event(api, event_id(segments)),
        false => Err(unknown_event(event_id(segments))),
    }
}

fn respond_event(api: &ApiHandler, id: &str) -> AdminResult {
    let entry = api.store.read(|reader| inbox::find(reader, id))?.ok_or_else(|| unknown_event(id))?;
    Ok(Response::json(200, &event(&entry)))
}

pub(super) fn list_retries(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let rows = api.store.read(|reader| retries::list(reader, page.starting_after.as_deref(), page.fetch()))?;
    Ok(Response::list(rows.iter().map(retry).collect(), &page))
}

pub(super) fn list_dead_letters(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let event_type = request.parameter("type");
    let rows = api.store.read(|reader| {
        dead_letters::list(reader, event_type.as_deref(), page.starting_after.as_deref(), page.fetch())
    })?;
    Ok(Response::list(rows.iter().map(dead_letter).collect(), &page))
}

pub(super) fn get_dead_letter(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let id = event_id(segments);
    let found = api.store.read(|reader| {
        Ok((dead_letters::find(reader, id)?, inbox::list_attempts(reader, id)?, inbox::find_payload(reader, id)?))
    })?;
    let (Some(letter), attempts, payload) = found else { return Err(unknown_letter(id)) };
    let mut view = dead_letter(&letter);
    view["attempts"] = attempts.iter().map(views::attempt).collect();
    view["payload"] = payload.as_deref().map_or(serde_json::Value::Null, views::payload);
    Ok(Response::json(200, &view))
}

pub(super) fn replay_dead_letter(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let (id, operator) = (event_id(segments).to_owned(), operator(api));
    let replayed = requeue(api, move |tx| match dead_letters::find(tx, &id)? {
        Some(_) => operator::replay(tx, &id, operator),
        None => Ok(false),
    })?;
    if replayed { respond_event(api, event_id(segments)) } else { Err(unknown_letter(event_id(segments))) }
}

pub(super) fn replay_dead_letters(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let body = body_object(request)?;
    let event_type = match body.get("type") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) => Some(text.clone()),
        Some(_) => return Err(ErrorResponse::parameter("type", "type must be an event type, such as invoice.paid")),
    };
    let limit = match body.get("limit") {
        None | Some(serde_json::Value::Null) => DEFAULT_LIMIT,
        Some(value) => match value.as_u64().and_then(|limit| u32::try_from(limit).ok()) {
            Some(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
            _ => {
                return Err(ErrorResponse::parameter(
                    "limit",
                    format!("limit must be a whole number from 1 to {MAX_LIMIT}"),
                ));
            }
        },
    };
    let operator = operator(api);
    let ids = requeue(api, move |tx| operator::replay_dead_letters(tx, event_type.as_deref(), limit, operator))?;
    Ok(Response::json(200, &json!({"replayed": ids.len(), "event_ids": ids})))
}

pub(super) fn discard_dead_letter(api: &ApiHandler, request: &Request, segments: &PathSegments) -> AdminResult {
    let reason = match body_object(request)?.remove("reason") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) => Some(text),
        Some(_) => return Err(ErrorResponse::parameter("reason", "reason must be a string")),
    };
    let (id, operator) = (event_id(segments).to_owned(), operator(api));
    let discarded = api.store.write(move |tx| operator::discard(tx, &id, reason.as_deref(), operator))?;
    if discarded {
        Ok(Response::json(200, &json!({"id": event_id(segments), "discarded": true})))
    } else {
        Err(unknown_letter(event_id(segments)))
    }
}

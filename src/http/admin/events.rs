//! The log of events: listed, shown, replayed. Called through the table in `admin`.

use super::{AdminResult, event_id, operator, requeue, unknown_event, views, word};
use crate::http::api::ApiHandler;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::{Get, Post};
use crate::http::request::Request;
use crate::http::response::{ListView, PageView, Response};
use crate::http::route::RouteAccess::Admin;
use crate::http::route::description::Link;
use crate::http::route::parameters::{self, LIMIT, after};
use crate::http::route::{PathSegments, Route, route};
use crate::jobs::operator;
use crate::store::inbox::{self, EventFilter, EventStatus};
use crate::store::retries;

const NO_EVENT: &[ErrorCode] = &[ErrorCode::EventNotFound];
const EXAMPLE: &str = "evt_1NG8Du2eZvKYlo2CUI79vXWy";
const STATES: [&str; 5] = ["pending", "processed", "ignored", "retrying", "dead"];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[
    route(Get, "/api/v1/admin/events", Admin, list)
        .named("listEvents", "Events that were received, the newest first")
        .query(&[
            parameters::text("type", "invoice.paid", "Only events of this type."),
            parameters::one_of("status", &STATES, "Only events in this state."),
            LIMIT,
            after(EXAMPLE),
        ])
        .answers::<ListView<views::EventView>>(200, "A page of events."),
    route(Get, "/api/v1/admin/events/{event_id}", Admin, get)
        .named("getEvent", "An event with its body")
        .answers::<views::EventDetailsView>(200, "The event.")
        .errors(NO_EVENT),
    route(Post, "/api/v1/admin/events/{event_id}/replay", Admin, replay)
        .named("replayEvent", "Project an event again")
        .details("Whatever its state, it is pending again, and its attempts are forgotten.")
        .answers::<views::EventView>(200, "The event, which is pending.")
        .errors(NO_EVENT)
        .links(&[of_answer("getEvent"), of_answer("getDeadLetter")]),
    route(Get, "/api/v1/admin/webhooks/retries", Admin, list_retries)
        .named("listRetries", "Events that failed and wait for their next attempt, the next one first")
        .query(&[LIMIT, after(EXAMPLE)])
        .answers::<ListView<views::RetryView>>(200, "A page of the queue."),
];

/// A call about the event that an answer shows.
pub(super) const fn of_answer(to: &'static str) -> Link {
    Link { to, parameter: "event_id", value: "$response.body#/id" }
}

fn list(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let status = word(request, "status", &STATES)?;
    let filter = EventFilter {
        event_type: request.parameter("type"),
        status: status.as_deref().and_then(EventStatus::parse),
        before: page.id_after().map(str::to_owned),
    };
    let entries = api.store.read(|reader| inbox::list(reader, &filter, page.fetch()))?;
    Ok(Response::list(entries.iter().map(views::event).collect(), &page))
}

fn get(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let id = event_id(segments);
    let found = api.store.read(|reader| Ok((inbox::find(reader, id)?, inbox::find_payload(reader, id)?)))?;
    let (Some(entry), Some(payload)) = found else { return Err(unknown_event(id)) };
    let view = views::EventDetailsView { event: views::event(&entry), payload: views::payload(&payload) };
    Ok(Response::json(200, &view))
}

fn replay(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let (id, operator) = (event_id(segments).to_owned(), operator(api));
    match requeue(api, move |tx| operator::replay(tx, &id, operator))? {
        true => respond(api, event_id(segments)),
        false => Err(unknown_event(event_id(segments))),
    }
}

/// The event as it is now.
pub(super) fn respond(api: &ApiHandler, id: &str) -> AdminResult {
    let entry = api.store.read(|reader| inbox::find(reader, id))?.ok_or_else(|| unknown_event(id))?;
    Ok(Response::json(200, &views::event(&entry)))
}

fn list_retries(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let rows = api.store.read(|reader| retries::list(reader, page.id_after(), page.fetch()))?;
    Ok(Response::list(rows.iter().map(views::retry).collect(), &page))
}

//! Dead letters: listed, shown, replayed one by one or many, discarded. Called through the table in `admin`.

use super::{AdminResult, event_id, events, operator, requeue, views};
use crate::http::api::ApiHandler;
use crate::http::api::parameters::Parameters;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::{Delete, Get, Post};
use crate::http::request::Request;
use crate::http::response::{DEFAULT_LIMIT, ErrorResponse, ListView, MAX_LIMIT, PageView, Response};
use crate::http::route::RouteAccess::Admin;
use crate::http::route::body::body;
use crate::http::route::parameters::{self, LIMIT, after};
use crate::http::route::{PathSegments, Route, route};
use crate::jobs::operator::{self, MAX_REASON_CHARS};
use crate::store::{dead_letters, inbox};

const NO_LETTER: &[ErrorCode] = &[ErrorCode::DeadLetterNotFound];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[
    route(Get, "/api/v1/admin/webhooks/dlq", Admin, list)
        .named("listDeadLetters", "Events that were given up, the newest first")
        .query(&[
            parameters::text("type", "invoice.paid", "Only events of this type."),
            LIMIT,
            after("evt_1NG8Du2eZvKYlo2CUI79vXWy"),
        ])
        .answers::<ListView<views::DeadLetterView>>(200, "A page of dead letters."),
    route(Post, "/api/v1/admin/webhooks/dlq/replay", Admin, replay_many)
        .named("replayDeadLetters", "Project many dead letters again, the newest first")
        .body::<ReplayBody>()
        .answers::<views::ReplayedView>(200, "Those that are pending again."),
    route(Get, "/api/v1/admin/webhooks/dlq/{event_id}", Admin, get)
        .named("getDeadLetter", "A dead letter with its attempts and its body")
        .answers::<views::DeadLetterDetailsView>(200, "The dead letter.")
        .errors(NO_LETTER),
    route(Delete, "/api/v1/admin/webhooks/dlq/{event_id}", Admin, discard)
        .named("discardDeadLetter", "Discard a dead letter for good")
        .details("The event stays in the log as ignored, and the reason in the audit log.")
        .body::<DiscardBody>()
        .answers::<views::DiscardedView>(200, "It is discarded.")
        .errors(NO_LETTER),
    route(Post, "/api/v1/admin/webhooks/dlq/{event_id}/replay", Admin, replay)
        .named("replayDeadLetter", "Project a dead letter again")
        .answers::<views::EventView>(200, "The event, which is pending.")
        .errors(&[ErrorCode::DeadLetterNotFound, ErrorCode::EventNotFound]),
];

body! {
    /// Which dead letters are projected again.
    #[schemars(rename = "ReplayDeadLetters")]
    struct ReplayBody {
        /// Only events of this type; left out: of any.
        #[schemars(length(min = 1), regex(pattern = r"\S"), example = &"invoice.paid")]
        r#type: Option<String>,
        /// How many at most; 20 if it is left out.
        #[schemars(range(min = 1, max = MAX_LIMIT), example = 20)]
        limit: Option<u32>,
    }
}

body! {
    /// Why it is discarded.
    #[schemars(rename = "Discard")]
    pub(super) struct DiscardBody {
        /// The reason, for the audit log; without personal data.
        #[schemars(length(min = 1, max = MAX_REASON_CHARS), regex(pattern = r"\S"), example = &"test data")]
        reason: Option<String>,
    }
}

fn unknown(event_id: &str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::DeadLetterNotFound, format!("there is no dead letter of event {event_id:?}"))
        .at("event_id")
}

fn list(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let event_type = request.parameter("type");
    let rows =
        api.store.read(|reader| dead_letters::list(reader, event_type.as_deref(), page.id_after(), page.fetch()))?;
    Ok(Response::list(rows.iter().map(views::dead_letter).collect(), &page))
}

fn get(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let id = event_id(segments);
    let found = api.store.read(|reader| {
        Ok((dead_letters::find(reader, id)?, inbox::list_attempts(reader, id)?, inbox::find_payload(reader, id)?))
    })?;
    let (Some(letter), attempts, payload) = found else { return Err(unknown(id)) };
    let view = views::DeadLetterDetailsView {
        letter: views::dead_letter(&letter),
        attempts: attempts.iter().map(views::attempt).collect(),
        payload: payload.as_deref().map_or(serde_json::Value::Null, views::payload),
    };
    Ok(Response::json(200, &view))
}

fn replay(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let (id, operator) = (event_id(segments).to_owned(), operator(api));
    let replayed = requeue(api, move |tx| match dead_letters::find(tx, &id)? {
        Some(_) => operator::replay(tx, &id, operator),
        None => Ok(false),
    })?;
    if replayed { events::respond(api, event_id(segments)) } else { Err(unknown(event_id(segments))) }
}

fn replay_many(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let given = Parameters::read::<ReplayBody>(request)?;
    let event_type = given.text("type")?.map(str::to_owned);
    let limit = given.integer("limit", (1, i64::from(MAX_LIMIT)))?;
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT);
    let operator = operator(api);
    let ids = requeue(api, move |tx| operator::replay_dead_letters(tx, event_type.as_deref(), limit, operator))?;
    Ok(Response::json(200, &views::ReplayedView { replayed: ids.len(), event_ids: ids }))
}

fn discard(api: &ApiHandler, request: &Request, segments: &PathSegments) -> AdminResult {
    let given = Parameters::read::<DiscardBody>(request)?;
    let reason = given.text_of("reason", MAX_REASON_CHARS)?.map(str::to_owned);
    let (id, operator) = (event_id(segments).to_owned(), operator(api));
    if !api.store.write(move |tx| operator::discard(tx, &id, reason.as_deref(), operator))? {
        return Err(unknown(event_id(segments)));
    }
    Ok(Response::json(200, &views::DiscardedView { id: event_id(segments).to_owned(), discarded: true }))
}

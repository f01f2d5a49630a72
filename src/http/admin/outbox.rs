//! The outbox: mails and events for the application, listed, shown, delivered again, discarded. What Stripe is asked for
//! stands in it, too, and is only shown: tilld repeats that by itself. Called through the table in `admin`.

use super::dead_letters::DiscardBody;
use super::{AdminResult, operator, views, word};
use crate::http::api::ApiHandler;
use crate::http::api::parameters::Parameters;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::{Delete, Get, Post};
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, ListView, PageView, Response};
use crate::http::route::RouteAccess::Admin;
use crate::http::route::body::body;
use crate::http::route::description::Link;
use crate::http::route::parameters::{self, AFTER_ROW, LIMIT, TIMES};
use crate::http::route::{PathSegments, Route, route};
use crate::jobs::operator::{self, MAX_DELIVERED_AGAIN, MAX_REASON_CHARS};
use crate::store::outbox::rows::{self, GivenUp, OutboxFilter, OutboxRow};
use crate::store::{StoreError, StoreReader, webhook_endpoints};

const STATES: [&str; 6] = ["pending", "claimed", "done", "skipped", "failed", "discarded"];
const KINDS: [&str; 3] = ["mail", "webhook", "stripe_call"];
const REFUSALS: &[ErrorCode] = &[
    ErrorCode::OutboxRowNotFound,
    ErrorCode::OutboxRowBusy,
    ErrorCode::OutboxRowEnded,
    ErrorCode::OutboxRowRepeatsItself,
];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[
    route(Get, "/api/v1/admin/outbox", Admin, list)
        .named("listOutbox", "Mails and events for the application, and what Stripe is asked for; the newest first")
        .query(&[
            parameters::one_of("status", &STATES, "Only rows in this state."),
            parameters::one_of("kind", &KINDS, "Only rows of this kind."),
            parameters::text("target", "https://app.example.com/hooks/tilld", "Only rows for this target: `mail`, or the URL of an endpoint."),
            LIMIT,
            AFTER_ROW,
        ])
        .answers::<ListView<views::OutboxRowView>>(200, "A page of the outbox."),
    route(Post, "/api/v1/admin/outbox/retry", Admin, retry_failed)
        .named("retryOutbox", "Deliver again what was given up, the oldest first")
        .details("Each row gets all its attempts again, and a disabled endpoint is enabled. One call makes at most 1000 rows due.")
        .body::<RetryBody>()
        .answers::<views::OutboxRetriedView>(200, "How many rows are due again."),
    route(Get, "/api/v1/admin/outbox/{outbox_id}", Admin, get)
        .named("getOutboxRow", "A row of the outbox with what it consists of")
        .answers::<views::OutboxDetailsView>(200, "The row.")
        .errors(&[ErrorCode::OutboxRowNotFound]),
    route(Delete, "/api/v1/admin/outbox/{outbox_id}", Admin, discard)
        .named("discardOutboxRow", "Discard a row for good; the rows that wait behind it go on")
        .body::<DiscardBody>()
        .answers::<views::DiscardedView>(200, "It is discarded.")
        .errors(REFUSALS),
    route(Post, "/api/v1/admin/outbox/{outbox_id}/retry", Admin, retry)
        .named("retryOutboxRow", "Deliver a row again, with all its attempts; a disabled endpoint is enabled")
        .answers::<views::OutboxRowView>(200, "The row, which is pending.")
        .errors(REFUSALS)
        .links(&[of_answer("getOutboxRow"), of_answer("discardOutboxRow")]),
];

body! {
    /// What is delivered again.
    #[schemars(rename = "RetryOutbox")]
    struct RetryBody {
        /// Only rows for this target: `mail`, or the URL of an endpoint; left out: for any.
        #[schemars(length(min = 1, max = parameters::MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"https://app.example.com/hooks/tilld")]
        target: Option<String>,
        /// Only rows that were given up at this time or later, unix seconds; left out: at any time.
        #[schemars(range(min = TIMES.0, max = TIMES.1), example = 1_767_225_600)]
        since: Option<i64>,
    }
}

/// A call about the row that an answer shows.
const fn of_answer(to: &'static str) -> Link {
    Link { to, parameter: "outbox_id", value: "$response.body#/id" }
}

fn list(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let (status, kind) = (word(request, "status", &STATES)?, word(request, "kind", &KINDS)?);
    let (target, before) = (request.parameter("target"), page.row_after()?);
    let filter = OutboxFilter { kind: kind.as_deref(), status: status.as_deref(), target: None, user_id: None, before };
    let found = api.store.read(|reader| {
        let url = target.as_deref().map(|name| webhook_endpoints::url_of(reader, name)).transpose()?;
        rows::list(reader, OutboxFilter { target: url.as_deref(), ..filter }, page.fetch())
    })?;
    Ok(Response::list(found.iter().map(views::outbox_row).collect(), &page))
}

/// The row that the path names.
fn find(reader: &StoreReader, segments: &PathSegments) -> Result<Option<OutboxRow>, StoreError> {
    match segments.first().and_then(|id| id.parse().ok()) {
        Some(id) => rows::find(reader, id),
        None => Ok(None),
    }
}

fn unknown(segments: &PathSegments) -> ErrorResponse {
    let id = segments.first().map_or("", String::as_str);
    ErrorResponse::new(ErrorCode::OutboxRowNotFound, format!("there is no row {id:?} in the outbox")).at("outbox_id")
}

fn get(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let found = api.store.read(|reader| {
        let Some(row) = find(reader, segments)? else { return Ok(None) };
        let target = row.target.as_deref();
        let endpoint = target.map_or(Ok(None), |target| webhook_endpoints::find(reader, target))?;
        Ok(Some((row, endpoint)))
    })?;
    let (row, endpoint) = found.ok_or_else(|| unknown(segments))?;
    Ok(Response::json(200, &views::outbox_details(&row, endpoint.as_ref())))
}

/// The number of a row that an operator may act on.
fn actable(api: &ApiHandler, segments: &PathSegments) -> Result<i64, ErrorResponse> {
    let row = api.store.read(|reader| find(reader, segments))?.ok_or_else(|| unknown(segments))?;
    if row.kind == "stripe_call" {
        let message = format!("row {} is a call to Stripe, which tilld repeats by itself", row.id);
        return Err(ErrorResponse::new(ErrorCode::OutboxRowRepeatsItself, message).at("outbox_id"));
    }
    row.id.parse().map_err(|error| ErrorResponse::internal(&error))
}

fn retry(api: &ApiHandler, _: &Request, segments: &PathSegments) -> AdminResult {
    let (id, operator) = (actable(api, segments)?, operator(api));
    if !api.store.write(move |tx| operator::deliver_again(tx, id, operator))? {
        let message = format!("row {id} is being delivered now: wait for its result");
        return Err(ErrorResponse::new(ErrorCode::OutboxRowBusy, message).at("outbox_id"));
    }
    let row = api.store.read(|reader| rows::find(reader, id))?.ok_or_else(|| unknown(segments))?;
    Ok(Response::json(200, &views::outbox_row(&row)))
}

fn retry_failed(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let given = Parameters::read::<RetryBody>(request)?;
    let target = given.text("target")?.map(str::to_owned);
    let since_ms = given.integer("since", TIMES)?.map_or(0, |since| since.saturating_mul(1000));
    let operator = operator(api);
    let (retried, has_more) = api.store.write(move |tx| {
        let url = target.as_deref().map(|name| webhook_endpoints::url_of(tx, name)).transpose()?;
        let which = GivenUp { target: url.as_deref(), since_ms, until_ms: i64::MAX };
        operator::deliver_failed_again(tx, which, MAX_DELIVERED_AGAIN, operator)
    })?;
    Ok(Response::json(200, &views::OutboxRetriedView { retried, has_more }))
}

fn discard(api: &ApiHandler, request: &Request, segments: &PathSegments) -> AdminResult {
    let given = Parameters::read::<DiscardBody>(request)?;
    let reason = given.text_of("reason", MAX_REASON_CHARS)?.map(str::to_owned);
    let (id, operator) = (actable(api, segments)?, operator(api));
    if api.store.write(move |tx| operator::discard_delivery(tx, id, reason.as_deref(), operator))? {
        return Ok(Response::json(200, &views::DiscardedView { id: id.to_string(), discarded: true }));
    }
    let row = api.store.read(|reader| rows::find(reader, id))?;
    if row.is_some_and(|row| row.status == "claimed") {
        let message = format!("row {id} is being delivered now: wait for its result");
        return Err(ErrorResponse::new(ErrorCode::OutboxRowBusy, message).at("outbox_id"));
    }
    let message = format!("row {id} was delivered or discarded before");
    Err(ErrorResponse::new(ErrorCode::OutboxRowEnded, message).at("outbox_id"))
}

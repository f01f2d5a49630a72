//! Operations at Stripe, those in doubt first. It must never show what was sent or answered. Called through the table in
//! `admin`.

use super::{AdminResult, views, word};
use crate::http::api::ApiHandler;
use crate::http::request::Method::Get;
use crate::http::request::Request;
use crate::http::response::{ListView, PageView, Response};
use crate::http::route::RouteAccess::Admin;
use crate::http::route::parameters::{self, AFTER_ROW, LIMIT};
use crate::http::route::{PathSegments, Route, route};
use crate::store::stripe_operations::list::{self as operations, OperationFilter};

const STATES: [&str; 5] = ["in_doubt", "sending", "done", "refused", "not_done"];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[route(Get, "/api/v1/admin/operations", Admin, list)
    .named("listOperations", "What Stripe was asked to do: those in doubt, then the others, each the newest first")
    .query(&[
        parameters::one_of("status", &STATES, "Only operations in this state."),
        parameters::text("user_id", "alice", "Only operations for this user."),
        LIMIT,
        AFTER_ROW,
    ])
    .answers::<ListView<views::OperationView>>(200, "A page of operations.")];

fn list(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let filter = OperationFilter {
        status: word(request, "status", &STATES)?,
        user_id: request.parameter("user_id"),
        after: page.row_after()?,
    };
    let found = api.store.read(|reader| operations::list(reader, &filter, page.fetch()))?;
    Ok(Response::list(found.iter().map(views::operation).collect(), &page))
}

//! The audit log, by user, action, actor and time. Called through the table in `admin`.

use super::{AdminResult, time_ms};
use crate::http::api::{ApiHandler, views};
use crate::http::request::Method::Get;
use crate::http::request::Request;
use crate::http::response::{ListView, PageView, Response};
use crate::http::route::RouteAccess::Admin;
use crate::http::route::parameters::{self, AFTER_ROW, LIMIT};
use crate::http::route::{PathSegments, Route, route};
use crate::store::audit::list::{self as audit, AuditFilter};

pub(super) const ROUTES: &[Route<ApiHandler>] = &[route(Get, "/api/v1/admin/audit", Admin, list)
    .named("listAudit", "Who did what to what, the newest first")
    .query(&[
        parameters::text("user_id", "alice", "Only what concerns this user."),
        parameters::text(
            "action",
            "customer.subscription.updated",
            "Only this action: the type of an event, the word of a call, or an operator's act.",
        ),
        parameters::text("actor", "api", "Only what this one did: `stripe`, `api`, `cli`, `dashboard` or `tilld`."),
        parameters::time("from", "Only what happened at this time or later, unix seconds."),
        parameters::time("to", "Only what happened before this time, unix seconds."),
        LIMIT,
        AFTER_ROW,
    ])
    .answers::<ListView<views::AuditView>>(200, "A page of the audit log.")];

fn list(api: &ApiHandler, request: &Request, _: &PathSegments) -> AdminResult {
    let page = PageView::from_request(request)?;
    let filter = AuditFilter {
        user_id: request.parameter("user_id"),
        action: request.parameter("action"),
        actor: request.parameter("actor"),
        from_ms: time_ms(request, "from")?,
        to_ms: time_ms(request, "to")?,
        after: page.row_after()?,
    };
    let rows = api.store.read(|reader| audit::list(reader, &filter, page.fetch()))?;
    Ok(Response::list(rows.iter().map(views::audit).collect(), &page))
}

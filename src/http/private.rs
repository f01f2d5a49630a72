//! The private listener's tables of routes; ground for every call: `/api/v1/…` for the application, `/api/v1/admin/…`
//! for operators, health checks for everyone who reaches the listener, and the description of all of them. It must never
//! hold more than the tables. Called by `app::daemon`, and by `tilld openapi` for the description.

use serde_json::Value;

use super::api::{ApiHandler, calls, offers, users};
use super::request::Method::Get;
use super::request::Request;
use super::response::{ErrorResponse, Response};
use super::route::RouteAccess::Api;
use super::route::{self, PathSegments, Route, route};
use super::{admin, health, openapi};

const ROUTES: &[Route<ApiHandler>] = &[
    route(Get, "/api/v1/config", Api, offers::config)
        .named("getConfig", "What a page with prices needs to know")
        .answers::<offers::OffersView>(200, "Key, mode and plans."),
    // It says nothing of this database. It needs a token all the same, as all but the health checks does: it names the
    // version, and `tilld openapi` prints it without a daemon.
    route(Get, "/openapi.json", Api, describe)
        .named("getDescription", "This description, as OpenAPI 3.1")
        .answers::<Value>(200, "The description."),
];

/// The tables, each with what its routes are about.
fn tables() -> Vec<(&'static str, &'static [Route<ApiHandler>])> {
    let mut tables = vec![("Users", users::ROUTES), ("Users", calls::link::DELETE), ("Users", calls::invoices::ROUTES)];
    tables.extend(calls::ROUTES.iter().map(|routes| ("Calls to Stripe", *routes)));
    tables.extend(admin::ROUTES.iter().map(|routes| ("Operators", *routes)));
    tables.extend([("This daemon", ROUTES), ("This daemon", health::ROUTES)]);
    tables
}

/// Answers a request of the private listener.
#[must_use]
pub fn answer(api: &ApiHandler, request: &Request) -> Response {
    let tables: Vec<&[Route<ApiHandler>]> = tables().into_iter().map(|(_, routes)| routes).collect();
    route::dispatch(&tables, &api.tokens, api, request)
}

/// The description of the API, as OpenAPI 3.1.
#[must_use]
pub fn description() -> Value {
    openapi::document(&tables())
}

fn describe(_: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    Ok(Response::json(200, &description()))
}

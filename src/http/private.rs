//! The private listener's tables of routes; ground for every call: `/api/v1/…` for the application, `/api/v1/admin/…`
//! for operators, `/dashboard` for their browsers, health checks for everyone who reaches the listener, and the description
//! of all of them. It must never
//! hold more than the tables. Called by `app::daemon`, and by `tilld openapi` for the description.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use super::api::views::JsonObject;
use super::api::{ApiHandler, calls, offers, users};
use super::request::Method::Get;
use super::request::Request;
use super::response::{ErrorResponse, Response};
use super::route::RouteAccess::Api;
use super::route::{self, PathSegments, Route, route};
use super::{admin, dashboard, health, metrics, openapi};

const ROUTES: &[Route<ApiHandler>] = &[
    route(Get, "/api/v1/config", Api, offers::config)
        .named("getConfig", "What a page with prices needs to know")
        .answers::<offers::OffersView>(200, "Key, mode and plans."),
    // It says nothing of this database. It needs a token all the same, as all but the health checks does: it names the
    // version, and `tilld openapi` prints it without a daemon.
    route(Get, "/openapi.json", Api, describe)
        .named("getDescription", "This description, as OpenAPI 3.1")
        .answers::<JsonObject>(200, "The description."),
];

/// A table of routes, and what they are about.
type Table = (&'static str, &'static [Route<ApiHandler>]);

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(tables);

fn tables() -> Vec<Table> {
    let mut tables = vec![("Users", users::ROUTES), ("Users", calls::link::DELETE), ("Users", calls::invoices::ROUTES)];
    tables.extend(calls::ROUTES.iter().map(|routes| ("Calls to Stripe", *routes)));
    tables.extend(admin::ROUTES.iter().map(|routes| ("Operators", *routes)));
    tables.extend([("This daemon", ROUTES), ("This daemon", health::ROUTES), ("This daemon", metrics::ROUTES)]);
    tables
}

/// How long an answer of this listener is held back, if it is.
#[must_use]
pub(crate) fn hold(api: &ApiHandler, request: &Request, response: &Response) -> Option<Duration> {
    dashboard::hold(api, request, response)
}

/// Whether the answer to a request may have to wait for Stripe.
#[must_use]
pub(crate) fn waits_for_stripe(request: &Request) -> bool {
    calls::waits_for_stripe(request) || dashboard::waits_for_stripe(request)
}

/// Answers a request of the private listener.
#[must_use]
pub fn answer(api: &ApiHandler, request: &Request) -> Response {
    if dashboard::covers(&request.path) {
        return dashboard::answer(api, request);
    }
    route::dispatch(TABLES.iter().map(|(_, routes)| *routes), &api.tokens, api, request)
}

/// The description of the API, as OpenAPI 3.1.
#[must_use]
pub fn description() -> Value {
    openapi::document(&TABLES)
}

fn describe(_: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    Ok(Response::json(200, &description()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::error_code::ErrorCode;

    /// Codes of the public listener, and those of a request that meets no route.
    const OF_NO_ROUTE: [ErrorCode; 8] = [
        ErrorCode::NotFound,
        ErrorCode::MethodNotAllowed,
        ErrorCode::SignatureMissing,
        ErrorCode::SignatureMalformed,
        ErrorCode::SignatureStale,
        ErrorCode::SignatureFuture,
        ErrorCode::SignatureMismatch,
        ErrorCode::InvalidPayload,
    ];

    fn operations(document: &Value) -> Vec<&Value> {
        let paths = document["paths"].as_object().unwrap();
        paths.values().flat_map(|path| path.as_object().unwrap().values()).collect()
    }

    #[test]
    fn every_route_is_in_the_description_and_nothing_else() {
        let document = description();
        let mut count = 0;
        for route in TABLES.iter().flat_map(|(_, routes)| *routes) {
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][route.pattern][&method];
            assert!(operation.is_object(), "{method} {} is not described", route.pattern);
            let segments = route.pattern.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
            let described: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|one| one["in"] == "path")
                .map(|one| one["name"].as_str().unwrap())
                .collect();
            assert_eq!(segments.collect::<BTreeSet<_>>(), described, "{}", route.pattern);
            let codes: BTreeSet<&str> = route.codes().into_iter().map(ErrorCode::as_str).collect();
            let responses = operation["responses"].as_object().unwrap().values();
            let listed: BTreeSet<&str> = responses
                .map(|response| match response["$ref"].as_str() {
                    Some(path) => document.pointer(&path[1..]).unwrap(),
                    None => response,
                })
                .flat_map(|response| response["x-error-codes"].as_array().into_iter().flatten())
                .map(|code| code.as_str().unwrap())
                .collect();
            assert_eq!(codes, listed, "{}", route.pattern);
            count += 1;
        }
        assert_eq!(operations(&document).len(), count);
        assert!(count > 40, "only {count} routes were found");
    }

    #[test]
    fn every_code_is_listed_by_a_route_or_belongs_to_none() {
        let routes = TABLES.iter().flat_map(|(_, routes)| *routes);
        let listed: BTreeSet<ErrorCode> = routes.flat_map(Route::codes).chain(OF_NO_ROUTE).collect();
        assert_eq!(listed, ErrorCode::ALL.iter().copied().collect());
    }

    #[test]
    fn every_type_and_each_of_its_fields_has_a_meaning_and_an_example() {
        let document = description();
        let types = document["components"]["schemas"].as_object().unwrap();
        assert!(types.len() > 40, "only {} types were found", types.len());
        for (name, schema) in types {
            assert!(schema["description"].is_string(), "{name} has no description");
            for (field, about) in schema["properties"].as_object().into_iter().flatten() {
                assert!(about["description"].is_string(), "{name}.{field} has no description: {about}");
                let text = about.to_string();
                let has_example = about["examples"].is_array() || text.contains("#/components/schemas/");
                assert!(has_example, "{name}.{field} has no example: {about}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_links_lead_to_calls_that_take_what_they_carry() {
        let document = description();
        let operations = operations(&document);
        let names: BTreeSet<&str> = operations.iter().map(|one| one["operationId"].as_str().unwrap()).collect();
        assert_eq!(names.len(), operations.len());
        let takes = |to: &str, parameter: &str| {
            let target = operations.iter().find(|one| one["operationId"] == to).unwrap();
            target["parameters"].as_array().unwrap().iter().any(|one| one["name"] == parameter)
        };
        let mut count = 0;
        for response in operations.iter().flat_map(|one| one["responses"].as_object().unwrap().values()) {
            for link in response["links"].as_object().into_iter().flat_map(serde_json::Map::values) {
                let to = link["operationId"].as_str().unwrap();
                let parameters = link["parameters"].as_object().unwrap();
                assert!(parameters.keys().all(|parameter| takes(to, parameter)), "{link}");
                count += 1;
            }
        }
        assert!(count > 15, "only {count} links were found");
    }
}

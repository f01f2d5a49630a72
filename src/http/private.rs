//! The private listener's table of routes; ground for every call: `/api/v1/…` for the application, `/api/v1/admin/…`
//! for operators, `/dashboard` for their browsers, health checks for everyone who reaches the listener. It must never hold more than the table. Called
//! by `app::daemon`.

use std::time::Duration;

use super::api::{ApiHandler, calls, offers, users};
use super::request::Method::{Delete, Get, Post, Put};
use super::request::Request;
use super::response::Response;
use super::route::RouteAccess::{Admin, Api, Open};
use super::route::{self, Route, route};
use super::{admin, dashboard, health, metrics};

const ROUTES: &[Route<ApiHandler>] = &[
    route(Get, "/healthz", Open, health::healthz),
    route(Get, "/readyz", Open, health::readyz),
    route(Get, "/health/webhooks", Open, health::webhooks),
    route(Get, "/metrics", Open, metrics::get),
    route(Get, "/api/v1/status", Api, health::status),
    route(Get, "/api/v1/config", Api, offers::config),
    route(Get, "/api/v1/users", Api, users::list),
    route(Get, "/api/v1/users/{user_id}", Api, users::get),
    route(Put, "/api/v1/users/{user_id}", Api, users::put),
    route(Get, "/api/v1/users/{user_id}/entitlement", Api, users::entitlement),
    route(Delete, "/api/v1/users/{user_id}/customer", Api, calls::link::delete),
    route(Get, "/api/v1/users/{user_id}/subscription", Api, users::subscription),
    route(Get, "/api/v1/users/{user_id}/subscriptions", Api, users::subscriptions),
    route(Get, "/api/v1/users/{user_id}/payment-failures", Api, users::payment_failures),
    route(Get, "/api/v1/users/{user_id}/payment-intents", Api, users::payment_intents),
    route(Get, "/api/v1/users/{user_id}/audit", Api, users::audit),
    route(Get, "/api/v1/admin/events", Admin, admin::list_events),
    route(Get, "/api/v1/admin/events/{event_id}", Admin, admin::get_event),
    route(Post, "/api/v1/admin/events/{event_id}/replay", Admin, admin::replay_event),
    route(Get, "/api/v1/admin/analytics", Admin, admin::analytics::get),
    route(Get, "/api/v1/admin/webhooks/retries", Admin, admin::list_retries),
    route(Get, "/api/v1/admin/webhooks/dlq", Admin, admin::list_dead_letters),
    route(Post, "/api/v1/admin/webhooks/dlq/replay", Admin, admin::replay_dead_letters),
    route(Get, "/api/v1/admin/webhooks/dlq/{event_id}", Admin, admin::get_dead_letter),
    route(Delete, "/api/v1/admin/webhooks/dlq/{event_id}", Admin, admin::discard_dead_letter),
    route(Post, "/api/v1/admin/webhooks/dlq/{event_id}/replay", Admin, admin::replay_dead_letter),
];

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
    route::dispatch(&[ROUTES, calls::ROUTES, calls::invoices::ROUTES], &api.tokens, api, request)
}

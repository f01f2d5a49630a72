//! The private listener: its table of routes and what its handlers need. `/api/v1/…` for the application,
//! `/api/v1/admin/…` for operators, health for everyone who reaches it.

pub mod calls;
pub mod offers;
mod users;
pub mod views;

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::auth::Access::{Admin, Api as Token, Open};
use super::auth::Tokens;
use super::request::Method::{Delete, Get, Post, Put};
use super::request::Request;
use super::response::{ApiError, Response};
use super::route::{self, Route};
use super::throttle::Throttle;
use super::{admin, health};
use crate::calls::Calls;
use crate::clock::Clock;
use crate::projection::Context;
use crate::store::Store;
use offers::Offers;

/// What the private listener needs.
pub struct Api {
    /// The database.
    pub store: Store,
    /// For entitlement.
    pub clock: Arc<dyn Clock>,
    /// Plans and periods.
    pub context: Arc<Context>,
    /// Who may call.
    pub tokens: Tokens,
    /// Rings the worker.
    pub bell: Sender<()>,
    /// The way to Stripe; `None` without an API key.
    pub calls: Option<Arc<Calls>>,
    /// Of the configuration.
    pub offers: Offers,
    /// Webhooks that were refused, by reason.
    pub refused: Arc<Throttle>,
    /// When this process began, unix milliseconds.
    pub started_ms: i64,
}

const fn route(
    method: super::request::Method,
    pattern: &'static str,
    access: super::auth::Access,
    handler: fn(&Api, &Request, &route::Segments) -> Result<Response, ApiError>,
) -> Route<Api> {
    Route { method, pattern, access, handler }
}

const ROUTES: &[Route<Api>] = &[
    route(Get, "/healthz", Open, health::healthz),
    route(Get, "/readyz", Open, health::readyz),
    route(Get, "/health/webhooks", Open, health::webhooks),
    route(Get, "/api/v1/status", Token, health::status),
    route(Get, "/api/v1/config", Token, offers::config),
    route(Get, "/api/v1/users", Token, users::list),
    route(Get, "/api/v1/users/{user_id}", Token, users::get),
    route(Put, "/api/v1/users/{user_id}", Token, users::put),
    route(Get, "/api/v1/users/{user_id}/entitlement", Token, users::entitlement),
    route(Delete, "/api/v1/users/{user_id}/customer", Token, calls::link::delete),
    route(Get, "/api/v1/users/{user_id}/subscription", Token, users::subscription),
    route(Get, "/api/v1/users/{user_id}/subscriptions", Token, users::subscriptions),
    route(Get, "/api/v1/users/{user_id}/payment-failures", Token, users::payment_failures),
    route(Get, "/api/v1/users/{user_id}/payment-intents", Token, users::payment_intents),
    route(Get, "/api/v1/users/{user_id}/audit", Token, users::audit),
    route(Get, "/api/v1/admin/events", Admin, admin::list_events),
    route(Get, "/api/v1/admin/events/{event_id}", Admin, admin::get_event),
    route(Post, "/api/v1/admin/events/{event_id}/replay", Admin, admin::replay_event),
    route(Get, "/api/v1/admin/webhooks/retries", Admin, admin::list_retries),
    route(Get, "/api/v1/admin/webhooks/dlq", Admin, admin::list_dead_letters),
    route(Post, "/api/v1/admin/webhooks/dlq/replay", Admin, admin::replay_dead_letters),
    route(Get, "/api/v1/admin/webhooks/dlq/{event_id}", Admin, admin::get_dead_letter),
    route(Delete, "/api/v1/admin/webhooks/dlq/{event_id}", Admin, admin::discard_dead_letter),
    route(Post, "/api/v1/admin/webhooks/dlq/{event_id}/replay", Admin, admin::replay_dead_letter),
];

/// Answers a request of the private listener.
#[must_use]
pub fn answer(api: &Api, request: &Request) -> Response {
    route::dispatch(&[ROUTES, calls::ROUTES, calls::invoices::ROUTES], &api.tokens, api, request)
}

/// A JSON object of the body; an empty body counts as an empty object.
pub(super) fn body_object(request: &Request) -> Result<serde_json::Map<String, serde_json::Value>, ApiError> {
    let invalid = |message: String| ApiError::new(400, "body_invalid", message);
    if request.body.is_empty() {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(&request.body) {
        Ok(serde_json::Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(invalid("the body is JSON, but not an object".to_owned())),
        Err(error) => Err(invalid(format!("the body is not JSON: {error}"))),
    }
}

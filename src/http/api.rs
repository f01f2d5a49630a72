//! What the handlers of the private listener need, and those for the application. Called by way of the table in `private`.

pub mod calls;
pub mod offers;
pub(super) mod users;
pub mod views;

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::request::Request;
use super::response::ErrorResponse;
use super::route::Tokens;
use super::throttle::Throttle;
use crate::base::clock::Clock;
use crate::notify::NotifyContext;
use crate::outward::calls::Calls;
use crate::store::Store;
use offers::Offers;

/// What the private listener needs.
pub struct ApiHandler {
    /// The database.
    pub store: Store,
    /// For entitlement.
    pub clock: Arc<dyn Clock>,
    /// Plans and periods.
    pub context: Arc<NotifyContext>,
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

/// A JSON object of the body; an empty body counts as an empty object.
pub(super) fn body_object(request: &Request) -> Result<serde_json::Map<String, serde_json::Value>, ErrorResponse> {
    let invalid = |message: String| ErrorResponse::new(400, "body_invalid", message);
    if request.body.is_empty() {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(&request.body) {
        Ok(serde_json::Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(invalid("the body is JSON, but not an object".to_owned())),
        Err(error) => Err(invalid(format!("the body is not JSON: {error}"))),
    }
}

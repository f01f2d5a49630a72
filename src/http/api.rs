//! What every handler of the private listener needs; ground for every call. Its children are the handlers for the
//! application. It must never know an operator's handlers: `admin` has those. Called through the table in `private`.

pub mod calls;
pub mod offers;
pub(super) mod parameters;
pub(super) mod users;
pub(crate) mod views;

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::dashboard_state::Dashboard;
use super::error_code::ErrorCode;
use super::request::Request;
use super::response::ErrorResponse;
use super::route::Tokens;
use super::throttle::Throttle;
use crate::base::clock::Clock;
use crate::notify::NotifyContext;
use crate::outward::calls::Calls;
use crate::store::Store;
use offers::Offers;

/// What the handlers of the private listener need.
pub struct ApiHandler {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The settings of projecting and notifying.
    pub context: Arc<NotifyContext>,
    /// Who may call.
    pub tokens: Tokens,
    /// Wakes the worker.
    pub bell: Sender<()>,
    /// Asks Stripe; `None` without an API key.
    pub calls: Option<Arc<Calls>>,
    /// What the configuration says of checkout, portal and keys.
    pub offers: Offers,
    /// Counts refused webhooks by code.
    pub refused: Arc<Throttle>,
    /// The settings of the dashboard, and what it keeps in memory.
    pub dashboard: Dashboard,
    /// When this process started, unix milliseconds.
    pub started_ms: i64,
}

/// The body as a JSON object; an empty body counts as an empty object.
pub(super) fn body_object(request: &Request) -> Result<serde_json::Map<String, serde_json::Value>, ErrorResponse> {
    let invalid = |message: String| ErrorResponse::new(ErrorCode::BodyInvalid, message);
    if request.body.is_empty() {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(&request.body) {
        Ok(serde_json::Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(invalid("the body is JSON, but not an object".to_owned())),
        Err(error) => Err(invalid(format!("the body is not JSON: {error}"))),
    }
}

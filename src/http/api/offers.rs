//! What the configuration says of offers and keys, for calls to Stripe and for browsers. Called by `api`.

use serde_json::{Value, json};

use super::Api;
use crate::config::{Checkout, Mode, Portal};
use crate::http::request::Request;
use crate::http::response::{ApiError, Response};
use crate::http::route::Segments;

/// What handlers need of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    /// Where a checkout leads.
    pub checkout: Checkout,
    /// Where the portal leads.
    pub portal: Portal,
    /// Handed to browsers.
    pub publishable_key: Option<String>,
    /// Of the API key.
    pub mode: Option<Mode>,
}

/// `GET /api/v1/config`: what a page that sells needs to know.
pub(in crate::http) fn config(api: &Api, _: &Request, _: &Segments) -> Result<Response, ApiError> {
    let plans = api.context.policy.plans.iter();
    let plans: Vec<Value> = plans.map(|plan| json!({"tier": plan.tier, "price_ids": plan.price_ids})).collect();
    let mode = api.offers.mode.map(|mode| if mode == Mode::Live { "live" } else { "test" });
    let view = json!({"publishable_key": api.offers.publishable_key, "mode": mode, "plans": plans});
    Ok(Response::json(200, &view))
}

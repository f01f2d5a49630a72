//! What the configuration says of offers and keys, for calls to Stripe and for browsers. Called by `api`.

use serde_json::{Value, json};

use super::ApiHandler;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::PathSegments;
use crate::stripe::settings::Mode;

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

/// Where a checkout leads unless the call says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkout {
    /// After payment.
    pub success_url: Option<String>,
    /// After the customer gave up.
    pub cancel_url: Option<String>,
    /// Stripe works the taxes out.
    pub automatic_tax: bool,
}

/// Where the customer portal leads unless the call says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Portal {
    /// Behind its back button.
    pub return_url: Option<String>,
}

/// `GET /api/v1/config`: what a page that sells needs to know.
pub(in crate::http) fn config(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    let plans = api.context.projection.policy.plans.iter();
    let plans: Vec<Value> = plans.map(|plan| json!({"tier": plan.tier, "price_ids": plan.price_ids})).collect();
    let mode = api.offers.mode.map(|mode| if mode == Mode::Live { "live" } else { "test" });
    let view = json!({"publishable_key": api.offers.publishable_key, "mode": mode, "plans": plans});
    Ok(Response::json(200, &view))
}

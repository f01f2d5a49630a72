//! What the configuration says about checkout, portal and keys, for calls to Stripe and for browsers. It must never show a secret
//! key. Filled by `app::config`, read by the calls; [`config`] is called through the table in `private`.

use serde_json::{Value, json};

use super::ApiHandler;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::PathSegments;
use crate::stripe::settings::Mode;

/// What handlers need from the configuration.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    /// Defaults of checkout sessions.
    pub checkout: Checkout,
    /// Defaults of portal sessions.
    pub portal: Portal,
    /// The key for browsers.
    pub publishable_key: Option<String>,
    /// The mode of the API key.
    pub mode: Option<Mode>,
}

/// Where a checkout session sends the customer, unless the call says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkout {
    /// After payment.
    pub success_url: Option<String>,
    /// After the customer canceled.
    pub cancel_url: Option<String>,
    /// Whether Stripe computes taxes.
    pub automatic_tax: bool,
}

/// Where the customer portal sends the customer, unless the call says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Portal {
    /// The target of its back button.
    pub return_url: Option<String>,
}

/// `GET /api/v1/config`: what a page with prices needs to know.
pub(in crate::http) fn config(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    let plans = api.context.projection.policy.plans.iter();
    let plans: Vec<Value> = plans.map(|plan| json!({"tier": plan.tier, "price_ids": plan.price_ids})).collect();
    let mode = api.offers.mode.map(|mode| if mode == Mode::Live { "live" } else { "test" });
    let view = json!({"publishable_key": api.offers.publishable_key, "mode": mode, "plans": plans});
    Ok(Response::json(200, &view))
}

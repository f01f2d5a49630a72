//! What the configuration says about checkout, portal and keys, for calls to Stripe and for browsers. It must never
//! show a secret key. Filled by `app::config`, read by the calls; [`config`] is called through the table in `private`.

use schemars::JsonSchema;
use serde::Serialize;

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

/// What a page with prices needs to know.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Offers")]
pub(in crate::http) struct OffersView<'a> {
    /// Stripe's key for browsers; null: none is configured.
    #[schemars(example = &"pk_test_TYooMQauvdEDq54NiTphI7jx")]
    publishable_key: Option<&'a str>,
    /// Mode of Stripe's API key: `test` or `live`; null: no key is configured.
    #[schemars(example = &"test")]
    mode: Option<&'static str>,
    /// The plans, from the lowest to the highest.
    plans: Vec<PlanView<'a>>,
}

/// A tier and the prices that buy it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Plan")]
struct PlanView<'a> {
    /// The application's name for it.
    #[schemars(example = &"pro")]
    tier: &'a str,
    /// Stripe's ids of its prices.
    #[schemars(example = ["price_1MowQULkdIwHu7ixraBm864M"])]
    price_ids: &'a [String],
}

/// `GET /api/v1/config`: what a page with prices needs to know.
pub(in crate::http) fn config(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    let plans = api.context.projection.policy.plans.iter();
    let view = OffersView {
        publishable_key: api.offers.publishable_key.as_deref(),
        mode: api.offers.mode.map(|mode| if mode == Mode::Live { "live" } else { "test" }),
        plans: plans.map(|plan| PlanView { tier: &plan.tier, price_ids: &plan.price_ids }).collect(),
    };
    Ok(Response::json(200, &view))
}

//! Portal sessions: the door to Stripe's pages for cards, invoices and the subscription. Called by `calls`.

use serde_json::json;

use super::subscription::running;
use super::{Answered, Asked, answers::told, user};
use crate::calls::Kind;
use crate::http::api::Api;
use crate::http::request::Request;
use crate::http::response::{ApiError, Response};
use crate::http::route::Segments;
use crate::store::customers;
use crate::store::users::User;
use crate::stripe::form::Form;

const FLOWS: [&str; 3] = ["payment_method_update", "subscription_cancel", "subscription_update"];

pub(super) fn create(api: &Api, request: &Request, segments: &Segments) -> Answered {
    let (asked, user) = (Asked::read(api, request, &["return_url", "flow"])?, user(api, segments)?);
    let return_url = asked.parameters.url("return_url")?.or_else(|| api.offers.portal.return_url.clone());
    let flow = asked.parameters.word("flow", &FLOWS)?;
    let outcome = asked.calls.decide((Some(&user.id), None), &asked.caller, |held| {
        let wanted = asked.post(Kind::PortalSessionCreate, &user, "/v1/billing_portal/sessions");
        Ok::<_, ApiError>(held.perform(&wanted, &form(api, &user, return_url.as_deref(), flow)?)?)
    })?;
    if let Ok((customer, _)) = whose(api, &user, flow) {
        asked.look_again(&customer, &outcome);
    }
    told(outcome, |done| Ok(Response::json(200, &json!({"portal_url": done.object["url"]}))))
}

fn form(api: &Api, user: &User, return_url: Option<&str>, flow: Option<&str>) -> Result<Form, ApiError> {
    let (customer, subscription) = whose(api, user, flow)?;
    let form = Form::new().put("customer", customer).put_opt("return_url", return_url);
    let Some(flow) = flow else { return Ok(form) };
    let data = Form::new().put("type", flow);
    let data = match subscription {
        Some(id) => data.map(flow, Form::new().put("subscription", id)),
        None => data,
    };
    Ok(form.map("flow_data", data))
}

/// The customer that the portal shows, for a user may have several; and the subscription that a flow is about.
fn whose(api: &Api, user: &User, flow: Option<&str>) -> Result<(String, Option<String>), ApiError> {
    if !flow.is_some_and(|flow| flow.starts_with("subscription_")) {
        return Ok((customer_of(api, user)?, None));
    }
    let subscription = running(api, &user.id)?.subscription;
    Ok((subscription.stripe_customer_id, Some(subscription.stripe_subscription_id)))
}

/// The portal of a customer who was just made would be empty.
fn customer_of(api: &Api, user: &User) -> Result<String, ApiError> {
    let message = "this user has no Stripe customer yet; a checkout session makes one";
    api.store
        .read(|reader| customers::find_main_usable(reader, &user.id))?
        .ok_or_else(|| ApiError::new(404, "customer_not_found", message))
}

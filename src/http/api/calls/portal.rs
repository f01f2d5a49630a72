//! Portal sessions, which lead to Stripe's pages for cards, invoices and the subscription. It must never open the
//! portal of a customer that belongs to another user. Called by `calls`.

use super::subscription::running;
use super::{CallRequest, CallResult, IN_DOUBT, answers::respond, user};
use crate::base::ownership::{self, PortalOf};
use crate::http::api::ApiHandler;
use crate::http::api::views::calls as views;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::Post;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::RouteAccess::Api;
use crate::http::route::body::{body, words};
use crate::http::route::description::AsksStripe;
use crate::http::route::parameters::MAX_BODY_TEXT_CHARS;
use crate::http::route::{PathSegments, Route, route};
use crate::objects::customer;
use crate::objects::subscription::FoundSubscription;
use crate::objects::user::User;
use crate::stripe::form::FormBody;
use crate::stripe::operation::OperationKind;

const FLOWS: [&str; 3] = ["payment_method_update", "subscription_cancel", "subscription_update"];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[route(Post, "/api/v1/users/{user_id}/portal-session", Api, create)
    .named("createPortalSession", "Open Stripe's pages for cards, invoices and the subscription")
    .body::<PortalBody>()
    .answers::<views::PortalSessionView>(200, "The session, to whose page the customer is to be sent.")
    .answers::<views::InDoubtView>(202, IN_DOUBT)
    .errors(&[
        ErrorCode::UserNotFound,
        ErrorCode::SubscriptionNotFound,
        ErrorCode::LinkedByReference,
        ErrorCode::CustomerShared,
        ErrorCode::CustomerNotFound,
    ])
    .asks_stripe(AsksStripe::Acts)];

body! {
    /// Which of Stripe's pages, and where its back button leads.
    #[schemars(rename = "CreatePortalSession")]
    struct PortalBody {
        /// Where the back button leads: https, or http on this machine; left out: `portal.return_url`.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), example = &"https://app.example.com/account")]
        return_url: Option<String>,
        /// The one thing that is to be done: `payment_method_update`, `subscription_cancel` or `subscription_update`;
        /// left out: anything.
        #[schemars(extend("enum" = words(&FLOWS)), example = &"payment_method_update")]
        flow: Option<String>,
    }
}

fn create(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<PortalBody>(api, request)?, user(api, segments)?);
    let return_url = call.parameters.url("return_url")?.or_else(|| api.offers.portal.return_url.clone());
    let flow = call.parameters.one_of("flow", &FLOWS)?;
    let outcome = call.calls.decide((Some(&user.id), None), &call.caller, |request| {
        let wanted = call.operation(OperationKind::PortalSessionCreate, &user);
        Ok::<_, ErrorResponse>(request.perform(&wanted, &form(api, &user, return_url.as_deref(), flow)?)?)
    })?;
    if let Ok((customer, _)) = choose(api, &user, flow) {
        call.check_customer(&customer, &outcome);
    }
    respond(outcome, |done| Ok(Response::json(200, &views::portal_session(&done.object))))
}

fn form(
    api: &ApiHandler,
    user: &User,
    return_url: Option<&str>,
    flow: Option<&str>,
) -> Result<FormBody, ErrorResponse> {
    let (customer, subscription) = choose(api, user, flow)?;
    let form = FormBody::new().put("customer", customer).put_opt("return_url", return_url);
    let Some(flow) = flow else { return Ok(form) };
    let data = FormBody::new().put("type", flow);
    let data = match subscription {
        Some(id) => data.map(flow, FormBody::new().put("subscription", id)),
        None => data,
    };
    Ok(form.map("flow_data", data))
}

/// The customer whose portal is opened, since a user may have several, and the subscription that a flow is about.
fn choose(api: &ApiHandler, user: &User, flow: Option<&str>) -> Result<(String, Option<String>), ErrorResponse> {
    let is_about_subscription = flow.is_some_and(|flow| flow.starts_with("subscription_"));
    let acted_on = match running(api, &user.id) {
        Ok(found) => Some(found),
        Err(error) if is_about_subscription || !has_no_subscription(&error) => return Err(error),
        Err(_) => None,
    };
    let customer = customer_of(api, user, acted_on.as_ref())?;
    let subscription = acted_on.filter(|_| is_about_subscription);
    Ok((customer, subscription.map(|target| target.subscription.stripe_subscription_id)))
}

/// Whether the error only says that there is no subscription that calls may act on, in which case the portal of the
/// main customer can still be opened.
fn has_no_subscription(error: &ErrorResponse) -> bool {
    matches!(error.code, ErrorCode::SubscriptionNotFound | ErrorCode::LinkedByReference)
}

/// The customer whose portal is opened, with all its cards, invoices and subscriptions.
fn customer_of(api: &ApiHandler, user: &User, acted_on: Option<&FoundSubscription>) -> Result<String, ErrorResponse> {
    let main = api.store.read(|reader| customer::find_main_usable(reader, &user.id))?;
    let subscribed =
        acted_on.map(|target| (target.subscription.stripe_customer_id.as_str(), target.customers_user.as_deref()));
    match ownership::portal(&user.id, subscribed, main.as_deref()) {
        PortalOf::Customer(customer_id) => Ok(customer_id.to_owned()),
        PortalOf::Shared(customer_id) => {
            let message = format!(
                "the subscription of user {:?} is paid by the customer {customer_id}, which does not belong to this user: its \
                 portal would show the cards and invoices of somebody else. PUT /api/v1/users/{{user_id}}/customer sets \
                 whose customer it is",
                user.id
            );
            Err(ErrorResponse::new(ErrorCode::CustomerShared, message).with("stripe_customer_id", customer_id))
        }
        // The portal of a customer that was just created would be empty.
        PortalOf::Nobodys => {
            let message = "this user has no Stripe customer yet; a checkout session creates one";
            Err(ErrorResponse::new(ErrorCode::CustomerNotFound, message))
        }
    }
}

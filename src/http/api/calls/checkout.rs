//! Checkout sessions: what is bought, by whom, and where the customer is sent afterwards. Every object that Stripe
//! creates from a session names its user, so that each webhook finds it. A user must never have two sessions that can
//! be paid. Called by `calls`.

mod open;
mod second;

use super::{CallRequest, CallResult, CustomerOrAnswer, IN_DOUBT, answers::respond, check_price, user, user_key};
use crate::http::api::ApiHandler;
use crate::http::api::parameters::missing;
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
use crate::objects::user::User;
use crate::outward::calls::{CallsError, DoneOperation, KEY_METADATA};
use crate::store::stripe_operations::Operation;
use crate::stripe::form::FormBody;
use crate::stripe::operation::OperationKind;

pub(super) const ROUTES: &[Route<ApiHandler>] = &[route(Post, "/api/v1/users/{user_id}/checkout-session", Api, create)
    .named("createCheckoutSession", "Sell a price on Stripe's page")
    .details(
        "An open session that asks for the same is returned again, another one is expired first: a user never has two \
         that can be paid. A customer is created if there is none.",
    )
    .body::<CheckoutBody>()
    .answers::<views::CheckoutSessionView>(200, "The session, to whose page the customer is to be sent.")
    .answers::<views::InDoubtView>(202, IN_DOUBT)
    .errors(&[
        ErrorCode::UserNotFound,
        ErrorCode::UnknownPrice,
        ErrorCode::AlreadySubscribed,
        ErrorCode::TrialUsed,
        ErrorCode::CheckoutCompleted,
    ])
    .asks_stripe(AsksStripe::Acts)];

body! {
    /// What is sold, and where the customer is sent afterwards.
    #[schemars(rename = "CreateCheckoutSession")]
    struct CheckoutBody {
        /// Stripe's id of the price; it must be in a plan.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"price_1MowQULkdIwHu7ixraBm864M")]
        price_id: String,
        /// `subscription`, which is the default, or `payment` for a one-time price.
        #[schemars(extend("enum" = words(&MODES)), example = &"subscription")]
        mode: Option<String>,
        /// How often the price is paid, 1 if it is left out; 0 for a metered price.
        #[schemars(range(min = 0, max = MAX_QUANTITY), example = 1)]
        quantity: Option<i64>,
        /// Stripe's id of a coupon; not together with `promotion_code`.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"Z4OV52SU")]
        coupon: Option<String>,
        /// Stripe's id of a promotion code; not together with `coupon`.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"promo_1MiM6KLkdIwHu7ixrIaX4wgn")]
        promotion_code: Option<String>,
        /// Days of trial, for a subscription.
        #[schemars(range(min = 1, max = MAX_TRIAL_DAYS), example = 14)]
        trial_days: Option<i64>,
        /// Where the customer is sent after payment: https, or http on this machine; left out: `checkout.success_url`.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), example = &"https://app.example.com/paid")]
        success_url: Option<String>,
        /// Where the customer is sent who gives up; left out: `checkout.cancel_url`.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), example = &"https://app.example.com/prices")]
        cancel_url: Option<String>,
        /// Whether the user may have a second subscription beside a running one.
        #[schemars(example = false)]
        allow_second: Option<bool>,
        /// Whether the user may have a second trial.
        #[schemars(example = false)]
        allow_repeat_trial: Option<bool>,
    }
}

/// What a session may be for.
const MODES: [&str; 2] = ["subscription", "payment"];
/// The longest `client_reference_id` (Stripe's limit). The metadata names the user as well.
const MAX_REFERENCE_CHARS: usize = 200;
/// Stripe's limits.
const MAX_QUANTITY: i64 = 999_999;
const MAX_TRIAL_DAYS: i64 = 730;

/// The checkout session that a request asks for.
struct CheckoutOrder<'a> {
    price_id: &'a str,
    is_subscription: bool,
    quantity: i64,
    /// The name of its parameter, and its id.
    discount: Option<(&'static str, &'a str)>,
    trial_days: Option<i64>,
    success_url: String,
    cancel_url: Option<String>,
    allow_second: bool,
    allow_repeat_trial: bool,
}

fn create(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<CheckoutBody>(api, request)?, user(api, segments)?);
    if let Some(outcome) = call.calls.repeated(&call.caller)? {
        return respond(outcome, view);
    }
    let order = order(&call)?;
    let customer = match call.customer_of(&user)? {
        CustomerOrAnswer::Customer(customer) => customer,
        CustomerOrAnswer::Answer(answer) => return Ok(answer),
    };
    let outcome = call.calls.decide((Some(&user.id), None), &call.caller, |request| {
        // An operation in doubt may have created a session, or not have expired one.
        if let Some(doubt) = request
            .settle_open(&user.id, &[OperationKind::CheckoutSessionCreate, OperationKind::CheckoutSessionExpire])?
        {
            return Ok(doubt);
        }
        if let Err(refusal) = second::refuse(&call, &user, &order) {
            // A user who got a subscription elsewhere must not buy a second one in a session that is still open.
            if refusal.code == ErrorCode::AlreadySubscribed {
                open::close_subscriptions(&call, request, &user);
            }
            return Err(refusal);
        }
        let form_under = |key: &str| form(api, &order, (&user, &customer), key);
        let is_same = |made_by: &Operation| {
            let again = form_under(&made_by.idempotency_key).encode().map_err(CallsError::from)?;
            Ok(again == made_by.form)
        };
        if let Some(answered) = open::make_way(&call, request, &user, &order, is_same)? {
            return Ok(answered);
        }
        let wanted = call.operation(OperationKind::CheckoutSessionCreate, &user);
        Ok::<_, ErrorResponse>(request.perform(&wanted, &form_under(request.key()))?)
    })?;
    call.check_customer(&customer, &outcome);
    respond(outcome, view)
}

fn view(done: &DoneOperation) -> CallResult {
    Ok(Response::json(200, &views::checkout_session(&done.object)))
}

fn order<'a>(call: &'a CallRequest) -> Result<CheckoutOrder<'a>, ErrorResponse> {
    let (given, checkout) = (&call.parameters, &call.api.offers.checkout);
    let price_id = given.required_text("price_id")?;
    let is_subscription = given.one_of("mode", &MODES)? != Some("payment");
    let discount = match (given.text("coupon")?, given.text("promotion_code")?) {
        (Some(_), Some(_)) => {
            let message = "coupon and promotion_code exclude each other: Stripe accepts one discount";
            return Err(ErrorResponse::parameter("promotion_code", message));
        }
        (Some(coupon), None) => Some(("coupon", coupon)),
        (None, Some(code)) => Some(("promotion_code", code)),
        (None, None) => None,
    };
    let trial_days = given.integer("trial_days", (1, MAX_TRIAL_DAYS))?;
    if trial_days.is_some() && !is_subscription {
        return Err(ErrorResponse::parameter("trial_days", "trial_days is for subscriptions, not for mode payment"));
    }
    let success_url = given.url("success_url")?.or_else(|| checkout.success_url.clone()).ok_or_else(|| {
        let message = "success_url is missing: send it, or set checkout.success_url in the configuration";
        ErrorResponse { message: message.to_owned(), ..missing("success_url") }
    })?;
    let order = CheckoutOrder {
        price_id,
        is_subscription,
        quantity: given.integer("quantity", (0, MAX_QUANTITY))?.unwrap_or(1),
        discount,
        trial_days,
        success_url,
        cancel_url: given.url("cancel_url")?.or_else(|| checkout.cancel_url.clone()),
        allow_second: given.flag("allow_second")?,
        allow_repeat_trial: given.flag("allow_repeat_trial")?,
    };
    check_price(call.api, price_id)?;
    Ok(order)
}

fn form(api: &ApiHandler, order: &CheckoutOrder, (user, customer): (&User, &str), key: &str) -> FormBody {
    let line = FormBody::new().put("price", order.price_id);
    // A metered price has no quantity.
    let line = if order.quantity > 0 { line.put("quantity", order.quantity) } else { line };
    let reference = Some(user.id.as_str()).filter(|id| id.chars().count() <= MAX_REFERENCE_CHARS);
    let form = FormBody::new()
        .put("mode", if order.is_subscription { "subscription" } else { "payment" })
        .put("customer", customer)
        .list("line_items", [line])
        .put("success_url", order.success_url.as_str())
        .put_opt("cancel_url", order.cancel_url.as_deref())
        .put_opt("client_reference_id", reference);
    // Stripe refuses both together.
    let form = match order.discount {
        Some((kind, id)) => form.list("discounts", [FormBody::new().put(kind, id)]),
        None => form.put("allow_promotion_codes", true),
    };
    let form = if api.offers.checkout.automatic_tax {
        // The customer may have no address yet; the one entered at checkout is kept.
        form.map("automatic_tax", FormBody::new().put("enabled", true))
            .map("customer_update", FormBody::new().put("address", "auto"))
    } else {
        form
    };
    let named = || FormBody::new().put(user_key(api), user.id.as_str());
    let form = form.map("metadata", named().put(KEY_METADATA, key));
    if order.is_subscription {
        let data = FormBody::new().put_opt("trial_period_days", order.trial_days);
        form.map("subscription_data", data.map("metadata", named()))
    } else {
        form.map("payment_intent_data", FormBody::new().map("metadata", named()))
    }
}

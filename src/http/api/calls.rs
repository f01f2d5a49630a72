//! Calls to Stripe for the application (contract §4): what a request must contain, and how the outcome is answered. A
//! call may take as long as Stripe does, so it is answered on a thread of `stripe_threads`. It must never hold a rule
//! about repeating calls: `outward::calls` does. Called through the tables in `private`.

mod answers;
mod checkout;
pub(in crate::http) mod invoices;
pub(in crate::http) mod link;
mod payment_intents;
mod portal;
mod preview;
mod resume;
mod schedule;
mod subscription;

use serde_json::Value;

use super::parameters::Parameters;
use super::views::calls as views;
use super::{ApiHandler, users};
use crate::base::ids;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::Post;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::RouteAccess::Api;
use crate::http::route::body::{RequestBody, body};
use crate::http::route::description::AsksStripe;
use crate::http::route::{self, PathSegments, Route, route};
use crate::objects::reading::RequestSent;
use crate::objects::user::User;
use crate::outward::calls::{CallCaller, Calls, CallsError, OperationOutcome, OperationRequest, UserCustomer};
use crate::stripe::call::{Priority, segment};
use crate::stripe::form::FormBody;
use crate::stripe::operation::{OperationKind, OperationParameters};
use answers::respond;

pub(in crate::http) const ROUTES: &[&[Route<ApiHandler>]] = &[
    CUSTOMERS,
    link::PUT,
    checkout::ROUTES,
    portal::ROUTES,
    subscription::ROUTES,
    preview::ROUTES,
    resume::ROUTES,
    payment_intents::ROUTES,
];

const CUSTOMERS: &[Route<ApiHandler>] = &[route(Post, "/api/v1/users/{user_id}/customer", Api, customer)
    .named("ensureCustomer", "Find or create the user's customer at Stripe; two requests at once make one")
    .body::<NothingBody>()
    .answers::<views::CustomerView>(200, "The customer.")
    .answers::<views::InDoubtView>(202, IN_DOUBT)
    .errors(&[ErrorCode::UserNotFound])
    .asks_stripe(AsksStripe::Acts)];

body! {
    /// A call without parameters.
    #[schemars(rename = "NoParameters")]
    struct NothingBody {}
}

/// When a call answers 202.
const IN_DOUBT: &str = "Stripe was asked, and the outcome is not known: ask again under the key `retry_with`.";
/// What a call on a subscription may refuse.
const ON_SUBSCRIPTION: &[ErrorCode] = &[
    ErrorCode::UserNotFound,
    ErrorCode::SubscriptionNotFound,
    ErrorCode::LinkedByReference,
    ErrorCode::ScheduleAttached,
];

/// Whether the answer to a request may have to wait for Stripe.
#[must_use]
pub(crate) fn waits_for_stripe(request: &Request) -> bool {
    ROUTES.iter().any(|routes| route::covers(routes, request)) || invoices::waits_for_stripe(request)
}

type CallResult = Result<Response, ErrorResponse>;

/// The metadata key under which created objects name their user; projections read it.
fn user_key(api: &ApiHandler) -> &str {
    api.context.projection.link.own_key()
}

/// The longest `Idempotency-Key` (Stripe's limit).
const MAX_KEY_CHARS: usize = 255;

/// What asks Stripe, if an API key is configured.
fn calls(api: &ApiHandler) -> Result<&Calls, ErrorResponse> {
    let missing = "stripe.api_key is not configured, so tilld cannot call Stripe: set STRIPE_API_KEY";
    api.calls.as_deref().ok_or_else(|| ErrorResponse::new(ErrorCode::StripeNotConfigured, missing))
}

/// The path of a subscription at Stripe.
fn subscription_path(subscription_id: &str) -> String {
    format!("/v1/subscriptions/{}", segment(subscription_id))
}

/// The user that the path names.
fn user(api: &ApiHandler, segments: &PathSegments) -> Result<User, ErrorResponse> {
    users::find(api, users::user_id(segments))
}

/// The customer of a user, or the answer that says why there is none.
enum CustomerOrAnswer {
    Customer(String),
    Answer(Response),
}

/// A request for a call, checked as far as all calls have in common.
struct CallRequest<'a> {
    api: &'a ApiHandler,
    calls: &'a Calls,
    parameters: Parameters,
    caller: CallCaller,
}

impl<'a> CallRequest<'a> {
    /// Reads a request with a body of this type.
    fn read<T: RequestBody>(api: &'a ApiHandler, request: &Request) -> Result<Self, ErrorResponse> {
        let parameters = Parameters::read::<T>(request)?;
        let caller = caller(request, &parameters)?;
        let calls = calls(api)?;
        Ok(Self { api, calls, parameters, caller })
    }

    /// Requires an `Idempotency-Key`: where money moves, a request that is sent twice by mistake must be recognized.
    fn with_key(self) -> Result<Self, ErrorResponse> {
        if self.caller.key.is_some() {
            return Ok(self);
        }
        let message =
            "send an Idempotency-Key header: a new key for each payment, the same key when you repeat the request";
        Err(ErrorResponse::new(ErrorCode::IdempotencyKeyMissing, message))
    }

    /// An operation for a user.
    fn operation(&self, kind: OperationKind, user: &User) -> OperationRequest {
        OperationRequest {
            kind,
            parameters: OperationParameters::default(),
            user_id: Some(user.id.clone()),
            subject: None,
            caller: self.caller.clone(),
        }
    }

    /// The customer of a user, created if there is none, or the answer that says why there is none.
    fn customer_of(&self, user: &User) -> Result<CustomerOrAnswer, ErrorResponse> {
        let outcome = match self.calls.customer_of(user)? {
            UserCustomer::Known(id) => return Ok(CustomerOrAnswer::Customer(id)),
            UserCustomer::NotCreated(OperationOutcome::InDoubt { .. }) => {
                OperationOutcome::InDoubt { key: self.own_key()? }
            }
            UserCustomer::NotCreated(other) => other,
        };
        respond(outcome, |_| Ok(Response::text(200, ""))).map(CustomerOrAnswer::Answer)
    }

    /// After Stripe answered that it does not know a customer, reads that customer again: the webhook of its deletion
    /// may be late or lost. The next request for its user then creates another one.
    fn check_customer(&self, customer: &str, outcome: &OperationOutcome) {
        let OperationOutcome::Refused(refusal) = outcome else { return };
        if refusal.code.as_deref() != Some("resource_missing") || refusal.param.as_deref() != Some("customer") {
            return;
        }
        let path = format!("/v1/customers/{}", segment(customer));
        match self.read_again(&path).and_then(|found| self.note_missing(customer, found.is_none())) {
            Ok(Some(true)) => log::warn!(
                customer;
                "Stripe does not know a customer any more, not even as deleted, as after \"delete all test data\": it is \
                 recorded as deleted, and the next checkout creates a new one"
            ),
            Ok(Some(false)) => log::warn!(
                customer;
                "Stripe does not know a customer, but it is not certain that the key belongs to the account and mode of this \
                 database, so the customer is kept: permit the key to read the account"
            ),
            Ok(None) => log::info!(customer; "Stripe did not accept a customer; it was read again"),
            Err(error) => {
                log::warn!(customer; "Stripe does not know a customer, and it could not be read: {}", error.message);
            }
        }
    }

    /// Records a customer that is missing at Stripe as deleted. Returns whether that was allowed; `None`: it is not
    /// missing.
    fn note_missing(&self, customer: &str, is_missing: bool) -> Result<Option<bool>, ErrorResponse> {
        if !is_missing {
            return Ok(None);
        }
        let now_ms = self.api.clock.now_ms();
        let sent = self.api.store.read(|reader| RequestSent::now(reader, now_ms))?;
        Ok(Some(self.calls.mark_customer_deleted(customer, sent)?))
    }

    /// Reads an object from Stripe into the tables; `None` if Stripe does not know it.
    fn read_again(&self, path: &str) -> Result<Option<Value>, ErrorResponse> {
        match self.calls.get(path, FormBody::new(), Priority::Interactive) {
            Ok((answer, sent)) => {
                self.calls.absorb(&[&answer.text], &answer, sent)?;
                let read = serde_json::from_str(&answer.text);
                read.map(Some).map_err(|error| CallsError::Answer(error.to_string()).into())
            }
            Err(CallsError::Stripe(error)) if error.api().is_some_and(|api| api.status == 404 && api.is_stripes()) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The key with which the caller should repeat this request, which is not that of creating its customer.
    fn own_key(&self) -> Result<String, ErrorResponse> {
        match &self.caller.key {
            Some(key) => Ok(key.clone()),
            None => ids::random_token("tilld_").map_err(|error| ErrorResponse::internal(&error)),
        }
    }
}

/// The caller: its `Idempotency-Key`, and the text that is equal for equal requests.
fn caller(request: &Request, parameters: &Parameters) -> Result<CallCaller, ErrorResponse> {
    let key = request.unique_header("Idempotency-Key")?.map(str::trim);
    if let Some(key) = key
        && !((1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let message = format!("Idempotency-Key must be 1 to {MAX_KEY_CHARS} visible ASCII characters");
        return Err(ErrorResponse::new(ErrorCode::IdempotencyKeyInvalid, message));
    }
    // The fields of an object are ordered by name, so the text is the same for the same request.
    let text = format!("{} {} {}", request.method.as_str(), request.path, parameters.text_of_all());
    Ok(CallCaller::new(key.map(str::to_owned), &text))
}

/// `POST /api/v1/users/{user_id}/customer`: finds or creates the Stripe customer.
fn customer(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<NothingBody>(api, request)?, user(api, segments)?);
    Ok(match call.customer_of(&user)? {
        CustomerOrAnswer::Customer(id) => {
            Response::json(200, &views::CustomerView { user_id: user.id, stripe_customer_id: id })
        }
        CustomerOrAnswer::Answer(answer) => answer,
    })
}

/// Refuses a price that belongs to no plan: it would be paid for and give nothing.
fn check_price(api: &ApiHandler, price_id: &str) -> Result<(), ErrorResponse> {
    let plans = &api.context.projection.policy.plans;
    if plans.is_empty() || plans.iter().any(|plan| plan.price_ids.iter().any(|known| known == price_id)) {
        return Ok(());
    }
    let message = format!("{price_id:?} is not a price of any plan; add it to the price_ids of a [[plan]]");
    Err(ErrorResponse::new(ErrorCode::UnknownPrice, message).at("price_id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Method::{self, Delete, Get};

    #[test]
    fn only_what_asks_stripe_waits_for_it() {
        let waits = |method: Method, url: &str| waits_for_stripe(&Request::new(method, url));
        assert!(waits(Post, "/api/v1/users/u%201/checkout-session"));
        assert!(waits(Post, "/api/v1/payment-intents/pi_1/refund"));
        assert!(waits(Get, "/api/v1/users/u1/invoices?limit=3&refresh=true"));
        assert!(!waits(Get, "/api/v1/users/u1/invoices"));
        assert!(!waits(Get, "/api/v1/users/u1/invoices?refresh=false"));
        assert!(!waits(Get, "/api/v1/users/u1/payment-intents?refresh=true"));
        assert!(!waits(Get, "/api/v1/config"));
        assert!(!waits(Delete, "/api/v1/users/u1/customer"));
    }
}

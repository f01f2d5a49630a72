//! Calls to Stripe for the application (contract §4): what a request must say, and how the outcome is told. They may take
//! as long as Stripe does, so they are answered on threads of their own. It must never hold a rule of repeating: `calls`
//! does. Called by `private`.

mod answers;
mod checkout;
pub(in crate::http) mod invoices;
pub(in crate::http) mod link;
mod parameters;
mod payment_intents;
mod portal;
mod preview;
mod resume;
mod schedule;
mod subscription;

use serde_json::{Value, json};

use super::{ApiHandler, users};
use crate::base::ids;
use crate::http::request::Method::{Post, Put};
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::RouteAccess::Api as Token;
use crate::http::route::{self, PathSegments, Route, route};
use crate::objects::read::RequestSent;
use crate::objects::user::User;
use crate::outward::calls::{CallCaller, Calls, CallsError, OperationOutcome, OperationRequest, UserCustomer};
use crate::stripe::call::{Priority, segment};
use crate::stripe::form::FormBody;
use crate::stripe::operation::{OperationKind, OperationParameters};
use answers::respond;
use parameters::Parameters;

pub(in crate::http) const ROUTES: &[Route<ApiHandler>] = &[
    route(Post, "/api/v1/users/{user_id}/customer", Token, customer),
    route(Put, "/api/v1/users/{user_id}/customer", Token, link::put),
    route(Post, "/api/v1/users/{user_id}/checkout-session", Token, checkout::create),
    route(Post, "/api/v1/users/{user_id}/portal-session", Token, portal::create),
    route(Post, "/api/v1/users/{user_id}/subscription/change-plan", Token, subscription::change_plan),
    route(Post, "/api/v1/users/{user_id}/subscription/change-plan/preview", Token, preview::preview),
    route(Post, "/api/v1/users/{user_id}/subscription/preview", Token, preview::preview),
    route(Post, "/api/v1/users/{user_id}/subscription/cancel", Token, subscription::cancel),
    route(Post, "/api/v1/users/{user_id}/subscription/reactivate", Token, subscription::reactivate),
    route(Post, "/api/v1/users/{user_id}/subscription/resume", Token, resume::resume),
    route(Post, "/api/v1/users/{user_id}/payment-intents", Token, payment_intents::create),
    route(Post, "/api/v1/payment-intents/{id}/confirm", Token, payment_intents::confirm),
    route(Post, "/api/v1/payment-intents/{id}/cancel", Token, payment_intents::cancel),
    route(Post, "/api/v1/payment-intents/{id}/refund", Token, payment_intents::refund),
];

/// Whether a request is one that may wait for Stripe.
#[must_use]
pub(crate) fn waits_for_stripe(request: &Request) -> bool {
    route::covers(ROUTES, request) || invoices::waits_for_stripe(request)
}

type CallResult = Result<Response, ErrorResponse>;

/// The key under which the metadata of what is made name its user; projections read it.
fn user_key(api: &ApiHandler) -> &str {
    api.context.projection.link.own_key()
}

/// Longest `Idempotency-Key` (Stripe's limit).
const MAX_KEY_CHARS: usize = 255;

/// The way to Stripe, if there is one.
fn calls(api: &ApiHandler) -> Result<&Calls, ErrorResponse> {
    let missing = "no stripe.api_key is configured, so nothing can be asked of Stripe: set STRIPE_API_KEY";
    api.calls.as_deref().ok_or_else(|| ErrorResponse::new(503, "stripe_not_configured", missing))
}

/// Where a subscription is at Stripe.
fn subscription_path(subscription_id: &str) -> String {
    format!("/v1/subscriptions/{}", segment(subscription_id))
}

/// The user that a request is about.
fn user(api: &ApiHandler, segments: &PathSegments) -> Result<User, ErrorResponse> {
    users::find(api, users::user_id(segments))
}

/// A user's customer, or the answer that says why there is none.
enum CustomerOrAnswer {
    Customer(String),
    Answer(Response),
}

/// What a handler starts from.
struct CallRequest<'a> {
    api: &'a ApiHandler,
    calls: &'a Calls,
    parameters: Parameters,
    caller: CallCaller,
}

impl<'a> CallRequest<'a> {
    /// Reads a request that may have the parameters `known`.
    fn read(api: &'a ApiHandler, request: &Request, known: &[&str]) -> Result<Self, ErrorResponse> {
        let calls = calls(api)?;
        let parameters = Parameters::read(request, known)?;
        let caller = caller(request, &parameters)?;
        Ok(Self { api, calls, parameters, caller })
    }

    /// Money moves: a request that is sent twice by mistake must be known as one.
    fn with_key(self) -> Result<Self, ErrorResponse> {
        if self.caller.key.is_some() {
            return Ok(self);
        }
        let message = "send a header Idempotency-Key, new for each payment and the same when you repeat the request";
        Err(ErrorResponse::new(400, "idempotency_key_missing", message))
    }

    /// What is wanted for a user.
    fn wanted(&self, kind: OperationKind, user: &User) -> OperationRequest {
        OperationRequest {
            kind,
            parameters: OperationParameters::default(),
            user_id: Some(user.id.clone()),
            subject: None,
            caller: self.caller.clone(),
        }
    }

    /// The user's customer, made if there is none, or the answer that says why there is none.
    fn customer_of(&self, user: &User) -> Result<CustomerOrAnswer, ErrorResponse> {
        let outcome = match self.calls.customer_of(user)? {
            UserCustomer::Known(id) => return Ok(CustomerOrAnswer::Customer(id)),
            UserCustomer::Unmade(OperationOutcome::InDoubt { .. }) => {
                OperationOutcome::InDoubt { key: self.own_key()? }
            }
            UserCustomer::Unmade(other) => other,
        };
        respond(outcome, |_| Ok(Response::json(200, &json!({})))).map(CustomerOrAnswer::Answer)
    }

    /// Looks at a customer that Stripe does not know: the webhook of its deletion may be late or lost. The next request
    /// for its user then makes another one.
    fn look_again(&self, customer: &str, outcome: &OperationOutcome) {
        let OperationOutcome::Refused(refusal) = outcome else { return };
        if refusal.code.as_deref() != Some("resource_missing") || refusal.param.as_deref() != Some("customer") {
            return;
        }
        let path = format!("/v1/customers/{}", segment(customer));
        match self.read_anew(&path).and_then(|found| self.gone(customer, found.is_none())) {
            Ok(Some(true)) => log::warn!(
                "Stripe does not know a customer any more, nor that it was deleted, as after \"delete all test data\": it is \
                 noted as deleted, and the next checkout makes a new one customer={customer}"
            ),
            Ok(Some(false)) => log::warn!(
                "Stripe does not know a customer, but it is not certain that the key is of the account and mode of this \
                 database, so it is kept: give the key leave to read the account customer={customer}"
            ),
            Ok(None) => log::info!("Stripe does not know a customer any more; it was read anew customer={customer}"),
            Err(error) => {
                log::warn!(
                    "Stripe does not know a customer, and cannot show it customer={customer}: {}",
                    error.message
                );
            }
        }
    }

    /// Notes a customer that is gone without a trace; whether that could be done. `None`: it is not gone.
    fn gone(&self, customer: &str, is_gone: bool) -> Result<Option<bool>, ErrorResponse> {
        if !is_gone {
            return Ok(None);
        }
        let now_ms = self.api.clock.now_ms();
        let sent = self.api.store.read(|reader| RequestSent::now(reader, now_ms))?;
        Ok(Some(self.calls.mark_customer_deleted(customer, sent)?))
    }

    /// Reads an object as it is now into the tables; `None` where Stripe does not know it.
    fn read_anew(&self, path: &str) -> Result<Option<Value>, ErrorResponse> {
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

    /// What the caller repeats this request with; the key of its customer's making is none of its business.
    fn own_key(&self) -> Result<String, ErrorResponse> {
        match &self.caller.key {
            Some(key) => Ok(key.clone()),
            None => ids::random_token("tilld_").map_err(|error| ErrorResponse::internal(&error)),
        }
    }
}

/// Who asks: the `Idempotency-Key`, and everything that makes two requests the same.
fn caller(request: &Request, parameters: &Parameters) -> Result<CallCaller, ErrorResponse> {
    let key = request.unique_header("Idempotency-Key")?.map(str::trim);
    if let Some(key) = key
        && !((1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let message = format!("Idempotency-Key takes 1 to {MAX_KEY_CHARS} visible ASCII characters");
        return Err(ErrorResponse::new(400, "idempotency_key_invalid", message));
    }
    // Fields of an object are kept in order of their names, so the text is the same for the same request.
    let said = format!("{} {} {}", request.method.as_str(), request.path, parameters.text_of_all());
    Ok(CallCaller::new(key.map(str::to_owned), &said))
}

/// Get or create the Stripe customer.
fn customer(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (asked, user) = (CallRequest::read(api, request, &[])?, user(api, segments)?);
    Ok(match asked.customer_of(&user)? {
        CustomerOrAnswer::Customer(id) => Response::json(200, &json!({"user_id": user.id, "stripe_customer_id": id})),
        CustomerOrAnswer::Answer(answer) => answer,
    })
}

/// Refuses a price that buys no tier: it would be paid for and entitle to nothing.
fn check_price(api: &ApiHandler, price_id: &str) -> Result<(), ErrorResponse> {
    let plans = &api.context.projection.policy.plans;
    if plans.is_empty() || plans.iter().any(|plan| plan.price_ids.iter().any(|known| known == price_id)) {
        return Ok(());
    }
    let message = format!("{price_id:?} is the price of no plan; add it to the price_ids of a [[plan]]");
    Err(ErrorResponse::new(400, "unknown_price", message).at("price_id"))
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

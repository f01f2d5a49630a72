//! The statement which user a customer or a subscription belongs to: `PUT` makes it of a customer, `DELETE` withdraws it, and
//! the dashboard does both. With an API key the object is read from Stripe first, so that a mistyped id is refused and one from before
//! tilld gets into the tables. It must never link a customer that was deleted. Called through the tables in `private`
//! and by the dashboard.

use super::CallResult;
use crate::http::api::parameters::Parameters;
use crate::http::api::views::calls::{LinkedCustomerView, UnlinkedCustomerView};
use crate::http::api::{ApiHandler, users};
use crate::http::error_code::ErrorCode;
use crate::http::request::Method;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::RouteAccess::Api;
use crate::http::route::body::body;
use crate::http::route::description::{AsksStripe, Parameter, ParameterKind};
use crate::http::route::{PathSegments, Route, route};
use crate::notify;
use crate::objects::DerivationBasis;
use crate::objects::kinds;
use crate::objects::links::{self, LinkResult, LinkStatement, LinkTarget};
use crate::outward::calls::CallsError;
use crate::store::{StoreError, Tx};
use crate::stripe::call::Priority;
use crate::stripe::form::FormBody;

const PARAM: &str = "stripe_customer_id";
/// The prefixes of ids of other objects (docs.stripe.com/api); the id of a customer may begin with anything else.
const OTHERS: [&str; 12] =
    ["sub_", "pi_", "in_", "ch_", "cs_", "pm_", "price_", "prod_", "evt_", "acct_", "seti_", "re_"];
/// The longest id (Stripe's limit).
const MAX_ID_CHARS: usize = 255;

pub(super) const PUT: &[Route<ApiHandler>] = &[route(Method::Put, "/api/v1/users/{user_id}/customer", Api, put)
    .named("linkCustomer", "Say which user a customer belongs to")
    .details("The last word counts until it is withdrawn. With an API key the customer is read from Stripe first.")
    .body::<LinkBody>()
    .answers::<LinkedCustomerView>(200, "It is linked.")
    .errors(&[ErrorCode::CustomerTaken, ErrorCode::CustomerDeleted, ErrorCode::CustomerNotFound])
    .asks_stripe(AsksStripe::Reads)];

pub(in crate::http) const DELETE: &[Route<ApiHandler>] =
    &[route(Method::Delete, "/api/v1/users/{user_id}/customer", Api, delete)
        .named("unlinkCustomer", "Withdraw a link: the customer is not, or no longer, this user's")
        .query(&[Parameter::new(
            PARAM,
            ParameterKind::Visible(255),
            "cus_NffrFeUfNV2Hib",
            "Stripe's id of the customer.",
        )
        .required()])
        .answers::<UnlinkedCustomerView>(200, "It is not linked any more.")
        .errors(&[ErrorCode::UserNotFound, ErrorCode::CustomerNotLinked, ErrorCode::ParameterMissing])];

body! {
    /// Whose customer it is.
    #[schemars(rename = "LinkCustomer")]
    struct LinkBody {
        /// Stripe's id of the customer.
        #[schemars(regex(pattern = r"^[!-~]+$"), length(min = 1, max = MAX_ID_CHARS), example = &"cus_NffrFeUfNV2Hib")]
        stripe_customer_id: String,
        /// Whether it is taken from another user, to whom it was linked.
        #[schemars(example = false)]
        force: Option<bool>,
    }
}

/// `PUT /api/v1/users/{user_id}/customer`.
fn put(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let user_id = users::valid_id(segments)?;
    let (customer_id, force) = read(request)?;
    let said = LinkStatement { kind: LinkTarget::Customer, id: &customer_id, user_id: &user_id, actor: "api" };
    match link(api, said, force)? {
        LinkResult::Now | LinkResult::Already => {
            let view = LinkedCustomerView { user_id, stripe_customer_id: customer_id, linked_by: "said" };
            Ok(Response::json(200, &view))
        }
        LinkResult::Taken(other) => {
            let message = format!(
                "the customer {customer_id} is linked to user {other:?}: \"force\": true links it to {user_id:?} instead, \
                 with everything that is paid through it; DELETE …/customer withdraws the link to {other:?}"
            );
            Err(ErrorResponse::new(ErrorCode::CustomerTaken, message).at(PARAM))
        }
    }
}

/// States that something belongs to a user; `force`: also where it is linked to another one. With an API key it is read from
/// Stripe first, so this may wait.
fn link(api: &ApiHandler, said: LinkStatement<'_>, force: bool) -> Result<LinkResult, ErrorResponse> {
    write_link(api, said, move |tx, said, basis| links::link(tx, said, force, basis))
}

/// What became of a link that somebody was asked about.
pub(in crate::http) enum ForeseenLink {
    /// It is the user's.
    Linked,
    /// Nothing was done: meanwhile it belongs to this other user, or to nobody.
    Otherwise(Option<String>),
}

/// States that something belongs to a user, if it is still `holder`'s from whom that takes it, as the question said. As with
/// `link` it may wait.
pub(in crate::http) fn link_foreseen(
    api: &ApiHandler,
    said: LinkStatement<'_>,
    holder: Option<String>,
) -> Result<ForeseenLink, ErrorResponse> {
    write_link(api, said, move |tx, said, basis| {
        let now = links::holder(tx, said)?;
        // What became the user's by itself is taken from nobody.
        if now != holder && now.as_deref() != Some(said.user_id) {
            return Ok(ForeseenLink::Otherwise(now));
        }
        links::link(tx, said, true, basis).map(|_| ForeseenLink::Linked)
    })
}

/// Reads it from Stripe, if there is a key, and then writes a statement.
fn write_link<T: Send + 'static>(
    api: &ApiHandler,
    said: LinkStatement<'_>,
    write: impl FnOnce(&Tx, LinkStatement<'_>, DerivationBasis<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ErrorResponse> {
    if let Some(calls) = api.calls.as_deref() {
        read_object(calls, said)?;
    }
    refuse_deleted(api, said)?;
    let (context, now_ms) = (std::sync::Arc::clone(&api.context), api.clock.now_ms());
    let (kind, id, user_id, actor) = (said.kind, said.id.to_owned(), said.user_id.to_owned(), said.actor.to_owned());
    Ok(api.store.write(move |tx| {
        let said = LinkStatement { kind, id: &id, user_id: &user_id, actor: &actor };
        notify::with_notices(tx, &context, now_ms, |basis| write(tx, said, basis))
    })?)
}

/// What became of a link that was taken back.
pub(in crate::http) enum UnlinkResult {
    /// Nothing names the user.
    NotLinked,
    /// It is not the user's any more, and belongs to this one now, if to anybody.
    Unlinked(Option<String>),
}

/// Withdraws what links something to a user, and states that it does not belong to him.
pub(in crate::http) fn unlink(api: &ApiHandler, said: LinkStatement<'_>) -> Result<UnlinkResult, ErrorResponse> {
    let (context, now_ms) = (std::sync::Arc::clone(&api.context), api.clock.now_ms());
    let (kind, id, user_id, actor) = (said.kind, said.id.to_owned(), said.user_id.to_owned(), said.actor.to_owned());
    Ok(api.store.write(move |tx| {
        let said = LinkStatement { kind, id: &id, user_id: &user_id, actor: &actor };
        let unlinked = notify::with_notices(tx, &context, now_ms, |basis| links::unlink(tx, said, basis))?;
        if unlinked { links::owner_of(tx, said).map(UnlinkResult::Unlinked) } else { Ok(UnlinkResult::NotLinked) }
    })?)
}

fn read(request: &Request) -> Result<(String, bool), ErrorResponse> {
    let given = Parameters::read::<LinkBody>(request)?;
    let force = given.flag("force")?;
    let id = given.any_text(PARAM)?.unwrap_or_default().trim();
    Ok((valid(id)?, force))
}

/// An id that can be a customer's.
pub(in crate::http) fn valid(id: &str) -> Result<String, ErrorResponse> {
    if id.is_empty() {
        return Err(ErrorResponse::new(
            ErrorCode::ParameterMissing,
            format!("{PARAM} is missing: send the id of a Stripe customer, cus_…"),
        )
        .at(PARAM));
    }
    let is_another = OTHERS.iter().any(|prefix| id.starts_with(prefix));
    let fits = id.bytes().all(|byte| byte.is_ascii_graphic()) && id.len() <= MAX_ID_CHARS && !is_another;
    if !fits {
        return Err(ErrorResponse::parameter(PARAM, format!("{PARAM} must be the id of a Stripe customer, cus_…")));
    }
    Ok(id.to_owned())
}

/// Reads the customer or subscription from Stripe into the tables.
fn read_object(calls: &crate::outward::calls::Calls, said: LinkStatement) -> Result<(), ErrorResponse> {
    let (object, id) = (said.kind.as_str(), said.id);
    let path = kinds::of(object).path_of(id);
    let read = calls.get(&path, FormBody::new(), Priority::Interactive);
    match read.and_then(|(answer, sent)| calls.absorb(&[&answer.text], &answer, sent)) {
        Err(CallsError::Stripe(error)) if error.api().is_some_and(|api| api.status == 404 && api.is_stripes()) => {
            let message = format!("Stripe does not know a {object} {id} in the mode of stripe.api_key");
            Err(ErrorResponse::new(not_found(said.kind), message).at(PARAM))
        }
        other => Ok(other?),
    }
}

fn not_found(kind: LinkTarget) -> ErrorCode {
    match kind {
        LinkTarget::Customer => ErrorCode::CustomerNotFound,
        LinkTarget::Subscription => ErrorCode::SubscriptionNotFound,
    }
}

fn refuse_deleted(api: &ApiHandler, said: LinkStatement) -> Result<(), ErrorResponse> {
    let is_customer = said.kind == LinkTarget::Customer;
    if is_customer && api.store.read(|reader| crate::objects::customer::is_deleted(reader, said.id))? {
        let message = format!("the customer {} was deleted at Stripe: link another one", said.id);
        return Err(ErrorResponse::new(ErrorCode::CustomerDeleted, message).at(PARAM));
    }
    Ok(())
}

/// `DELETE /api/v1/users/{user_id}/customer?stripe_customer_id=`.
fn delete(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let user = users::find(api, users::user_id(segments))?;
    let customer_id = valid(request.parameter(PARAM).as_deref().map(str::trim).unwrap_or_default())?;
    let said = LinkStatement { kind: LinkTarget::Customer, id: &customer_id, user_id: &user.id, actor: "api" };
    let UnlinkResult::Unlinked(owner) = unlink(api, said)? else {
        let message = format!("the customer {customer_id} is not linked to user {:?}", user.id);
        return Err(ErrorResponse::new(ErrorCode::CustomerNotLinked, message).at(PARAM));
    };
    let view =
        UnlinkedCustomerView { user_id: user.id, stripe_customer_id: customer_id, linked: false, belongs_to: owner };
    Ok(Response::json(200, &view))
}

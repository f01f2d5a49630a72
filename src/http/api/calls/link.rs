//! The application's statement which user a customer belongs to: `PUT` makes it, `DELETE` withdraws it. With an API key
//! the customer is read from Stripe first, so that a mistyped id is refused and one from before tilld gets into the
//! tables. It must never link a customer that was deleted. Called through the tables in `private`.

use serde_json::{Value, json};

use super::CallResult;
use crate::http::api::{ApiHandler, body_object, users};
use crate::http::error_code::ErrorCode;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::PathSegments;
use crate::notify;
use crate::objects::links::{self, LinkResult, LinkStatement, LinkTarget};
use crate::outward::calls::CallsError;
use crate::stripe::call::{Priority, segment};
use crate::stripe::form::FormBody;

const PARAM: &str = "stripe_customer_id";
/// The prefixes of ids of other objects (docs.stripe.com/api); the id of a customer may begin with anything else.
const OTHERS: [&str; 12] =
    ["sub_", "pi_", "in_", "ch_", "cs_", "pm_", "price_", "prod_", "evt_", "acct_", "seti_", "re_"];
/// The longest id (Stripe's limit).
const MAX_ID_CHARS: usize = 255;

/// `PUT /api/v1/users/{user_id}/customer`.
pub(super) fn put(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let user_id = users::valid_id(segments)?;
    let (customer_id, force) = parameters(request)?;
    if let Some(calls) = api.calls.as_deref() {
        read_customer(calls, &customer_id)?;
    }
    refuse_deleted(api, &customer_id)?;
    let (context, now_ms) = (std::sync::Arc::clone(&api.context), api.clock.now_ms());
    let (user, customer) = (user_id.clone(), customer_id.clone());
    let linked = api.store.write(move |tx| {
        let said = LinkStatement { kind: LinkTarget::Customer, id: &customer, user_id: &user, actor: "api" };
        notify::with_notices(tx, &context, now_ms, |basis| links::link(tx, said, force, basis))
    })?;
    match linked {
        LinkResult::Now | LinkResult::Already => {
            let view = json!({"user_id": user_id, "stripe_customer_id": customer_id, "linked_by": "said"});
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

fn parameters(request: &Request) -> Result<(String, bool), ErrorResponse> {
    let fields = body_object(request)?;
    if let Some(key) = fields.keys().find(|key| !matches!(key.as_str(), PARAM | "force")) {
        let message = format!("{key:?} is not a parameter of this call; its parameters are: {PARAM}, force");
        return Err(ErrorResponse::new(ErrorCode::ParameterUnknown, message));
    }
    let force = match fields.get("force") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(force)) => *force,
        Some(_) => return Err(ErrorResponse::parameter("force", "force must be true or false")),
    };
    let id = match fields.get(PARAM) {
        None | Some(Value::Null) => "",
        Some(Value::String(id)) => id.trim(),
        Some(_) => return Err(ErrorResponse::parameter(PARAM, format!("{PARAM} must be a string"))),
    };
    Ok((valid(id)?, force))
}

fn valid(id: &str) -> Result<String, ErrorResponse> {
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

/// Reads the customer from Stripe into the tables.
fn read_customer(calls: &crate::outward::calls::Calls, customer_id: &str) -> Result<(), ErrorResponse> {
    let path = format!("/v1/customers/{}", segment(customer_id));
    let read = calls.get(&path, FormBody::new(), Priority::Interactive);
    match read.and_then(|(answer, sent)| calls.absorb(&[&answer.text], &answer, sent)) {
        Err(CallsError::Stripe(error)) if error.api().is_some_and(|api| api.status == 404 && api.is_stripes()) => {
            let message = format!("Stripe does not know a customer {customer_id} in the mode of stripe.api_key");
            Err(ErrorResponse::new(ErrorCode::CustomerNotFound, message).at(PARAM))
        }
        other => Ok(other?),
    }
}

fn refuse_deleted(api: &ApiHandler, customer_id: &str) -> Result<(), ErrorResponse> {
    if api.store.read(|reader| crate::objects::customer::is_deleted(reader, customer_id))? {
        let message = format!("the customer {customer_id} was deleted at Stripe: link another one");
        return Err(ErrorResponse::new(ErrorCode::CustomerDeleted, message).at(PARAM));
    }
    Ok(())
}

/// `DELETE /api/v1/users/{user_id}/customer?stripe_customer_id=`.
pub(in crate::http) fn delete(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let user = users::find(api, users::user_id(segments))?;
    let customer_id = valid(request.parameter(PARAM).as_deref().map(str::trim).unwrap_or_default())?;
    let (context, now_ms) = (std::sync::Arc::clone(&api.context), api.clock.now_ms());
    let (user_id, customer) = (user.id.clone(), customer_id.clone());
    let (unlinked, owner) = api.store.write(move |tx| {
        let said = LinkStatement { kind: LinkTarget::Customer, id: &customer, user_id: &user_id, actor: "api" };
        let unlinked = notify::with_notices(tx, &context, now_ms, |basis| links::unlink(tx, said, basis))?;
        Ok((unlinked, links::owner_of(tx, said)?))
    })?;
    if !unlinked {
        let message = format!("the customer {customer_id} is not linked to user {:?}", user.id);
        return Err(ErrorResponse::new(ErrorCode::CustomerNotLinked, message).at(PARAM));
    }
    let view = json!({"user_id": user.id, "stripe_customer_id": customer_id, "linked": false, "belongs_to": owner});
    Ok(Response::json(200, &view))
}

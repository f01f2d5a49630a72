//! At most one payable session per user: the open one is returned again if the same is asked for, else it is expired
//! before another one is created. The state of each is read from Stripe, since the customer may be paying right now. It
//! must never leave two sessions open. Called by `checkout`, while the user is locked.

use serde_json::Value;

use super::super::CallRequest;
use super::{CheckoutOrder, second};
use crate::http::error_code::ErrorCode;
use crate::http::response::ErrorResponse;
use crate::objects::user::User;
use crate::outward::calls::{CallCaller, LockedRequest, OperationOutcome, OperationRequest};
use crate::store::stripe_operations::{self as operations, OpenCheckout, Operation};
use crate::stripe::call::segment;
use crate::stripe::form::FormBody;
use crate::stripe::operation::OperationKind;

/// Expires the user's open sessions. `Some`: the request is answered, by an open session for which `is_same` holds, or
/// by the reason why no new one may be created.
pub(super) fn make_way(
    call: &CallRequest,
    request: &LockedRequest,
    user: &User,
    order: &CheckoutOrder,
    is_same: impl Fn(&Operation) -> Result<bool, ErrorResponse>,
) -> Result<Option<OperationOutcome>, ErrorResponse> {
    let mut same = None;
    for OpenCheckout { made_by, session_id: id } in
        call.api.store.read(|reader| operations::list_open_checkouts(reader, &user.id))?
    {
        let Some(session) = read(call, &id)? else { continue };
        match status(&session) {
            "open" if same.is_none() && is_same(&made_by)? => same = Some(session),
            "open" => {
                if let Some(outcome) = expire(call, request, (user, order), &id)? {
                    return Ok(Some(outcome));
                }
            }
            "complete" => completed(call, user, order, &session)?,
            _ => {}
        }
    }
    Ok(same.map(|session| request.answer_with(OperationKind::CheckoutSessionAgain, &user.id, session)).transpose()?)
}

/// Expires the open sessions in which the user could still buy a subscription. A failure is logged; an operation in
/// doubt is left to the recovery.
pub(super) fn close_subscriptions(call: &CallRequest, request: &LockedRequest, user: &User) {
    let close = || -> Result<(), ErrorResponse> {
        for OpenCheckout { session_id: id, .. } in
            call.api.store.read(|reader| operations::list_open_checkouts(reader, &user.id))?
        {
            let Some(session) = read(call, &id)? else { continue };
            if status(&session) == "open" && session["mode"] == "subscription" {
                request.perform_before(&expiry(call, user, &id), &FormBody::new())?;
            }
        }
        Ok(())
    };
    if let Err(error) = close() {
        log::warn!(user_id = user.id; "an open checkout session could not be expired: {}", error.message);
    }
}

fn expiry(call: &CallRequest, user: &User, id: &str) -> OperationRequest {
    OperationRequest {
        subject: Some(id.to_owned()),
        caller: CallCaller::new(None, ""),
        ..call.operation(OperationKind::CheckoutSessionExpire, user)
    }
}

fn read(call: &CallRequest, id: &str) -> Result<Option<Value>, ErrorResponse> {
    call.read_again(&path_of(id))
}

fn path_of(id: &str) -> String {
    format!("/v1/checkout/sessions/{}", segment(id))
}

fn status(session: &Value) -> &str {
    session["status"].as_str().unwrap_or_default()
}

/// Expires an open session; `Some` if it may still be paid.
fn expire(
    call: &CallRequest,
    request: &LockedRequest,
    (user, order): (&User, &CheckoutOrder),
    id: &str,
) -> Result<Option<OperationOutcome>, ErrorResponse> {
    match request.perform_before(&expiry(call, user, id), &FormBody::new())? {
        OperationOutcome::Done(_) => Ok(None),
        // Stripe expires only open sessions: this one has been paid or has expired meanwhile.
        OperationOutcome::Refused(refusal) if matches!(refusal.status, 400 | 404) => match read(call, id)? {
            Some(session) if status(&session) == "open" => Ok(Some(OperationOutcome::Refused(refusal))),
            Some(session) if status(&session) == "complete" => completed(call, user, order, &session).map(|()| None),
            _ => Ok(None),
        },
        other => Ok(Some(other)),
    }
}

/// After the customer has completed a session. A subscription is in the tables now, and decides. Nothing else prevents
/// buying a one-time purchase again, so the request is refused once.
fn completed(call: &CallRequest, user: &User, order: &CheckoutOrder, session: &Value) -> Result<(), ErrorResponse> {
    if order.is_subscription && session["mode"] == "subscription" {
        return second::refuse(call, user, order);
    }
    let id = session["id"].as_str().unwrap_or_default();
    let message = format!(
        "user {:?} has completed the checkout session {id} meanwhile; repeat the request to buy this as well",
        user.id
    );
    Err(ErrorResponse::new(ErrorCode::CheckoutCompleted, message).with("session_id", id))
}

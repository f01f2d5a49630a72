//! At most one payable session per user: the open one is returned again if it asks for the same, else it is expired
//! before another one is made. Stripe is asked how each stands: the customer may be paying right now. Called by
//! `checkout`, while the user is locked.

use serde_json::Value;

use super::super::CallRequest;
use super::{CheckoutOrder, second};
use crate::http::response::ErrorResponse;
use crate::objects::user::User;
use crate::outward::calls::{CallCaller, LockedRequest, OperationOutcome, OperationRequest};
use crate::store::stripe_operations::{self as operations, OpenCheckout, Operation};
use crate::stripe::call::segment;
use crate::stripe::form::FormBody;
use crate::stripe::operation::OperationKind;

/// Makes way for a new session. `Some`: the request is answered already, by the open session that is the `same`, or by
/// the reason why nothing new may be made.
pub(super) fn make_way(
    asked: &CallRequest,
    request: &LockedRequest,
    user: &User,
    order: &CheckoutOrder,
    is_same: impl Fn(&Operation) -> Result<bool, ErrorResponse>,
) -> Result<Option<OperationOutcome>, ErrorResponse> {
    let mut same = None;
    for OpenCheckout { made_by, session_id: id } in
        asked.api.store.read(|reader| operations::list_open_checkouts(reader, &user.id))?
    {
        let Some(session) = read(asked, &id)? else { continue };
        match status(&session) {
            "open" if same.is_none() && is_same(&made_by)? => same = Some(session),
            "open" => {
                if let Some(outcome) = expire(asked, request, (user, order), &id)? {
                    return Ok(Some(outcome));
                }
            }
            "complete" => completed(asked, user, order, &session)?,
            _ => {}
        }
    }
    Ok(same.map(|session| request.answer_with(OperationKind::CheckoutSessionAgain, &user.id, session)).transpose()?)
}

/// Expires the open sessions at which the user could still buy a subscription. What cannot be expired now is said in the
/// log, and found out by the recovery where it is in doubt.
pub(super) fn close_subscriptions(asked: &CallRequest, request: &LockedRequest, user: &User) {
    let close = || -> Result<(), ErrorResponse> {
        for OpenCheckout { session_id: id, .. } in
            asked.api.store.read(|reader| operations::list_open_checkouts(reader, &user.id))?
        {
            let Some(session) = read(asked, &id)? else { continue };
            if status(&session) == "open" && session["mode"] == "subscription" {
                request.perform_before(&expiry(asked, user, &id), &FormBody::new())?;
            }
        }
        Ok(())
    };
    if let Err(error) = close() {
        log::warn!("an open checkout session could not be expired user_id={}: {}", user.id, error.message);
    }
}

fn expiry(asked: &CallRequest, user: &User, id: &str) -> OperationRequest {
    OperationRequest {
        subject: Some(id.to_owned()),
        caller: CallCaller::new(None, ""),
        ..asked.wanted(OperationKind::CheckoutSessionExpire, user)
    }
}

fn read(asked: &CallRequest, id: &str) -> Result<Option<Value>, ErrorResponse> {
    asked.read_anew(&path_of(id))
}

fn path_of(id: &str) -> String {
    format!("/v1/checkout/sessions/{}", segment(id))
}

fn status(session: &Value) -> &str {
    session["status"].as_str().unwrap_or_default()
}

/// Expires an open session; `Some` where it may still be paid.
fn expire(
    asked: &CallRequest,
    request: &LockedRequest,
    (user, order): (&User, &CheckoutOrder),
    id: &str,
) -> Result<Option<OperationOutcome>, ErrorResponse> {
    match request.perform_before(&expiry(asked, user, id), &FormBody::new())? {
        OperationOutcome::Done(_) => Ok(None),
        // Stripe expires only what is open: it has been paid meanwhile, or has run out.
        OperationOutcome::Refused(refusal) if matches!(refusal.status, 400 | 404) => match read(asked, id)? {
            Some(session) if status(&session) == "open" => Ok(Some(OperationOutcome::Refused(refusal))),
            Some(session) if status(&session) == "complete" => completed(asked, user, order, &session).map(|()| None),
            _ => Ok(None),
        },
        other => Ok(Some(other)),
    }
}

/// What the customer has just bought is in the tables now, and decides. A one-time purchase is seen by nobody else, so it
/// is told once.
fn completed(asked: &CallRequest, user: &User, order: &CheckoutOrder, session: &Value) -> Result<(), ErrorResponse> {
    if order.is_subscription && session["mode"] == "subscription" {
        return second::refuse(asked, user, order);
    }
    let id = session["id"].as_str().unwrap_or_default();
    let message = format!(
        "user {:?} has completed the checkout session {id} meanwhile; repeat the request if this is to be bought as well",
        user.id
    );
    Err(ErrorResponse::new(409, "checkout_completed", message).with("session_id", id))
}

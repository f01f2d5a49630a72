//! Refuses a second subscription, for which the user would pay as well, and a second trial. The error says what to do
//! instead, in its message and its fields. It must never refuse what the request explicitly allows. Called by
//! `checkout`.

use super::super::{CallRequest, subscription::subscriptions_for_calls};
use super::CheckoutOrder;
use crate::http::api::ApiHandler;
use crate::http::error_code::ErrorCode;
use crate::http::response::ErrorResponse;
use crate::objects::invoice;
use crate::objects::subscription as subs;
use crate::objects::subscription::FoundSubscription;
use crate::objects::user::User;
use crate::store::stripe_operations as operations;
use crate::stripe::call::segment;

/// An `incomplete` subscription can be paid for 23 hours (Stripe), and one more since clocks differ.
const PAYABLE_S: i64 = 24 * 3600;

/// Refuses a second subscription and a second trial.
pub(super) fn refuse(call: &CallRequest, user: &User, order: &CheckoutOrder) -> Result<(), ErrorResponse> {
    let asks_for_trial = order.trial_days.is_some() && !order.allow_repeat_trial;
    if !order.is_subscription || (order.allow_second && !asks_for_trial) {
        return Ok(());
    }
    let mut known = subscriptions_for_calls(call.api, &user.id)?;
    known.extend(bought_unseen(call, user)?);
    if !order.allow_second {
        for one in &known {
            if prevents_another(call.api, one)? {
                return Err(already_subscribed(call.api, user, one)?);
            }
        }
    }
    match known.iter().find(|one| one.subscription.trial_start.is_some()) {
        Some(one) if asks_for_trial => Err(trial_used(user, one)),
        _ => Ok(()),
    }
}

/// The subscriptions of completed sessions whose webhooks have not arrived yet.
fn bought_unseen(call: &CallRequest, user: &User) -> Result<Vec<FoundSubscription>, ErrorResponse> {
    let store = &call.api.store;
    let mut found = Vec::new();
    for id in store.read(|reader| operations::list_unseen_subscriptions(reader, &user.id))? {
        if call.read_again(&format!("/v1/subscriptions/{}", segment(&id)))?.is_some() {
            found.extend(store.read(|reader| subs::find(reader, &id))?);
        }
    }
    Ok(found)
}

fn prevents_another(api: &ApiHandler, one: &FoundSubscription) -> Result<bool, ErrorResponse> {
    let facts = one.facts();
    Ok(match facts.status.as_str() {
        _ if facts.deleted => false,
        "active" | "trialing" | "past_due" | "unpaid" | "paused" => true,
        "incomplete" => facts.created.saturating_add(PAYABLE_S) > api.clock.now_s() && can_be_paid(api, one)?,
        _ => false,
    })
}

/// Whether its first invoice can still be paid, as is assumed of one that is not known yet.
fn can_be_paid(api: &ApiHandler, one: &FoundSubscription) -> Result<bool, ErrorResponse> {
    let invoice = invoice_of(api, one)?;
    Ok(invoice.is_none_or(|(status, _)| !matches!(status.as_str(), "void" | "uncollectible")))
}

/// The status and the URL of its newest invoice.
fn invoice_of(api: &ApiHandler, one: &FoundSubscription) -> Result<Option<(String, Option<String>)>, ErrorResponse> {
    let Some(id) = one.subscription.latest_invoice.as_deref() else { return Ok(None) };
    Ok(api.store.read(|reader| invoice::find_payable(reader, id))?)
}

fn already_subscribed(api: &ApiHandler, user: &User, one: &FoundSubscription) -> Result<ErrorResponse, ErrorResponse> {
    let row = &one.subscription;
    let (way_out, advice) = match row.status.as_str() {
        "incomplete" | "unpaid" | "past_due" => ("pay_invoice", "its invoice must be paid (invoice_url, if known)"),
        // Nothing is collected, so another price would have no effect.
        "active" | "trialing" if row.pause_collection.is_some() => {
            ("resume", "POST /api/v1/users/{user_id}/subscription/resume resumes its payment collection")
        }
        "paused" => ("resume", "POST /api/v1/users/{user_id}/subscription/resume resumes it"),
        _ if one.facts().ends_at().is_some() => {
            ("reactivate", "POST /api/v1/users/{user_id}/subscription/reactivate undoes its cancellation")
        }
        _ => ("change_plan", "POST /api/v1/users/{user_id}/subscription/change-plan changes its price"),
    };
    let message = format!(
        "user {:?} has the subscription {} ({}): {advice}; \"allow_second\": true buys a second one",
        user.id, row.stripe_subscription_id, row.status
    );
    let invoice = if way_out == "pay_invoice" { invoice_of(api, one)? } else { None };
    let url =
        invoice.filter(|(status, _)| matches!(status.as_str(), "open" | "uncollectible")).and_then(|(_, url)| url);
    Ok(ErrorResponse::new(ErrorCode::AlreadySubscribed, message)
        .with("subscription_id", row.stripe_subscription_id.as_str())
        .with("status", row.status.as_str())
        .with("way_out", way_out)
        .with("invoice_url", url))
}

fn trial_used(user: &User, one: &FoundSubscription) -> ErrorResponse {
    let id = &one.subscription.stripe_subscription_id;
    let message = format!(
        "user {:?} has had a trial with the subscription {id}: leave trial_days out, or send \"allow_repeat_trial\": true",
        user.id
    );
    ErrorResponse::new(ErrorCode::TrialUsed, message).at("trial_days").with("subscription_id", id.as_str())
}

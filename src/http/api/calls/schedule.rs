//! Subscriptions that a schedule manages: Stripe refuses to change them directly. What is known is refused before Stripe
//! is asked; what is not is found out by its refusal. Called by the calls that change a subscription.

use serde_json::Value;

use super::{CallRequest, subscription_path};
use crate::http::api::ApiHandler;
use crate::http::response::ErrorResponse;
use crate::objects::subscription::ShownSubscription;
use crate::outward::calls::OperationOutcome;
use crate::store::mirror::{self, ObjectKey};
use crate::stripe::object;

/// Refuses a change of a subscription that is known to have a schedule.
pub(super) fn refuse(api: &ApiHandler, shown: &ShownSubscription) -> Result<(), ErrorResponse> {
    let row = &shown.subscription;
    let key =
        ObjectKey { object: "subscription", id: &row.stripe_subscription_id, livemode: row.livemode, account: "" };
    let Some(mirrored) = api.store.read(|reader| mirror::find(reader, key))? else { return Ok(()) };
    let known: Value = serde_json::from_str(&mirrored.data).map_err(|error| ErrorResponse::internal(&error))?;
    refuse_shown(&known)
}

/// The same after Stripe's refusal of a change: whatever that was about, a subscription with a schedule is changed nowhere
/// but there. `updated`: what was to be changed.
pub(super) fn refuse_unheard(
    asked: &CallRequest,
    outcome: &OperationOutcome,
    updated: Option<String>,
) -> Result<(), ErrorResponse> {
    let Some(id) = updated.filter(|_| matches!(outcome, OperationOutcome::Refused(refusal) if refusal.status == 400))
    else {
        return Ok(());
    };
    match asked.read_anew(&subscription_path(&id)) {
        Ok(Some(now)) => refuse_shown(&now),
        Ok(None) => Ok(()),
        // Then Stripe's own words have to do.
        Err(error) => {
            log::warn!("a subscription cannot be read subscription={id}: {}", error.message);
            Ok(())
        }
    }
}

fn refuse_shown(subscription: &Value) -> Result<(), ErrorResponse> {
    let Some(schedule) = object::reference(subscription, "schedule") else { return Ok(()) };
    let id = subscription["id"].as_str().unwrap_or_default();
    let message = format!(
        "the subscription {id} is managed by the schedule {schedule}, and Stripe takes no other changes of it: release the \
         schedule at Stripe (in the dashboard, or POST /v1/subscription_schedules/{schedule}/release) and ask again; \
         to end the subscription now, cancel with \"immediate\": true"
    );
    Err(ErrorResponse::new(409, "schedule_attached", message).with("subscription_id", id).with("schedule_id", schedule))
}

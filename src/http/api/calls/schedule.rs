//! Subscriptions that are managed by a schedule, which Stripe refuses to change directly. If the schedule is known
//! here, the call is refused before Stripe is asked; else after Stripe's refusal. It must never change a schedule.
//! Called by the calls that change a subscription.

use serde_json::Value;

use super::{CallRequest, subscription_path};
use crate::http::api::ApiHandler;
use crate::http::error_code::ErrorCode;
use crate::http::response::ErrorResponse;
use crate::objects::subscription::FoundSubscription;
use crate::outward::calls::OperationOutcome;
use crate::store::mirror::{self, ObjectKey};
use crate::stripe::object;

/// Refuses a change of a subscription that is known to have a schedule.
pub(super) fn refuse(api: &ApiHandler, target: &FoundSubscription) -> Result<(), ErrorResponse> {
    let row = &target.subscription;
    let key =
        ObjectKey { object: "subscription", id: &row.stripe_subscription_id, livemode: row.livemode, account: "" };
    let Some(mirrored) = api.store.read(|reader| mirror::find(reader, key))? else { return Ok(()) };
    let known: Value = serde_json::from_str(&mirrored.data).map_err(|error| ErrorResponse::internal(&error))?;
    refuse_scheduled(&known)
}

/// The same after Stripe has refused a change, whatever its reason: if the subscription has a schedule, only that can
/// change it. `updated`: the subscription that was to be changed.
pub(super) fn refuse_unknown(
    call: &CallRequest,
    outcome: &OperationOutcome,
    updated: Option<String>,
) -> Result<(), ErrorResponse> {
    let Some(id) = updated.filter(|_| matches!(outcome, OperationOutcome::Refused(refusal) if refusal.status == 400))
    else {
        return Ok(());
    };
    match call.read_again(&subscription_path(&id)) {
        Ok(Some(now)) => refuse_scheduled(&now),
        Ok(None) => Ok(()),
        // Then Stripe's own message has to be enough.
        Err(error) => {
            log::warn!(subscription = id; "a subscription could not be read: {}", error.message);
            Ok(())
        }
    }
}

fn refuse_scheduled(subscription: &Value) -> Result<(), ErrorResponse> {
    let Some(schedule) = object::reference(subscription, "schedule") else { return Ok(()) };
    let id = subscription["id"].as_str().unwrap_or_default();
    let message = format!(
        "the subscription {id} is managed by the schedule {schedule}, and Stripe accepts no direct changes to it: release the \
         schedule at Stripe (in the dashboard, or POST /v1/subscription_schedules/{schedule}/release) and try again; \
         to end the subscription now, cancel with \"immediate\": true"
    );
    Err(ErrorResponse::new(ErrorCode::ScheduleAttached, message)
        .with("subscription_id", id)
        .with("schedule_id", schedule))
}

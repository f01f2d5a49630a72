//! A subscription that stands still runs again: one that is paused, and one whose collecting is paused. Called by
//! `calls`.

use super::subscription::{PRORATIONS, SubscriptionCall, act, running_that};
use super::{CallRequest, CallResult, schedule, subscription_path, user};
use crate::http::api::ApiHandler;
use crate::http::request::Request;
use crate::http::response::ErrorResponse;
use crate::http::route::PathSegments;
use crate::objects::subscription::{ShownSubscription, SubscriptionRow};
use crate::stripe::form::FormBody;
use crate::stripe::operation::OperationKind;

/// When the period begins; the first unless told otherwise, as at Stripe: a whole period, which is paid first.
const ANCHORS: [&str; 2] = ["now", "unchanged"];
const PAYMENTS: [&str; 2] = ["resume_on_payment_attempt", "resume_on_payment_success"];
const KNOWN: [&str; 3] = ["billing_cycle_anchor", "proration_behavior", "payment_behavior"];

pub(super) fn resume(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (asked, user) = (CallRequest::read(api, request, &KNOWN)?, user(api, segments)?);
    let given = &asked.parameters;
    let anchor = given.word("billing_cycle_anchor", &ANCHORS)?;
    let proration = given.word("proration_behavior", &PRORATIONS)?;
    let payment = given.word("payment_behavior", &PAYMENTS)?;
    act(&asked, &user, || {
        let mut shown = running_that(api, &user.id, stands_still)?;
        if !stands_still(&shown.subscription) {
            // A moment ago somebody may have paused it in the dashboard.
            asked.read_anew(&subscription_path(&shown.subscription.stripe_subscription_id))?;
            shown = running_that(api, &user.id, stands_still)?;
        }
        let row = &shown.subscription;
        if row.status == "paused" {
            let form = FormBody::new()
                .map("billing_cycle_anchor", FormBody::new().put("type", anchor.unwrap_or(ANCHORS[0])))
                .put_opt("proration_behavior", proration)
                .put_opt("payment_behavior", payment);
            return Ok((shown, SubscriptionCall::new(OperationKind::SubscriptionResume, form)));
        }
        if row.pause_collection.is_none() {
            return Err(not_paused(&shown));
        }
        schedule::refuse(api, &shown)?;
        let param = [(KNOWN[0], anchor), (KNOWN[1], proration), (KNOWN[2], payment)];
        match param.into_iter().find(|(_, given)| given.is_some()) {
            Some((name, _)) => Err(meaningless(name)),
            None => {
                let form = FormBody::new().unset("pause_collection");
                Ok((shown, SubscriptionCall::new(OperationKind::SubscriptionResumeCollection, form)))
            }
        }
    })
}

fn stands_still(row: &SubscriptionRow) -> bool {
    row.status == "paused" || row.pause_collection.is_some()
}

fn not_paused(shown: &ShownSubscription) -> ErrorResponse {
    let row = &shown.subscription;
    let message = format!(
        "the subscription {} is {} and its payments are collected: there is nothing to resume",
        row.stripe_subscription_id, row.status
    );
    ErrorResponse::new(409, "subscription_not_paused", message).with("status", row.status.as_str())
}

fn meaningless(name: &'static str) -> ErrorResponse {
    let message =
        format!("{name} belongs to a paused subscription; of this one only collecting is paused: leave it out");
    ErrorResponse::parameter(name, message)
}

//! Resumes a subscription that is paused, or whose payment collection is paused. A parameter without effect must never be
//! ignored: it is refused. Called by `calls`.

use super::subscription::{PRORATIONS, SubscriptionCall, act, changing, running_that};
use super::{CallRequest, CallResult, schedule, subscription_path, user};
use crate::http::api::ApiHandler;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::Post;
use crate::http::request::Request;
use crate::http::response::ErrorResponse;
use crate::http::route::RouteAccess::Api;
use crate::http::route::body::{RequestBody, body, words};
use crate::http::route::{PathSegments, Route, route};
use crate::objects::subscription::{FoundSubscription, SubscriptionRow};
use crate::stripe::form::FormBody;
use crate::stripe::operation::OperationKind;

/// When the period begins. The first is the default, as at Stripe: a whole period, which must be paid first.
const ANCHORS: [&str; 2] = ["now", "unchanged"];
const PAYMENTS: [&str; 2] = ["resume_on_payment_attempt", "resume_on_payment_success"];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[changing(
    route(Post, "/api/v1/users/{user_id}/subscription/resume", Api, resume)
        .named("resumeSubscription", "Resume a subscription that is paused, or whose collection is")
        .body::<ResumeBody>()
        .errors(&[
            ErrorCode::UserNotFound,
            ErrorCode::SubscriptionNotFound,
            ErrorCode::LinkedByReference,
            ErrorCode::ScheduleAttached,
            ErrorCode::SubscriptionNotPaused,
        ]),
)];

body! {
    /// How a paused subscription is resumed. Where only collection is paused, each field is refused.
    #[schemars(rename = "ResumeSubscription")]
    struct ResumeBody {
        /// When the period begins: `now`, which is the default and bills a whole period, or `unchanged`.
        #[schemars(extend("enum" = words(&ANCHORS)), example = &"now")]
        billing_cycle_anchor: Option<String>,
        /// What of the present period is billed: `create_prorations`, `always_invoice` or `none`.
        #[schemars(extend("enum" = words(&PRORATIONS)), example = &"create_prorations")]
        proration_behavior: Option<String>,
        /// Whether it waits for its payment: `resume_on_payment_attempt` or `resume_on_payment_success`.
        #[schemars(extend("enum" = words(&PAYMENTS)), example = &"resume_on_payment_success")]
        payment_behavior: Option<String>,
    }
}

fn resume(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<ResumeBody>(api, request)?, user(api, segments)?);
    let given = &call.parameters;
    let anchor = given.one_of("billing_cycle_anchor", &ANCHORS)?;
    let proration = given.one_of("proration_behavior", &PRORATIONS)?;
    let payment = given.one_of("payment_behavior", &PAYMENTS)?;
    act(&call, &user, || {
        let mut target = running_that(api, &user.id, is_paused)?;
        if !is_paused(&target.subscription) {
            // Somebody may have paused it in the dashboard a moment ago.
            call.read_again(&subscription_path(&target.subscription.stripe_subscription_id))?;
            target = running_that(api, &user.id, is_paused)?;
        }
        let row = &target.subscription;
        if row.status == "paused" {
            let form = FormBody::new()
                .map("billing_cycle_anchor", FormBody::new().put("type", anchor.unwrap_or(ANCHORS[0])))
                .put_opt("proration_behavior", proration)
                .put_opt("payment_behavior", payment);
            return Ok((target, SubscriptionCall::new(OperationKind::SubscriptionResume, form)));
        }
        if row.pause_collection.is_none() {
            return Err(not_paused(&target));
        }
        schedule::refuse(api, &target)?;
        let param = ResumeBody::FIELDS.iter().copied().zip([anchor, proration, payment]);
        let mut param = param.filter(|(_, given)| given.is_some());
        match param.next() {
            Some((name, _)) => Err(without_effect(name)),
            None => {
                let form = FormBody::new().unset("pause_collection");
                Ok((target, SubscriptionCall::new(OperationKind::SubscriptionResumeCollection, form)))
            }
        }
    })
}

fn is_paused(row: &SubscriptionRow) -> bool {
    row.status == "paused" || row.pause_collection.is_some()
}

fn not_paused(target: &FoundSubscription) -> ErrorResponse {
    let row = &target.subscription;
    let message = format!(
        "the subscription {} is {} and its payments are collected: there is nothing to resume",
        row.stripe_subscription_id, row.status
    );
    ErrorResponse::new(ErrorCode::SubscriptionNotPaused, message).with("status", row.status.as_str())
}

fn without_effect(name: &'static str) -> ErrorResponse {
    let message =
        format!("{name} is for a paused subscription; for this one only payment collection is paused: leave it out");
    ErrorResponse::parameter(name, message)
}

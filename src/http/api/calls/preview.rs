//! What another price would cost, now and with the next invoice. It must never change anything. Called by `calls`.

use serde_json::Value;

use super::subscription::{PRORATIONS, SubscriptionChange, TIMES, running};
use super::{CallRequest, CallResult, IN_DOUBT, answers::respond, user};
use crate::http::api::ApiHandler;
use crate::http::api::views::calls::{InDoubtView, PreviewLineView, PreviewView, text};
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::Post;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::RouteAccess::Api;
use crate::http::route::body::{body, words};
use crate::http::route::description::AsksStripe;
use crate::http::route::parameters::MAX_BODY_TEXT_CHARS;
use crate::http::route::{PathSegments, Route, route};
use crate::objects::subscription::FoundSubscription;
use crate::objects::user::User;
use crate::outward::calls::{CallCaller, OperationRequest};
use crate::stripe::form::FormBody;
use crate::stripe::object;
use crate::stripe::operation::OperationKind;

/// How far Stripe's clock may be ahead of ours, in seconds.
const CLOCK_SLACK_S: i64 = 60;

const fn described(route: Route<ApiHandler>) -> Route<ApiHandler> {
    route
        .body::<PreviewBody>()
        .answers::<PreviewView>(200, "What it would cost.")
        .answers::<InDoubtView>(202, IN_DOUBT)
        .errors(REFUSALS)
        .asks_stripe(AsksStripe::Acts)
}

const REFUSALS: &[ErrorCode] = &[
    ErrorCode::UserNotFound,
    ErrorCode::SubscriptionNotFound,
    ErrorCode::LinkedByReference,
    ErrorCode::UnknownPrice,
    ErrorCode::SubscriptionWithoutItems,
];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[
    described(
        route(Post, "/api/v1/users/{user_id}/subscription/change-plan/preview", Api, preview)
            .named("previewPlanChange", "What another price would cost, now and with the next invoice"),
    ),
    described(
        route(Post, "/api/v1/users/{user_id}/subscription/preview", Api, preview)
            .named("previewSubscription", "The same as `previewPlanChange`, by its older path"),
    ),
];

body! {
    /// The price that is asked about. Nothing is changed.
    #[schemars(rename = "PreviewPlanChange")]
    struct PreviewBody {
        /// Stripe's id of the price; it must be in a plan.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"price_1MowQULkdIwHu7ixraBm864M")]
        price_id: String,
        /// What of the present period is billed: `create_prorations`, which is the default, `always_invoice` or `none`.
        #[schemars(extend("enum" = words(&PRORATIONS)), example = &"create_prorations")]
        proration_behavior: Option<String>,
        /// The time up to which the present price counts, unix seconds; left out: now. Not with `none`.
        #[schemars(range(min = TIMES.0, max = TIMES.1), example = 1_767_225_600)]
        proration_date: Option<i64>,
    }
}

fn preview(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<PreviewBody>(api, request)?, user(api, segments)?);
    let mut change = SubscriptionChange::read(&call)?;
    let target = running(api, &user.id)?;
    let outcome = call.calls.decide((Some(&user.id), None), &call.caller, |request| {
        // It is part of the answer: sent with the change itself, it leads to the same amounts.
        if change.behavior != "none" {
            change.proration_date = change.proration_date.or_else(|| Some(api.clock.now_s()));
        }
        let form = form(&target, change.form(api, &target)?);
        Ok::<_, ErrorResponse>(request.perform(&operation(&call, &user, &target), &form)?)
    })?;
    respond(outcome, |done| {
        let invoice = &done.object;
        // If the request was repeated, only Stripe knows the date.
        change.proration_date = change.proration_date.or_else(|| object::invoice_proration_date(invoice));
        if !is_due_now(invoice, api.clock.now_s()) {
            return answer(&change, invoice, None, &target);
        }
        // The invoice that is due now does not show the one after it.
        let recurring = SubscriptionChange { behavior: "none", proration_date: None, ..change };
        let form = form(&target, recurring.form(api, &target)?).put("preview_mode", "recurring");
        let operation = OperationRequest { caller: CallCaller::new(None, ""), ..operation(&call, &user, &target) };
        respond(call.calls.perform(&operation, |_| form)?, |next| answer(&change, invoice, Some(&next.object), &target))
    })
}

fn operation(call: &CallRequest, user: &User, target: &FoundSubscription) -> OperationRequest {
    let subject = Some(target.subscription.stripe_subscription_id.clone());
    OperationRequest { subject, ..call.operation(OperationKind::SubscriptionPreview, user) }
}

fn form(target: &FoundSubscription, details: FormBody) -> FormBody {
    FormBody::new()
        .put("customer", target.subscription.stripe_customer_id.as_str())
        .put("subscription", target.subscription.stripe_subscription_id.as_str())
        .map("subscription_details", details)
}

/// Whether the previewed invoice would be created at once: it bills only the change, or a period that begins now.
fn is_due_now(invoice: &Value, now_s: i64) -> bool {
    let soon = now_s.saturating_add(CLOCK_SLACK_S);
    let lines = object::list(invoice, "lines").0;
    lines.iter().all(|line| object::line_is_proration(line) || object::line_period(line).0 <= Some(soon))
}

/// `next`: the invoice after the previewed one, if that is due now.
fn answer(
    change: &SubscriptionChange,
    invoice: &Value,
    next: Option<&Value>,
    target: &FoundSubscription,
) -> CallResult {
    let due = |invoice: &Value| invoice["amount_due"].as_i64();
    let lines = object::list(invoice, "lines").0;
    let periods = lines.iter().filter(|line| !object::line_is_proration(line)).map(object::line_period);
    let items = target.items.iter();
    let renewal = items.filter_map(|item| item.current_period_end).min().or(target.subscription.current_period_end);
    let next_at = match next {
        Some(_) => periods.filter_map(|(_, end)| end).min().or(renewal),
        None => {
            let attempt = invoice["next_payment_attempt"].as_i64();
            attempt.or_else(|| periods.filter_map(|(start, _)| start).min()).or(renewal)
        }
    };
    let view = PreviewView {
        price_id: change.price_id.to_owned(),
        currency: text(invoice, "currency"),
        amount_due_now: next.map_or(Some(0), |_| due(invoice)),
        next_amount: due(next.unwrap_or(invoice)),
        next_payment_at: next_at,
        proration_date: change.proration_date,
        total: invoice["total"].as_i64(),
        lines: lines.iter().map(line).collect(),
    };
    Ok(Response::json(200, &view))
}

fn line(line: &Value) -> PreviewLineView {
    let (start, end) = object::line_period(line);
    PreviewLineView {
        description: text(line, "description"),
        amount: line["amount"].as_i64(),
        quantity: line["quantity"].as_i64(),
        price_id: object::line_price(line).map(str::to_owned),
        proration: object::line_is_proration(line),
        period_start: start,
        period_end: end,
    }
}

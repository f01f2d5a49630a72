//! What another price would cost: now, and with the next invoice. Changes nothing. Called by `calls`.

use serde_json::{Value, json};

use super::subscription::{SubscriptionChange, running};
use super::{CallRequest, CallResult, answers::respond, user};
use crate::http::api::ApiHandler;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::PathSegments;
use crate::objects::subscription::ShownSubscription;
use crate::objects::user::User;
use crate::outward::calls::{CallCaller, OperationRequest};
use crate::stripe::form::FormBody;
use crate::stripe::object;
use crate::stripe::operation::OperationKind;

/// How far Stripe's clock may be ahead of ours.
const CLOCK_SLACK_S: i64 = 60;

pub(super) fn preview(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (asked, user) = (CallRequest::read(api, request, &SubscriptionChange::KNOWN)?, user(api, segments)?);
    let mut change = SubscriptionChange::read(&asked)?;
    let shown = running(api, &user.id)?;
    let outcome = asked.calls.decide((Some(&user.id), None), &asked.caller, |request| {
        // Told to the caller: given back with the change itself, its amounts are these.
        if change.behavior != "none" {
            change.proration_date = change.proration_date.or_else(|| Some(api.clock.now_s()));
        }
        let form = form(&shown, change.form(api, &shown)?);
        Ok::<_, ErrorResponse>(request.perform(&wanted(&asked, &user, &shown), &form)?)
    })?;
    respond(outcome, |done| {
        let invoice = &done.object;
        // Of a request that was repeated, Stripe alone knows the date.
        change.proration_date = change.proration_date.or_else(|| object::invoice_proration_date(invoice));
        if !is_due_now(invoice, api.clock.now_s()) {
            return answer(&change, (invoice, None), &shown);
        }
        // What comes now says nothing of what comes next.
        let recurring = SubscriptionChange { behavior: "none", proration_date: None, ..change };
        let form = form(&shown, recurring.form(api, &shown)?).put("preview_mode", "recurring");
        let wanted = OperationRequest { caller: CallCaller::new(None, ""), ..wanted(&asked, &user, &shown) };
        respond(asked.calls.perform(&wanted, |_| form)?, |next| answer(&change, (invoice, Some(&next.object)), &shown))
    })
}

fn wanted(asked: &CallRequest, user: &User, shown: &ShownSubscription) -> OperationRequest {
    let subject = Some(shown.subscription.stripe_subscription_id.clone());
    OperationRequest { subject, ..asked.wanted(OperationKind::SubscriptionPreview, user) }
}

fn form(shown: &ShownSubscription, details: FormBody) -> FormBody {
    FormBody::new()
        .put("customer", shown.subscription.stripe_customer_id.as_str())
        .put("subscription", shown.subscription.stripe_subscription_id.as_str())
        .map("subscription_details", details)
}

/// Whether the previewed invoice would be made at once: it bills nothing but the change, or a period that begins now.
fn is_due_now(invoice: &Value, now_s: i64) -> bool {
    let soon = now_s.saturating_add(CLOCK_SLACK_S);
    let lines = object::list(invoice, "lines").0;
    lines.iter().all(|line| object::line_is_proration(line) || object::line_period(line).0 <= Some(soon))
}

/// `billed`: the previewed invoice, and the one after it where the first is due now.
fn answer(change: &SubscriptionChange, billed: (&Value, Option<&Value>), shown: &ShownSubscription) -> CallResult {
    let (invoice, next) = billed;
    let due = |invoice: &Value| invoice["amount_due"].clone();
    let lines = object::list(invoice, "lines").0;
    let periods = lines.iter().filter(|line| !object::line_is_proration(line)).map(object::line_period);
    let items = shown.items.iter();
    let renewal = items.filter_map(|item| item.current_period_end).min().or(shown.subscription.current_period_end);
    let next_at = match next {
        Some(_) => periods.filter_map(|(_, end)| end).min().or(renewal),
        None => {
            let attempt = invoice["next_payment_attempt"].as_i64();
            attempt.or_else(|| periods.filter_map(|(start, _)| start).min()).or(renewal)
        }
    };
    let view = json!({
        "price_id": change.price_id, "currency": invoice["currency"],
        "amount_due_now": next.map_or(json!(0), |_| due(invoice)), "next_amount": due(next.unwrap_or(invoice)),
        "next_payment_at": next_at, "proration_date": change.proration_date, "total": invoice["total"],
        "lines": lines.iter().map(line).collect::<Vec<_>>(),
    });
    Ok(Response::json(200, &view))
}

fn line(line: &Value) -> Value {
    let (start, end) = object::line_period(line);
    json!({
        "description": line["description"], "amount": line["amount"], "quantity": line["quantity"],
        "price_id": object::line_price(line), "proration": object::line_is_proration(line), "period_start": start,
        "period_end": end,
    })
}

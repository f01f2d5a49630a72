//! Changes of a user's subscription: another price, its end, no end. The answer is our own view of it, read from the
//! tables that the change is already in. Called by `calls`.

use serde_json::json;

use super::{CallRequest, CallResult, answers::respond, check_price, schedule, subscription_path, user};
use crate::base::entitlement;
use crate::base::ownership::{self, LinkedBy};
use crate::http::api::{ApiHandler, views};
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::PathSegments;
use crate::objects::invoice;
use crate::objects::subscription as subs;
use crate::objects::subscription::{ItemRow, ShownSubscription, SubscriptionRow};
use crate::objects::user::User;
use crate::outward::calls::{DoneOperation, OperationRequest};
use crate::stripe::call::segment;
use crate::stripe::form::FormBody;
use crate::stripe::object;
use crate::stripe::operation::{OperationKind, OperationParameters};

pub(super) const PRORATIONS: [&str; 3] = ["create_prorations", "always_invoice", "none"];
/// Stripe's words for what a change does whose payment fails.
const PAYMENTS: [&str; 4] = ["allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"];
/// Unix seconds: 2001 to 2286, so that milliseconds are told from them.
const TIMES: (i64, i64) = (1_000_000_000, 9_999_999_999);

/// Every subscription that calls for a user look at, ended ones too, the newest first: the one place that says which. One
/// that a reference alone links may be a stranger's, who wrote the user's id into the URL of a Payment Link.
pub(super) fn subscriptions_for_calls(
    api: &ApiHandler,
    user_id: &str,
) -> Result<Vec<ShownSubscription>, ErrorResponse> {
    let mut shown = api.store.read(|reader| subs::list_of_user(reader, user_id))?;
    shown.retain(|one| ownership::may_be_called(one.linked_by));
    Ok(shown)
}

/// There is nothing that calls could act on; perhaps something that they may not.
fn nothing_to_act_on(api: &ApiHandler, user_id: &str) -> Result<ErrorResponse, ErrorResponse> {
    let all = api.store.read(|reader| subs::list_of_user(reader, user_id))?;
    let by_reference = all.iter().find(|one| {
        one.linked_by == Some(LinkedBy::Reference) && !one.facts().deleted && !has_ended(&one.subscription.status)
    });
    let Some(found) = by_reference else {
        let message = format!("user {user_id:?} has no subscription that has not ended");
        return Ok(ErrorResponse::new(404, "subscription_not_found", message));
    };
    let row = &found.subscription;
    let message = format!(
        "the subscription {} is linked to user {user_id:?} by a client_reference_id alone, which whoever paid may have \
         written: it gives access and nothing else. PUT /api/v1/users/{{user_id}}/customer with \
         {{\"stripe_customer_id\": {:?}}} says that its customer is this user's",
        row.stripe_subscription_id, row.stripe_customer_id
    );
    Ok(ErrorResponse::new(409, "linked_by_reference", message)
        .with("subscription_id", row.stripe_subscription_id.as_str())
        .with("stripe_customer_id", row.stripe_customer_id.as_str()))
}

/// The effective one of those that have not ended.
pub(super) fn running(api: &ApiHandler, user_id: &str) -> Result<ShownSubscription, ErrorResponse> {
    running_that(api, user_id, |_| true)
}

/// The same of those that are so, if there are any; else of all.
pub(super) fn running_that(
    api: &ApiHandler,
    user_id: &str,
    is_so: impl Fn(&SubscriptionRow) -> bool,
) -> Result<ShownSubscription, ErrorResponse> {
    let mut shown = subscriptions_for_calls(api, user_id)?;
    shown.retain(|one| !one.facts().deleted && !has_ended(&one.subscription.status));
    prefer(&mut shown, |one| is_so(&one.subscription));
    // One that was never begun is acted on only where there is no other.
    prefer(&mut shown, |one| ownership::runs(&one.subscription.status));
    let facts: Vec<_> = shown.iter().map(ShownSubscription::facts).collect();
    let chosen =
        entitlement::effective(&facts, &api.context.projection.policy, api.clock.now_s()).map(|fact| fact.id.clone());
    let found = shown.into_iter().find(|one| Some(&one.subscription.stripe_subscription_id) == chosen.as_ref());
    match found {
        Some(found) => Ok(found),
        None => Err(nothing_to_act_on(api, user_id)?),
    }
}

/// Keeps those that are so, if there are any.
fn prefer(shown: &mut Vec<ShownSubscription>, is_so: impl Fn(&ShownSubscription) -> bool) {
    if shown.iter().any(&is_so) {
        shown.retain(is_so);
    }
}

fn has_ended(status: &str) -> bool {
    matches!(status, "canceled" | "incomplete_expired")
}

/// The item that gives the tier, else the first: it is the one whose price changes.
fn item_of(api: &ApiHandler, shown: &ShownSubscription) -> Result<ItemRow, ErrorResponse> {
    let answer = entitlement::of_one(&shown.facts(), &api.context.projection.policy, api.clock.now_s());
    let items = &shown.items;
    let found = items.iter().find(|item| item.stripe_price_id == answer.price_id).or_else(|| items.first());
    found.cloned().ok_or_else(|| {
        let id = &shown.subscription.stripe_subscription_id;
        ErrorResponse::new(409, "subscription_without_items", format!("no item of the subscription {id} is known"))
    })
}

/// The change of a price, as a request has it.
pub(super) struct SubscriptionChange<'a> {
    pub(super) price_id: &'a str,
    pub(super) behavior: &'a str,
    pub(super) proration_date: Option<i64>,
}

impl<'a> SubscriptionChange<'a> {
    pub(super) const KNOWN: [&'static str; 3] = ["price_id", "proration_behavior", "proration_date"];

    pub(super) fn read(asked: &'a CallRequest) -> Result<Self, ErrorResponse> {
        let given = &asked.parameters;
        let price_id = given.required_text("price_id")?;
        let behavior = given.word("proration_behavior", &PRORATIONS)?.unwrap_or(PRORATIONS[0]);
        let proration_date = given.integer("proration_date", TIMES)?;
        if proration_date.is_some() && behavior == "none" {
            let message = "proration_date has no meaning with proration_behavior none: leave it out";
            return Err(ErrorResponse::parameter("proration_date", message));
        }
        check_price(asked.api, price_id)?;
        Ok(Self { price_id, behavior, proration_date })
    }

    /// What is billed at once is paid at once, or the old price stays: an upgrade whose payment fails gives nothing.
    /// Invoices that are sent are paid later anyway, and Stripe takes no such word for them.
    fn payment(&self, shown: &ShownSubscription) -> Option<&'static str> {
        let is_sent = shown.subscription.collection_method.as_deref() == Some("send_invoice");
        (self.behavior == "always_invoice" && !is_sent).then_some("pending_if_incomplete")
    }

    /// The parameters, which a change and its preview have in common.
    pub(super) fn form(&self, api: &ApiHandler, shown: &ShownSubscription) -> Result<FormBody, ErrorResponse> {
        let item = item_of(api, shown)?;
        // Stripe sets the quantity to 1 unless it is told; a metered item has none.
        let item = FormBody::new()
            .put("id", item.stripe_item_id)
            .put("price", self.price_id)
            .put_opt("quantity", item.quantity);
        let form = FormBody::new().list("items", [item]).put("proration_behavior", self.behavior);
        Ok(form.put_opt("proration_date", self.proration_date))
    }
}

pub(super) fn change_plan(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let known = [&SubscriptionChange::KNOWN[..], &["payment_behavior"]].concat();
    let (asked, user) = (CallRequest::read(api, request, &known)?, user(api, segments)?);
    let change = SubscriptionChange::read(&asked)?;
    let payment = asked.parameters.word("payment_behavior", &PAYMENTS)?;
    act(&asked, &user, || {
        let shown = running(api, &user.id)?;
        let form = change.form(api, &shown)?.put_opt("payment_behavior", payment.or(change.payment(&shown)));
        let parameters = OperationParameters::of_price(change.price_id);
        Ok((shown, SubscriptionCall { kind: OperationKind::SubscriptionChangePlan, parameters, form }))
    })
}

pub(super) fn cancel(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (asked, user) = (CallRequest::read(api, request, &["immediate"])?, user(api, segments)?);
    let immediate = asked.parameters.flag("immediate")?;
    act(&asked, &user, || {
        let call = if immediate {
            SubscriptionCall::new(OperationKind::SubscriptionCancel, FormBody::new())
        } else {
            let form = FormBody::new().put("cancel_at_period_end", true);
            SubscriptionCall::new(OperationKind::SubscriptionCancelAtPeriodEnd, form)
        };
        Ok((running(api, &user.id)?, call))
    })
}

/// Stripe says an end in two ways, and refuses to be told of both at once: what is set is undone.
pub(super) fn reactivate(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (asked, user) = (CallRequest::read(api, request, &[])?, user(api, segments)?);
    act(&asked, &user, || {
        let mut shown = running(api, &user.id)?;
        schedule::refuse(api, &shown)?;
        if !shown.subscription.cancel_at_period_end && shown.subscription.cancel_at.is_none() {
            // Nothing is known here of an end that the customer may have asked for in the portal a moment ago.
            asked.read_anew(&subscription_path(&shown.subscription.stripe_subscription_id))?;
            shown = running(api, &user.id)?;
        }
        let form = if shown.subscription.cancel_at.is_some() && !shown.subscription.cancel_at_period_end {
            FormBody::new().unset("cancel_at")
        } else {
            FormBody::new().put("cancel_at_period_end", false)
        };
        Ok((shown, SubscriptionCall::new(OperationKind::SubscriptionReactivate, form)))
    })
}

/// What is done to a subscription.
pub(super) struct SubscriptionCall {
    kind: OperationKind,
    parameters: OperationParameters,
    form: FormBody,
}

impl SubscriptionCall {
    /// One whose kind alone says whether it was done.
    pub(super) fn new(kind: OperationKind, form: FormBody) -> Self {
        Self { kind, parameters: OperationParameters::default(), form }
    }
}

/// Does what `plan` says to the subscription that it chooses, and shows it afterwards.
pub(super) fn act(
    asked: &CallRequest,
    user: &User,
    plan: impl FnOnce() -> Result<(ShownSubscription, SubscriptionCall), ErrorResponse>,
) -> CallResult {
    let mut updated = None;
    let outcome = asked.calls.decide((Some(&user.id), None), &asked.caller, |request| {
        let (shown, call) = plan()?;
        let id = shown.subscription.stripe_subscription_id.clone();
        // A schedule keeps the subscription's own values to itself; it has no say in an end or a pause.
        if call.kind.is_update() {
            schedule::refuse(asked.api, &shown)?;
            updated = Some(id.clone());
        }
        let wanted =
            OperationRequest { parameters: call.parameters, subject: Some(id), ..asked.wanted(call.kind, user) };
        Ok::<_, ErrorResponse>(request.perform(&wanted, &call.form)?)
    })?;
    schedule::refuse_unheard(asked, &outcome, updated)?;
    respond(outcome, |done| afterwards(asked, user, done))
}

fn afterwards(asked: &CallRequest, user: &User, done: &DoneOperation) -> CallResult {
    let id = done.object["id"].as_str().unwrap_or_default();
    let shown = subscriptions_for_calls(asked.api, &user.id)?;
    let found = shown.iter().find(|one| one.subscription.stripe_subscription_id == id);
    // It is done, even if its customer has been given to another user meanwhile.
    let mut view = found.map_or_else(|| json!({"id": id, "status": done.object["status"]}), views::subscription);
    let pending = &done.object["pending_update"];
    if pending.is_object() {
        let prices = object::pending_prices(&done.object);
        view["pending_update"] = json!({"expires_at": pending["expires_at"], "price_ids": prices});
    }
    if pending.is_object() || done.object["status"] == "paused" {
        view["invoice_url"] = json!(waits_for(asked, done));
    }
    Ok(Response::json(200, &view))
}

/// Where the customer pays what the change waits for; its webhook may be on its way.
fn waits_for(asked: &CallRequest, done: &DoneOperation) -> Option<String> {
    let id = object::reference(&done.object, "latest_invoice")?;
    let find = || asked.api.store.read(|reader| invoice::find_payable(reader, id)).ok().flatten();
    let known = find().or_else(|| {
        let read = asked.read_anew(&format!("/v1/invoices/{}", segment(id)));
        read.inspect_err(|error| log::warn!("an invoice cannot be read invoice={id}: {}", error.message)).ok();
        find()
    });
    known.filter(|(status, _)| status == "open").and_then(|(_, url)| url)
}

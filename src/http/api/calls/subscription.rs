//! Changes of a user's subscription: another price, cancel, reactivate. The answer is our own view of it, read from the
//! tables, which contain the change already. It must never act on a subscription that is only linked by a reference.
//! Called by `calls`.

use super::{
    CallRequest, CallResult, IN_DOUBT, NothingBody, ON_SUBSCRIPTION, answers::respond, check_price, schedule,
    subscription_path, user,
};
use crate::base::entitlement;
use crate::base::ownership::{self, LinkedBy};
use crate::http::api::ApiHandler;
use crate::http::api::views::calls as views;
use crate::http::api::views::subscription as view_of;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::Post;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::RouteAccess::Api;
use crate::http::route::body::{body, words};
use crate::http::route::description::AsksStripe;
use crate::http::route::parameters::MAX_BODY_TEXT_CHARS;
use crate::http::route::{PathSegments, Route, route};
use crate::objects::invoice;
use crate::objects::subscription as subs;
use crate::objects::subscription::{FoundSubscription, ItemRow, SubscriptionRow};
use crate::objects::user::User;
use crate::outward::calls::{DoneOperation, OperationRequest};
use crate::stripe::call::segment;
use crate::stripe::form::FormBody;
use crate::stripe::object;
use crate::stripe::operation::{OperationKind, OperationParameters};

pub(super) const PRORATIONS: [&str; 3] = ["create_prorations", "always_invoice", "none"];
/// Stripe's values for what happens to a change if its payment fails.
const PAYMENTS: [&str; 4] = ["allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"];
/// Unix seconds from 2001 to 2286, so that milliseconds are refused.
pub(super) const TIMES: (i64, i64) = (1_000_000_000, 9_999_999_999);

/// What changes of a subscription have in common.
pub(super) const fn changing(route: Route<ApiHandler>) -> Route<ApiHandler> {
    route
        .answers::<views::SubscriptionChangeView>(200, "The subscription afterwards.")
        .answers::<views::InDoubtView>(202, IN_DOUBT)
        .asks_stripe(AsksStripe::Acts)
}

pub(super) const ROUTES: &[Route<ApiHandler>] = &[
    changing(
        route(Post, "/api/v1/users/{user_id}/subscription/change-plan", Api, change_plan)
            .named("changePlan", "Give the subscription another price")
            .details("What is billed at once must be paid at once, or the old price stays: `pending_update` says so.")
            .body::<ChangePlanBody>()
            .errors(&[
                ErrorCode::UserNotFound,
                ErrorCode::SubscriptionNotFound,
                ErrorCode::LinkedByReference,
                ErrorCode::ScheduleAttached,
                ErrorCode::UnknownPrice,
                ErrorCode::SubscriptionWithoutItems,
            ]),
    ),
    changing(
        route(Post, "/api/v1/users/{user_id}/subscription/cancel", Api, cancel)
            .named("cancelSubscription", "End the subscription, with its period or at once")
            .body::<CancelBody>()
            .errors(ON_SUBSCRIPTION),
    ),
    changing(
        route(Post, "/api/v1/users/{user_id}/subscription/reactivate", Api, reactivate)
            .named("reactivateSubscription", "Undo a cancellation that has not taken effect")
            .body::<NothingBody>()
            .errors(ON_SUBSCRIPTION),
    ),
];

body! {
    /// Another price of the subscription.
    #[schemars(rename = "ChangePlan")]
    struct ChangePlanBody {
        /// Stripe's id of the price; it must be in a plan.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"price_1MowQULkdIwHu7ixraBm864M")]
        price_id: String,
        /// What of the present period is billed: `create_prorations`, which is the default, `always_invoice` or `none`.
        #[schemars(extend("enum" = words(&PRORATIONS)), example = &"create_prorations")]
        proration_behavior: Option<String>,
        /// The time up to which the present price counts, unix seconds; left out: now. Not with `none`.
        #[schemars(range(min = TIMES.0, max = TIMES.1), example = 1_767_225_600)]
        proration_date: Option<i64>,
        /// What happens to the change if its payment fails, in Stripe's words; left out: with `always_invoice` the old
        /// price stays.
        #[schemars(extend("enum" = words(&PAYMENTS)), example = &"pending_if_incomplete")]
        payment_behavior: Option<String>,
    }
}

body! {
    /// When it ends.
    #[schemars(rename = "CancelSubscription")]
    struct CancelBody {
        /// True: at once; false, which is the default: with its period.
        #[schemars(example = false)]
        immediate: Option<bool>,
    }
}

/// The subscriptions that calls for a user may look at, including ended ones, the newest first. This is the one place
/// that decides which: one that is only linked by a reference may belong to a stranger, who wrote the user's id into
/// the URL of a Payment Link.
pub(super) fn subscriptions_for_calls(
    api: &ApiHandler,
    user_id: &str,
) -> Result<Vec<FoundSubscription>, ErrorResponse> {
    let mut found = api.store.read(|reader| subs::list_of_user(reader, user_id))?;
    found.retain(|one| ownership::may_be_called(one.linked_by));
    Ok(found)
}

/// The error if there is no subscription that calls may act on: none at all, or only one that they must not touch.
fn nothing_to_act_on(api: &ApiHandler, user_id: &str) -> Result<ErrorResponse, ErrorResponse> {
    let all = api.store.read(|reader| subs::list_of_user(reader, user_id))?;
    let by_reference = all.iter().find(|one| {
        one.linked_by == Some(LinkedBy::Reference) && !one.facts().deleted && !has_ended(&one.subscription.status)
    });
    let Some(found) = by_reference else {
        let message = format!("user {user_id:?} has no subscription, or only ended ones");
        return Ok(ErrorResponse::new(ErrorCode::SubscriptionNotFound, message));
    };
    let row = &found.subscription;
    let message = format!(
        "the subscription {} is linked to user {user_id:?} only by a client_reference_id, which the payer may have written: \
         it gives access and nothing else. To confirm that its customer belongs to this user, send PUT \
         /api/v1/users/{{user_id}}/customer with {{\"stripe_customer_id\": {:?}}}",
        row.stripe_subscription_id, row.stripe_customer_id
    );
    Ok(ErrorResponse::new(ErrorCode::LinkedByReference, message)
        .with("subscription_id", row.stripe_subscription_id.as_str())
        .with("stripe_customer_id", row.stripe_customer_id.as_str()))
}

/// The effective one of the user's subscriptions that have not ended.
pub(super) fn running(api: &ApiHandler, user_id: &str) -> Result<FoundSubscription, ErrorResponse> {
    running_that(api, user_id, |_| true)
}

/// The same among those that `is_preferred`, if there are any; else among all.
pub(super) fn running_that(
    api: &ApiHandler,
    user_id: &str,
    is_preferred: impl Fn(&SubscriptionRow) -> bool,
) -> Result<FoundSubscription, ErrorResponse> {
    let mut candidates = subscriptions_for_calls(api, user_id)?;
    candidates.retain(|one| !one.facts().deleted && !has_ended(&one.subscription.status));
    prefer(&mut candidates, |one| is_preferred(&one.subscription));
    // One that never started is chosen only if there is no other.
    prefer(&mut candidates, |one| ownership::runs(&one.subscription.status));
    let facts: Vec<_> = candidates.iter().map(FoundSubscription::facts).collect();
    let chosen =
        entitlement::effective(&facts, &api.context.projection.policy, api.clock.now_s()).map(|fact| fact.id.clone());
    let found = candidates.into_iter().find(|one| Some(&one.subscription.stripe_subscription_id) == chosen.as_ref());
    match found {
        Some(found) => Ok(found),
        None => Err(nothing_to_act_on(api, user_id)?),
    }
}

/// Keeps only those that `is_preferred`, if there are any.
fn prefer(candidates: &mut Vec<FoundSubscription>, is_preferred: impl Fn(&FoundSubscription) -> bool) {
    if candidates.iter().any(&is_preferred) {
        candidates.retain(is_preferred);
    }
}

fn has_ended(status: &str) -> bool {
    matches!(status, "canceled" | "incomplete_expired")
}

/// The item whose price is changed: the one that gives the tier, else the first.
fn item_of(api: &ApiHandler, target: &FoundSubscription) -> Result<ItemRow, ErrorResponse> {
    let answer = entitlement::of_one(&target.facts(), &api.context.projection.policy, api.clock.now_s());
    let items = &target.items;
    let found = items.iter().find(|item| item.stripe_price_id == answer.price_id).or_else(|| items.first());
    found.cloned().ok_or_else(|| {
        let id = &target.subscription.stripe_subscription_id;
        ErrorResponse::new(ErrorCode::SubscriptionWithoutItems, format!("no item of the subscription {id} is known"))
    })
}

/// The change of a price that a request asks for.
pub(super) struct SubscriptionChange<'a> {
    pub(super) price_id: &'a str,
    pub(super) behavior: &'a str,
    pub(super) proration_date: Option<i64>,
}

impl<'a> SubscriptionChange<'a> {
    pub(super) fn read(call: &'a CallRequest) -> Result<Self, ErrorResponse> {
        let given = &call.parameters;
        let price_id = given.required_text("price_id")?;
        let behavior = given.one_of("proration_behavior", &PRORATIONS)?.unwrap_or(PRORATIONS[0]);
        let proration_date = given.integer("proration_date", TIMES)?;
        if proration_date.is_some() && behavior == "none" {
            let message = "proration_date has no effect with proration_behavior none: leave it out";
            return Err(ErrorResponse::parameter("proration_date", message));
        }
        check_price(call.api, price_id)?;
        Ok(Self { price_id, behavior, proration_date })
    }

    /// What is billed at once must be paid at once, or the old price stays: an upgrade whose payment fails gives
    /// nothing. Invoices that are sent are paid later anyway, and Stripe does not accept this parameter for them.
    fn payment(&self, target: &FoundSubscription) -> Option<&'static str> {
        let is_sent = target.subscription.collection_method.as_deref() == Some("send_invoice");
        (self.behavior == "always_invoice" && !is_sent).then_some("pending_if_incomplete")
    }

    /// The parameters that a change and its preview have in common.
    pub(super) fn form(&self, api: &ApiHandler, target: &FoundSubscription) -> Result<FormBody, ErrorResponse> {
        let item = item_of(api, target)?;
        // Stripe sets the quantity to 1 if it is left out; a metered item has none.
        let item = FormBody::new()
            .put("id", item.stripe_item_id)
            .put("price", self.price_id)
            .put_opt("quantity", item.quantity);
        let form = FormBody::new().list("items", [item]).put("proration_behavior", self.behavior);
        Ok(form.put_opt("proration_date", self.proration_date))
    }
}

fn change_plan(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<ChangePlanBody>(api, request)?, user(api, segments)?);
    let change = SubscriptionChange::read(&call)?;
    let payment = call.parameters.one_of("payment_behavior", &PAYMENTS)?;
    act(&call, &user, || {
        let target = running(api, &user.id)?;
        let form = change.form(api, &target)?.put_opt("payment_behavior", payment.or(change.payment(&target)));
        let parameters = OperationParameters::of_price(change.price_id);
        Ok((target, SubscriptionCall { kind: OperationKind::SubscriptionChangePlan, parameters, form }))
    })
}

fn cancel(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<CancelBody>(api, request)?, user(api, segments)?);
    let immediate = call.parameters.flag("immediate")?;
    act(&call, &user, || {
        let change = if immediate {
            SubscriptionCall::new(OperationKind::SubscriptionCancel, FormBody::new())
        } else {
            let form = FormBody::new().put("cancel_at_period_end", true);
            SubscriptionCall::new(OperationKind::SubscriptionCancelAtPeriodEnd, form)
        };
        Ok((running(api, &user.id)?, change))
    })
}

/// Stripe knows two kinds of cancellation, and refuses to undo both in one request: the one that is set is undone.
fn reactivate(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<NothingBody>(api, request)?, user(api, segments)?);
    act(&call, &user, || {
        let mut target = running(api, &user.id)?;
        schedule::refuse(api, &target)?;
        if !target.subscription.cancel_at_period_end && target.subscription.cancel_at.is_none() {
            // The customer may have canceled in the portal a moment ago.
            call.read_again(&subscription_path(&target.subscription.stripe_subscription_id))?;
            target = running(api, &user.id)?;
        }
        let form = if target.subscription.cancel_at.is_some() && !target.subscription.cancel_at_period_end {
            FormBody::new().unset("cancel_at")
        } else {
            FormBody::new().put("cancel_at_period_end", false)
        };
        Ok((target, SubscriptionCall::new(OperationKind::SubscriptionReactivate, form)))
    })
}

/// A change of a subscription.
pub(super) struct SubscriptionCall {
    kind: OperationKind,
    parameters: OperationParameters,
    form: FormBody,
}

impl SubscriptionCall {
    /// A change without parameters to compare: its kind alone says how to find out whether it was done.
    pub(super) fn new(kind: OperationKind, form: FormBody) -> Self {
        Self { kind, parameters: OperationParameters::default(), form }
    }
}

/// Makes the change that `plan` returns to the subscription that it chooses, and answers with the subscription
/// afterwards.
pub(super) fn act(
    call: &CallRequest,
    user: &User,
    plan: impl FnOnce() -> Result<(FoundSubscription, SubscriptionCall), ErrorResponse>,
) -> CallResult {
    let mut updated = None;
    let outcome = call.calls.decide((Some(&user.id), None), &call.caller, |request| {
        let (target, change) = plan()?;
        let id = target.subscription.stripe_subscription_id.clone();
        // A schedule owns the values of its subscription, but does not prevent canceling or resuming it.
        if change.kind.is_update() {
            schedule::refuse(call.api, &target)?;
            updated = Some(id.clone());
        }
        let wanted =
            OperationRequest { parameters: change.parameters, subject: Some(id), ..call.operation(change.kind, user) };
        Ok::<_, ErrorResponse>(request.perform(&wanted, &change.form)?)
    })?;
    schedule::refuse_unknown(call, &outcome, updated)?;
    respond(outcome, |done| afterwards(call, user, done))
}

fn afterwards(call: &CallRequest, user: &User, done: &DoneOperation) -> CallResult {
    let id = done.object["id"].as_str().unwrap_or_default();
    let all = subscriptions_for_calls(call.api, &user.id)?;
    let found = all.iter().find(|one| one.subscription.stripe_subscription_id == id);
    let pending = &done.object["pending_update"];
    let is_unpaid = pending.is_object() || done.object["status"] == "paused";
    let pending_update = pending.is_object().then(|| views::PendingUpdate {
        expires_at: pending["expires_at"].as_i64(),
        price_ids: object::pending_prices(&done.object).into_iter().map(str::to_owned).collect(),
    });
    let change =
        views::PendingChange { pending_update, invoice_url: is_unpaid.then(|| unpaid_invoice_url(call, done)) };
    let view = match found.map(view_of) {
        Some(subscription) => {
            views::SubscriptionChangeView::Whole(Box::new(views::ChangedSubscriptionView { subscription, change }))
        }
        // The change was made, even if its customer has been linked to another user meanwhile.
        None => {
            let status = views::said(&done.object, "status");
            views::SubscriptionChangeView::Elsewhere(views::SubscriptionElsewhereView {
                id: id.to_owned(),
                status,
                change,
            })
        }
    };
    Ok(Response::json(200, &view))
}

/// The URL of the invoice that must be paid before the change takes effect. Its webhook may not have arrived yet.
fn unpaid_invoice_url(call: &CallRequest, done: &DoneOperation) -> Option<String> {
    let id = object::reference(&done.object, "latest_invoice")?;
    let find = || call.api.store.read(|reader| invoice::find_payable(reader, id)).ok().flatten();
    let known = find().or_else(|| {
        let read = call.read_again(&format!("/v1/invoices/{}", segment(id)));
        read.inspect_err(|error| log::warn!(invoice = id; "an invoice could not be read: {}", error.message)).ok();
        find()
    });
    known.filter(|(status, _)| status == "open").and_then(|(_, url)| url)
}

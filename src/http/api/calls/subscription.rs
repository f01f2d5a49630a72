//! Changes of a user's subscription: another price, its end, no end. The answer is our own view of it, read from the
//! tables that the change is already in. Called by `calls`.

use serde_json::json;

use super::{Answered, Asked, answers::told, check_price, user};
use crate::calls::{Done, Kind, Wanted};
use crate::entitlement;
use crate::http::api::{Api, views};
use crate::http::request::Request;
use crate::http::response::{ApiError, Response};
use crate::http::route::Segments;
use crate::store::subscriptions::{self as subs, Item, Shown, Subscription};
use crate::store::users::User;
use crate::stripe::call::{Priority, Verb};
use crate::stripe::form::Form;

const PRORATIONS: [&str; 3] = ["create_prorations", "always_invoice", "none"];
/// Unix seconds: 2001 to 2286, so that milliseconds are told from them.
const TIMES: (i64, i64) = (1_000_000_000, 9_999_999_999);

/// The effective one of those that have not ended.
pub(super) fn running(api: &Api, user_id: &str) -> Result<Shown, ApiError> {
    let mut shown = api.store.read(|reader| subs::list_of_user(reader, user_id))?;
    shown.retain(|one| !one.facts().deleted && !has_ended(&one.subscription.status));
    let facts: Vec<_> = shown.iter().map(Shown::facts).collect();
    let chosen = entitlement::effective(&facts, &api.context.policy, api.clock.now_s()).map(|fact| fact.id.clone());
    let found = shown.into_iter().find(|one| Some(&one.subscription.stripe_subscription_id) == chosen.as_ref());
    found.ok_or_else(|| {
        let message = format!("user {user_id:?} has no subscription that has not ended");
        ApiError::new(404, "subscription_not_found", message)
    })
}

fn has_ended(status: &str) -> bool {
    matches!(status, "canceled" | "incomplete_expired")
}

/// The item that gives the tier, else the first: it is the one whose price changes.
fn item_of(api: &Api, shown: &Shown) -> Result<Item, ApiError> {
    let answer = entitlement::of_one(&shown.facts(), &api.context.policy, api.clock.now_s());
    let items = &shown.subscription.items;
    let found = items.iter().find(|item| item.stripe_price_id == answer.price_id).or_else(|| items.first());
    found.cloned().ok_or_else(|| {
        let id = &shown.subscription.stripe_subscription_id;
        ApiError::new(409, "subscription_without_items", format!("no item of the subscription {id} is known"))
    })
}

/// The change of a price, as a request has it.
pub(super) struct Change<'a> {
    pub(super) price_id: &'a str,
    pub(super) behavior: &'a str,
    pub(super) proration_date: Option<i64>,
}

impl<'a> Change<'a> {
    pub(super) const KNOWN: [&'static str; 3] = ["price_id", "proration_behavior", "proration_date"];

    pub(super) fn read(asked: &'a Asked) -> Result<Self, ApiError> {
        let given = &asked.parameters;
        let price_id = given.required_text("price_id")?;
        let behavior = given.word("proration_behavior", &PRORATIONS)?.unwrap_or(PRORATIONS[0]);
        let proration_date = given.integer("proration_date", TIMES)?;
        if proration_date.is_some() && behavior == "none" {
            let message = "proration_date has no meaning with proration_behavior none: leave it out";
            return Err(ApiError::parameter("proration_date", message));
        }
        check_price(asked.api, price_id)?;
        Ok(Self { price_id, behavior, proration_date })
    }

    /// The parameters, which a change and its preview have in common.
    pub(super) fn form(&self, api: &Api, shown: &Shown) -> Result<Form, ApiError> {
        let item = item_of(api, shown)?;
        // Stripe sets the quantity to 1 unless it is told; a metered item has none.
        let item =
            Form::new().put("id", item.stripe_item_id).put("price", self.price_id).put_opt("quantity", item.quantity);
        let form = Form::new().list("items", [item]).put("proration_behavior", self.behavior);
        Ok(form.put_opt("proration_date", self.proration_date))
    }
}

pub(super) fn change_plan(api: &Api, request: &Request, segments: &Segments) -> Answered {
    let (asked, user) = (Asked::read(api, request, &Change::KNOWN)?, user(api, segments)?);
    let change = Change::read(&asked)?;
    update(&asked, &user, |shown| Ok((Kind::SubscriptionChangePlan, Verb::Post, change.form(api, shown)?)))
}

pub(super) fn cancel(api: &Api, request: &Request, segments: &Segments) -> Answered {
    let (asked, user) = (Asked::read(api, request, &["immediate"])?, user(api, segments)?);
    let immediate = asked.parameters.flag("immediate")?;
    update(&asked, &user, |_| {
        if immediate {
            return Ok((Kind::SubscriptionCancel, Verb::Delete, Form::new()));
        }
        let form = Form::new().put("cancel_at_period_end", true);
        Ok((Kind::SubscriptionCancelAtPeriodEnd, Verb::Post, form))
    })
}

/// Stripe says an end in two ways, and refuses to be told of both at once: what is set is undone.
pub(super) fn reactivate(api: &Api, request: &Request, segments: &Segments) -> Answered {
    let (asked, user) = (Asked::read(api, request, &[])?, user(api, segments)?);
    update(&asked, &user, |shown| {
        let ends = |row: &Subscription| row.cancel_at_period_end || row.cancel_at.is_some();
        let current = if ends(&shown.subscription) { None } else { Some(as_it_is_now(&asked, &user, shown)?) };
        let row = &current.as_ref().unwrap_or(shown).subscription;
        let form = if row.cancel_at.is_some() && !row.cancel_at_period_end {
            Form::new().unset("cancel_at")
        } else {
            Form::new().put("cancel_at_period_end", false)
        };
        Ok((Kind::SubscriptionReactivate, Verb::Post, form))
    })
}

/// Nothing is known here of an end that the customer may have asked for in the portal a moment ago.
fn as_it_is_now(asked: &Asked, user: &User, shown: &Shown) -> Result<Shown, ApiError> {
    let id = &shown.subscription.stripe_subscription_id;
    let (answer, sent) = asked.calls.get(&path_of(id), Form::new(), Priority::Interactive)?;
    asked.calls.absorb(&[&answer.text], &answer, sent)?;
    running(asked.api, &user.id)
}

fn path_of(subscription_id: &str) -> String {
    format!("/v1/subscriptions/{}", super::encoded(subscription_id))
}

/// Does to the user's subscription what `plan` says, and shows it afterwards.
fn update(asked: &Asked, user: &User, plan: impl FnOnce(&Shown) -> Result<(Kind, Verb, Form), ApiError>) -> Answered {
    let outcome = asked.calls.decide((Some(&user.id), None), &asked.caller, |_| {
        let shown = running(asked.api, &user.id)?;
        let (kind, verb, form) = plan(&shown)?;
        let id = shown.subscription.stripe_subscription_id;
        let wanted = Wanted { verb, subject: Some(id.clone()), ..asked.post(kind, user, &path_of(&id)) };
        Ok::<_, ApiError>((wanted, form))
    })?;
    told(outcome, |done| afterwards(asked.api, user, done))
}

fn afterwards(api: &Api, user: &User, done: &Done) -> Answered {
    let id = done.object["id"].as_str().unwrap_or_default();
    let shown = api.store.read(|reader| subs::list_of_user(reader, &user.id))?;
    let found = shown.iter().find(|one| one.subscription.stripe_subscription_id == id);
    // It is done, even if its customer has been given to another user meanwhile.
    let view = found.map_or_else(|| json!({"id": id, "status": done.object["status"]}), views::subscription);
    Ok(Response::json(200, &view))
}

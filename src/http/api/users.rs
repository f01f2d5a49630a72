//! Users, and what is known about each: the entitlement, subscriptions, payments, the audit log. It reads indexed local
//! rows; it must never make a network call. The entitlement is computed again from the rows at the time of the request.
//! Called through the table in `private`.

use std::time::Instant;

use serde_json::{Map, Value};

use super::{ApiHandler, body_object, views};
use crate::base::entitlement;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::{Get, Put};
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, ListView, PageView, Response};
use crate::http::route::RouteAccess::Api;
use crate::http::route::body::{RequestBody, body};
use crate::http::route::description::Link;
use crate::http::route::parameters::{self, AFTER_ROW, LIMIT, after};
use crate::http::route::{PathSegments, Route, route};
use crate::notify;
use crate::objects::effective;
use crate::objects::failure_case as failures;
use crate::objects::payment_intent as intents;
use crate::objects::subscription as subs;
use crate::objects::user as table;
use crate::objects::user::UserChange;
use crate::store::{StoreError, StoreReader, audit as audit_table};
use crate::stripe::object::{MAX_USER_ID_CHARS, is_user_id};

/// The longest mail address or name, in characters; Stripe's limit for the mail address of a customer.
const MAX_TEXT_CHARS: usize = 512;

const NO_USER: &[ErrorCode] = &[ErrorCode::UserNotFound];

pub(in crate::http) const ROUTES: &[Route<ApiHandler>] = &[
    route(Get, "/api/v1/users", Api, list)
        .named("listUsers", "Users by their ids, or those with one mail address")
        .query(&[parameters::text("email", "alice@example.com", "Only users with this mail address, whatever its case."), LIMIT, after("alice")])
        .answers::<ListView<views::UserView>>(200, "A page of users."),
    route(Get, "/api/v1/users/{user_id}", Api, get)
        .named("getUser", "A user")
        .answers::<views::UserView>(200, "The user.")
        .errors(NO_USER),
    route(Put, "/api/v1/users/{user_id}", Api, put)
        .named("putUser", "Add or change a user")
        .details("What is left out stays as it is; null removes a mail address or a name. The same request again changes nothing.")
        .body::<UserBody>()
        .answers::<views::UserView>(200, "The user, who was known.")
        .answers::<views::UserView>(201, "The user, who was added.")
        .errors(NO_USER)
        .links(&[of_answer("getUser"), of_answer("getEntitlement"), of_answer("getSubscription"), of_answer("listSubscriptions"), of_answer("listPaymentFailures"), of_answer("listPaymentIntents"), of_answer("listInvoices"), of_answer("listUserAudit"), of_answer("ensureCustomer"), of_answer("createCheckoutSession"), of_answer("createPortalSession"), of_answer("createPaymentIntent"), of_answer("changePlan"), of_answer("cancelSubscription"), of_answer("resumeSubscription")]),
    route(Get, "/api/v1/users/{user_id}/entitlement", Api, entitlement)
        .named("getEntitlement", "May this user use it?")
        .details("Computed at the time of asking, from the local copy: Stripe is never asked. A user without a subscription gets an answer, too.")
        .answers::<views::EntitlementView>(200, "The answer.")
        .errors(NO_USER),
    route(Get, "/api/v1/users/{user_id}/subscription", Api, subscription)
        .named("getSubscription", "The subscription that decides the answer")
        .answers::<views::SubscriptionView>(200, "The subscription.")
        .errors(&[ErrorCode::UserNotFound, ErrorCode::SubscriptionNotFound]),
    route(Get, "/api/v1/users/{user_id}/subscriptions", Api, subscriptions)
        .named("listSubscriptions", "All subscriptions of a user, the newest first")
        .query(&[LIMIT, after("sub_1MowQVLkdIwHu7ixeRlqHVzs")])
        .answers::<ListView<views::SubscriptionView>>(200, "A page of subscriptions.")
        .errors(NO_USER),
    route(Get, "/api/v1/users/{user_id}/payment-failures", Api, payment_failures)
        .named("listPaymentFailures", "Invoices of a user that could not be paid, the newest first")
        .query(&[LIMIT, parameters::text("starting_after", "in_1MowQWLkdIwHu7ixuzkSPfKd", "The `invoice_id` of the last row of the page before.")])
        .answers::<ListView<views::PaymentFailureView>>(200, "A page of failures.")
        .errors(NO_USER),
    route(Get, "/api/v1/users/{user_id}/payment-intents", Api, payment_intents)
        .named("listPaymentIntents", "Payments of a user, the newest first")
        .query(&[LIMIT, after("pi_3MtwBwLkdIwHu7ix28a3tqPa")])
        .answers::<ListView<views::PaymentIntentView>>(200, "A page of payment intents.")
        .errors(NO_USER),
    route(Get, "/api/v1/users/{user_id}/audit", Api, audit)
        .named("listUserAudit", "What was done to a user, the newest first")
        .query(&[LIMIT, AFTER_ROW])
        .answers::<ListView<views::AuditView>>(200, "A page of the audit log.")
        .errors(NO_USER),
];

/// A call about the user that an answer shows.
const fn of_answer(to: &'static str) -> Link {
    Link { to, parameter: "user_id", value: "$response.body#/id" }
}

body! {
    /// What is to be known of a user. What is left out stays as it is.
    #[schemars(rename = "PutUser")]
    struct UserBody {
        /// Mail address, for notices; null removes it.
        #[schemars(length(max = MAX_TEXT_CHARS), extend("format" = "email"), example = &"alice@example.com")]
        email: Option<String>,
        /// Name, for notices; null removes it.
        #[schemars(length(max = MAX_TEXT_CHARS), example = &"Alice Example")]
        name: Option<String>,
        /// The application's own data about the user; it replaces what was there.
        #[schemars(extend("type" = "object"), example = views::example_metadata())]
        metadata: Option<views::JsonObject>,
    }
}

type UserResult = Result<Response, ErrorResponse>;

fn unknown_user(user_id: &str) -> ErrorResponse {
    ErrorResponse::new(
        ErrorCode::UserNotFound,
        format!("there is no user {user_id:?}; PUT /api/v1/users/{{user_id}} creates one"),
    )
    .at("user_id")
}

/// The user id in the path: the first segment of every route here.
pub(in crate::http) fn user_id(segments: &PathSegments) -> &str {
    segments.first().map_or("", String::as_str)
}

/// The user id in the path, of a user that need not exist yet.
pub(in crate::http) fn valid_id(segments: &PathSegments) -> Result<String, ErrorResponse> {
    let id = user_id(segments);
    if !is_user_id(id) {
        let message = format!("user_id must have 1 to {MAX_USER_ID_CHARS} characters and no control characters");
        return Err(ErrorResponse::parameter("user_id", message));
    }
    Ok(id.to_owned())
}

/// Runs a query for a user that must exist.
fn of_user<T>(
    api: &ApiHandler,
    user_id: &str,
    query: impl FnOnce(&StoreReader) -> Result<T, StoreError>,
) -> Result<T, ErrorResponse> {
    let found = api.store.read(|reader| match table::exists(reader, user_id)? {
        true => query(reader).map(Some),
        false => Ok(None),
    })?;
    found.ok_or_else(|| unknown_user(user_id))
}

/// A user that must exist.
pub(in crate::http) fn find(api: &ApiHandler, user_id: &str) -> Result<table::User, ErrorResponse> {
    api.store.read(|reader| table::find(reader, user_id))?.ok_or_else(|| unknown_user(user_id))
}

pub(in crate::http) fn get(api: &ApiHandler, _: &Request, segments: &PathSegments) -> UserResult {
    Ok(Response::json(200, &views::user(&find(api, user_id(segments))?)))
}

pub(in crate::http) fn list(api: &ApiHandler, request: &Request, _: &PathSegments) -> UserResult {
    let page = PageView::from_request(request)?;
    let email = request.parameter("email").map(|email| email.trim().to_owned());
    let users = api.store.read(|reader| table::list(reader, email.as_deref(), page.id_after(), page.fetch()))?;
    Ok(Response::list(users.iter().map(views::user).collect(), &page))
}

pub(in crate::http) fn put(api: &ApiHandler, request: &Request, segments: &PathSegments) -> UserResult {
    let id = valid_id(segments)?;
    let change = change(body_object(request)?)?;
    let (now_ms, context) = (api.clock.now_ms(), std::sync::Arc::clone(&api.context));
    let (added, user) = api.store.write(move |tx| {
        let added = table::put(tx, &id, &change, now_ms)?;
        notify::with_notices(tx, &context, now_ms, |basis| effective::refresh(tx, &id, basis))?;
        Ok((added, table::find(tx, &id)?))
    })?;
    let user = user.ok_or_else(|| unknown_user(user_id(segments)))?;
    Ok(Response::json(if added { 201 } else { 200 }, &views::user(&user)))
}

fn change(mut fields: Map<String, Value>) -> Result<UserChange, ErrorResponse> {
    let email = text(&mut fields, "email")?.map(|email| email.map(|address| address.trim().to_owned()));
    if let Some(Some(address)) = &email
        && !is_address(address)
    {
        let message =
            format!("email {address:?} is not a valid mail address: use the form jane@example.com, or null for none");
        return Err(ErrorResponse::parameter("email", message));
    }
    let change = UserChange { email, name: text(&mut fields, "name")?, metadata: metadata(&mut fields)? };
    match fields.keys().next() {
        None => Ok(change),
        Some(key) => {
            let message = format!("{key:?} is not a field of a user; its fields are {}", UserBody::FIELDS.join(", "));
            Err(ErrorResponse::new(ErrorCode::ParameterUnknown, message))
        }
    }
}

/// Whether this can be a mail address: a local part, one `@`, and a possible host name. Only a mail server knows more.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_local =
        !local.is_empty() && !local.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;@".contains(c));
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    is_local && domain.split('.').all(is_label)
}

fn text(fields: &mut Map<String, Value>, name: &'static str) -> Result<Option<Option<String>>, ErrorResponse> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) if text.chars().count() <= MAX_TEXT_CHARS => Ok(Some(Some(text))),
        Some(_) => Err(ErrorResponse::parameter(
            name,
            format!("{name} must be a string of up to {MAX_TEXT_CHARS} characters, or null"),
        )),
    }
}

fn metadata(fields: &mut Map<String, Value>) -> Result<Option<String>, ErrorResponse> {
    match fields.remove("metadata") {
        None => Ok(None),
        Some(value @ Value::Object(_)) => Ok(Some(value.to_string())),
        Some(_) => Err(ErrorResponse::parameter("metadata", "metadata must be a JSON object")),
    }
}

pub(in crate::http) fn entitlement(api: &ApiHandler, _: &Request, segments: &PathSegments) -> UserResult {
    let began = Instant::now();
    let answer = computed(api, user_id(segments));
    api.store.metrics().entitlement(began.elapsed());
    answer
}

fn computed(api: &ApiHandler, id: &str) -> UserResult {
    let found = of_user(api, id, |reader| subs::list_of_user(reader, id))?;
    let facts: Vec<_> = found.iter().map(subs::FoundSubscription::facts).collect();
    let answer = entitlement::entitlement(&facts, &api.context.projection.policy, api.clock.now_s());
    Ok(Response::json(200, &views::EntitlementView { user_id: id, answer: &answer }))
}

pub(in crate::http) fn subscription(api: &ApiHandler, _: &Request, segments: &PathSegments) -> UserResult {
    let id = user_id(segments);
    let found = of_user(api, id, |reader| subs::list_of_user(reader, id))?;
    let facts: Vec<_> = found.iter().map(subs::FoundSubscription::facts).collect();
    let chosen = entitlement::effective(&facts, &api.context.projection.policy, api.clock.now_s());
    chosen
        .and_then(|fact| found.iter().find(|one| one.subscription.stripe_subscription_id == fact.id))
        .map(|one| Response::json(200, &views::subscription(one)))
        .ok_or_else(|| ErrorResponse::new(ErrorCode::SubscriptionNotFound, format!("user {id:?} has no subscription")))
}

pub(in crate::http) fn subscriptions(api: &ApiHandler, request: &Request, segments: &PathSegments) -> UserResult {
    let (id, page) = (user_id(segments), PageView::from_request(request)?);
    let found = of_user(api, id, |reader| subs::list_of_user(reader, id))?;
    let after = page.id_after();
    let skip = after.and_then(|after| found.iter().position(|one| one.subscription.stripe_subscription_id == after));
    let rows = found.iter().skip(skip.map_or(0, |index| index.saturating_add(1))).map(views::subscription);
    Ok(Response::list(rows.collect(), &page))
}

pub(in crate::http) fn payment_failures(api: &ApiHandler, request: &Request, segments: &PathSegments) -> UserResult {
    let (id, page) = (user_id(segments), PageView::from_request(request)?);
    let after = page.id_after();
    let rows = of_user(api, id, |reader| failures::list_of_user(reader, id, after, page.fetch()))?;
    Ok(Response::list(rows.iter().map(views::payment_failure).collect(), &page))
}

pub(in crate::http) fn payment_intents(api: &ApiHandler, request: &Request, segments: &PathSegments) -> UserResult {
    let (id, page) = (user_id(segments), PageView::from_request(request)?);
    let after = page.id_after();
    let rows = of_user(api, id, |reader| intents::list_of_user(reader, id, after, page.fetch()))?;
    Ok(Response::list(rows.iter().map(views::payment_intent).collect(), &page))
}

pub(in crate::http) fn audit(api: &ApiHandler, request: &Request, segments: &PathSegments) -> UserResult {
    let (id, page) = (user_id(segments), PageView::from_request(request)?);
    let before = page.row_after()?;
    let rows = of_user(api, id, |reader| audit_table::list_of_user(reader, id, before, page.fetch()))?;
    Ok(Response::list(rows.iter().map(views::audit).collect(), &page))
}

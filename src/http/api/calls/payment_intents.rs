//! Payments beside subscriptions: payment intents and refunds. Where money moves an `Idempotency-Key` is required. The
//! answer to a repeated request is the answer to the first one. Called by `calls`.

use serde_json::{Value, json};

use super::{CallRequest, CallResult, CustomerOrAnswer, answers::respond, parameters::missing, user, user_key};
use crate::base::money::{self, MoneyError};
use crate::http::api::ApiHandler;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::PathSegments;
use crate::objects::payment_intent as table;
use crate::objects::user::User;
use crate::outward::calls::{DoneOperation, KEY_METADATA, OperationRequest};
use crate::stripe::form::FormBody;
use crate::stripe::object;
use crate::stripe::operation::{OperationKind, OperationParameters};

const KNOWN: [&str; 11] = [
    "amount_cents",
    "currency",
    "description",
    "payment_method",
    "confirm",
    "off_session",
    "return_url",
    "receipt_email",
    "setup_future_usage",
    "capture_method",
    "metadata",
];
const REASONS: [&str; 4] = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];
/// Longest id (Stripe's limit).
const MAX_ID_CHARS: usize = 255;

pub(super) fn create(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (asked, user) = (CallRequest::read(api, request, &KNOWN)?.with_key()?, user(api, segments)?);
    if let Some(outcome) = asked.calls.repeated(&asked.caller)? {
        return respond(outcome, |done| intent(done, Some(&user.id)));
    }
    // Everything is checked before a customer is made.
    payment(&asked, (&user, ""), "")?;
    let customer = match asked.customer_of(&user)? {
        CustomerOrAnswer::Customer(customer) => customer,
        CustomerOrAnswer::Answer(answer) => return Ok(answer),
    };
    let outcome = asked.calls.decide((Some(&user.id), None), &asked.caller, |request| {
        let wanted = asked.wanted(OperationKind::PaymentIntentCreate, &user);
        Ok::<_, ErrorResponse>(request.perform(&wanted, &payment(&asked, (&user, &customer), request.key())?)?)
    })?;
    asked.look_again(&customer, &outcome);
    respond(outcome, |done| intent(done, Some(&user.id)))
}

fn payment(asked: &CallRequest, (user, customer): (&User, &str), key: &str) -> Result<FormBody, ErrorResponse> {
    let given = &asked.parameters;
    let amount = given.integer("amount_cents", (i64::MIN, i64::MAX))?.ok_or_else(|| missing("amount_cents"))?;
    let currency = given.required_text("currency")?;
    money::check(amount, currency).map_err(of_money)?;
    let (confirm, off_session) = (given.flag("confirm")?, given.flag("off_session")?);
    let (method, return_url) = (given.text("payment_method")?, given.url("return_url")?);
    let only_with_confirm = [("off_session", off_session), ("return_url", return_url.is_some())];
    if let Some((name, _)) = only_with_confirm.into_iter().find(|(_, given)| *given && !confirm) {
        return Err(ErrorResponse::parameter(
            name,
            format!("{name} is for a payment that is confirmed: add confirm=true"),
        ));
    }
    if confirm && method.is_none() {
        let message = "payment_method is missing: a payment that is confirmed here needs one";
        return Err(ErrorResponse { message: message.to_owned(), ..missing("payment_method") });
    }
    let methods = FormBody::new().put("enabled", true);
    // Nobody is there who could be sent to another page and back.
    let methods = if confirm && return_url.is_none() { methods.put("allow_redirects", "never") } else { methods };
    let form = FormBody::new()
        .put("amount", amount)
        .put("currency", currency)
        .put("customer", customer)
        .put_opt("description", given.text("description")?)
        .put_opt("receipt_email", given.text("receipt_email")?)
        .put_opt("setup_future_usage", given.word("setup_future_usage", &["off_session", "on_session"])?)
        .put_opt("capture_method", given.word("capture_method", &["automatic", "automatic_async", "manual"])?)
        .map("automatic_payment_methods", methods)
        .put_opt("payment_method", method)
        .put_opt("confirm", confirm.then_some(true))
        .put_opt("off_session", off_session.then_some(true))
        .put_opt("return_url", return_url);
    Ok(form.map(
        "metadata",
        given.metadata(&[(user_key(asked.api), &user.id), (KEY_METADATA, key)], &asked.api.context.projection.link)?,
    ))
}

fn of_money(error: MoneyError) -> ErrorResponse {
    match error {
        MoneyError::Currency(_) => ErrorResponse::parameter("currency", error.to_string()),
        _ => ErrorResponse::parameter("amount_cents", error.to_string()),
    }
}

pub(super) fn confirm(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let asked = CallRequest::read(api, request, &["payment_method", "return_url", "off_session"])?.with_key()?;
    let given = &asked.parameters;
    let form = FormBody::new()
        .put_opt("payment_method", given.text("payment_method")?)
        .put_opt("return_url", given.url("return_url")?)
        .put_opt("off_session", given.flag("off_session")?.then_some(true));
    change(&asked, segments, OperationKind::PaymentIntentConfirm, form)
}

pub(super) fn cancel(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let asked = CallRequest::read(api, request, &["cancellation_reason"])?;
    let reason = asked.parameters.word("cancellation_reason", &REASONS)?;
    change(&asked, segments, OperationKind::PaymentIntentCancel, FormBody::new().put_opt("cancellation_reason", reason))
}

fn change(asked: &CallRequest, segments: &PathSegments, kind: OperationKind, form: FormBody) -> CallResult {
    let (id, user_id) = subject(asked.api, segments)?;
    let outcome = asked.calls.perform(&wanted(asked, kind, id, user_id.clone()), |_| form)?;
    respond(outcome, |done| intent(done, user_id.as_deref()))
}

pub(super) fn refund(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let asked = CallRequest::read(api, request, &["amount_cents", "reason"])?.with_key()?;
    let amount = asked.parameters.integer("amount_cents", (1, money::MAX_AMOUNT))?;
    let reason = asked.parameters.word("reason", &REASONS[..3])?;
    let (id, user_id) = subject(api, segments)?;
    let form = FormBody::new().put("payment_intent", id.as_str()).put_opt("amount", amount).put_opt("reason", reason);
    let wanted = wanted(&asked, OperationKind::RefundCreate, id, user_id.clone());
    let outcome = asked.calls.perform(&wanted, |key| {
        form.map("metadata", FormBody::new().put_opt(user_key(api), user_id.as_deref()).put(KEY_METADATA, key))
    })?;
    respond(outcome, |done| {
        let refund = &done.object;
        let view = json!({
            "id": refund["id"], "payment_intent_id": object::reference(refund, "payment_intent"),
            "amount_cents": refund["amount"], "currency": refund["currency"], "status": refund["status"],
            "reason": refund["reason"],
        });
        Ok(Response::json(200, &view))
    })
}

/// The payment intent that a path names, and whose it is as far as is known here.
fn subject(api: &ApiHandler, segments: &PathSegments) -> Result<(String, Option<String>), ErrorResponse> {
    let id = segments.first().map_or("", String::as_str);
    // Stripe knows no such id, and a path with it would lead elsewhere.
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) || id.len() > MAX_ID_CHARS || matches!(id, "." | "..") {
        return Err(ErrorResponse::new(404, "resource_missing", format!("there is no payment intent {id:?}")).at("id"));
    }
    let user_id = api.store.read(|reader| table::find_user(reader, id))?;
    Ok((id.to_owned(), user_id))
}

fn wanted(asked: &CallRequest, kind: OperationKind, id: String, user_id: Option<String>) -> OperationRequest {
    let parameters = OperationParameters::default();
    OperationRequest { kind, parameters, user_id, subject: Some(id), caller: asked.caller.clone() }
}

/// A payment intent as Stripe answered. From the tables it would be what became of it since.
fn intent(done: &DoneOperation, user_id: Option<&str>) -> CallResult {
    let shown = &done.object;
    let (error_code, error_message) = object::payment_error(shown).unwrap_or_default();
    let view = json!({
        "id": shown["id"], "user_id": user_id,
        "customer_id": object::reference(shown, "customer"), "invoice_id": object::reference(shown, "invoice"),
        "charge_id": object::latest_charge(shown), "amount_cents": shown["amount"],
        "amount_received_cents": shown["amount_received"], "currency": shown["currency"], "status": shown["status"],
        "payment_method_type": object::payment_method_type(shown), "error_code": error_code,
        "error_message": error_message, "cancellation_reason": shown["cancellation_reason"],
        "idempotency_key": shown["metadata"][KEY_METADATA], "metadata": metadata(shown),
        "livemode": shown["livemode"], "created": shown["created"], "client_secret": shown["client_secret"],
        "next_action": shown["next_action"],
    });
    Ok(Response::json(200, &view))
}

fn metadata(shown: &Value) -> Value {
    shown.get("metadata").filter(|value| value.is_object()).cloned().unwrap_or_else(|| json!({}))
}

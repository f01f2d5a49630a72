//! One-time payments: payment intents and refunds. A call that moves money must never be made without an
//! `Idempotency-Key`. A repeated request gets the answer of the first one. Called by `calls`.

use serde_json::{Value, json};

use super::{CallRequest, CallResult, CustomerOrAnswer, answers::respond, parameters::missing, user, user_key};
use crate::base::money::{self, MoneyError};
use crate::http::api::ApiHandler;
use crate::http::error_code::ErrorCode;
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
/// The longest id (Stripe's limit).
const MAX_ID_CHARS: usize = 255;

pub(super) fn create(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read(api, request, &KNOWN)?.with_key()?, user(api, segments)?);
    if let Some(outcome) = call.calls.repeated(&call.caller)? {
        return respond(outcome, |done| intent(done, Some(&user.id)));
    }
    // Everything is checked before a customer is created.
    payment(&call, (&user, ""), "")?;
    let customer = match call.customer_of(&user)? {
        CustomerOrAnswer::Customer(customer) => customer,
        CustomerOrAnswer::Answer(answer) => return Ok(answer),
    };
    let outcome = call.calls.decide((Some(&user.id), None), &call.caller, |request| {
        let wanted = call.operation(OperationKind::PaymentIntentCreate, &user);
        Ok::<_, ErrorResponse>(request.perform(&wanted, &payment(&call, (&user, &customer), request.key())?)?)
    })?;
    call.check_customer(&customer, &outcome);
    respond(outcome, |done| intent(done, Some(&user.id)))
}

fn payment(call: &CallRequest, (user, customer): (&User, &str), key: &str) -> Result<FormBody, ErrorResponse> {
    let given = &call.parameters;
    let amount = given.integer("amount_cents", (i64::MIN, i64::MAX))?.ok_or_else(|| missing("amount_cents"))?;
    let currency = given.required_text("currency")?;
    money::check(amount, currency).map_err(of_money)?;
    let (confirm, off_session) = (given.flag("confirm")?, given.flag("off_session")?);
    let (method, return_url) = (given.text("payment_method")?, given.url("return_url")?);
    let only_with_confirm = [("off_session", off_session), ("return_url", return_url.is_some())];
    if let Some((name, _)) = only_with_confirm.into_iter().find(|(_, given)| *given && !confirm) {
        return Err(ErrorResponse::parameter(
            name,
            format!("{name} is for a payment that is confirmed at once: add \"confirm\": true"),
        ));
    }
    if confirm && method.is_none() {
        let message = "payment_method is missing: a payment that is confirmed at once needs one";
        return Err(ErrorResponse { message: message.to_owned(), ..missing("payment_method") });
    }
    let methods = FormBody::new().put("enabled", true);
    // Without a return URL the customer cannot be redirected and come back.
    let methods = if confirm && return_url.is_none() { methods.put("allow_redirects", "never") } else { methods };
    let form = FormBody::new()
        .put("amount", amount)
        .put("currency", currency)
        .put("customer", customer)
        .put_opt("description", given.text("description")?)
        .put_opt("receipt_email", given.text("receipt_email")?)
        .put_opt("setup_future_usage", given.one_of("setup_future_usage", &["off_session", "on_session"])?)
        .put_opt("capture_method", given.one_of("capture_method", &["automatic", "automatic_async", "manual"])?)
        .map("automatic_payment_methods", methods)
        .put_opt("payment_method", method)
        .put_opt("confirm", confirm.then_some(true))
        .put_opt("off_session", off_session.then_some(true))
        .put_opt("return_url", return_url);
    Ok(form.map(
        "metadata",
        given.metadata(&[(user_key(call.api), &user.id), (KEY_METADATA, key)], &call.api.context.projection.link)?,
    ))
}

fn of_money(error: MoneyError) -> ErrorResponse {
    match error {
        MoneyError::Currency(_) => ErrorResponse::parameter("currency", error.to_string()),
        _ => ErrorResponse::parameter("amount_cents", error.to_string()),
    }
}

pub(super) fn confirm(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let call = CallRequest::read(api, request, &["payment_method", "return_url", "off_session"])?.with_key()?;
    let given = &call.parameters;
    let form = FormBody::new()
        .put_opt("payment_method", given.text("payment_method")?)
        .put_opt("return_url", given.url("return_url")?)
        .put_opt("off_session", given.flag("off_session")?.then_some(true));
    change(&call, segments, OperationKind::PaymentIntentConfirm, form)
}

pub(super) fn cancel(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let call = CallRequest::read(api, request, &["cancellation_reason"])?;
    let reason = call.parameters.one_of("cancellation_reason", &REASONS)?;
    change(&call, segments, OperationKind::PaymentIntentCancel, FormBody::new().put_opt("cancellation_reason", reason))
}

fn change(call: &CallRequest, segments: &PathSegments, kind: OperationKind, form: FormBody) -> CallResult {
    let (id, user_id) = subject(call.api, segments)?;
    let outcome = call.calls.perform(&operation(call, kind, id, user_id.clone()), |_| form)?;
    respond(outcome, |done| intent(done, user_id.as_deref()))
}

pub(super) fn refund(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let call = CallRequest::read(api, request, &["amount_cents", "reason"])?.with_key()?;
    let amount = call.parameters.integer("amount_cents", (1, money::MAX_AMOUNT))?;
    let reason = call.parameters.one_of("reason", &REASONS[..3])?;
    let (id, user_id) = subject(api, segments)?;
    let form = FormBody::new().put("payment_intent", id.as_str()).put_opt("amount", amount).put_opt("reason", reason);
    let operation = operation(&call, OperationKind::RefundCreate, id, user_id.clone());
    let outcome = call.calls.perform(&operation, |key| {
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

/// The payment intent that the path names, and its user if that is known.
fn subject(api: &ApiHandler, segments: &PathSegments) -> Result<(String, Option<String>), ErrorResponse> {
    let id = segments.first().map_or("", String::as_str);
    // Stripe has no such ids, and the path of such an id would name something else.
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) || id.len() > MAX_ID_CHARS || matches!(id, "." | "..") {
        return Err(
            ErrorResponse::new(ErrorCode::ResourceMissing, format!("there is no payment intent {id:?}")).at("id")
        );
    }
    let user_id = api.store.read(|reader| table::find_user(reader, id))?;
    Ok((id.to_owned(), user_id))
}

fn operation(call: &CallRequest, kind: OperationKind, id: String, user_id: Option<String>) -> OperationRequest {
    let parameters = OperationParameters::default();
    OperationRequest { kind, parameters, user_id, subject: Some(id), caller: call.caller.clone() }
}

/// A payment intent as Stripe answered. The tables may already have a later state of it.
fn intent(done: &DoneOperation, user_id: Option<&str>) -> CallResult {
    let intent = &done.object;
    let (error_code, error_message) = object::payment_error(intent).unwrap_or_default();
    let view = json!({
        "id": intent["id"], "user_id": user_id,
        "customer_id": object::reference(intent, "customer"), "invoice_id": object::reference(intent, "invoice"),
        "charge_id": object::latest_charge(intent), "amount_cents": intent["amount"],
        "amount_received_cents": intent["amount_received"], "currency": intent["currency"], "status": intent["status"],
        "payment_method_type": object::payment_method_type(intent), "error_code": error_code,
        "error_message": error_message, "cancellation_reason": intent["cancellation_reason"],
        "idempotency_key": intent["metadata"][KEY_METADATA], "metadata": metadata(intent),
        "livemode": intent["livemode"], "created": intent["created"], "client_secret": intent["client_secret"],
        "next_action": intent["next_action"],
    });
    Ok(Response::json(200, &view))
}

fn metadata(intent: &Value) -> Value {
    intent.get("metadata").filter(|value| value.is_object()).cloned().unwrap_or_else(|| json!({}))
}

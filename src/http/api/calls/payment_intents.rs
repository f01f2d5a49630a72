//! One-time payments: payment intents and refunds. A call that moves money must never be made without an
//! `Idempotency-Key`. A repeated request gets the answer of the first one. Called by `calls`.

use super::{CallRequest, CallResult, CustomerOrAnswer, IN_DOUBT, answers::respond, user, user_key};
use crate::base::money::{self, MoneyError};
use crate::http::api::ApiHandler;
use crate::http::api::parameters::missing;
use crate::http::api::views;
use crate::http::api::views::calls::{InDoubtView, PaymentIntentAnswerView, RefundView, said, text};
use crate::http::error_code::ErrorCode;
use crate::http::request::Method::Post;
use crate::http::request::Request;
use crate::http::response::{ErrorResponse, Response};
use crate::http::route::RouteAccess::Api;
use crate::http::route::body::{body, words};
use crate::http::route::description::{AsksStripe, Link};
use crate::http::route::parameters::MAX_BODY_TEXT_CHARS;
use crate::http::route::{PathSegments, Route, route};
use crate::objects::payment_intent as table;
use crate::objects::user::User;
use crate::outward::calls::{DoneOperation, KEY_METADATA, OperationRequest};
use crate::stripe::form::FormBody;
use crate::stripe::object;
use crate::stripe::operation::{OperationKind, OperationParameters};

const REASONS: [&str; 4] = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];
/// Those of a refund.
const REFUNDS: &[&str] = REASONS.split_at(3).0;
const USAGES: [&str; 2] = ["off_session", "on_session"];
const CAPTURES: [&str; 3] = ["automatic", "automatic_async", "manual"];

pub(super) const ROUTES: &[Route<ApiHandler>] = &[
    on_intent(
        route(Post, "/api/v1/users/{user_id}/payment-intents", Api, create)
            .named("createPaymentIntent", "Take a one-time payment")
            .details("The same key and body get the same answer; the same key with another body is refused.")
            .body::<CreateBody>()
            .errors(&[ErrorCode::UserNotFound, ErrorCode::MetadataReserved])
            .asks_stripe(AsksStripe::Pays),
    )
    .links(&[
        of_answer("confirmPaymentIntent"),
        of_answer("cancelPaymentIntent"),
        of_answer("refundPaymentIntent"),
    ]),
    on_intent(
        route(Post, "/api/v1/payment-intents/{id}/confirm", Api, confirm)
            .named("confirmPaymentIntent", "Confirm a payment")
            .body::<ConfirmBody>()
            .asks_stripe(AsksStripe::Pays),
    ),
    on_intent(
        route(Post, "/api/v1/payment-intents/{id}/cancel", Api, cancel)
            .named("cancelPaymentIntent", "Cancel a payment that was not made yet")
            .body::<CancelBody>()
            .asks_stripe(AsksStripe::Acts),
    ),
    route(Post, "/api/v1/payment-intents/{id}/refund", Api, refund)
        .named("refundPaymentIntent", "Pay back all of a payment, or a part of it")
        .body::<RefundBody>()
        .answers::<RefundView>(200, "The refund.")
        .answers::<InDoubtView>(202, IN_DOUBT)
        .asks_stripe(AsksStripe::Pays),
];

const fn on_intent(route: Route<ApiHandler>) -> Route<ApiHandler> {
    route
        .answers::<PaymentIntentAnswerView>(200, "The payment intent, as Stripe answered.")
        .answers::<InDoubtView>(202, IN_DOUBT)
}

/// A call about the payment intent that an answer shows.
const fn of_answer(to: &'static str) -> Link {
    Link { to, parameter: "id", value: "$response.body#/id" }
}

body! {
    /// A one-time payment.
    #[schemars(rename = "CreatePaymentIntent")]
    struct CreateBody {
        /// What is to be paid, in the smallest unit of the currency (yen have no smaller one); Stripe has a least amount
        /// for each currency.
        #[schemars(range(min = 1, max = money::MAX_AMOUNT), example = 2000)]
        amount_cents: i64,
        /// Currency, three small letters (ISO 4217).
        #[schemars(regex(pattern = r"^[a-z]{3}$"), example = &"eur")]
        currency: String,
        /// What is paid for; the customer may see it.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"Order 1042")]
        description: Option<String>,
        /// Stripe's id of the card or account that pays; required with `confirm`.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"pm_1MtwBwLkdIwHu7ix28a3tqPa")]
        payment_method: Option<String>,
        /// Whether it is paid at once.
        #[schemars(example = false)]
        confirm: Option<bool>,
        /// Whether the customer is not there to be asked; only with `confirm`.
        #[schemars(example = false)]
        off_session: Option<bool>,
        /// Where a customer is sent back to who has to prove something elsewhere; only with `confirm`.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), example = &"https://app.example.com/paid")]
        return_url: Option<String>,
        /// Where Stripe sends its receipt.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"alice@example.com")]
        receipt_email: Option<String>,
        /// Whether the card is kept: `off_session` or `on_session`; left out: it is not.
        #[schemars(extend("enum" = words(&USAGES)), example = &"off_session")]
        setup_future_usage: Option<String>,
        /// When the money is taken: `automatic`, `automatic_async` or `manual`.
        #[schemars(extend("enum" = words(&CAPTURES)), example = &"automatic")]
        capture_method: Option<String>,
        /// The application's own data, kept at Stripe: texts, numbers, true and false. The keys that name a user are
        /// reserved.
        #[schemars(example = views::example_metadata())]
        metadata: Option<std::collections::BTreeMap<String, MetadataValue>>,
    }
}

/// A value of metadata; Stripe keeps its text.
#[derive(schemars::JsonSchema)]
#[schemars(untagged, inline)]
#[allow(dead_code)] // it describes
enum MetadataValue {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
}

body! {
    /// How a payment is confirmed.
    #[schemars(rename = "ConfirmPaymentIntent")]
    struct ConfirmBody {
        /// Stripe's id of the card or account that pays; left out: the one that the payment has.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), regex(pattern = r"\S"), example = &"pm_1MtwBwLkdIwHu7ix28a3tqPa")]
        payment_method: Option<String>,
        /// Where a customer is sent back to who has to prove something elsewhere.
        #[schemars(length(min = 1, max = MAX_BODY_TEXT_CHARS), example = &"https://app.example.com/paid")]
        return_url: Option<String>,
        /// Whether the customer is not there to be asked.
        #[schemars(example = false)]
        off_session: Option<bool>,
    }
}

body! {
    /// Why a payment is canceled.
    #[schemars(rename = "CancelPaymentIntent")]
    struct CancelBody {
        /// `duplicate`, `fraudulent`, `requested_by_customer` or `abandoned`.
        #[schemars(extend("enum" = words(&REASONS)), example = &"requested_by_customer")]
        cancellation_reason: Option<String>,
    }
}

body! {
    /// How much is paid back, and why.
    #[schemars(rename = "RefundPaymentIntent")]
    struct RefundBody {
        /// What is paid back, in the smallest unit of the currency; left out: all that is left.
        #[schemars(range(min = 1, max = money::MAX_AMOUNT), example = 1000)]
        amount_cents: Option<i64>,
        /// `duplicate`, `fraudulent` or `requested_by_customer`.
        #[schemars(extend("enum" = words(REFUNDS)), example = &"requested_by_customer")]
        reason: Option<String>,
    }
}

/// The longest id (Stripe's limit).
const MAX_ID_CHARS: usize = 255;

fn create(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (call, user) = (CallRequest::read::<CreateBody>(api, request)?.with_key()?, user(api, segments)?);
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
        .put_opt("setup_future_usage", given.one_of("setup_future_usage", &USAGES)?)
        .put_opt("capture_method", given.one_of("capture_method", &CAPTURES)?)
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

fn confirm(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let call = CallRequest::read::<ConfirmBody>(api, request)?.with_key()?;
    let given = &call.parameters;
    let form = FormBody::new()
        .put_opt("payment_method", given.text("payment_method")?)
        .put_opt("return_url", given.url("return_url")?)
        .put_opt("off_session", given.flag("off_session")?.then_some(true));
    change(&call, segments, OperationKind::PaymentIntentConfirm, form)
}

fn cancel(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let call = CallRequest::read::<CancelBody>(api, request)?;
    let reason = call.parameters.one_of("cancellation_reason", &REASONS)?;
    change(&call, segments, OperationKind::PaymentIntentCancel, FormBody::new().put_opt("cancellation_reason", reason))
}

fn change(call: &CallRequest, segments: &PathSegments, kind: OperationKind, form: FormBody) -> CallResult {
    let (id, user_id) = subject(call.api, segments)?;
    let outcome = call.calls.perform(&operation(call, kind, id, user_id.clone()), |_| form)?;
    respond(outcome, |done| intent(done, user_id.as_deref()))
}

fn refund(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let call = CallRequest::read::<RefundBody>(api, request)?.with_key()?;
    let amount = call.parameters.integer("amount_cents", (1, money::MAX_AMOUNT))?;
    let reason = call.parameters.one_of("reason", REFUNDS)?;
    let (id, user_id) = subject(api, segments)?;
    let form = FormBody::new().put("payment_intent", id.as_str()).put_opt("amount", amount).put_opt("reason", reason);
    let operation = operation(&call, OperationKind::RefundCreate, id, user_id.clone());
    let outcome = call.calls.perform(&operation, |key| {
        form.map("metadata", FormBody::new().put_opt(user_key(api), user_id.as_deref()).put(KEY_METADATA, key))
    })?;
    respond(outcome, |done| {
        let refund = &done.object;
        let view = RefundView {
            id: said(refund, "id"),
            payment_intent_id: object::reference(refund, "payment_intent").map(str::to_owned),
            amount_cents: refund["amount"].as_i64().unwrap_or_default(),
            currency: said(refund, "currency"),
            status: text(refund, "status"),
            reason: text(refund, "reason"),
        };
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
    let own = |text: Option<&str>| text.map(str::to_owned);
    let view = PaymentIntentAnswerView {
        id: said(intent, "id"),
        user_id: own(user_id),
        customer_id: own(object::reference(intent, "customer")),
        invoice_id: own(object::reference(intent, "invoice")),
        charge_id: own(object::latest_charge(intent)),
        amount_cents: intent["amount"].as_i64().unwrap_or_default(),
        amount_received_cents: intent["amount_received"].as_i64(),
        currency: said(intent, "currency"),
        status: said(intent, "status"),
        payment_method_type: own(object::payment_method_type(intent)),
        error_code: own(error_code),
        error_message: own(error_message),
        cancellation_reason: text(intent, "cancellation_reason"),
        idempotency_key: text(&intent["metadata"], KEY_METADATA),
        metadata: intent["metadata"].as_object().cloned().unwrap_or_default(),
        livemode: intent["livemode"].as_bool(),
        created: intent["created"].as_i64(),
        client_secret: text(intent, "client_secret"),
        next_action: intent["next_action"].as_object().cloned(),
    };
    Ok(Response::json(200, &view))
}

//! The shapes of Stripe's objects: one reader per value, which knows every API version from 2020-08-27 on. The rest
//! of the program asks for values and never for paths. Called by `objects`, and by `http::api` for answers from Stripe.
//!
//! Which version moved what: the comments name the version in which the newer place came. Sources: Stripe's API
//! changelog of 2022-11-15, 2025-03-31.basil, 2025-09-30.clover and 2026-09-30.endive.

use serde_json::Value;

/// A value that is not what Stripe documents. Trying again gives the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("data.object.{path} {problem}")]
pub struct ObjectError {
    /// Where, from the object on.
    pub path: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

type ObjectRead<T> = Result<T, ObjectError>;

fn error<T>(path: &str, problem: &'static str) -> ObjectRead<T> {
    Err(ObjectError { path: path.to_owned(), problem })
}

/// A present, non-null value.
fn present<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// The id of a reference: a string, an expanded or deleted object, or null.
#[must_use]
pub(crate) fn id_of(value: &Value) -> Option<&str> {
    let id = match value {
        Value::String(id) => Some(id.as_str()),
        Value::Object(object) => object.get("id").and_then(Value::as_str),
        _ => None,
    };
    id.filter(|id| !id.is_empty())
}

/// The id that a field refers to.
#[must_use]
pub(crate) fn reference<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key).and_then(id_of)
}

/// The id that a field must refer to.
///
/// # Errors
/// When there is none.
pub(crate) fn required_reference<'a>(object: &'a Value, key: &str) -> ObjectRead<&'a str> {
    match reference(object, key) {
        Some(id) => Ok(id),
        None => error(key, "is missing; an id or an object with one was expected"),
    }
}

/// A text that may be absent.
///
/// # Errors
/// When it is there, but no text.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> ObjectRead<Option<&'a str>> {
    match present(object, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => error(key, "is not a text"),
    }
}

/// A text that must be there.
///
/// # Errors
/// When it is absent or no text.
pub(crate) fn required_text<'a>(object: &'a Value, key: &str) -> ObjectRead<&'a str> {
    match text(object, key)? {
        Some(text) => Ok(text),
        None => error(key, "is missing; a text was expected"),
    }
}

/// The one reader of numbers: an integer of 64 bits. `-0` is 0, which the parser takes for a fraction.
#[must_use]
pub fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| (value.as_f64() == Some(0.0)).then_some(0))
}

/// A text that decides nothing: one that cannot be read counts as absent.
#[must_use]
pub(crate) fn lenient_text(object: &Value, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// The same of an integer.
#[must_use]
pub(crate) fn lenient_integer(object: &Value, key: &str) -> Option<i64> {
    object.get(key).and_then(number)
}

/// The same of yes or no; absent is no.
#[must_use]
pub(crate) fn lenient_flag(object: &Value, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool) == Some(true)
}

/// Who pays for it: its customer, or where it has none the account that stands for one (`customer_account`, 2025 and
/// later).
///
/// # Errors
/// When there is neither.
pub(crate) fn payer(object: &Value) -> ObjectRead<&str> {
    match reference(object, "customer").or_else(|| reference(object, "customer_account")) {
        Some(id) => Ok(id),
        None => error("customer", "is missing, and so is customer_account; an id was expected"),
    }
}

/// The status of a charge. Before 2015 it had none: it was paid, or had failed.
#[must_use]
pub(crate) fn charge_status(charge: &Value) -> &str {
    let paid = if lenient_flag(charge, "paid") { "succeeded" } else { "failed" };
    charge.get("status").and_then(Value::as_str).unwrap_or(paid)
}

/// An integer that may be absent: an amount in minor units, a count, a time in unix seconds.
///
/// # Errors
/// When it is there, but no integer of 64 bits.
pub(crate) fn integer(object: &Value, key: &str) -> ObjectRead<Option<i64>> {
    match present(object, key) {
        None => Ok(None),
        Some(value) => match number(value) {
            Some(number) => Ok(Some(number)),
            None => error(key, "is not an integer of 64 bits"),
        },
    }
}

/// An integer that must be there.
///
/// # Errors
/// When it is absent or no integer.
pub(crate) fn required_integer(object: &Value, key: &str) -> ObjectRead<i64> {
    match integer(object, key)? {
        Some(number) => Ok(number),
        None => error(key, "is missing; an integer was expected"),
    }
}

/// Yes or no; absent is no.
///
/// # Errors
/// When it is there, but neither.
pub(crate) fn flag(object: &Value, key: &str) -> ObjectRead<bool> {
    match present(object, key) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => error(key, "is neither true nor false"),
    }
}

/// The metadata as JSON text; absent or null is empty.
#[must_use]
pub(crate) fn metadata(object: &Value) -> String {
    present(object, "metadata").filter(|value| value.is_object()).map_or_else(|| "{}".to_owned(), Value::to_string)
}

/// Longest user id, as the contract has it.
pub(crate) const MAX_USER_ID_CHARS: usize = 255;

/// Whether a text can be the application's id of a user.
#[must_use]
pub(crate) fn is_user_id(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= MAX_USER_ID_CHARS && !id.chars().any(char::is_control)
}

/// The user that an object's metadata name, under the first of these keys that is there.
#[must_use]
pub(crate) fn named_user<'a>(object: &'a Value, keys: &[String]) -> Option<&'a str> {
    user_in_metadata(object.get("metadata")?, keys)
}

/// The user that metadata name, under the first of these keys that is there.
#[must_use]
pub(crate) fn user_in_metadata<'a>(metadata: &'a Value, keys: &[String]) -> Option<&'a str> {
    keys.iter().find_map(|key| metadata.get(key)?.as_str().filter(|id| is_user_id(id)))
}

/// The elements of an embedded list, and whether Stripe sent all of them.
#[must_use]
pub(crate) fn list<'a>(object: &'a Value, key: &str) -> (&'a [Value], bool) {
    let Some(list) = present(object, key) else { return (&[], true) };
    let data = list.get("data").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    (data, list.get("has_more").and_then(Value::as_bool) != Some(true))
}

/// A period in unix seconds, either end possibly unknown.
pub type Period = (Option<i64>, Option<i64>);

fn own_period(object: &Value) -> ObjectRead<Period> {
    Ok((integer(object, "current_period_start")?, integer(object, "current_period_end")?))
}

/// The period of a subscription item; basil moved it there from the subscription.
///
/// # Errors
/// When a time is not an integer.
pub(crate) fn item_period(subscription: &Value, item: &Value) -> ObjectRead<Period> {
    let (start, end) = own_period(item)?;
    let (older_start, older_end) = own_period(subscription)?;
    Ok((start.or(older_start), end.or(older_end)))
}

/// The period of a subscription: from the earliest start to the latest end of its items, since access lasts until
/// the last of them ends.
///
/// # Errors
/// When a time is not an integer.
pub(crate) fn subscription_period(subscription: &Value) -> ObjectRead<Period> {
    let (mut start, mut end) = (None, None);
    for item in list(subscription, "items").0 {
        let (item_start, item_end) = own_period(item)?;
        start = [start, item_start].into_iter().flatten().min();
        end = end.max(item_end);
    }
    let (older_start, older_end) = own_period(subscription)?;
    Ok((start.or(older_start), end.or(older_end)))
}

/// The price of an item, or the plan that older versions have in its place.
#[must_use]
pub(crate) fn price(item: &Value) -> Option<&Value> {
    present(item, "price").or_else(|| present(item, "plan"))
}

/// Why a subscription is paused, where it says so; endive gave it a status of its own for that.
#[must_use]
pub(crate) fn paused_reason(subscription: &Value) -> Option<&str> {
    subscription.get("status_details")?.get("paused")?.get("subscription")?.get("type")?.as_str()
}

/// Whether a subscription that is paused for this reason is so because a payment failed.
#[must_use]
pub(crate) fn is_payment_failure(paused_reason: Option<&str>) -> bool {
    matches!(paused_reason, Some("first_payment_failure" | "final_payment_failure"))
}

/// What Stripe does with invoices while it does not collect; `None`: it does.
#[must_use]
pub(crate) fn paused_collection(subscription: &Value) -> Option<&str> {
    present(subscription, "pause_collection")?.get("behavior")?.as_str()
}

/// The prices of a subscription's items, in their order. One of old that has only a `plan` counts as one item.
#[must_use]
pub(crate) fn subscription_prices(subscription: &Value) -> Vec<&str> {
    let items = list(subscription, "items").0;
    let of_items = items.iter().filter_map(|item| price(item).and_then(id_of)).collect();
    if items.is_empty() { price(subscription).and_then(id_of).into_iter().collect() } else { of_items }
}

/// The prices that a subscription changes to when what is due for it has been paid (`pending_update`).
#[must_use]
pub(crate) fn pending_prices(subscription: &Value) -> Vec<&str> {
    let items = subscription["pending_update"]["subscription_items"].as_array();
    items.into_iter().flatten().filter_map(price).filter_map(id_of).collect()
}

/// The subscription that an invoice bills; basil moved it under `parent`.
#[must_use]
pub(crate) fn invoice_subscription(invoice: &Value) -> Option<&str> {
    present(invoice, "parent")
        .and_then(|parent| parent.get("subscription_details"))
        .and_then(|details| reference(details, "subscription"))
        .or_else(|| reference(invoice, "subscription"))
}

/// The payment intent that pays an invoice, or else the bare charge that does: older versions name the intent's charge
/// beside it, newer ones do not. Basil moved them under `payments`, which webhooks leave out; of several the default
/// one counts.
#[must_use]
pub(crate) fn invoice_paid_by(invoice: &Value) -> (Option<&str>, Option<&str>) {
    let payments = list(invoice, "payments").0;
    let is_default = |payment: &&Value| payment.get("is_default").and_then(Value::as_bool) == Some(true);
    let newer = payments.iter().find(is_default).or_else(|| payments.first()).and_then(|one| present(one, "payment"));
    let payment = newer.unwrap_or(invoice);
    let intent = reference(payment, "payment_intent");
    (intent, reference(payment, "charge").filter(|_| intent.is_none()))
}

/// The service period of an invoice: from the earliest start to the latest end of its lines. The invoice's own
/// `period_start` and `period_end` mean something else.
///
/// # Errors
/// When a time is not an integer.
pub(crate) fn invoice_period(invoice: &Value) -> ObjectRead<Period> {
    let (mut start, mut end) = (None, None);
    for period in list(invoice, "lines").0.iter().filter_map(|line| present(line, "period")) {
        start = [start, integer(period, "start")?].into_iter().flatten().min();
        end = end.max(integer(period, "end")?);
    }
    Ok((start, end))
}

/// The time from which a previewed change counts; basil moved it under `parent`.
#[must_use]
pub(crate) fn invoice_proration_date(invoice: &Value) -> Option<i64> {
    let newer = present(invoice, "parent").and_then(|parent| parent.get("subscription_details"));
    [newer, Some(invoice)].into_iter().flatten().find_map(|of| number(of.get("subscription_proration_date")?))
}

/// The period of an invoice's line.
#[must_use]
pub(crate) fn line_period(line: &Value) -> Period {
    let time = |key: &str| present(line, "period").and_then(|period| period.get(key)).and_then(number);
    (time("start"), time("end"))
}

/// Whether an invoice's line makes up for a change within a period; basil moved it under `parent`.
#[must_use]
pub(crate) fn line_is_proration(line: &Value) -> bool {
    let details = |key: &str| line.get("parent")?.get(key)?.get("proration")?.as_bool();
    let newer = details("subscription_item_details").or_else(|| details("invoice_item_details"));
    newer.or_else(|| line.get("proration").and_then(Value::as_bool)) == Some(true)
}

/// The price of an invoice's line; basil moved it under `pricing`.
#[must_use]
pub(crate) fn line_price(line: &Value) -> Option<&str> {
    let newer = line.get("pricing").and_then(|pricing| pricing.get("price_details"));
    newer.and_then(|details| reference(details, "price")).or_else(|| price(line).and_then(id_of))
}

/// The newest charge of a payment intent; 2022-11-15 replaced the list by `latest_charge`.
#[must_use]
pub(crate) fn latest_charge(intent: &Value) -> Option<&str> {
    let created = |charge: &&Value| lenient_integer(charge, "created");
    reference(intent, "latest_charge").or_else(|| list(intent, "charges").0.iter().max_by_key(created).and_then(id_of))
}

/// Code and message of a payment intent's present error; the decline code is the more telling one.
#[must_use]
pub(crate) fn payment_error(intent: &Value) -> Option<(Option<&str>, Option<&str>)> {
    let failure = present(intent, "last_payment_error")?;
    let of = |key: &str| failure.get(key).and_then(Value::as_str);
    Some((of("decline_code").or_else(|| of("code")), of("message")))
}

/// How a payment intent is paid: the payment method's type where it is named, else the only type allowed.
#[must_use]
pub(crate) fn payment_method_type(intent: &Value) -> Option<&str> {
    let named = intent.get("payment_method").and_then(|method| method.get("type")).and_then(Value::as_str);
    let failed = present(intent, "last_payment_error")
        .and_then(|failure| failure.get("payment_method")?.get("type"))
        .and_then(Value::as_str);
    let allowed = intent.get("payment_method_types").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    let only = if let [one] = allowed { one.as_str() } else { None };
    named.or(failed).or(only)
}

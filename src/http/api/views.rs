//! Rows as JSON for the API and the command line: times in unix seconds, metadata as an object; ground for every call.
//! It must never read the database.

use serde::Serialize;
use serde_json::{Value, json};

use crate::base::entitlement::EntitlementAnswer;
use crate::base::ownership::LinkedBy;
use crate::objects::failure_case;
use crate::objects::invoice::InvoiceRow;
use crate::objects::payment_intent::FoundPaymentIntent;
use crate::objects::subscription::FoundSubscription;
use crate::objects::user::User;
use crate::store::audit::AuditEntry;

/// The entitlement answer, in the order of the contract.
#[derive(Serialize)]
pub(crate) struct EntitlementView<'a> {
    /// The user that it is about.
    pub user_id: &'a str,
    /// The answer.
    #[serde(flatten)]
    pub answer: &'a EntitlementAnswer,
}

/// A JSON text from the database as a value.
pub(super) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// A user.
#[must_use]
pub fn user(user: &User) -> Value {
    json!({
        "id": user.id, "email": user.email, "name": user.name, "metadata": parsed(&user.metadata),
        "stripe_customer_id": user.stripe_customer_id, "created": user.created_at_ms.div_euclid(1000),
    })
}

/// A subscription with its items.
#[must_use]
pub(crate) fn subscription(found: &FoundSubscription) -> Value {
    let row = &found.subscription;
    let items: Vec<Value> = found
        .items
        .iter()
        .map(|item| {
            json!({
                "id": item.stripe_item_id, "price_id": item.stripe_price_id, "product_id": item.stripe_product_id,
                "quantity": item.quantity, "current_period_start": item.current_period_start,
                "current_period_end": item.current_period_end, "unit_amount": item.unit_amount,
                "currency": item.currency, "interval": item.recurring_interval, "interval_count": item.interval_count,
            })
        })
        .collect();
    json!({
        "id": row.stripe_subscription_id, "customer_id": row.stripe_customer_id, "price_id": row.stripe_price_id,
        "status": row.status, "current_period_start": row.current_period_start,
        "current_period_end": row.current_period_end, "cancel_at_period_end": row.cancel_at_period_end,
        "cancel_at": row.cancel_at, "canceled_at": row.canceled_at, "ended_at": row.ended_at,
        "ends_at": found.facts().ends_at(), "trial_start": row.trial_start, "trial_end": row.trial_end,
        "collection_method": row.collection_method, "pause_collection": row.pause_collection,
        "paused_reason": row.paused_reason,
        "currency": row.currency, "latest_invoice": row.latest_invoice, "items": items,
        "user_id": found.user_id, "linked_by": found.linked_by.map(LinkedBy::as_str),
        "items_partial": row.items_partial, "metadata": parsed(&row.metadata), "livemode": row.livemode,
        "created": row.created, "as_of": row.event_created,
    })
}

#[derive(Serialize)]
struct PaymentFailure<'a> {
    id: i64,
    invoice_id: &'a str,
    subscription_id: Option<&'a str>,
    payment_intent_id: Option<&'a str>,
    amount_due: Option<i64>,
    currency: Option<&'a str>,
    attempt_count: i64,
    failure_reason: Option<&'a str>,
    next_retry_at: Option<i64>,
    first_failed_at: i64,
    resolved: bool,
    resolution: Option<&'a str>,
    resolved_at: Option<i64>,
}

/// A failed payment and its resolution.
#[must_use]
pub(crate) fn payment_failure(row: &failure_case::PaymentFailureEntry) -> Value {
    json!(PaymentFailure {
        id: row.id,
        invoice_id: &row.invoice_id,
        subscription_id: row.subscription_id.as_deref(),
        payment_intent_id: row.payment_intent_id.as_deref(),
        amount_due: row.amount_due,
        currency: row.currency.as_deref(),
        attempt_count: row.attempt_count,
        failure_reason: row.failure_reason.as_deref(),
        next_retry_at: row.next_retry_at,
        first_failed_at: row.first_failed_at,
        resolved: row.resolved,
        resolution: row.resolution.as_deref(),
        resolved_at: row.resolved_at_ms.map(|ms| ms.div_euclid(1000)),
    })
}

pub(super) fn payment_intent(found: &FoundPaymentIntent) -> Value {
    let row = &found.intent;
    json!({
        "id": row.stripe_intent_id, "user_id": found.user_id, "customer_id": row.stripe_customer_id,
        "invoice_id": row.stripe_invoice_id, "charge_id": row.stripe_charge_id, "amount_cents": row.amount_cents,
        "amount_received_cents": row.amount_received_cents, "currency": row.currency, "status": row.status,
        "payment_method_type": row.payment_method_type, "error_code": row.error_code,
        "error_message": row.error_message, "cancellation_reason": row.cancellation_reason,
        "idempotency_key": found.idempotency_key, "metadata": parsed(&row.metadata), "livemode": row.livemode,
        "created": row.created, "as_of": row.event_created,
    })
}

pub(super) fn invoice(row: &InvoiceRow) -> Value {
    json!({
        "id": row.stripe_invoice_id, "customer_id": row.stripe_customer_id,
        "subscription_id": row.stripe_subscription_id, "payment_intent_id": row.stripe_payment_intent_id,
        "number": row.number, "status": row.status, "billing_reason": row.billing_reason,
        "collection_method": row.collection_method, "currency": row.currency, "amount_due": row.amount_due,
        "amount_paid": row.amount_paid, "amount_remaining": row.amount_remaining, "total": row.total,
        "attempt_count": row.attempt_count, "next_payment_attempt": row.next_payment_attempt,
        "due_date": row.due_date, "period_start": row.period_start, "period_end": row.period_end,
        "hosted_invoice_url": row.hosted_invoice_url, "invoice_pdf": row.invoice_pdf, "created": row.created,
        "finalized_at": row.finalized_at, "paid_at": row.paid_at, "voided_at": row.voided_at,
        "marked_uncollectible_at": row.marked_uncollectible_at, "metadata": parsed(&row.metadata),
        "livemode": row.livemode, "as_of": row.event_created,
    })
}

pub(super) fn audit(entry: &AuditEntry) -> Value {
    json!({
        "id": entry.id, "at": entry.at_ms.div_euclid(1000), "actor": entry.actor, "action": entry.action,
        "user_id": entry.user_id, "subject": entry.subject, "event_id": entry.event_id,
        "detail": parsed(&entry.detail),
    })
}

//! Payments as the API shows them: payment intents, invoices, and failures with how they ended. It must never read the
//! database. Used by the API and the command line.

use schemars::JsonSchema;
use serde::Serialize;

use super::{JsonObject, example_metadata, parsed};
use crate::objects::failure_case::PaymentFailureEntry;
use crate::objects::invoice::InvoiceRow;
use crate::objects::payment_intent::FoundPaymentIntent;

/// An invoice that could not be paid, from its first failure to how it ended.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PaymentFailure")]
pub(crate) struct PaymentFailureView {
    /// Its number.
    #[schemars(example = 12)]
    id: i64,
    /// Stripe's id of the invoice.
    #[schemars(example = &"in_1MowQWLkdIwHu7ixuzkSPfKd")]
    invoice_id: String,
    /// Stripe's id of the subscription that it bills; null: it bills none.
    #[schemars(example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    subscription_id: Option<String>,
    /// Stripe's id of the payment that failed; null: not known.
    #[schemars(example = &"pi_3MtwBwLkdIwHu7ix28a3tqPa")]
    payment_intent_id: Option<String>,
    /// What is to be paid, in the smallest unit of the currency; null: not known.
    #[schemars(example = 2000)]
    amount_due: Option<i64>,
    /// Currency, three small letters (ISO 4217); null: not known.
    #[schemars(example = &"eur")]
    currency: Option<String>,
    /// How often Stripe has tried to collect it.
    #[schemars(example = 2)]
    attempt_count: i64,
    /// Stripe's code for why the payment failed; null: Stripe gave none.
    #[schemars(example = &"card_declined")]
    failure_reason: Option<String>,
    /// When Stripe will try again, unix seconds; null: it will not.
    #[schemars(example = 1_767_484_800)]
    next_retry_at: Option<i64>,
    /// When the payment failed first, unix seconds.
    #[schemars(example = 1_767_225_600)]
    first_failed_at: i64,
    /// Whether it has ended.
    #[schemars(example = true)]
    resolved: bool,
    /// How it ended: `paid`, `voided`, `uncollectible` and so on; null: it has not.
    #[schemars(example = &"paid")]
    resolution: Option<String>,
    /// When it ended, unix seconds; null: it has not.
    #[schemars(example = 1_767_484_860)]
    resolved_at: Option<i64>,
}

/// A failed payment and its resolution.
#[must_use]
pub(crate) fn payment_failure(row: &PaymentFailureEntry) -> PaymentFailureView {
    PaymentFailureView {
        id: row.id,
        invoice_id: row.invoice_id.clone(),
        subscription_id: row.subscription_id.clone(),
        payment_intent_id: row.payment_intent_id.clone(),
        amount_due: row.amount_due,
        currency: row.currency.clone(),
        attempt_count: row.attempt_count,
        failure_reason: row.failure_reason.clone(),
        next_retry_at: row.next_retry_at,
        first_failed_at: row.first_failed_at,
        resolved: row.resolved,
        resolution: row.resolution.clone(),
        resolved_at: row.resolved_at_ms.map(|ms| ms.div_euclid(1000)),
    }
}

/// A payment, as the newest event or reading shows it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PaymentIntent")]
pub(crate) struct PaymentIntentView {
    /// Stripe's id.
    #[schemars(example = &"pi_3MtwBwLkdIwHu7ix28a3tqPa")]
    id: String,
    /// The user that it belongs to; null: nobody that is known.
    #[schemars(example = &"alice")]
    user_id: Option<String>,
    /// Stripe's id of the customer who pays; null: it has none.
    #[schemars(example = &"cus_NffrFeUfNV2Hib")]
    customer_id: Option<String>,
    /// Stripe's id of the invoice that it pays; null: it pays none.
    #[schemars(example = &"in_1MowQWLkdIwHu7ixuzkSPfKd")]
    invoice_id: Option<String>,
    /// Stripe's id of its newest charge; null: nothing was charged yet.
    #[schemars(example = &"ch_3MmlLrLkdIwHu7ix0snN0B15")]
    charge_id: Option<String>,
    /// What is to be paid, in the smallest unit of the currency (yen have no smaller one).
    #[schemars(example = 2000)]
    amount_cents: i64,
    /// What was received, in the smallest unit of the currency; null: not known.
    #[schemars(example = 2000)]
    amount_received_cents: Option<i64>,
    /// Currency, three small letters (ISO 4217).
    #[schemars(example = &"eur")]
    currency: String,
    /// Stripe's status: `succeeded`, `processing`, `requires_payment_method`, `requires_confirmation`,
    /// `requires_action`, `requires_capture` or `canceled`; Stripe may add one.
    #[schemars(example = &"succeeded")]
    status: String,
    /// How it is paid: `card`, `sepa_debit` and so on; null: not known.
    #[schemars(example = &"card")]
    payment_method_type: Option<String>,
    /// Stripe's code for why the newest attempt failed; null: it did not.
    #[schemars(example = &"card_declined")]
    error_code: Option<String>,
    /// The same in words; null: it did not fail.
    #[schemars(example = &"Your card was declined.")]
    error_message: Option<String>,
    /// Why it was canceled; null: it was not, or Stripe gave no reason.
    #[schemars(example = &"requested_by_customer")]
    cancellation_reason: Option<String>,
    /// The key of the request that made it; null: not known.
    #[schemars(example = &"order-1042")]
    idempotency_key: Option<String>,
    /// Its metadata at Stripe.
    #[schemars(example = example_metadata())]
    metadata: JsonObject,
    /// Whether it is of Stripe's live mode, where real money moves.
    #[schemars(example = false)]
    livemode: bool,
    /// When Stripe made it, unix seconds; null: not known.
    #[schemars(example = 1_767_225_600)]
    created: Option<i64>,
    /// Time of the event or reading that this rests on, unix seconds.
    #[schemars(example = 1_767_225_600)]
    as_of: i64,
}

/// A payment intent.
#[must_use]
pub(crate) fn payment_intent(found: &FoundPaymentIntent) -> PaymentIntentView {
    let row = &found.intent;
    PaymentIntentView {
        id: row.stripe_intent_id.clone(),
        user_id: found.user_id.clone(),
        customer_id: row.stripe_customer_id.clone(),
        invoice_id: row.stripe_invoice_id.clone(),
        charge_id: row.stripe_charge_id.clone(),
        amount_cents: row.amount_cents,
        amount_received_cents: row.amount_received_cents,
        currency: row.currency.clone(),
        status: row.status.clone(),
        payment_method_type: row.payment_method_type.clone(),
        error_code: row.error_code.clone(),
        error_message: row.error_message.clone(),
        cancellation_reason: row.cancellation_reason.clone(),
        idempotency_key: found.idempotency_key.clone(),
        metadata: parsed(&row.metadata),
        livemode: row.livemode,
        created: row.created,
        as_of: row.event_created,
    }
}

/// An invoice, as the newest event or reading shows it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Invoice")]
pub(crate) struct InvoiceView {
    /// Stripe's id.
    #[schemars(example = &"in_1MowQWLkdIwHu7ixuzkSPfKd")]
    id: String,
    /// Stripe's id of the customer; null: it has none.
    #[schemars(example = &"cus_NffrFeUfNV2Hib")]
    customer_id: Option<String>,
    /// Stripe's id of the subscription that it bills; null: it bills none.
    #[schemars(example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    subscription_id: Option<String>,
    /// Stripe's id of its payment; null: there is none.
    #[schemars(example = &"pi_3MtwBwLkdIwHu7ix28a3tqPa")]
    payment_intent_id: Option<String>,
    /// Its number, as it is printed; null: it is a draft.
    #[schemars(example = &"8F1C2A3B-0001")]
    number: Option<String>,
    /// Stripe's status: `draft`, `open`, `paid`, `void` or `uncollectible`; null: not known.
    #[schemars(example = &"paid")]
    status: Option<String>,
    /// Why Stripe made it, for example `subscription_cycle`; null: not known.
    #[schemars(example = &"subscription_cycle")]
    billing_reason: Option<String>,
    /// `charge_automatically` or `send_invoice`; null: not known.
    #[schemars(example = &"charge_automatically")]
    collection_method: Option<String>,
    /// Currency, three small letters (ISO 4217); null: not known.
    #[schemars(example = &"eur")]
    currency: Option<String>,
    /// What is to be paid, in the smallest unit of the currency; null: not known.
    #[schemars(example = 2000)]
    amount_due: Option<i64>,
    /// What was paid, in the smallest unit of the currency; null: not known.
    #[schemars(example = 2000)]
    amount_paid: Option<i64>,
    /// What is still to be paid, in the smallest unit of the currency; null: not known.
    #[schemars(example = 0)]
    amount_remaining: Option<i64>,
    /// Its total after discounts and with taxes, in the smallest unit of the currency; null: not known.
    #[schemars(example = 2000)]
    total: Option<i64>,
    /// How often Stripe has tried to collect it; null: not known.
    #[schemars(example = 1)]
    attempt_count: Option<i64>,
    /// When Stripe will try to collect it, unix seconds; null: it will not.
    #[schemars(example = 1_767_484_800)]
    next_payment_attempt: Option<i64>,
    /// Until when it is to be paid, unix seconds; null: it is collected automatically.
    #[schemars(example = 1_768_435_200)]
    due_date: Option<i64>,
    /// Begin of the period that it bills, unix seconds; null: not known.
    #[schemars(example = 1_767_225_600)]
    period_start: Option<i64>,
    /// End of the period that it bills, unix seconds; null: not known.
    #[schemars(example = 1_769_904_000)]
    period_end: Option<i64>,
    /// Stripe's page on which it can be paid; null: it is a draft.
    #[schemars(example = &"https://invoice.stripe.com/i/acct_1/live_1")]
    hosted_invoice_url: Option<String>,
    /// Where its PDF is; null: it is a draft.
    #[schemars(example = &"https://pay.stripe.com/invoice/acct_1/live_1/pdf")]
    invoice_pdf: Option<String>,
    /// When Stripe made it, unix seconds; null: not known.
    #[schemars(example = 1_767_225_600)]
    created: Option<i64>,
    /// When it was finalized, unix seconds; null: it was not.
    #[schemars(example = 1_767_229_200)]
    finalized_at: Option<i64>,
    /// When it was paid, unix seconds; null: it was not.
    #[schemars(example = 1_767_229_260)]
    paid_at: Option<i64>,
    /// When it was voided, unix seconds; null: it was not.
    #[schemars(example = 1_767_300_000)]
    voided_at: Option<i64>,
    /// When it was marked uncollectible, unix seconds; null: it was not.
    #[schemars(example = 1_767_300_000)]
    marked_uncollectible_at: Option<i64>,
    /// Its metadata at Stripe.
    #[schemars(example = example_metadata())]
    metadata: JsonObject,
    /// Whether it is of Stripe's live mode, where real money moves.
    #[schemars(example = false)]
    livemode: bool,
    /// Time of the event or reading that this rests on, unix seconds.
    #[schemars(example = 1_767_225_600)]
    as_of: i64,
}

/// An invoice.
#[must_use]
pub(crate) fn invoice(row: &InvoiceRow) -> InvoiceView {
    InvoiceView {
        id: row.stripe_invoice_id.clone(),
        customer_id: row.stripe_customer_id.clone(),
        subscription_id: row.stripe_subscription_id.clone(),
        payment_intent_id: row.stripe_payment_intent_id.clone(),
        number: row.number.clone(),
        status: row.status.clone(),
        billing_reason: row.billing_reason.clone(),
        collection_method: row.collection_method.clone(),
        currency: row.currency.clone(),
        amount_due: row.amount_due,
        amount_paid: row.amount_paid,
        amount_remaining: row.amount_remaining,
        total: row.total,
        attempt_count: row.attempt_count,
        next_payment_attempt: row.next_payment_attempt,
        due_date: row.due_date,
        period_start: row.period_start,
        period_end: row.period_end,
        hosted_invoice_url: row.hosted_invoice_url.clone(),
        invoice_pdf: row.invoice_pdf.clone(),
        created: row.created,
        finalized_at: row.finalized_at,
        paid_at: row.paid_at,
        voided_at: row.voided_at,
        marked_uncollectible_at: row.marked_uncollectible_at,
        metadata: parsed(&row.metadata),
        livemode: row.livemode,
        as_of: row.event_created,
    }
}

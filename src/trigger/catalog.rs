//! The event types that can be made, with a line for `tilld trigger --list`. What they change in their
//! object stands in `shapes/changes.json`; a test holds the two together. Must never guess: an unknown type is
//! refused with the nearest known. Called by `event` and by the command line.

use strsim::levenshtein;

use super::TriggerError;

const EVENT_TYPES: &[(&str, &str)] = &[
    ("customer.created", "a customer without a payment method"),
    ("customer.updated", "the customer got a default payment method"),
    ("customer.deleted", "the customer is gone"),
    ("customer.subscription.created", "an active monthly subscription"),
    ("customer.subscription.updated", "active; got a default payment method"),
    ("customer.subscription.trial_will_end", "trialing, three days left"),
    ("customer.subscription.paused", "paused on request"),
    ("customer.subscription.resumed", "active after a pause"),
    ("customer.subscription.deleted", "canceled now, ten days into the period"),
    ("invoice.upcoming", "preview of the next invoice, a week ahead; has no id"),
    ("invoice.created", "a draft, finalized in an hour"),
    ("invoice.updated", "open; got a default payment method"),
    ("invoice.finalized", "open, nothing attempted"),
    ("invoice.paid", "paid in full"),
    ("invoice.payment_succeeded", "paid in full, by a payment"),
    ("invoice.payment_failed", "open after the first attempt, the next in three days"),
    ("invoice.payment_action_required", "open, the customer must authenticate"),
    ("invoice.voided", "void"),
    ("invoice.marked_uncollectible", "uncollectible after four attempts"),
    ("invoice_payment.paid", "links the invoice to its payment intent"),
    ("payment_intent.created", "waits for a payment method"),
    ("payment_intent.processing", "a bank debit on its way"),
    ("payment_intent.requires_action", "3-D Secure by redirect"),
    ("payment_intent.succeeded", "the invoice's payment, received"),
    ("payment_intent.payment_failed", "card declined, insufficient funds"),
    ("payment_intent.canceled", "canceled with its invoice"),
    ("charge.succeeded", "the payment intent's charge"),
    ("charge.refunded", "refunded in full"),
    ("charge.dispute.created", "fraudulent, needs a response in nine days"),
    ("charge.dispute.closed", "lost"),
    ("refund.created", "a full refund, succeeded"),
    ("checkout.session.completed", "subscription mode, complete and paid"),
    ("checkout.session.expired", "not paid within a day"),
    ("checkout.session.async_payment_succeeded", "a bank debit arrived after completion"),
    ("checkout.session.async_payment_failed", "a bank debit failed after completion"),
    ("product.created", "the product of the price"),
    ("price.created", "20.00 USD a month"),
];

/// `(type, what the event says)`, by family and then in the order of life.
#[must_use]
pub fn event_types() -> &'static [(&'static str, &'static str)] {
    EVENT_TYPES
}

/// The type as the catalog has it.
pub(super) fn known(event_type: &str) -> Result<&'static str, TriggerError> {
    let nearest = EVENT_TYPES
        .iter()
        .map(|(known, _)| *known)
        .min_by_key(|known| levenshtein(event_type, known))
        .unwrap_or_default();
    if nearest == event_type {
        return Ok(nearest);
    }
    Err(TriggerError::UnknownType { event_type: event_type.to_owned(), nearest })
}

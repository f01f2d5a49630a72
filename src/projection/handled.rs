//! Which events have a place in the typed tables: the kinds that `dispatch` knows, and the types of their events. All
//! others are mirrored only. Read by `dispatch`'s tests and by `tilld check`, which compares it with what Stripe sends.

/// `(kind of the object, types of its events)`. A test holds it and `dispatch` together.
pub const HANDLED: &[(&str, &[&str])] = &[
    ("customer", &["customer.created", "customer.updated", "customer.deleted"]),
    (
        "subscription",
        &[
            "customer.subscription.created",
            "customer.subscription.updated",
            "customer.subscription.trial_will_end",
            "customer.subscription.paused",
            "customer.subscription.resumed",
            "customer.subscription.deleted",
        ],
    ),
    (
        "invoice",
        &[
            "invoice.created",
            "invoice.updated",
            "invoice.finalized",
            "invoice.finalization_failed",
            "invoice.paid",
            "invoice.payment_succeeded",
            "invoice.payment_failed",
            "invoice.payment_action_required",
            "invoice.voided",
            "invoice.marked_uncollectible",
        ],
    ),
    ("invoice_payment", &["invoice_payment.paid"]),
    (
        "payment_intent",
        &[
            "payment_intent.created",
            "payment_intent.processing",
            "payment_intent.requires_action",
            "payment_intent.succeeded",
            "payment_intent.payment_failed",
            "payment_intent.canceled",
        ],
    ),
    (
        "charge",
        &[
            "charge.succeeded",
            "charge.pending",
            "charge.failed",
            "charge.captured",
            "charge.updated",
            "charge.refunded",
        ],
    ),
    ("refund", &["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"]),
    (
        "dispute",
        &[
            "charge.dispute.created",
            "charge.dispute.updated",
            "charge.dispute.closed",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.funds_reinstated",
        ],
    ),
    (
        "checkout.session",
        &[
            "checkout.session.completed",
            "checkout.session.expired",
            "checkout.session.async_payment_succeeded",
            "checkout.session.async_payment_failed",
        ],
    ),
];

/// Every type of event that has a place in the typed tables.
pub fn types() -> impl Iterator<Item = &'static str> {
    HANDLED.iter().flat_map(|(_, types)| types.iter().copied())
}

/// Whether objects of this kind have a typed table.
#[must_use]
pub fn has_table(kind: &str) -> bool {
    HANDLED.iter().any(|(known, _)| *known == kind)
}

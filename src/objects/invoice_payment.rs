//! By what an invoice is paid (2025-05 and later): the link between an invoice and its payment, which the invoice's own
//! webhooks no longer name. Both rows are written again once the link is known. It must never set an owner. Called by
//! `objects`; its queries by `invoice` and `payment_intent`.

use super::history::{self, EventConcern};
use super::row::row;
use super::{
    ProjectionError, ProjectionStep, WinningState, failure_case, field, invoice, own_key, payment_intent, rewrite,
};
use crate::base::object_kind::ObjectKind;
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader};

/// A key that may read invoices may read it.
pub(super) const KIND: ObjectKind = ObjectKind {
    object: "invoice_payment",
    name: "invoice_payments",
    table: Some(("stripe_invoice_payments", "stripe_invoice_payment_id")),
    events: &["invoice_payment.paid"],
    path: "/v1/invoice_payments",
    permission: "Invoices",
    example: include_str!("shapes/invoice_payment.json"),
    ..ObjectKind::PLAIN
};

row! {
    /// By what an invoice is paid, as its newest event has it.
    pub(crate) struct InvoicePaymentRow in "stripe_invoice_payments" {
        key stripe_invoice_payment_id: String = field::id("id"),
        fixed stripe_invoice_id: String = field::id("invoice"),
        fixed stripe_payment_intent_id: Option<String> = field::reference("payment.payment_intent"),
        stripe_charge_id: Option<String> = field::reference("payment.charge"),
        is_default: bool = field::lenient_flag("is_default"),
        status: Option<String> = field::lenient_text("status"),
    }
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    history::audit(step, &EventConcern::default())?;
    let Some(winner) = winner else { return Ok(()) };
    let payment = InvoicePaymentRow::of(winner)?;
    payment.put(step.tx)?;
    let basis = step.basis();
    let invoice = own_key(&invoice::KIND, &payment.stripe_invoice_id, winner.livemode);
    rewrite(step.tx, invoice, basis, invoice::write)?;
    if let Some(intent_id) = &payment.stripe_payment_intent_id {
        rewrite(step.tx, own_key(&payment_intent::KIND, intent_id, winner.livemode), basis, payment_intent::write)?;
    }
    failure_case::refresh(step.tx, &payment.stripe_invoice_id)?;
    Ok(())
}

columns! {
    /// By what an invoice is paid.
    pub(super) struct InvoicePaidBy {
        payment_intent_id: Option<String> = "stripe_payment_intent_id",
        charge_id: Option<String> = "stripe_charge_id",
    }
}

/// Payment intent and charge by which an invoice is paid, as its invoice payments say.
pub(super) fn find_paid_by(reader: &StoreReader, invoice_id: &str) -> Result<Option<InvoicePaidBy>, StoreError> {
    const SQL: &str = select!(
        InvoicePaidBy,
        "FROM stripe_invoice_payments WHERE stripe_invoice_id = ?1
         ORDER BY is_default DESC, event_created DESC, stripe_invoice_payment_id LIMIT 1"
    );
    reader.find(SQL, [invoice_id], InvoicePaidBy::read)
}

/// The invoice that a payment intent pays, as its invoice payments say.
pub(super) fn find_invoice(reader: &StoreReader, intent_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT stripe_invoice_id FROM stripe_invoice_payments WHERE stripe_payment_intent_id = ?1
        ORDER BY is_default DESC, event_created DESC, stripe_invoice_payment_id LIMIT 1";
    reader.find(SQL, [intent_id], row::only)
}

/// In a SELECT from `stripe_invoices`: the payment intent by which the invoice is paid.
pub(super) const INTENT_OF_INVOICE: &str = "(SELECT p.stripe_payment_intent_id FROM stripe_invoice_payments p
    WHERE p.stripe_invoice_id = stripe_invoices.stripe_invoice_id
    ORDER BY p.is_default DESC, p.event_created DESC, p.stripe_invoice_payment_id LIMIT 1)";

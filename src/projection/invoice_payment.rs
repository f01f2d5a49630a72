//! By what an invoice is paid (2025-05 and later): the link between an invoice and its payment, which the invoice's own
//! webhooks no longer name. Both rows are written again once the link is known. Called by `projection`.

use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, derived, invoice, payment_intent, rewrite};
use crate::store::invoices::{self, InvoicePayment};
use crate::stripe::object::{self, ObjectError};

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    history::audit(step, &Concern::default())?;
    let Some(winner) = winner else { return Ok(()) };
    let payment = row(winner)?;
    invoices::put_payment(step.tx, &payment)?;
    let basis = step.basis();
    rewrite(step.tx, ("invoice", &payment.stripe_invoice_id, winner.livemode), basis, invoice::write)?;
    if let Some(intent_id) = &payment.stripe_payment_intent_id {
        rewrite(step.tx, ("payment_intent", intent_id, winner.livemode), basis, payment_intent::write)?;
    }
    derived::refresh_case(step.tx, &payment.stripe_invoice_id)?;
    Ok(())
}

fn row(winner: &Winner) -> Result<InvoicePayment, ObjectError> {
    let shown = winner.object.as_ref();
    let paid_by =
        |key: &str| shown.get("payment").and_then(|payment| object::reference(payment, key)).map(str::to_owned);
    Ok(InvoicePayment {
        stripe_invoice_payment_id: object::required_reference(shown, "id")?.to_owned(),
        stripe_invoice_id: object::required_reference(shown, "invoice")?.to_owned(),
        stripe_payment_intent_id: paid_by("payment_intent"),
        stripe_charge_id: paid_by("charge"),
        is_default: object::told_flag(shown, "is_default"),
        status: object::told_text(shown, "status"),
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

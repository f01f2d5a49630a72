//! Invoices, and the failure cases that they open and close. `invoice.paid` and
//! `invoice.payment_succeeded` show the same change and are projected the same way, so its effect is had once.

use super::derived::{self, Basis};
use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, notices, occasions, owner, payment_intent, rewrite, standing};
use crate::dunning::{Heard, What};
use crate::store::invoices::{self, Invoice};
use crate::store::owners::Named;
use crate::store::payment_failures::{self, Failure};
use crate::store::{Tx, payment_intents};
use crate::stripe::object::{self, ObjectError};

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let id = object::required_reference(shown, "id")?;
    let customer_id = object::reference(shown, "customer");
    let subscription_id = object::invoice_subscription(shown);
    let user_id = object::named_user(shown, &step.context.link.metadata_keys);
    let concern = Concern { customer_id, subscription_id, user_id, ..Concern::default() };
    history::record(step, &concern)?;
    let object = (Named::Invoice, id);
    let lost = winner.map_or(Ok(None), |winner| owner::lost_name(step.tx, winner, object, &step.context.link))?;
    if let Some(winner) = winner {
        write(step.tx, winner, step.basis())?;
    }
    if owner::keep_name(step, winner, object, lost)? {
        owner::refresh_invoice(step.tx, id, step.basis())?;
    }
    let heard = heard(step);
    if heard.is_some() {
        note_failure(step, id)?;
    }
    let has_case = derived::refresh_case(step.tx, id)?;
    if let Some(subscription_id) = subscription_id {
        standing::refresh(step.tx, subscription_id)?;
        derived::refresh_effective_of(step.tx, subscription_id, step.basis())?;
    }
    if has_case {
        notices::review(step.tx, id, heard.as_ref(), step.basis())?;
    }
    let is_sent = object::text(shown, "collection_method")? == Some("send_invoice");
    if let Some(subscription_id) = subscription_id.filter(|_| has_case || is_sent) {
        // Where this case is settled, another one stands for the delinquency; and an invoice that was sent has none.
        notices::review_subscription(step.tx, subscription_id, step.basis())?;
    }
    if step.event.event_type == "invoice.finalized" {
        occasions::invoice_finalized(step, id)?;
    }
    history::audit(step, &concern)
}

/// What the event tells of an attempt to pay.
fn heard(step: &Step) -> Option<Heard> {
    let what = match step.event.event_type.as_str() {
        "invoice.payment_failed" => What::Failed,
        "invoice.payment_action_required" => What::ActionRequired,
        _ => return None,
    };
    let attempt = object::told_integer(&step.snapshot.object, "attempt_count").unwrap_or(0);
    Some(Heard { what, attempt, at: step.event.created })
}

fn note_failure(step: &Step, invoice_id: &str) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let currency = object::told_text(shown, "currency");
    let failure = Failure {
        invoice_id,
        subscription_id: object::invoice_subscription(shown),
        customer_id: object::reference(shown, "customer"),
        amount_due: object::integer(shown, "amount_due")?,
        currency: currency.as_deref(),
        attempt_count: object::told_integer(shown, "attempt_count").unwrap_or(0),
        next_retry_at: object::told_integer(shown, "next_payment_attempt"),
        failed_at: step.event.created,
        event_id: &step.event.id,
    };
    Ok(payment_failures::note(step.tx, &failure, step.now_ms)?)
}

pub(super) fn write(tx: &Tx, winner: &Winner, basis: Basis) -> Result<(), ProjectionError> {
    let mut row = Invoice { named: owner::is_named(winner, basis.link), ..row(winner)? };
    // Webhooks of basil and later do not say by what an invoice is paid; invoice_payment events do.
    if row.stripe_payment_intent_id.is_none()
        && row.stripe_charge_id.is_none()
        && let Some((intent_id, charge_id)) = invoices::find_paid_by(tx, &row.stripe_invoice_id)?
    {
        row.stripe_payment_intent_id = intent_id;
        row.stripe_charge_id = charge_id;
    }
    let standing = invoices::find_standing(tx, &row.stripe_invoice_id)?;
    invoices::put(tx, &row)?;
    owner::refresh_invoice(tx, &row.stripe_invoice_id, basis)?;
    if standing.as_ref().and_then(|standing| standing.subscription_id.as_ref()) != row.stripe_subscription_id.as_ref() {
        for intent_id in payment_intents::list_ids_of_invoice(tx, &row.stripe_invoice_id)? {
            owner::refresh_payment_intent(tx, &intent_id, basis)?;
        }
    }
    let former = standing.and_then(|standing| standing.payment_intent_id);
    if former != row.stripe_payment_intent_id {
        for intent_id in former.iter().chain(&row.stripe_payment_intent_id) {
            rewrite(tx, ("payment_intent", intent_id, winner.livemode), basis, payment_intent::write)?;
        }
    }
    Ok(())
}

fn row(winner: &Winner) -> Result<Invoice, ObjectError> {
    let shown = winner.object.as_ref();
    let owned = |key: &str| object::told_text(shown, key);
    let integer = |key: &str| object::told_integer(shown, key);
    let (intent_id, charge_id) = object::invoice_paid_by(shown);
    let (period_start, period_end) = object::invoice_period(shown)?;
    Ok(Invoice {
        stripe_invoice_id: object::required_reference(shown, "id")?.to_owned(),
        stripe_customer_id: object::reference(shown, "customer").map(str::to_owned),
        stripe_subscription_id: object::invoice_subscription(shown).map(str::to_owned),
        stripe_payment_intent_id: intent_id.map(str::to_owned),
        stripe_charge_id: charge_id.map(str::to_owned),
        number: owned("number"),
        status: object::text(shown, "status")?.map(str::to_owned),
        billing_reason: owned("billing_reason"),
        collection_method: owned("collection_method"),
        currency: owned("currency"),
        amount_due: object::integer(shown, "amount_due")?,
        amount_paid: object::integer(shown, "amount_paid")?,
        amount_remaining: object::integer(shown, "amount_remaining")?,
        total: object::integer(shown, "total")?,
        attempt_count: integer("attempt_count"),
        next_payment_attempt: integer("next_payment_attempt"),
        due_date: integer("due_date"),
        period_start,
        period_end,
        hosted_invoice_url: owned("hosted_invoice_url"),
        invoice_pdf: owned("invoice_pdf"),
        created: integer("created"),
        finalized_at: object::invoice_transition(shown, "finalized_at")?,
        paid_at: object::invoice_transition(shown, "paid_at")?,
        voided_at: object::invoice_transition(shown, "voided_at")?,
        marked_uncollectible_at: object::invoice_transition(shown, "marked_uncollectible_at")?,
        metadata: object::metadata(shown),
        deleted: winner.deleted,
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
        named: false,
    })
}

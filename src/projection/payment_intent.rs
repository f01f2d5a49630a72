//! Payment intents: their present state, the newest failure of each, and the key of the request that made them.
//! Guests have no customer.

use super::derived::{self, Basis};
use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, owner};
use crate::kind::{self, ObjectKind, ObjectProgress, ObjectState};
use crate::store::owners::Named;
use crate::store::payment_intents::{self, Failure, PaymentIntent};
use crate::store::{Tx, invoices};
use crate::stripe::object::{self, ObjectError};

/// The kind.
pub(super) const KIND: ObjectKind = ObjectKind {
    object: "payment_intent",
    name: "payment_intents",
    table: Some(("stripe_payment_intents", "stripe_intent_id")),
    events: &[
        "payment_intent.created",
        "payment_intent.processing",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
    ],
    path: "/v1/payment_intents",
    permission: "Payment Intents",
    terminal: |object| matches!(kind::word(object, "status"), "succeeded" | "canceled"),
    progress,
    example: include_str!("shapes/payment_intent.json"),
    ..ObjectKind::PLAIN
};

/// Payment intents have no update events with old values. Which of a challenge, a failure and a new attempt came last in
/// one second, nothing tells: each can follow on each.
fn progress(state: &ObjectState) -> ObjectProgress {
    let step = match if state.is_read { state.status() } else { kind::last_word(state.event_type) } {
        "created" => 0,
        "amount_capturable_updated" | "requires_capture" => 2,
        "succeeded" | "canceled" => 3,
        _ => 1,
    };
    [step, object::told_integer(state.object, "amount_received").unwrap_or(0), 0]
}

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let id = object::required_reference(shown, "id")?;
    let concern = Concern {
        customer_id: object::reference(shown, "customer"),
        user_id: object::named_user(shown, &step.context.link.metadata_keys),
        ..Concern::default()
    };
    history::record(step, &concern)?;
    let object = (Named::PaymentIntent, id);
    let lost = winner.map_or(Ok(None), |winner| owner::lost_name(step.tx, winner, object, &step.context.link))?;
    if let Some(winner) = winner {
        write(step.tx, winner, step.basis())?;
    }
    if owner::keep_name(step, winner, object, lost)? {
        owner::refresh_payment_intent(step.tx, id, step.basis())?;
    }
    match (step.event.event_type.as_str(), &step.snapshot.idempotency_key) {
        ("payment_intent.created", Some(key)) => payment_intents::set_idempotency_key(step.tx, id, key)?,
        ("payment_intent.payment_failed", _) => {
            let (code, _) = object::payment_error(shown).unwrap_or_default();
            let failure = Failure { at: step.event.created, code, event_id: &step.event.id };
            payment_intents::note_failure(step.tx, id, &failure)?;
        }
        _ => {}
    }
    refresh_cases(step.tx, id)?;
    history::audit(step, &concern)
}

/// The reason of a failure case is its payment's.
fn refresh_cases(tx: &Tx, intent_id: &str) -> Result<(), ProjectionError> {
    let mut invoice_ids = invoices::list_ids_of_intent(tx, intent_id)?;
    invoice_ids.extend(payment_intents::find_invoice(tx, intent_id)?);
    for invoice_id in invoice_ids {
        derived::refresh_case(tx, &invoice_id)?;
    }
    Ok(())
}

pub(super) fn write(tx: &Tx, winner: &Winner, basis: Basis) -> Result<(), ProjectionError> {
    let mut row = row(winner)?;
    if row.stripe_invoice_id.is_none() {
        row.stripe_invoice_id = match invoices::find_invoice_paid_by(tx, &row.stripe_intent_id)? {
            None => invoices::list_ids_of_intent(tx, &row.stripe_intent_id)?.into_iter().next(),
            told => told,
        };
    }
    row.named = owner::is_named(winner, basis.link);
    payment_intents::put(tx, &row)?;
    Ok(owner::refresh_payment_intent(tx, &row.stripe_intent_id, basis)?)
}

fn row(winner: &Winner) -> Result<PaymentIntent, ObjectError> {
    let shown = winner.object.as_ref();
    let (error_code, error_message) = object::payment_error(shown).unwrap_or_default();
    let referred = |key: &str| object::reference(shown, key).map(str::to_owned);
    Ok(PaymentIntent {
        stripe_intent_id: object::required_reference(shown, "id")?.to_owned(),
        user_id: None,
        named: false,
        stripe_customer_id: referred("customer"),
        stripe_invoice_id: referred("invoice"),
        stripe_charge_id: object::latest_charge(shown).map(str::to_owned),
        amount_cents: object::required_integer(shown, "amount")?,
        amount_received_cents: object::told_integer(shown, "amount_received"),
        currency: object::required_text(shown, "currency")?.to_owned(),
        status: object::required_text(shown, "status")?.to_owned(),
        payment_method_type: object::payment_method_type(shown).map(str::to_owned),
        error_code: error_code.map(str::to_owned),
        error_message: error_message.map(str::to_owned),
        cancellation_reason: object::told_text(shown, "cancellation_reason"),
        metadata: object::metadata(shown),
        created: object::told_integer(shown, "created"),
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

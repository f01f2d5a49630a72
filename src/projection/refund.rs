//! Refunds. They may fail or be canceled long after they were made, so what has gone back of a charge is computed from
//! them, and the charge's row is written again with each. Called by `projection`.

use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, charge, rewrite};
use crate::store::charges::{self, Refund};
use crate::stripe::object::{self, ObjectError};

/// `refund.…` and `charge.refund.updated`.
pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    history::audit(step, &Concern::default())?;
    let Some(winner) = winner else { return Ok(()) };
    let refund = row(winner)?;
    charges::put_refund(step.tx, &refund)?;
    let Some(charge_id) = &refund.stripe_charge_id else { return Ok(()) };
    rewrite(step.tx, ("charge", charge_id, winner.livemode), step.basis(), charge::write)
}

fn row(winner: &Winner) -> Result<Refund, ObjectError> {
    let shown = winner.object.as_ref();
    let referred = |key: &str| object::reference(shown, key).map(str::to_owned);
    Ok(Refund {
        stripe_refund_id: object::required_reference(shown, "id")?.to_owned(),
        stripe_charge_id: referred("charge"),
        stripe_payment_intent_id: referred("payment_intent"),
        amount_cents: object::required_integer(shown, "amount")?,
        currency: object::told_text(shown, "currency"),
        // Refunds of old that had no status had gone through.
        status: object::told_text(shown, "status").unwrap_or_else(|| "succeeded".to_owned()),
        reason: object::told_text(shown, "reason"),
        failure_reason: object::told_text(shown, "failure_reason"),
        created: object::told_integer(shown, "created"),
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

//! Charges. A refund shows as a growing `amount_refunded` of its charge, and may still fail or be canceled, of which no
//! event of the charge tells: the word on a refund is the refund object's (`refund`). Called by `projection`.

use super::derived::Basis;
use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner};
use crate::store::Tx;
use crate::store::charges::{self, Charge, Refunds};
use crate::stripe::object::{self, ObjectError};

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let customer_id = object::reference(shown, "customer");
    let concern = Concern { customer_id, ..Concern::default() };
    history::record(step, &concern)?;
    if let Some(winner) = winner {
        write(step.tx, winner, step.basis())?;
    }
    history::audit(step, &concern)
}

pub(super) fn write(tx: &Tx, winner: &Winner, _: Basis) -> Result<(), ProjectionError> {
    let mut row = row(winner)?;
    let refunds = charges::sum_refunds(tx, &row.stripe_charge_id)?;
    let refunded = refunded_of(row.amount_refunded_cents, refunds);
    if refunded != row.amount_refunded_cents {
        row.amount_refunded_cents = refunded;
        row.refunded = row.amount_cents > 0 && refunded >= row.amount_cents;
    }
    Ok(charges::put(tx, &row)?)
}

/// What of a charge has gone back: what it says itself, less the refunds that came to nothing, but no less than those
/// that stand. A charge that already left out what came to nothing is not believed to have refunded less than these.
fn refunded_of(said: i64, refunds: Refunds) -> i64 {
    said.saturating_sub(refunds.undone).max(refunds.standing)
}

fn row(winner: &Winner) -> Result<Charge, ObjectError> {
    let shown = winner.object.as_ref();
    let referred = |key: &str| object::reference(shown, key).map(str::to_owned);
    Ok(Charge {
        stripe_charge_id: object::required_reference(shown, "id")?.to_owned(),
        stripe_customer_id: referred("customer"),
        stripe_payment_intent_id: referred("payment_intent"),
        amount_cents: object::required_integer(shown, "amount")?,
        amount_refunded_cents: object::integer(shown, "amount_refunded")?.unwrap_or(0),
        refunded: object::flag(shown, "refunded")?,
        disputed: object::told_flag(shown, "disputed"),
        currency: object::required_text(shown, "currency")?.to_owned(),
        status: object::charge_status(shown).to_owned(),
        failure_code: object::told_text(shown, "failure_code"),
        created: object::told_integer(shown, "created"),
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

//! Charges. A refund shows as a growing `amount_refunded`; `refunded` only when nothing is left.

use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner};
use crate::store::charges::{self, Charge};
use crate::stripe::object::{self, ObjectError};

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let customer_id = object::reference(shown, "customer");
    let concern = Concern { customer_id, ..Concern::default() };
    history::record(step, &concern)?;
    if let Some(winner) = winner {
        charges::put(step.tx, &row(winner)?)?;
    }
    history::audit(step, &concern)
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
        disputed: object::flag(shown, "disputed")?,
        currency: object::required_text(shown, "currency")?.to_owned(),
        status: object::required_text(shown, "status")?.to_owned(),
        failure_code: object::text(shown, "failure_code")?.map(str::to_owned),
        created: object::integer(shown, "created")?,
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

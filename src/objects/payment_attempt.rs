//! Every attempt to pay of which an event told: `payment_attempts`, one row per event, from which triggers keep the figures by
//! the hour. It must never count an event twice, nor an object that was only read. Called by `payment_intent`.

use super::{ProjectionError, ProjectionStep};
use crate::base::decline_code;
use crate::stripe::object;

const ADD: &str = "INSERT INTO payment_attempts
    (event_id, stripe_intent_id, at, outcome, code, currency, amount_cents, livemode)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (event_id) DO NOTHING";

/// Notes the attempt that the event tells of, if it tells of one.
pub(super) fn note(step: &ProjectionStep) -> Result<(), ProjectionError> {
    let (event, intent) = (step.event, &step.snapshot.object);
    let (outcome, code) = match event.event_type.as_str() {
        "payment_intent.succeeded" => ("succeeded", ""),
        "payment_intent.payment_failed" => {
            let (code, _) = object::payment_error(intent).unwrap_or_default();
            ("failed", decline_code::listed(code))
        }
        _ => return Ok(()),
    };
    let received = object::lenient_integer(intent, "amount_received").filter(|_| outcome == "succeeded");
    let amount = received.map_or_else(|| object::required_integer(intent, "amount"), Ok)?;
    let params = (
        &event.id,
        object::required_reference(intent, "id")?,
        event.created,
        outcome,
        code,
        object::required_text(intent, "currency")?,
        amount,
        event.livemode.unwrap_or(false),
    );
    step.tx.execute(ADD, params)?;
    Ok(())
}

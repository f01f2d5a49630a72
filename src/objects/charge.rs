//! Charges. A refund shows as a growing `amount_refunded` of its charge. It may still fail or be canceled, which no event of
//! the charge shows, so what became of a refund is read from the refund itself (`refund`). It must never count a refund
//! that came to nothing. Called by `objects`.

use serde_json::Value;

use super::history::{self, EventConcern};
use super::row::row;
use super::{DerivationBasis, ProjectionError, ProjectionStep, WinningState, field, refund};
use crate::base::object_kind::ObjectKind;
use crate::store::Tx;
use crate::stripe::object;

pub(super) const KIND: ObjectKind = ObjectKind {
    object: "charge",
    name: "charges",
    table: Some(("stripe_charges", "stripe_charge_id")),
    events: &[
        "charge.succeeded",
        "charge.pending",
        "charge.failed",
        "charge.captured",
        "charge.updated",
        "charge.refunded",
    ],
    path: "/v1/charges",
    permission: "Charges",
    progress: |state| {
        [
            i64::from(object::charge_status(state.object) != "pending"),
            object::lenient_integer(state.object, "amount_refunded").unwrap_or(0),
            i64::from(state.object.get("disputed").and_then(Value::as_bool) == Some(true)),
        ]
    },
    example: include_str!("shapes/charge.json"),
    ..ObjectKind::PLAIN
};

row! {
    /// A charge as its newest event has it, less the refunds that failed or were canceled. Amounts in minor units, times in unix
    /// seconds.
    pub(crate) struct ChargeRow in "stripe_charges" {
        key stripe_charge_id: String = field::id("id"),
        stripe_customer_id: Option<String> = field::reference("customer"),
        stripe_payment_intent_id: Option<String> = field::reference("payment_intent"),
        amount_cents: i64 = field::integer("amount"),
        amount_refunded_cents: i64 = field::integer_or_zero("amount_refunded"),
        refunded: bool = field::flag("refunded"),
        disputed: bool = field::lenient_flag("disputed"),
        currency: String = field::text("currency"),
        status: String = |winner: &WinningState| Ok(object::charge_status(&winner.object).to_owned()),
        failure_code: Option<String> = field::lenient_text("failure_code"),
        created: Option<i64> = field::lenient_integer("created"),
    }
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    let customer_id = object::reference(&step.snapshot.object, "customer");
    let concern = EventConcern { customer_id, ..EventConcern::default() };
    history::record(step, &concern)?;
    if let Some(winner) = winner {
        write(step.tx, winner, step.basis())?;
    }
    history::audit(step, &concern)
}

pub(super) fn write(tx: &Tx, winner: &WinningState, _: DerivationBasis) -> Result<(), ProjectionError> {
    let mut row = ChargeRow::of(winner)?;
    let refunds = refund::sum_of_charge(tx, &row.stripe_charge_id)?;
    let refunded = refunded_of(row.amount_refunded_cents, &refunds);
    if refunded != row.amount_refunded_cents {
        row.amount_refunded_cents = refunded;
        row.refunded = row.amount_cents > 0 && refunded >= row.amount_cents;
    }
    Ok(row.put(tx)?)
}

/// How much of a charge was refunded: what it says itself, less the refunds that failed, but no less than the valid ones.
/// A charge that already leaves out the failed ones is thus not taken to have refunded less than the valid ones.
fn refunded_of(amount_refunded: i64, refunds: &refund::RefundSums) -> i64 {
    amount_refunded.saturating_sub(refunds.failed).max(refunds.valid)
}

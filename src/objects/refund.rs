//! Refunds. They may fail or be canceled long after they were made, so how much of a charge was refunded is computed from
//! them, and the charge's row is written again with each. It must never set an owner. Called by `objects`; its query by
//! `charge`.

use super::history::{self, EventConcern};
use super::row::row;
use super::{ProjectionError, ProjectionStep, WinningState, charge, field, own_key, rewrite};
use crate::base::object_kind::ObjectKind;
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader};
use crate::stripe::object;

/// One event is named after the charge and shows the refund.
pub(super) const KIND: ObjectKind = ObjectKind {
    object: "refund",
    name: "refunds",
    table: Some(("stripe_refunds", "stripe_refund_id")),
    events: &["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"],
    path: "/v1/refunds",
    permission: "Refunds",
    progress: |state| [i64::from(!matches!(state.status(), "pending" | "requires_action")), 0, 0],
    example: include_str!("shapes/refund.json"),
    ..ObjectKind::PLAIN
};

row! {
    /// A refund as its newest event has it. Amounts in minor units, times in unix seconds.
    pub(crate) struct RefundRow in "stripe_refunds" {
        key stripe_refund_id: String = field::id("id"),
        fixed stripe_charge_id: Option<String> = field::reference("charge"),
        stripe_payment_intent_id: Option<String> = field::reference("payment_intent"),
        amount_cents: i64 = field::integer("amount"),
        currency: Option<String> = field::lenient_text("currency"),
        status: String = status,
        reason: Option<String> = field::lenient_text("reason"),
        failure_reason: Option<String> = field::lenient_text("failure_reason"),
        created: Option<i64> = field::lenient_integer("created"),
    }
}

/// Refunds of old API versions have no status; they succeeded.
fn status(winner: &WinningState) -> Result<String, object::ObjectError> {
    Ok(object::lenient_text(&winner.object, "status").unwrap_or_else(|| "succeeded".to_owned()))
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    history::audit(step, &EventConcern::default())?;
    let Some(winner) = winner else { return Ok(()) };
    let refund = RefundRow::of(winner)?;
    refund.put(step.tx)?;
    let Some(charge_id) = &refund.stripe_charge_id else { return Ok(()) };
    rewrite(step.tx, own_key(&charge::KIND, charge_id, winner.livemode), step.basis(), charge::write)
}

columns! {
    /// The known refunds of a charge, minor units.
    pub(super) struct RefundSums {
        /// Succeeded, or on the way.
        valid: i64 = "coalesce(sum(amount_cents) FILTER (WHERE status NOT IN ('failed', 'canceled')), 0)",
        /// Failed or canceled: their amount came back.
        failed: i64 = "coalesce(sum(amount_cents) FILTER (WHERE status IN ('failed', 'canceled')), 0)",
    }
}

/// The known refunds of a charge.
pub(super) fn sum_of_charge(reader: &StoreReader, charge_id: &str) -> Result<RefundSums, StoreError> {
    const SQL: &str = select!(RefundSums, "FROM stripe_refunds WHERE stripe_charge_id = ?1");
    reader.get(SQL, [charge_id], RefundSums::read)
}

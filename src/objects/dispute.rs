//! Disputes. Their set of statuses is open, and `closed` may arrive before `created`. It must never set an owner. Called by
//! `objects`.

use super::fact::ObjectFact;
use super::history::{self, EventConcern};
use super::row::row;
use super::{ProjectionError, ProjectionStep, WinningState, field};
use crate::base::object_kind::ObjectKind;
use crate::stripe::object;

pub(super) const KIND: ObjectKind = ObjectKind {
    object: "dispute",
    name: "disputes",
    event_prefix: Some("charge.dispute"),
    table: Some(("stripe_disputes", "stripe_dispute_id")),
    events: &[
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
    ],
    path: "/v1/disputes",
    permission: "Disputes",
    progress: |state| [i64::from(state.event_type.ends_with(".closed")), 0, 0],
    example: include_str!("shapes/dispute.json"),
    ..ObjectKind::PLAIN
};

row! {
    /// A dispute as its newest event has it. Amounts in minor units, times in unix seconds.
    pub(crate) struct DisputeRow in "stripe_disputes" {
        key stripe_dispute_id: String = field::id("id"),
        stripe_charge_id: Option<String> = field::reference("charge"),
        stripe_payment_intent_id: Option<String> = field::reference("payment_intent"),
        amount_cents: i64 = field::integer("amount"),
        currency: String = field::text("currency"),
        reason: Option<String> = field::lenient_text("reason"),
        status: String = field::text("status"),
        evidence_due_by: Option<i64> = field::lenient_integer("evidence_details.due_by"),
        created: Option<i64> = field::lenient_integer("created"),
    }
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    if let Some(winner) = winner {
        DisputeRow::of(winner)?.put(step.tx)?;
    }
    if step.event.event_type == "charge.dispute.created" && !step.is_reading() {
        step.note(ObjectFact::DisputeOpened(step.seen(object::required_reference(&step.snapshot.object, "id")?)));
    }
    history::audit(step, &EventConcern::default())
}

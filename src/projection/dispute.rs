//! Disputes. Their set of statuses is open, and `closed` may be heard before `created`.

use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, occasions};
use crate::kind::ObjectKind;
use crate::store::disputes::{self, Dispute};
use crate::stripe::object::{self, ObjectError};

/// The kind.
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

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    if let Some(winner) = winner {
        disputes::put(step.tx, &row(winner)?)?;
    }
    if step.event.event_type == "charge.dispute.created" {
        occasions::dispute_created(step)?;
    }
    history::audit(step, &Concern::default())
}

fn row(winner: &Winner) -> Result<Dispute, ObjectError> {
    let shown = winner.object.as_ref();
    let referred = |key: &str| object::reference(shown, key).map(str::to_owned);
    let evidence_due_by = shown.get("evidence_details").and_then(|evidence| object::told_integer(evidence, "due_by"));
    Ok(Dispute {
        stripe_dispute_id: object::required_reference(shown, "id")?.to_owned(),
        stripe_charge_id: referred("charge"),
        stripe_payment_intent_id: referred("payment_intent"),
        amount_cents: object::required_integer(shown, "amount")?,
        currency: object::required_text(shown, "currency")?.to_owned(),
        reason: object::told_text(shown, "reason"),
        status: object::required_text(shown, "status")?.to_owned(),
        evidence_due_by,
        created: object::told_integer(shown, "created"),
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

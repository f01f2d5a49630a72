//! What every event adds, applied or late: the users and customers that it names, a row in its subscription's history
//! ([`record`], before the family's own tables, which refer to them), and a row in the audit log ([`audit`], after them,
//! when the owner is known). Each is written once per event. Called by the families.

use super::{ProjectionError, Step, customer, subscription};
use crate::store::subscription_events::{self, State};
use crate::store::{audit as audit_log, users};

/// Whom and what an event concerns.
#[derive(Default)]
pub(super) struct Concern<'a> {
    pub(super) customer_id: Option<&'a str>,
    /// The user that its metadata name.
    pub(super) user_id: Option<&'a str>,
    pub(super) subscription_id: Option<&'a str>,
    /// The subscription itself, if the event shows it.
    pub(super) state: Option<State<'a>>,
}

pub(super) fn record(step: &Step, concern: &Concern) -> Result<(), ProjectionError> {
    if let Some(user_id) = concern.user_id {
        users::ensure(step.tx, user_id, step.now_ms)?;
    }
    if let Some(customer_id) = concern.customer_id {
        customer::ensure(step.tx, customer_id)?;
    }
    if let Some(subscription_id) = concern.subscription_id {
        let entry = subscription_events::Entry {
            subscription_id,
            event_type: &step.event.event_type,
            event_id: &step.event.id,
            state: concern.state.as_ref(),
            event_created: step.event.created,
        };
        subscription_events::add(step.tx, &entry, step.now_ms)?;
    }
    Ok(())
}

/// What is about a subscription follows its owner, whoever that becomes; what is about a customer alone, the customer's;
/// what has neither keeps the user it names.
pub(super) fn audit(step: &Step, concern: &Concern) -> Result<(), ProjectionError> {
    // A reading is nothing that happened; who asked for it has written that down.
    if step.is_reading() {
        return Ok(());
    }
    let owner = match (concern.subscription_id, concern.customer_id) {
        (Some(subscription_id), _) => subscription::find_user(step.tx, subscription_id)?,
        (None, Some(customer_id)) => customer::find_owner(step.tx, customer_id)?,
        (None, None) => concern.user_id.map(str::to_owned),
    };
    let entry = audit_log::NewEntry {
        at_ms: step.event.created.saturating_mul(1000),
        actor: "stripe",
        action: &step.event.event_type,
        user_id: owner.as_deref(),
        customer_id: concern.customer_id,
        subscription_id: concern.subscription_id,
        subject: step.snapshot.object.get("id").and_then(serde_json::Value::as_str),
        event_id: Some(&step.event.id),
        detail: "{}",
    };
    Ok(audit_log::add(step.tx, &entry)?)
}

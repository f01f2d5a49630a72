//! Checkout sessions. A completed one may say whose that is what it made: its metadata strongly, its `client_reference_id`,
//! which any browser can write, weakly and only once it is paid. One that is open, expired or unpaid says nothing.

use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, owner};
use crate::kind::{self, ObjectKind};
use crate::ownership::Session;
use crate::store::checkout_sessions::{self, CheckoutSession};
use crate::store::users;
use crate::stripe::object::{self, ObjectError};

/// The kind.
pub(super) const KIND: ObjectKind = ObjectKind {
    object: "checkout.session",
    name: "checkout_sessions",
    table: Some(("stripe_checkout_sessions", "stripe_session_id")),
    events: &[
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
    ],
    path: "/v1/checkout/sessions",
    permission: "Checkout Sessions",
    terminal: |object| kind::word(object, "status") == "expired",
    progress: |state| {
        [
            i64::from(state.status() != "open"),
            i64::from(kind::word(state.object, "payment_status") != "unpaid"),
            i64::from(state.event_type.contains(".async_")),
        ]
    },
    example: include_str!("shapes/checkout_session.json"),
    ..ObjectKind::PLAIN
};

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let said = said(step)?;
    let rules = &step.context.link;
    let concern = Concern {
        customer_id: object::reference(shown, "customer"),
        user_id: said.metadata_word(rules),
        subscription_id: object::reference(shown, "subscription"),
        state: None,
    };
    history::record(step, &concern)?;
    if let Some(user_id) = said.reference_word(rules) {
        users::ensure(step.tx, user_id, step.now_ms)?;
    }
    if let Some(winner) = winner {
        apply(step, winner)?;
    }
    history::audit(step, &concern)
}

/// Whom the session names, by this event.
fn said(step: &Step) -> Result<Session, ObjectError> {
    let shown = &step.snapshot.object;
    let owned = |key: &str| object::text(shown, key).map(|text| text.map(str::to_owned));
    Ok(Session {
        id: object::required_reference(shown, "id")?.to_owned(),
        named: object::named_user(shown, &step.context.link.metadata_keys).map(str::to_owned),
        reference: object::told_text(shown, "client_reference_id").filter(|id| object::is_user_id(id)),
        status: owned("status")?,
        payment_status: owned("payment_status")?,
        created: object::told_integer(shown, "created"),
    })
}

fn apply(step: &Step, winner: &Winner) -> Result<(), ProjectionError> {
    let row = row(winner)?;
    let former = checkout_sessions::find_concerned(step.tx, &row.stripe_session_id)?.unwrap_or_default();
    checkout_sessions::put(step.tx, &row)?;
    let present = checkout_sessions::Concerned {
        customer_id: row.stripe_customer_id,
        subscription_id: row.stripe_subscription_id,
        payment_intent_id: row.stripe_payment_intent_id,
        invoice_id: row.stripe_invoice_id,
    };
    owner::refresh_concerned(step.tx, &present, step.basis())?;
    if former != present {
        owner::refresh_concerned(step.tx, &former, step.basis())?;
    }
    Ok(())
}

fn row(winner: &Winner) -> Result<CheckoutSession, ObjectError> {
    let shown = winner.object.as_ref();
    let owned = |key: &str| object::text(shown, key).map(|text| text.map(str::to_owned));
    let referred = |key: &str| object::reference(shown, key).map(str::to_owned);
    Ok(CheckoutSession {
        stripe_session_id: object::required_reference(shown, "id")?.to_owned(),
        client_reference_id: object::told_text(shown, "client_reference_id"),
        stripe_customer_id: referred("customer"),
        stripe_subscription_id: referred("subscription"),
        stripe_payment_intent_id: referred("payment_intent"),
        stripe_invoice_id: referred("invoice"),
        mode: object::told_text(shown, "mode"),
        status: owned("status")?,
        payment_status: owned("payment_status")?,
        amount_total: object::told_integer(shown, "amount_total"),
        currency: object::told_text(shown, "currency"),
        metadata: object::metadata(shown),
        created: object::told_integer(shown, "created"),
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

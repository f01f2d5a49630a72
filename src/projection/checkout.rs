//! Checkout sessions. They tell which user a customer belongs to, by `metadata.user_id` or `client_reference_id`.

use super::derived::{self, Naming};
use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner};
use crate::store::checkout_sessions::{self, CheckoutSession};
use crate::stripe::object::{self, ObjectError};

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let concern = Concern {
        customer_id: object::reference(shown, "customer"),
        user_id: object::session_user(shown),
        subscription_id: object::reference(shown, "subscription"),
        state: None,
    };
    history::record(step, &concern)?;
    if let Some(winner) = winner {
        apply(step, winner)?;
    }
    history::audit(step, &concern)
}

fn apply(step: &Step, winner: &Winner) -> Result<(), ProjectionError> {
    let row = row(winner)?;
    checkout_sessions::put(step.tx, &row)?;
    let naming = Naming {
        source: "checkout.session",
        source_id: &row.stripe_session_id,
        customer_id: row.stripe_customer_id.as_deref(),
        user_id: object::session_user(&winner.object),
        event_created: winner.created,
    };
    derived::name_owner(step.tx, &naming, step.basis())?;
    Ok(())
}

fn row(winner: &Winner) -> Result<CheckoutSession, ObjectError> {
    let shown = winner.object.as_ref();
    let owned = |key: &str| object::text(shown, key).map(|text| text.map(str::to_owned));
    let referred = |key: &str| object::reference(shown, key).map(str::to_owned);
    Ok(CheckoutSession {
        stripe_session_id: object::required_reference(shown, "id")?.to_owned(),
        client_reference_id: owned("client_reference_id")?,
        stripe_customer_id: referred("customer"),
        stripe_subscription_id: referred("subscription"),
        stripe_payment_intent_id: referred("payment_intent"),
        mode: owned("mode")?,
        status: owned("status")?,
        payment_status: owned("payment_status")?,
        amount_total: object::integer(shown, "amount_total")?,
        currency: owned("currency")?,
        metadata: object::metadata(shown),
        created: object::integer(shown, "created")?,
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

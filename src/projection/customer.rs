//! Customers. Deleting one cancels its subscriptions at Stripe at once, so entitlement counts them as over even if
//! their own events are lost.

use super::derived::{self, Naming};
use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner};
use crate::store::customers::{self, Customer};
use crate::stripe::object;

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let id = object::required_reference(shown, "id")?;
    let concern = Concern { customer_id: Some(id), user_id: object::named_user(shown), ..Concern::default() };
    history::record(step, &concern)?;
    if let Some(winner) = winner {
        apply(step, id, winner)?;
    }
    history::audit(step, &concern)
}

fn apply(step: &Step, id: &str, winner: &Winner) -> Result<(), ProjectionError> {
    customers::put(step.tx, &row(winner)?)?;
    let naming = Naming {
        source: "customer",
        source_id: id,
        customer_id: Some(id),
        user_id: object::named_user(&winner.object),
        event_created: winner.created,
    };
    // Whether it is deleted decides, too, which customer is the main one and what its subscriptions give.
    if !derived::name_owner(step.tx, &naming, step.basis())?
        && let Some(owner) = customers::find_owner(step.tx, id)?
    {
        customers::choose_main(step.tx, &owner)?;
        derived::refresh_effective(step.tx, &owner, step.basis())?;
    }
    Ok(())
}

fn row(winner: &Winner) -> Result<Customer, ProjectionError> {
    let shown = winner.object.as_ref();
    let owned = |key: &str| object::text(shown, key).map(|text| text.map(str::to_owned));
    Ok(Customer {
        stripe_customer_id: object::required_reference(shown, "id")?.to_owned(),
        email: owned("email")?,
        name: owned("name")?,
        metadata: object::metadata(shown),
        currency: owned("currency")?,
        delinquent: shown.get("delinquent").and_then(serde_json::Value::as_bool),
        deleted: winner.deleted,
        created: object::integer(shown, "created")?,
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
    })
}

//! Customers. Deleting one cancels its subscriptions at Stripe at once, so entitlement counts them as over even if
//! their own events are lost.

use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, derived, owner};
use crate::store::customers::{self, Customer};
use crate::store::owners::Named;
use crate::store::subscriptions;
use crate::stripe::object;

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let id = object::required_reference(shown, "id")?;
    let concern = Concern {
        customer_id: Some(id),
        user_id: object::named_user(shown, &step.context.link.metadata_keys),
        ..Concern::default()
    };
    history::record(step, &concern)?;
    if let Some(winner) = winner {
        put(step, winner)?;
    }
    owner::remember(step, winner, Named::Customer, id)?;
    owner::refresh_customer(step.tx, id, step.basis())?;
    if winner.is_some() {
        follow(step, id)?;
    }
    history::audit(step, &concern)
}

fn put(step: &Step, winner: &Winner) -> Result<(), ProjectionError> {
    let row = row(winner)?;
    let object = (Named::Customer, row.stripe_customer_id.as_str());
    let last_named = owner::newest_name(step.tx, winner, object, &step.context.link)?;
    Ok(customers::put(step.tx, &Customer { last_named, ..row })?)
}

/// Whether it is deleted decides, too, which customer is the main one and what its subscriptions give.
fn follow(step: &Step, id: &str) -> Result<(), ProjectionError> {
    let owner = owner::refresh_main(step.tx, id)?;
    let mut users = subscriptions::list_users_of_customer(step.tx, id)?;
    users.extend(owner);
    users.sort();
    users.dedup();
    for user_id in users {
        derived::refresh_effective(step.tx, &user_id, step.basis())?;
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
        last_named: None,
    })
}

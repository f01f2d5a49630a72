//! Customers. Deleting one cancels its subscriptions at Stripe at once, so entitlement counts them as over even if
//! their own events are lost.

use super::history::{self, Concern};
use super::{ProjectionError, Step, Winner, derived, owner};
use crate::kind::ObjectKind;
use crate::store::customers::{self, Customer};
use crate::store::owners::Named;
use crate::store::subscriptions;
use crate::stripe::object;

/// The kind.
pub(super) const KIND: ObjectKind = ObjectKind {
    object: "customer",
    name: "customers",
    table: Some(("stripe_customers", "stripe_customer_id")),
    events: &["customer.created", "customer.updated", "customer.deleted"],
    path: "/v1/customers",
    permission: "Customers",
    decides: true,
    example: include_str!("shapes/customer.json"),
    ..ObjectKind::PLAIN
};

pub(super) fn project(step: &Step, winner: Option<&Winner>) -> Result<(), ProjectionError> {
    let shown = &step.snapshot.object;
    let id = object::required_reference(shown, "id")?;
    let concern = Concern {
        customer_id: Some(id),
        user_id: object::named_user(shown, &step.context.link.metadata_keys),
        ..Concern::default()
    };
    history::record(step, &concern)?;
    let lost = winner.map_or(Ok(None), |winner| put(step, id, winner))?;
    owner::keep_name(step, winner, (Named::Customer, id), lost)?;
    owner::refresh_customer(step.tx, id, step.basis())?;
    if winner.is_some() {
        follow(step, id)?;
    }
    history::audit(step, &concern)
}

/// The name that its metadata have lost by this, if they have.
fn put(step: &Step, id: &str, winner: &Winner) -> Result<Option<String>, ProjectionError> {
    let rules = &step.context.link;
    let lost = owner::lost_name(step.tx, winner, (Named::Customer, id), rules)?;
    customers::put(step.tx, &Customer { named: owner::is_named(winner, rules), ..row(winner)? })?;
    Ok(lost)
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
    let owned = |key: &str| object::told_text(shown, key);
    Ok(Customer {
        stripe_customer_id: object::required_reference(shown, "id")?.to_owned(),
        email: owned("email"),
        name: owned("name"),
        metadata: object::metadata(shown),
        currency: owned("currency"),
        delinquent: shown.get("delinquent").and_then(serde_json::Value::as_bool),
        deleted: winner.deleted,
        created: object::told_integer(shown, "created"),
        livemode: winner.livemode,
        event_created: winner.created,
        event_id: winner.event_id.clone().into_owned(),
        named: false,
    })
}

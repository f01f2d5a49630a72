//! Customers. Which user each belongs to, `owner` decides; a user may have several customers, of which one is the main one
//! (`user_id`). Deleting one cancels its subscriptions at Stripe at once, so entitlement counts them as over even if their
//! own events are lost. It must never choose an owner itself. Called by `objects`; its queries by `owner`, the API and
//! whoever writes to a customer.

use super::history::{self, EventConcern};
use super::owner::rows::{self, OwnableKind, OwnableObject};
use super::row::row;
use super::{ProjectionError, ProjectionStep, WinningState, effective, field, owner, subscription};
use crate::base::object_kind::ObjectKind;
use crate::base::ownership::LinkedBy;
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};
use crate::stripe::object;

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

row! {
    /// A customer as its newest event has it.
    pub(crate) struct CustomerRow in "stripe_customers" {
        key stripe_customer_id: String = field::id("id"),
        fixed email: Option<String> = field::lenient_text("email"),
        name: Option<String> = field::lenient_text("name"),
        metadata: String = field::metadata,
        currency: Option<String> = field::lenient_text("currency"),
        delinquent: Option<bool> = |winner: &WinningState| Ok(winner.object["delinquent"].as_bool()),
        deleted: bool = field::deleted,
        created: Option<i64> = field::lenient_integer("created"),
    } also { named: bool = "last_named = CASE WHEN ? THEN NULL ELSE last_named END" }
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    let customer = &step.snapshot.object;
    let id = object::required_reference(customer, "id")?;
    let concern = EventConcern {
        customer_id: Some(id),
        user_id: object::named_user(customer, &step.context.link.metadata_keys),
        ..EventConcern::default()
    };
    history::record(step, &concern)?;
    let lost = winner.map_or(Ok(None), |winner| put(step, id, winner))?;
    owner::keep_name(step, winner, OwnableObject { kind: OwnableKind::Customer, id }, lost)?;
    owner::refresh_customer(step.tx, id, step.basis())?;
    if winner.is_some() {
        refresh_dependents(step, id)?;
    }
    history::audit(step, &concern)
}

/// Writes the row. Returns the user whose name the metadata have lost by this, if they have.
fn put(step: &ProjectionStep, id: &str, winner: &WinningState) -> Result<Option<String>, ProjectionError> {
    let rules = &step.context.link;
    let lost = owner::lost_name(step.tx, winner, OwnableObject { kind: OwnableKind::Customer, id }, rules)?;
    CustomerRow::of(winner)?.put(step.tx, owner::is_named(winner, rules))?;
    Ok(lost)
}

/// Whether a customer is deleted also decides which one is the main one and what its subscriptions give.
fn refresh_dependents(step: &ProjectionStep, id: &str) -> Result<(), ProjectionError> {
    let owner = owner::refresh_main(step.tx, id)?;
    let mut users = subscription::list_users_of_customer(step.tx, id)?;
    users.extend(owner);
    users.sort();
    users.dedup();
    for user_id in users {
        effective::refresh(step.tx, &user_id, step.basis())?;
    }
    Ok(())
}

/// Makes sure that there is a row for a customer of which only the id is known.
pub(crate) fn ensure(tx: &Tx, customer_id: &str) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO stripe_customers (stripe_customer_id) VALUES (?1) ON CONFLICT DO NOTHING";
    tx.execute(SQL, [customer_id]).map(|_| ())
}

columns! {
    /// A customer of a user, for people.
    pub(crate) struct CustomerOfUser {
        id: String = "stripe_customer_id",
        /// It is the user's main one.
        is_main: bool = "user_id IS NOT NULL",
        email: Option<String>,
        name: Option<String>,
        linked_by: Option<LinkedBy> = "linked_by" => rows::linked_by,
        delinquent: Option<bool>,
        deleted: bool,
        /// Made at Stripe, unix seconds.
        created: Option<i64>,
        livemode: Option<bool>,
    }
}

/// Customers of a user: the main one, then the others by id, after the id `after`.
pub(crate) fn list_of_user(
    reader: &StoreReader,
    user_id: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<CustomerOfUser>, StoreError> {
    const SQL: &str = select!(
        CustomerOfUser,
        "FROM stripe_customers WHERE owner_user_id = ?1 AND (?2 IS NULL OR (user_id IS NULL, stripe_customer_id) >
            (SELECT user_id IS NULL, stripe_customer_id FROM stripe_customers WHERE stripe_customer_id = ?2))
         ORDER BY user_id IS NULL, stripe_customer_id LIMIT ?3"
    );
    reader.list(SQL, (user_id, after, limit), CustomerOfUser::read)
}

/// Whether a customer is known, if only by its id.
pub(crate) fn exists(reader: &StoreReader, customer_id: &str) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM stripe_customers WHERE stripe_customer_id = ?1";
    Ok(reader.find(SQL, [customer_id], |_| Ok(()))?.is_some())
}

/// The user a customer belongs to.
pub(crate) fn find_owner(reader: &StoreReader, customer_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT owner_user_id FROM stripe_customers WHERE stripe_customer_id = ?1";
    Ok(reader.find(SQL, [customer_id], row::only)?.flatten())
}

/// Whether a customer is known to have been deleted.
pub(crate) fn is_deleted(reader: &StoreReader, customer_id: &str) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM stripe_customers WHERE stripe_customer_id = ?1 AND deleted = 1";
    Ok(reader.find(SQL, [customer_id], |_| Ok(()))?.is_some())
}

/// Mail address and name.
type Contact = (Option<String>, Option<String>);

/// Mail address and name of a customer, as Stripe has them.
pub(crate) fn find_contact(reader: &StoreReader, customer_id: &str) -> Result<Option<Contact>, StoreError> {
    const SQL: &str = "SELECT email, name FROM stripe_customers WHERE stripe_customer_id = ?1";
    reader.find(SQL, [customer_id], row::tuple)
}

/// The user a charge belongs to: that of its payment intent, or without one that of its customer. A user whom a reference
/// alone names does not count, since anybody can write one: a stranger's dispute is not that user's.
pub(crate) fn find_owner_of_charge(reader: &StoreReader, charge_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT CASE WHEN p.id IS NULL THEN c.owner_user_id
            WHEN p.linked_by <> 'reference' THEN p.user_id END
        FROM stripe_charges h
        LEFT JOIN stripe_payment_intents p ON p.stripe_intent_id = h.stripe_payment_intent_id
        LEFT JOIN stripe_customers c ON c.stripe_customer_id = h.stripe_customer_id WHERE h.stripe_charge_id = ?1";
    Ok(reader.find(SQL, [charge_id], row::only)?.flatten())
}

/// All customers of a user, the main one first.
pub(crate) fn list_ids_of_user(reader: &StoreReader, user_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id FROM stripe_customers WHERE owner_user_id = ?1
        ORDER BY user_id IS NULL, stripe_customer_id";
    reader.list(SQL, [user_id], row::only)
}

/// The user's main customer, unless it was deleted at Stripe.
pub(crate) fn find_main_usable(reader: &StoreReader, user_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id FROM stripe_customers WHERE user_id = ?1 AND deleted = 0";
    reader.find(SQL, [user_id], row::only)
}

/// Customers that are not deleted, by row number, after the row `after`.
pub(crate) fn list_after(reader: &StoreReader, after: i64, limit: usize) -> Result<Vec<(i64, String)>, StoreError> {
    const SQL: &str =
        "SELECT id, stripe_customer_id FROM stripe_customers WHERE id > ?1 AND deleted = 0 ORDER BY id LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    reader.list(SQL, (after, limit), row::tuple)
}

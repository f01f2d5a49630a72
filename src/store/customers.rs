//! `stripe_customers`: Stripe's customers. Which user each belongs to, `owners` keeps. A user may have several customers;
//! one is the main one (`user_id`).

use rusqlite::named_params;

use super::{Reader, StoreError, Tx};

/// A customer as its newest event has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// `cus_…`.
    pub stripe_customer_id: String,
    /// As Stripe has it.
    pub email: Option<String>,
    /// As Stripe has it.
    pub name: Option<String>,
    /// JSON object.
    pub metadata: String,
    /// Lower-case ISO code.
    pub currency: Option<String>,
    /// Newest invoice unpaid, says Stripe.
    pub delinquent: Option<bool>,
    /// Deleted at Stripe.
    pub deleted: bool,
    /// Made at Stripe, unix seconds.
    pub created: Option<i64>,
    /// Mode.
    pub livemode: bool,
    /// Created of the event it rests on.
    pub event_created: i64,
    /// That event.
    pub event_id: String,
    /// Its metadata name a user; read back as `false`.
    pub named: bool,
}

const PUT: &str = "INSERT INTO stripe_customers
    (stripe_customer_id, email, name, metadata, currency, delinquent, deleted, created, livemode, event_created,
     event_id)
    VALUES (:id, :email, :name, :metadata, :currency, :delinquent, :deleted, :created, :livemode, :event_created,
     :event_id)
    ON CONFLICT (stripe_customer_id) DO UPDATE SET email = :email, name = :name, metadata = :metadata,
        currency = :currency, delinquent = :delinquent, deleted = :deleted, created = :created, livemode = :livemode,
        event_created = :event_created, event_id = :event_id,
        last_named = CASE WHEN :named THEN NULL ELSE last_named END";

/// Replaces what is known of a customer, its user excepted.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, customer: &Customer) -> Result<(), StoreError> {
    let params = named_params! {
        ":id": customer.stripe_customer_id, ":email": customer.email, ":name": customer.name,
        ":metadata": customer.metadata, ":currency": customer.currency, ":delinquent": customer.delinquent,
        ":deleted": customer.deleted, ":created": customer.created, ":livemode": customer.livemode,
        ":event_created": customer.event_created, ":event_id": customer.event_id, ":named": customer.named,
    };
    tx.execute_named(PUT, params).map(|_| ())
}

/// Makes sure there is a row for a customer of whom only the id is known.
///
/// # Errors
/// When the database cannot take it.
pub fn ensure(tx: &Tx, customer_id: &str) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO stripe_customers (stripe_customer_id) VALUES (?1) ON CONFLICT DO NOTHING";
    tx.execute(SQL, [customer_id]).map(|_| ())
}

/// The user a customer belongs to.
///
/// # Errors
/// When the database cannot be read.
pub fn find_owner(reader: &Reader, customer_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT owner_user_id FROM stripe_customers WHERE stripe_customer_id = ?1";
    Ok(reader.find(SQL, [customer_id], |row| row.get(0))?.flatten())
}

/// Whether a customer is known to have been deleted.
///
/// # Errors
/// When the database cannot be read.
pub fn is_deleted(reader: &Reader, customer_id: &str) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM stripe_customers WHERE stripe_customer_id = ?1 AND deleted = 1";
    Ok(reader.find(SQL, [customer_id], |_| Ok(()))?.is_some())
}

/// Mail address and name.
pub type Contact = (Option<String>, Option<String>);

/// Mail address and name of a customer, as Stripe has them.
///
/// # Errors
/// When the database cannot be read.
pub fn find_contact(reader: &Reader, customer_id: &str) -> Result<Option<Contact>, StoreError> {
    const SQL: &str = "SELECT email, name FROM stripe_customers WHERE stripe_customer_id = ?1";
    reader.find(SQL, [customer_id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The user a charge belongs to, by its payment intent, or without one by its customer. Nobody whom a reference alone names:
/// a stranger's dispute is not that user's.
///
/// # Errors
/// When the database cannot be read.
pub fn find_owner_of_charge(reader: &Reader, charge_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT CASE WHEN p.id IS NULL THEN c.owner_user_id WHEN p.linked_by <> 'reference' THEN p.user_id END FROM stripe_charges h
        LEFT JOIN stripe_payment_intents p ON p.stripe_intent_id = h.stripe_payment_intent_id
        LEFT JOIN stripe_customers c ON c.stripe_customer_id = h.stripe_customer_id WHERE h.stripe_charge_id = ?1";
    Ok(reader.find(SQL, [charge_id], |row| row.get(0))?.flatten())
}

/// All customers of a user, the main one first.
///
/// # Errors
/// When the database cannot be read.
pub fn list_ids_of_user(reader: &Reader, user_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id FROM stripe_customers WHERE owner_user_id = ?1
        ORDER BY user_id IS NULL, stripe_customer_id";
    reader.list(SQL, [user_id], |row| row.get(0))
}

/// The user's main customer, unless it was deleted at Stripe.
///
/// # Errors
/// When the database cannot be read.
pub fn find_main_usable(reader: &Reader, user_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id FROM stripe_customers WHERE user_id = ?1 AND deleted = 0";
    reader.find(SQL, [user_id], |row| row.get(0))
}

/// Customers that are not deleted, by row number, after the row `after`.
///
/// # Errors
/// When the database cannot be read.
pub fn list_after(reader: &Reader, after: i64, limit: usize) -> Result<Vec<(i64, String)>, StoreError> {
    const SQL: &str =
        "SELECT id, stripe_customer_id FROM stripe_customers WHERE id > ?1 AND deleted = 0 ORDER BY id LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    reader.list(SQL, (after, limit), |row| Ok((row.get(0)?, row.get(1)?)))
}

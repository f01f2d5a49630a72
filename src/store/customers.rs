//! `stripe_customers` and `customer_links`: Stripe's customers, and which user each belongs to. A user may have
//! several customers; one is the main one (`user_id`).

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
}

const PUT: &str = "INSERT INTO stripe_customers
    (stripe_customer_id, email, name, metadata, currency, delinquent, deleted, created, livemode, event_created, event_id)
    VALUES (:id, :email, :name, :metadata, :currency, :delinquent, :deleted, :created, :livemode, :event_created, :event_id)
    ON CONFLICT (stripe_customer_id) DO UPDATE SET email = :email, name = :name, metadata = :metadata,
        currency = :currency, delinquent = :delinquent, deleted = :deleted, created = :created, livemode = :livemode,
        event_created = :event_created, event_id = :event_id";

/// Replaces what is known of a customer, its user excepted.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, customer: &Customer) -> Result<(), StoreError> {
    let params = named_params! {
        ":id": customer.stripe_customer_id, ":email": customer.email, ":name": customer.name,
        ":metadata": customer.metadata, ":currency": customer.currency, ":delinquent": customer.delinquent,
        ":deleted": customer.deleted, ":created": customer.created, ":livemode": customer.livemode,
        ":event_created": customer.event_created, ":event_id": customer.event_id,
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

/// Says which user an object names as the owner of its customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<'a> {
    /// Kind of the object: `customer`, `subscription`, `checkout.session`.
    pub source: &'a str,
    /// Its id.
    pub source_id: &'a str,
    /// The customer it speaks of.
    pub customer_id: &'a str,
    /// The user it names.
    pub user_id: &'a str,
    /// Created of the event it rests on.
    pub event_created: i64,
}

/// The customer that an object's link speaks of.
///
/// # Errors
/// When the database cannot be read.
pub fn find_linked_customer(reader: &Reader, source: &str, source_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id FROM customer_links WHERE source = ?1 AND source_id = ?2";
    reader.find(SQL, (source, source_id), |row| row.get(0))
}

const PUT_LINK: &str = "INSERT INTO customer_links (source, source_id, stripe_customer_id, user_id, event_created)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (source, source_id) DO UPDATE SET stripe_customer_id = ?3, user_id = ?4, event_created = ?5";

/// Keeps a link; the object's former one is replaced.
///
/// # Errors
/// When the database cannot take it.
pub fn put_link(tx: &Tx, link: &Link) -> Result<(), StoreError> {
    let params = (link.source, link.source_id, link.customer_id, link.user_id, link.event_created);
    tx.execute(PUT_LINK, params).map(|_| ())
}

/// The object names no user any more.
///
/// # Errors
/// When the database cannot take it.
pub fn remove_link(tx: &Tx, source: &str, source_id: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM customer_links WHERE source = ?1 AND source_id = ?2", (source, source_id)).map(|_| ())
}

const NAMED_OWNER: &str = "SELECT user_id FROM customer_links WHERE stripe_customer_id = ?1
    ORDER BY CASE source WHEN 'customer' THEN 0 WHEN 'subscription' THEN 1 ELSE 2 END, event_created DESC, source_id DESC
    LIMIT 1";

/// The user that a customer's links name: the customer's own word counts before its subscriptions', theirs before
/// its checkout sessions', newer before older.
///
/// # Errors
/// When the database cannot be read.
pub fn find_named_owner(reader: &Reader, customer_id: &str) -> Result<Option<String>, StoreError> {
    reader.find(NAMED_OWNER, [customer_id], |row| row.get(0))
}

/// The user a customer belongs to.
///
/// # Errors
/// When the database cannot be read.
pub fn find_owner(reader: &Reader, customer_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT owner_user_id FROM stripe_customers WHERE stripe_customer_id = ?1";
    Ok(reader.find(SQL, [customer_id], |row| row.get(0))?.flatten())
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

/// The user a charge belongs to, by its customer.
///
/// # Errors
/// When the database cannot be read.
pub fn find_owner_of_charge(reader: &Reader, charge_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT c.owner_user_id FROM stripe_charges h
        JOIN stripe_customers c ON c.stripe_customer_id = h.stripe_customer_id WHERE h.stripe_charge_id = ?1";
    Ok(reader.find(SQL, [charge_id], |row| row.get(0))?.flatten())
}

// A user's only customer is the main one; saying so here saves the ordinary case a second update.
const SET_OWNER: &str = "UPDATE stripe_customers SET owner_user_id = ?2, user_id = CASE WHEN user_id IS ?2 THEN user_id
        WHEN NOT EXISTS (SELECT 1 FROM stripe_customers WHERE owner_user_id = ?2) THEN ?2 END
    WHERE stripe_customer_id = ?1";

/// Gives a customer to a user, or to nobody. Call [`choose_main`] for the old and the new user afterwards.
///
/// # Errors
/// When the database cannot take it.
pub fn set_owner(tx: &Tx, customer_id: &str, user_id: Option<&str>) -> Result<(), StoreError> {
    tx.execute(SET_OWNER, (customer_id, user_id)).map(|_| ())
}

const FIND_MAIN: &str =
    "SELECT stripe_customer_id, (SELECT stripe_customer_id FROM stripe_customers WHERE user_id = ?1)
    FROM stripe_customers WHERE owner_user_id = ?1
    ORDER BY deleted, created IS NULL, created, stripe_customer_id LIMIT 1";

/// Chooses a user's main customer: not deleted before deleted, older before newer.
///
/// # Errors
/// When the database cannot take it.
pub fn choose_main(tx: &Tx, user_id: &str) -> Result<(), StoreError> {
    // A customer that is taken away from its owner is no longer the main one (`set_owner`): no customer, none to clear.
    let found =
        tx.find(FIND_MAIN, [user_id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
    let Some((main, present)) = found else { return Ok(()) };
    if present.as_ref() == Some(&main) {
        return Ok(());
    }
    if let Some(present) = present {
        tx.execute("UPDATE stripe_customers SET user_id = NULL WHERE stripe_customer_id = ?1", [present])?;
    }
    const SET: &str = "UPDATE stripe_customers SET user_id = ?1 WHERE stripe_customer_id = ?2";
    tx.execute(SET, (user_id, &main)).map(|_| ())
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

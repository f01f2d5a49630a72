//! `users`: the application's users, by the application's own ids. It must never take a mail address or a name from Stripe: they
//! are as the application gave them. Called by the private API and by whatever names a user.

pub(crate) mod answers;

use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};

columns! {
    /// A user.
    pub struct User {
        /// The application's id.
        id: String = "u.id",
        /// As the application gave it.
        email: Option<String> = "u.email",
        /// As the application gave it.
        name: Option<String> = "u.name",
        /// JSON object.
        metadata: String = "u.metadata",
        /// The user's main customer at Stripe.
        stripe_customer_id: Option<String> = "c.stripe_customer_id",
        /// First seen, unix milliseconds.
        created_at_ms: i64 = "u.created_at_ms",
    }
}

macro_rules! user {
    ($which:literal) => {
        select!(User, concat!("FROM users u LEFT JOIN stripe_customers c ON c.user_id = u.id ", $which))
    };
}

/// One user.
pub fn find(reader: &StoreReader, id: &str) -> Result<Option<User>, StoreError> {
    const SQL: &str = user!("WHERE u.id = ?1");
    reader.find(SQL, [id], User::read)
}

/// Whether there is such a user.
pub(crate) fn exists(reader: &StoreReader, id: &str) -> Result<bool, StoreError> {
    Ok(reader.find("SELECT 1 FROM users WHERE id = ?1", [id], |_| Ok(()))?.is_some())
}

/// Users by id, after the id `after`: all of them, or those with a mail address, whatever its case.
pub(crate) fn list(
    reader: &StoreReader,
    email: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<User>, StoreError> {
    const ALL: &str = user!("WHERE ?1 IS NULL AND (?2 IS NULL OR u.id > ?2) ORDER BY u.id LIMIT ?3");
    const BY_EMAIL: &str =
        user!("WHERE u.email = ?1 COLLATE NOCASE AND (?2 IS NULL OR u.id > ?2) ORDER BY u.id LIMIT ?3");
    reader.list(if email.is_some() { BY_EMAIL } else { ALL }, (email, after, limit), User::read)
}

const ENSURE: &str = "INSERT INTO users (id, created_at_ms) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";

/// Makes sure that the user exists; `true` when it was added.
pub(crate) fn ensure(tx: &Tx, id: &str, now_ms: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(ENSURE, (id, now_ms))? == 1)
}

/// A change of a user; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserChange {
    /// Mail address; `Some(None)` removes it.
    pub email: Option<Option<String>>,
    /// Name; `Some(None)` removes it.
    pub name: Option<Option<String>>,
    /// JSON object.
    pub metadata: Option<String>,
}

const UPDATE: &str = "UPDATE users SET email = CASE WHEN ?2 THEN ?3 ELSE email END,
    name = CASE WHEN ?4 THEN ?5 ELSE name END, metadata = coalesce(?6, metadata) WHERE id = ?1";

/// Adds or changes a user; `true` when it was added.
pub(crate) fn put(tx: &Tx, id: &str, change: &UserChange, now_ms: i64) -> Result<bool, StoreError> {
    let added = ensure(tx, id, now_ms)?;
    let (email, name) = (change.email.as_ref(), change.name.as_ref());
    tx.execute(
        UPDATE,
        (id, email.is_some(), email.cloned().flatten(), name.is_some(), name.cloned().flatten(), &change.metadata),
    )?;
    Ok(added)
}

/// Ids after `after`, for going through all users.
pub(crate) fn list_ids(reader: &StoreReader, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
    reader.list("SELECT id FROM users WHERE id > ?1 ORDER BY id LIMIT ?2", (after, limit), row::only)
}

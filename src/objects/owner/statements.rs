//! `user_links`: the statements of the application or its operator about whose a customer or a subscription is. Rows are
//! added and withdrawn and must never be changed, so that after a withdrawal an earlier statement counts again. Called by
//! `owner` and `links`.

use crate::base::ownership::Statement;
use crate::store::engine::row;
use crate::store::{StoreError, StoreReader, Tx};

/// A statement to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewStatement<'a> {
    /// `customer` or `subscription`.
    pub(crate) object: &'a str,
    /// Its id.
    pub(crate) object_id: &'a str,
    /// The user it names.
    pub(crate) user_id: &'a str,
    /// Whether it belongs to this user.
    pub(crate) linked: bool,
    /// `api`, `cli` or `dashboard`.
    pub(crate) actor: &'a str,
}

/// Adds a statement, as the newest.
pub(crate) fn add(tx: &Tx, new: &NewStatement, now_ms: i64) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO user_links (object, object_id, user_id, linked, actor, said_at_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.execute(SQL, (new.object, new.object_id, new.user_id, new.linked, new.actor, now_ms)).map(|_| ())
}

/// Withdraws every statement of this kind about an object and a user; how many there were.
pub(crate) fn withdraw(
    tx: &Tx,
    object_id: &str,
    user_id: &str,
    linked: bool,
    now_ms: i64,
) -> Result<usize, StoreError> {
    const SQL: &str = "UPDATE user_links SET withdrawn_at_ms = ?4
        WHERE object_id = ?1 AND user_id = ?2 AND linked = ?3 AND withdrawn_at_ms IS NULL";
    tx.execute(SQL, (object_id, user_id, linked, now_ms))
}

/// A statement that an object does not belong to a user ends when the object names another user later.
pub(crate) fn supersede(tx: &Tx, object_id: &str, named: &str, named_at: i64) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE user_links SET superseded = 1 WHERE object_id = ?1 AND withdrawn_at_ms IS NULL
        AND linked = 0 AND user_id <> ?2 AND said_at_ms < ?3 * 1000 AND superseded = 0";
    tx.execute(SQL, (object_id, named, named_at)).map(|_| ())
}

/// Whether the newest statement that a customer belongs to the user is about this one.
pub(crate) fn is_last_customer(reader: &StoreReader, user_id: &str, object_id: &str) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT object_id FROM user_links WHERE user_id = ?1 AND object = 'customer' AND linked = 1
        AND withdrawn_at_ms IS NULL ORDER BY id DESC LIMIT 1";
    let last: Option<String> = reader.find(SQL, [user_id], row::only)?;
    Ok(last.is_none_or(|last| last == object_id))
}

/// The statements about an object that count, the newest first.
pub(crate) fn list(reader: &StoreReader, object_id: &str) -> Result<Vec<Statement>, StoreError> {
    const SQL: &str = "SELECT id, user_id, linked FROM user_links
        WHERE object_id = ?1 AND withdrawn_at_ms IS NULL AND superseded = 0 ORDER BY id DESC";
    let statements = reader.list(SQL, [object_id], row::tuple)?;
    Ok(statements.into_iter().map(|(order, user_id, linked)| Statement { order, user_id, linked }).collect())
}

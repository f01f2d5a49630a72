//! `settings`: what the daemon remembers between runs, by name.

use super::{Reader, StoreError, Tx};

/// Fingerprint of the plans and the grace period that `subscriptions` was computed with.
pub const POLICY: &str = "policy";

/// The account that the copy is of, by Stripe's id.
pub const STRIPE_ACCOUNT: &str = "stripe_account";

/// The mode that the copy is of: [`LIVE`] or [`TEST`].
pub const STRIPE_MODE: &str = "stripe_mode";
/// Real money.
pub const LIVE: &str = "live";
/// A sandbox, or test mode.
pub const TEST: &str = "test";

/// A remembered value.
///
/// # Errors
/// When the database cannot be read.
pub fn find(reader: &Reader, name: &str) -> Result<Option<String>, StoreError> {
    reader.find("SELECT value FROM settings WHERE name = ?1", [name], |row| row.get(0))
}

/// Remembers a value. Writing the same again proves that the database takes writes.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, name: &str, value: &str) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    tx.execute(SQL, (name, value)).map(|_| ())
}

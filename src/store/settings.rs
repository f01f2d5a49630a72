//! `settings`: what the daemon remembers between runs, by name.

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row;

/// Fingerprint of the plans and the grace period that `subscriptions` was computed with.
pub const POLICY: &str = "policy";

/// The newest number of a change that was written for the application.
pub const CHANGES: &str = "changes";

/// The newest hour in which dead letters were mailed, and how many.
pub(crate) const DEAD_LETTER_MAILS: &str = "dead_letter_mails";

/// How long before the end of a grace period the warning is due, in seconds, as cases were last looked at with.
pub(crate) const WARNING: &str = "warning_s";

/// The keys of metadata that named users when everybody was last linked.
pub(crate) const LINK_KEYS: &str = "link_keys";

/// All rules of `[link]` by which everybody was last linked.
pub(crate) const LINK_RULES: &str = "link_rules";

/// The account that the copy is of, by Stripe's id.
pub(crate) const STRIPE_ACCOUNT: &str = "stripe_account";

/// The mode that the copy is of: [`LIVE`] or [`TEST`].
pub const STRIPE_MODE: &str = "stripe_mode";
/// The account whose events were taken for our own when it became known; those that come later are as they come.
pub(crate) const ADOPTED_ACCOUNT: &str = "adopted_account";

/// Tells this database from every other one; its copies have it, too.
pub(crate) const DATABASE_ID: &str = "database_id";

/// When the newest webhook came, or since when a first one is waited for, unix milliseconds; looked at for silence.
pub(crate) const SILENT_SINCE: &str = "silent_since";

/// What whole tables showed when they were last looked through, JSON.
pub(crate) const FINDINGS_IN_TABLES: &str = "findings_in_tables";
/// What Stripe said when it was last asked whether all is well, JSON.
pub(crate) const FINDINGS_AT_STRIPE: &str = "findings_at_stripe";
/// Differences from Stripe that the last comparison left.
pub(crate) const DRIFT_LEFT: &str = "drift_left";

/// Real money.
pub(crate) const LIVE: &str = "live";
/// A sandbox, or test mode.
pub(crate) const TEST: &str = "test";

/// Gives the database an id if it has none.
pub(crate) fn ensure_id(tx: &Tx) -> Result<(), StoreError> {
    const SQL: &str =
        "INSERT INTO settings (name, value) VALUES (?1, lower(hex(randomblob(16)))) ON CONFLICT DO NOTHING";
    tx.execute(SQL, [DATABASE_ID]).map(|_| ())
}

/// The next number of a series that rises with time: `at_least`, or one more than the last. An older copy of the file, or
/// a new one, goes on above all that was given before it, as long as `at_least` is a time of a clock that is right.
pub(crate) fn next_number(tx: &Tx, name: &str, at_least: i64) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO settings (name, value) VALUES (?1, CAST(?2 AS TEXT)) ON CONFLICT (name)
        DO UPDATE SET value = CAST(max(CAST(value AS INTEGER) + 1, ?2) AS TEXT) RETURNING CAST(value AS INTEGER)";
    tx.get(SQL, (name, at_least), row::only)
}

/// A remembered value.
pub fn find(reader: &StoreReader, name: &str) -> Result<Option<String>, StoreError> {
    reader.find("SELECT value FROM settings WHERE name = ?1", [name], row::only)
}

/// Remembers a value. Writing the same again proves that the database takes writes.
pub fn put(tx: &Tx, name: &str, value: &str) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    tx.execute(SQL, (name, value)).map(|_| ())
}

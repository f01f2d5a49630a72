//! One mode and one account per database: what was of test mode goes when the database turns live, and events that were kept
//! as another account's become our own when it is known which account is ours. Called by `objects::mode`.

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row;

/// An event that did not say its mode is of neither, though its rows must have one.
const OF_TEST: &str =
    "livemode = 0 AND event_id NOT IN (SELECT event_id FROM stripe_webhooks_log WHERE livemode IS NULL)";
const USERS: &str = "SELECT user_id FROM stripe_subscriptions WHERE livemode = 0 AND user_id IS NOT NULL
    UNION SELECT owner_user_id FROM stripe_customers WHERE livemode = 0 AND owner_user_id IS NOT NULL";
const NOTICES: &str = "DELETE FROM dunning_attempts WHERE payment_failure_id IN (SELECT f.id FROM payment_failures f
    JOIN stripe_invoices i ON i.stripe_invoice_id = f.stripe_invoice_id WHERE i.livemode = 0)";
const CASES: &str = "DELETE FROM payment_failures
    WHERE stripe_invoice_id IN (SELECT stripe_invoice_id FROM stripe_invoices WHERE livemode = 0)";
const HISTORY: &str = "DELETE FROM subscription_events
    WHERE stripe_subscription_id IN (SELECT stripe_subscription_id FROM stripe_subscriptions WHERE livemode = 0)
       OR stripe_event_id IN (SELECT event_id FROM stripe_webhooks_log WHERE livemode = 0)";
const DISCOUNTS: &str = "DELETE FROM subscription_discounts
    WHERE stripe_subscription_id IN (SELECT stripe_subscription_id FROM stripe_subscriptions WHERE livemode = 0)";
const TEST_EVENTS: &str = "SELECT event_id FROM stripe_webhooks_log WHERE livemode = 0 AND account IS NULL";
// Before their state changes, so that the triggers of the figures count them: only the worker sets both at once.
const FINISH: &str = "UPDATE stripe_webhooks_log SET finished_at_ms = ?1
    WHERE livemode = 0 AND account IS NULL AND finished_at_ms IS NULL AND (status <> 'ignored' OR processed = 1)";
const IGNORE: &str = "UPDATE stripe_webhooks_log SET status = 'ignored', processed = 0, processing_error = ?1
    WHERE livemode = 0 AND account IS NULL AND (status <> 'ignored' OR processed = 1)";
const QUEUES: [&str; 2] = ["webhook_retry_queue", "webhook_dead_letter_queue"];

/// Whether anything is there that [`forget_test`] would take away.
pub(crate) fn has_test(reader: &StoreReader) -> Result<bool, StoreError> {
    const READ: &str = "SELECT 1 FROM mirror WHERE livemode = 0 AND account = '' LIMIT 1";
    Ok(reader.find(TEST_EVENTS, [], |_| Ok(()))?.is_some() || reader.find(READ, [], |_| Ok(()))?.is_some())
}

/// Why and when rows of test mode go.
#[derive(Clone, Copy)]
pub(crate) struct TurnToLive<'a> {
    /// For the log of events.
    pub(crate) reason: &'a str,
    /// Unix milliseconds.
    pub(crate) now_ms: i64,
}

/// Takes away all rows of test mode; its events stay in the log as ignored, for that reason. Returns the users whose
/// answers may have rested on them. `tables`: those whose rows each rest on one event, children before what they refer to.
pub(crate) fn forget_test(tx: &Tx, tables: &[&str], turn: TurnToLive) -> Result<Vec<String>, StoreError> {
    let users = tx.list(USERS, [], row::only)?;
    for sql in [NOTICES, CASES, HISTORY, DISCOUNTS] {
        tx.execute(sql, [])?;
    }
    for table in tables.iter().chain(&["payment_attempts", "mirror"]) {
        let ours = if *table == "mirror" { " AND account = ''" } else { "" };
        tx.execute(&format!("DELETE FROM {table} WHERE {OF_TEST}{ours}"), [])?;
    }
    forget_readings(tx, "livemode = 0 AND account = ''")?;
    for queue in QUEUES {
        tx.execute(&format!("DELETE FROM {queue} WHERE stripe_event_id IN ({TEST_EVENTS})"), [])?;
    }
    tx.execute(FINISH, [turn.now_ms])?;
    tx.execute(IGNORE, [turn.reason])?;
    Ok(users)
}

/// Takes away what was read of objects whose rows are gone: nothing rests on it any more.
fn forget_readings(tx: &Tx, which: &str) -> Result<(), StoreError> {
    // Those that repeat another go before it.
    let gone = format!(
        "{which} AND NOT EXISTS (SELECT 1 FROM mirror m WHERE m.object = api_readings.object
        AND m.id = api_readings.object_id AND m.livemode = api_readings.livemode AND m.account = api_readings.account)"
    );
    tx.execute(&format!("DELETE FROM api_readings WHERE {gone} AND same_reading_id IS NOT NULL"), [])?;
    tx.execute(&format!("DELETE FROM api_readings WHERE {gone}"), []).map(|_| ())
}

/// An event of our own account that named it.
pub(crate) fn make_own(tx: &Tx, event_id: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE stripe_webhooks_log SET account = NULL WHERE event_id = ?1", [event_id]).map(|_| ())
}

/// Events that were kept as those of `account`, before it was known to be ours, wait for the worker again. How many.
pub(crate) fn make_all_own(tx: &Tx, account: &str) -> Result<usize, StoreError> {
    const EVENTS: &str = "UPDATE stripe_webhooks_log SET account = NULL, status = 'pending', processed = 0,
        processing_error = NULL, processing_attempts = 0, processed_at_ms = NULL WHERE account = ?1";
    const IDS: &str = "SELECT event_id FROM stripe_webhooks_log WHERE account = ?1";
    for queue in QUEUES {
        tx.execute(&format!("DELETE FROM {queue} WHERE stripe_event_id IN ({IDS})"), [account])?;
    }
    tx.execute("DELETE FROM mirror WHERE account = ?1", [account])?;
    tx.execute("DELETE FROM api_readings WHERE account = ?1 AND same_reading_id IS NOT NULL", [account])?;
    tx.execute("DELETE FROM api_readings WHERE account = ?1", [account])?;
    tx.execute(EVENTS, [account])
}

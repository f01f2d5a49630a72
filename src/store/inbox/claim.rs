//! The worker's side of the log: which pending events it has claimed, and what they are.

use crate::store::{Reader, StoreError, Tx};

/// An event that waits for its projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Place in the log.
    pub log_id: i64,
    /// Stripe's id.
    pub event_id: String,
    /// `resource.verb`.
    pub event_type: String,
    /// Unix seconds.
    pub event_created: i64,
    /// Mode, where it said.
    pub livemode: Option<bool>,
    /// Connect account.
    pub account: Option<String>,
    /// Attempts made before.
    pub attempts: u32,
    /// When it was received.
    pub received_ms: i64,
    /// The body.
    pub data: String,
}

/// Whether any event waits for the worker.
///
/// # Errors
/// When the database cannot be read.
pub fn any_pending(reader: &Reader) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed' LIMIT 1";
    Ok(reader.find(SQL, [], |_| Ok(()))?.is_some())
}

const NEXT_RANGE: &str = "SELECT min(id), max(id) FROM
    (SELECT id FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed' ORDER BY id LIMIT ?1)";
const SET_CLAIM: &str = "INSERT INTO worker_claim (id, first_log_id, last_log_id, claimed_at_ms) VALUES (1, ?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET first_log_id = ?1, last_log_id = ?2, claimed_at_ms = ?3";
const CLEAR_CLAIM: &str = "DELETE FROM worker_claim";

/// Events from `first` to `last` place in the log, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First place.
    pub first: i64,
    /// Last place.
    pub last: i64,
}

/// Writes down which pending events the worker takes next, oldest first, so that a crash can be laid to them.
/// `None`: nothing is pending, and no claim stands.
///
/// # Errors
/// When the database cannot take it.
pub fn claim_next(tx: &Tx, limit: u32, now_ms: i64) -> Result<Option<Range>, StoreError> {
    let range =
        tx.get(NEXT_RANGE, [limit], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let (Some(first), Some(last)) = range else {
        tx.execute(CLEAR_CLAIM, [])?;
        return Ok(None);
    };
    tx.execute(SET_CLAIM, (first, last, now_ms))?;
    Ok(Some(Range { first, last }))
}

const FIND_CLAIM: &str = "SELECT first_log_id, last_log_id FROM worker_claim";

/// The claim that a former process left behind.
///
/// # Errors
/// When the database cannot be read.
pub fn find_claim(reader: &Reader) -> Result<Option<Range>, StoreError> {
    reader.find(FIND_CLAIM, [], |row| Ok(Range { first: row.get(0)?, last: row.get(1)? }))
}

const COUNT_ATTEMPT: &str = "UPDATE stripe_webhooks_log SET processing_attempts = processing_attempts + 1
    WHERE id = ?1 AND status = 'pending' AND status <> 'processed' RETURNING processing_attempts";

/// Counts an attempt before it is made, and narrows the claim to what is still suspected. The number of the attempt;
/// `None` when the event is no longer pending.
///
/// # Errors
/// When the database cannot take it.
pub fn claim_suspect(tx: &Tx, suspects: Range, now_ms: i64) -> Result<Option<u32>, StoreError> {
    tx.execute(SET_CLAIM, (suspects.first, suspects.last, now_ms))?;
    tx.find(COUNT_ATTEMPT, [suspects.first], |row| row.get(0))
}

/// Forgets the claim.
///
/// # Errors
/// When the database cannot take it.
pub fn clear_claim(tx: &Tx) -> Result<(), StoreError> {
    tx.execute(CLEAR_CLAIM, []).map(|_| ())
}

const LIST_PENDING: &str = "SELECT id, event_id, event_type, event_created, livemode, account, processing_attempts,
    created_at_ms, data FROM stripe_webhooks_log
    WHERE status = 'pending' AND status <> 'processed' AND id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3";

/// Pending events within a range of the log.
///
/// # Errors
/// When the database cannot be read.
pub fn list_pending(reader: &Reader, range: Range, limit: u32) -> Result<Vec<Pending>, StoreError> {
    reader.list(LIST_PENDING, (range.first, range.last, limit), |row| {
        Ok(Pending {
            log_id: row.get(0)?,
            event_id: row.get(1)?,
            event_type: row.get(2)?,
            event_created: row.get(3)?,
            livemode: row.get(4)?,
            account: row.get(5)?,
            attempts: row.get(6)?,
            received_ms: row.get(7)?,
            data: row.get(8)?,
        })
    })
}

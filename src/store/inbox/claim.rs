//! The worker's side of the log: which pending events it has claimed, and what they are.

use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};

columns! {
    /// An event that waits for its projection.
    pub struct PendingEvent {
        /// Row number in the log.
        log_id: i64 = "id",
        /// Stripe's id.
        event_id: String,
        /// `resource.verb`.
        event_type: String,
        /// Unix seconds.
        event_created: i64,
        /// Mode, where the event has one.
        livemode: Option<bool>,
        /// Connect account.
        account: Option<String>,
        /// Attempts made before.
        attempts: u32 = "processing_attempts",
        /// When it was received.
        received_ms: i64 = "created_at_ms",
        /// The body.
        data: String,
    }
}

/// Whether any event waits for the worker.
pub(crate) fn any_pending(reader: &StoreReader) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed' LIMIT 1";
    Ok(reader.find(SQL, [], |_| Ok(()))?.is_some())
}

const NEXT_RANGE: &str = "SELECT min(id), max(id) FROM
    (SELECT id FROM stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed' ORDER BY id LIMIT ?1)";
const SET_CLAIM: &str = "INSERT INTO worker_claim (id, first_log_id, last_log_id, claimed_at_ms) VALUES (1, ?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET first_log_id = ?1, last_log_id = ?2, claimed_at_ms = ?3";
const CLEAR_CLAIM: &str = "DELETE FROM worker_claim";

columns! {
    /// Events from row `first` to row `last` of the log, both included.
    #[derive(Copy)]
    pub struct ClaimRange {
        /// First row.
        first: i64 = "first_log_id",
        /// Last row.
        last: i64 = "last_log_id",
    }
}

/// Writes down which pending events the worker takes next, oldest first, so that a crash can be attributed to them.
/// `None`: nothing is pending, and the claim is cleared.
pub(crate) fn claim_next(tx: &Tx, limit: u32, now_ms: i64) -> Result<Option<ClaimRange>, StoreError> {
    let range: (Option<i64>, Option<i64>) = tx.get(NEXT_RANGE, [limit], row::tuple)?;
    let (Some(first), Some(last)) = range else {
        tx.execute(CLEAR_CLAIM, [])?;
        return Ok(None);
    };
    tx.execute(SET_CLAIM, (first, last, now_ms))?;
    Ok(Some(ClaimRange { first, last }))
}

/// The claim that a former process left behind.
pub(crate) fn find_claim(reader: &StoreReader) -> Result<Option<ClaimRange>, StoreError> {
    reader.find(select!(ClaimRange, "FROM worker_claim"), [], ClaimRange::read)
}

const COUNT_ATTEMPT: &str = "UPDATE stripe_webhooks_log SET processing_attempts = processing_attempts + 1
    WHERE id = ?1 AND status = 'pending' AND status <> 'processed' RETURNING processing_attempts";

/// Counts an attempt before it is made, and narrows the claim to what is still suspected. The number of the attempt;
/// `None` when the event is no longer pending.
pub(crate) fn claim_suspect(tx: &Tx, suspects: ClaimRange, now_ms: i64) -> Result<Option<u32>, StoreError> {
    tx.execute(SET_CLAIM, (suspects.first, suspects.last, now_ms))?;
    tx.find(COUNT_ATTEMPT, [suspects.first], row::only)
}

/// Forgets the claim.
pub(crate) fn clear_claim(tx: &Tx) -> Result<(), StoreError> {
    tx.execute(CLEAR_CLAIM, []).map(|_| ())
}

const LIST_PENDING: &str = select!(
    PendingEvent,
    "FROM stripe_webhooks_log
    WHERE status = 'pending' AND status <> 'processed' AND id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3"
);

/// Pending events within a range of the log.
pub(crate) fn list_pending(
    reader: &StoreReader,
    range: ClaimRange,
    limit: u32,
) -> Result<Vec<PendingEvent>, StoreError> {
    reader.list(LIST_PENDING, (range.first, range.last, limit), PendingEvent::read)
}

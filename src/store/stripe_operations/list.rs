//! Operations as an operator sees them: those in doubt first, then the newest. It must never show what was sent or
//! answered: that may be personal, and a client secret is among it. Called by the admin API and the dashboard.

use super::OperationStatus;
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader};

columns! {
    /// An operation, without what was sent and answered.
    pub struct OperationEntry {
        /// Row number, as text.
        id: String = "CAST(id AS TEXT)",
        /// Sent to Stripe.
        idempotency_key: String,
        /// What is done.
        kind: String,
        /// For whom.
        user_id: Option<String>,
        /// To what.
        subject: Option<String>,
        /// How far it is.
        status: String,
        /// Attempts made.
        attempts: u32,
        /// Before its first byte left, unix milliseconds.
        first_sent_ms: i64,
        /// When its outcome is asked for again, unix milliseconds.
        next_attempt_at_ms: Option<i64>,
        /// What came of it.
        object_id: Option<String>,
        /// Stripe's id of the request that settled it.
        request_id: Option<String>,
        /// Why the newest attempt settled nothing.
        error: Option<String> = "last_error",
        /// When it was settled, unix milliseconds.
        finished_at_ms: Option<i64>,
    }
}

/// Which operations are listed.
#[derive(Debug, Clone, Default)]
pub struct OperationFilter {
    /// In this state.
    pub status: Option<String>,
    /// For this user.
    pub user_id: Option<String>,
    /// What comes after the row of this number.
    pub after: Option<i64>,
}

macro_rules! listed {
    ($from:literal) => {
        select!(
            OperationEntry,
            concat!(
                "FROM stripe_operations ",
                $from,
                " AND (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR user_id = ?2) AND id < ?3
                 ORDER BY id DESC LIMIT ?4"
            )
        )
    };
}

/// Those in doubt: there are never many.
const IN_DOUBT: &str =
    listed!("INDEXED BY stripe_operations_open WHERE status IN ('sending', 'in_doubt') AND status = 'in_doubt'");
const SENDING: &str =
    listed!("INDEXED BY stripe_operations_open WHERE status IN ('sending', 'in_doubt') AND status = 'sending'");
const ENDED: &str =
    listed!("INDEXED BY stripe_operations_ended WHERE status IN ('refused', 'not_done') AND status = ?1");
const OF_USER: &str = listed!("INDEXED BY stripe_operations_user WHERE user_id = ?2 AND status <> 'in_doubt'");
const OTHERS: &str = listed!("NOT INDEXED WHERE status <> 'in_doubt'");

/// The states, as [`OperationFilter::status`] has them.
pub fn states() -> impl Iterator<Item = &'static str> {
    OperationStatus::ALL.into_iter().map(OperationStatus::as_str)
}

/// Operations: those in doubt, then the others, each the newest first.
pub fn list(reader: &StoreReader, filter: &OperationFilter, limit: u32) -> Result<Vec<OperationEntry>, StoreError> {
    const IS_IN_DOUBT: &str = "SELECT status = 'in_doubt' FROM stripe_operations WHERE id = ?1";
    let after_doubt = match filter.after {
        None => Some(true),
        Some(id) => reader.find(IS_IN_DOUBT, [id], row::only::<bool>)?,
    };
    let Some(after_doubt) = after_doubt else { return Ok(Vec::new()) };
    let read = |sql: &str, before: Option<i64>, limit: u32| {
        let params = (filter.status.as_deref(), filter.user_id.as_deref(), before.unwrap_or(i64::MAX), limit);
        reader.list(sql, params, OperationEntry::read)
    };
    let mut found = if after_doubt { read(IN_DOUBT, filter.after, limit)? } else { Vec::new() };
    let rest = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
    let others = match (filter.status.as_deref(), &filter.user_id) {
        (Some("in_doubt"), _) => return Ok(found),
        (Some("sending"), _) => SENDING,
        (Some("refused" | "not_done"), _) => ENDED,
        (_, Some(_)) => OF_USER,
        (_, None) => OTHERS,
    };
    found.extend(read(others, filter.after.filter(|_| !after_doubt), rest)?);
    Ok(found)
}

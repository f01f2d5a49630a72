//! The audit log as an operator sees it: newest first, by user, action, actor and time. It must never read a large log
//! from end to end: each filter has an index to go by, and an event's rows of a rare type are found through the log of
//! events. Called by the admin API and the dashboard.

use super::AuditEntry;
use crate::store::engine::row::{self, select};
use crate::store::{StoreError, StoreReader};

/// Up to this many events of a type are found through the log of events, and sorted. Of more than that there is one in
/// any stretch of the audit log, which is then read by time.
const FEW: u32 = 10_000;

/// Which rows are listed.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// About this user.
    pub user_id: Option<String>,
    /// Of this action: the type of an event, or what was done.
    pub action: Option<String>,
    /// Done by this one: `stripe`, `api`, `cli` and so on.
    pub actor: Option<String>,
    /// Not before this time, unix milliseconds.
    pub from_ms: Option<i64>,
    /// Before this time, unix milliseconds.
    pub to_ms: Option<i64>,
    /// What comes after the row of this number.
    pub after: Option<i64>,
}

macro_rules! listed {
    ($from:literal) => {
        select!(
            AuditEntry,
            concat!(
                "FROM audit_log ",
                $from,
                " AND at_ms BETWEEN ?4 AND ?5 AND (at_ms < ?6 OR id < ?7)
                 AND (?1 IS NULL OR user_id = ?1) AND (?2 IS NULL OR action = ?2) AND (?3 IS NULL OR actor = ?3)
                 ORDER BY at_ms DESC, id DESC LIMIT ?8"
            )
        )
    };
}

const OF_USER: &str = listed!("INDEXED BY audit_log_user WHERE user_id = ?1");
const OF_FEW_EVENTS: &str = listed!(
    "NOT INDEXED WHERE id IN (SELECT a.id FROM stripe_webhooks_log l INDEXED BY stripe_webhooks_log_type
     JOIN audit_log a ON a.stripe_event_id = l.event_id AND a.action = l.event_type WHERE l.event_type = ?2)"
);
const OF_ACTION: &str = listed!("INDEXED BY audit_log_acts WHERE stripe_event_id IS NULL AND action = ?2");
const OF_ACTOR: &str = listed!("INDEXED BY audit_log_actors WHERE stripe_event_id IS NULL AND actor = ?3");
const BY_TIME: &str = listed!("INDEXED BY audit_log_time WHERE 1");

/// Rows, newest first; of those of one time, the one that was written last.
pub fn list(reader: &StoreReader, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
    const AT: &str = "SELECT at_ms FROM audit_log WHERE id = ?1";
    let (last_ms, last_id) = match filter.after {
        None => (i64::MAX, i64::MAX),
        Some(id) => match reader.find(AT, [id], row::only)? {
            Some(at_ms) => (at_ms, id),
            None => return Ok(Vec::new()),
        },
    };
    let from_ms = filter.from_ms.unwrap_or(i64::MIN);
    let until_ms = filter.to_ms.map_or(i64::MAX, |to_ms| to_ms.saturating_sub(1)).min(last_ms);
    let (user_id, action, actor) = (filter.user_id.as_deref(), filter.action.as_deref(), filter.actor.as_deref());
    let params = (user_id, action, actor, from_ms, until_ms, last_ms, last_id, limit);
    reader.list(statement(reader, filter)?, params, AuditEntry::read)
}

/// The statement that reads least.
fn statement(reader: &StoreReader, filter: &AuditFilter) -> Result<&'static str, StoreError> {
    const EVENTS: &str = "SELECT count(*) FROM (SELECT 1 FROM stripe_webhooks_log WHERE event_type = ?1 LIMIT ?2)";
    if filter.user_id.is_some() {
        return Ok(OF_USER);
    }
    if let Some(action) = &filter.action {
        let events: u32 = reader.get(EVENTS, (action, FEW), row::only)?;
        return Ok(match events {
            0 => OF_ACTION,
            FEW.. => BY_TIME,
            _ => OF_FEW_EVENTS,
        });
    }
    // Nearly every row is Stripe's.
    let is_rare = filter.actor.as_deref().is_some_and(|actor| actor != "stripe");
    Ok(if is_rare { OF_ACTOR } else { BY_TIME })
}

//! What an operator can do by hand: replay events, discard dead letters, repeat or discard deliveries. Each writes its
//! row in the audit log, in the same transaction. It must never project or deliver: it only makes that due. Called by
//! the admin API and the command line.

mod ask;

use std::collections::BTreeSet;

use serde_json::json;

use crate::base::secret::without_query;
use crate::objects::{dunning_attempts, refresh};
use crate::store::inbox::{self, EventStatus};
use crate::store::outbox::rows::{self, GivenUp};
use crate::store::{StoreError, Tx, audit, dead_letters, retries, webhook_endpoints};
pub use ask::ask;

/// Who acts, and when.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// `api`, `cli` or `dashboard`.
    pub actor: &'static str,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// Characters of a reason that are kept: it is a note, and stays in the audit log for good.
pub const MAX_REASON_CHARS: usize = 500;

/// A reason as it is kept, whoever gave it.
fn kept(reason: Option<&str>) -> Option<String> {
    reason.map(|reason| reason.chars().take(MAX_REASON_CHARS).collect())
}

/// Makes an event pending again, whatever its state, and forgets its attempts. `false`: there is no such event.
pub fn replay(tx: &Tx, event_id: &str, operator: Operator) -> Result<bool, StoreError> {
    if !inbox::replay(tx, event_id)? {
        return Ok(false);
    }
    retries::remove(tx, event_id)?;
    dead_letters::remove(tx, event_id)?;
    add_audit(tx, operator, "event.replay", event_id, "{}")?;
    Ok(true)
}

/// Makes the events of dead letters pending again, at most `limit`, of one type or of any. Returns their ids.
pub(crate) fn replay_dead_letters(
    tx: &Tx,
    event_type: Option<&str>,
    limit: u32,
    operator: Operator,
) -> Result<Vec<String>, StoreError> {
    let letters = dead_letters::list(tx, event_type, None, limit)?;
    for letter in &letters {
        replay(tx, &letter.event_id, operator)?;
    }
    Ok(letters.into_iter().map(|letter| letter.event_id).collect())
}

/// Makes all events pending again, or those of one type. Returns how many.
pub fn replay_all(tx: &Tx, event_type: Option<&str>, operator: Operator) -> Result<usize, StoreError> {
    let count = inbox::replay_all(tx, event_type)?;
    let detail = json!({"type": event_type, "count": count}).to_string();
    add_audit(tx, operator, "event.replay_all", "all", &detail)?;
    Ok(count)
}

/// Discards a dead letter; the event stays in the log as `ignored`. `false`: there is no such dead letter.
pub fn discard(tx: &Tx, event_id: &str, reason: Option<&str>, operator: Operator) -> Result<bool, StoreError> {
    let Some(letter) = dead_letters::find(tx, event_id)? else { return Ok(false) };
    dead_letters::remove(tx, event_id)?;
    inbox::discard(tx, event_id)?;
    let detail = json!({"reason": kept(reason), "type": letter.event_type, "error": letter.error}).to_string();
    add_audit(tx, operator, "dead_letter.discard", event_id, &detail)?;
    Ok(true)
}

/// Makes a delivery (mail, or event for the application) due from its first attempt, whatever its state, and enables
/// its endpoint. `false`: it is being delivered now, or there is no such row.
pub fn deliver_again(tx: &Tx, id: i64, operator: Operator) -> Result<bool, StoreError> {
    let Some(row) = rows::find(tx, id)? else { return Ok(false) };
    if !rows::again(tx, id, operator.now_ms)? {
        return Ok(false);
    }
    if let Some(target) = &row.target {
        webhook_endpoints::enable(tx, target)?;
    }
    let detail = json!({"kind": row.kind, "status": row.status, "attempts": row.attempts}).to_string();
    add_audit(tx, operator, "outbox.retry", &row.id, &detail)?;
    Ok(true)
}

/// Mails and events that one call makes due again at most: bounds how long others wait for the writer.
pub const MAX_DELIVERED_AGAIN: u32 = 1000;

/// Makes mails and events due again that were given up, at most `limit`, the oldest first, and enables their endpoints.
/// Returns how many, and whether there are more.
pub fn deliver_failed_again(
    tx: &Tx,
    which: GivenUp,
    limit: u32,
    operator: Operator,
) -> Result<(usize, bool), StoreError> {
    let limit = limit.min(MAX_DELIVERED_AGAIN);
    let mut failed = rows::list_given_up(tx, which, limit.saturating_add(1))?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = failed.len() > most;
    failed.truncate(most);
    for (id, _) in &failed {
        rows::again(tx, *id, operator.now_ms)?;
    }
    let targets: BTreeSet<&String> = failed.iter().filter_map(|(_, target)| target.as_ref()).collect();
    for target in targets {
        webhook_endpoints::enable(tx, target)?;
    }
    let detail = json!({"since": which.since_ms.div_euclid(1000), "count": failed.len()}).to_string();
    let subject = which.target.map_or_else(|| "all".to_owned(), without_query);
    add_audit(tx, operator, "outbox.retry_all", &subject, &detail)?;
    Ok((failed.len(), has_more))
}

/// Discards a delivery. `false`: it was delivered, is being delivered, or was discarded before, or there is no such
/// row.
pub fn discard_delivery(tx: &Tx, id: i64, reason: Option<&str>, operator: Operator) -> Result<bool, StoreError> {
    let Some(row) = rows::find(tx, id)? else { return Ok(false) };
    if !rows::discard(tx, id, operator.now_ms)? {
        return Ok(false);
    }
    dunning_attempts::set_outcome(tx, id, "skipped: discarded by an operator")?;
    let detail =
        json!({"reason": kept(reason), "kind": row.kind, "status": row.status, "error": row.error}).to_string();
    add_audit(tx, operator, "outbox.discard", &row.id, &detail)?;
    Ok(true)
}

/// Has what is known of a user read from Stripe once more, by the fetch thread. Returns how many objects that are.
pub(crate) fn refresh_user(tx: &Tx, user_id: &str, operator: Operator) -> Result<usize, StoreError> {
    let count = refresh::ask(tx, user_id, operator.now_ms)?;
    let detail = json!({"count": count}).to_string();
    let entry = audit::NewEntry::new(operator.actor, "user.refresh", operator.now_ms, &detail);
    audit::add(tx, &audit::NewEntry { user_id: Some(user_id), subject: Some(user_id), ..entry })?;
    Ok(count)
}

/// Records in the audit log that the present answers of `count` users were sent to an endpoint again.
pub(crate) fn note_resync(tx: &Tx, count: usize, operator: Operator) -> Result<(), StoreError> {
    add_audit(tx, operator, "outbox.resync", "all", &json!({"count": count}).to_string())
}

fn add_audit(tx: &Tx, operator: Operator, action: &str, subject: &str, detail: &str) -> Result<(), StoreError> {
    let entry = audit::NewEntry::new(operator.actor, action, operator.now_ms, detail);
    audit::add(tx, &audit::NewEntry { subject: Some(subject), ..entry })
}

/// The status of that name.
///
/// # Errors
/// A message that lists the valid names.
pub(crate) fn parse_status(text: &str) -> Result<EventStatus, String> {
    EventStatus::parse(text).ok_or_else(|| {
        let names: Vec<&str> = EventStatus::ALL.into_iter().map(EventStatus::as_str).collect();
        format!("{text:?} is not a valid status; valid are {}", names.join(", "))
    })
}

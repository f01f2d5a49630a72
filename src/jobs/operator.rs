//! What an operator can do, each with its row in the audit log: replay of events, and discard of dead letters; deliveries
//! made again, or discarded. The same functions serve the admin API and the command line.

use serde_json::json;

use crate::objects::dunning_attempts;
use crate::store::inbox::{self, EventStatus};
use crate::store::outbox::rows;
use crate::store::{StoreError, Tx, audit, dead_letters, retries, webhook_endpoints};

/// Who acts, and when.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// `api` or `cli`.
    pub actor: &'static str,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// Lets an event be projected again, whatever its state, its attempts forgotten. `false`: no such event.
///
/// # Errors
/// When the database cannot take it.
pub fn replay(tx: &Tx, event_id: &str, operator: Operator) -> Result<bool, StoreError> {
    if !inbox::replay(tx, event_id)? {
        return Ok(false);
    }
    retries::remove(tx, event_id)?;
    dead_letters::remove(tx, event_id)?;
    note(tx, operator, "event.replay", event_id, "{}")?;
    Ok(true)
}

/// Lets dead letters be projected again, of one type or of all, at most `limit`. Their ids.
///
/// # Errors
/// When the database cannot take it.
pub fn replay_dead_letters(
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

/// Lets the events of a type, or all of them, be projected again. How many.
///
/// # Errors
/// When the database cannot take it.
pub fn replay_all(tx: &Tx, event_type: Option<&str>, operator: Operator) -> Result<usize, StoreError> {
    let count = inbox::replay_all(tx, event_type)?;
    let detail = json!({"type": event_type, "count": count}).to_string();
    note(tx, operator, "event.replay_all", "all", &detail)?;
    Ok(count)
}

/// Gives a dead letter up for good; the event stays in the log as `ignored`. `false`: no such dead letter.
///
/// # Errors
/// When the database cannot take it.
pub fn discard(tx: &Tx, event_id: &str, reason: Option<&str>, operator: Operator) -> Result<bool, StoreError> {
    let Some(letter) = dead_letters::find(tx, event_id)? else { return Ok(false) };
    dead_letters::remove(tx, event_id)?;
    inbox::discard(tx, event_id)?;
    let detail = json!({"reason": reason, "type": letter.event_type, "error": letter.error}).to_string();
    note(tx, operator, "dead_letter.discard", event_id, &detail)?;
    Ok(true)
}

/// Lets a mail or an event for the application be delivered from the beginning, whatever became of it, and sends its
/// endpoint its events again. `false`: it is being delivered now.
///
/// # Errors
/// When the database cannot take it.
pub fn deliver_again(tx: &Tx, id: i64, operator: Operator) -> Result<bool, StoreError> {
    let Some(row) = rows::find(tx, id)? else { return Ok(false) };
    if !rows::again(tx, id, operator.now_ms)? {
        return Ok(false);
    }
    if let Some(target) = &row.target {
        webhook_endpoints::enable(tx, target)?;
    }
    let detail = json!({"kind": row.kind, "status": row.status, "attempts": row.attempts}).to_string();
    note(tx, operator, "outbox.retry", &row.id, &detail)?;
    Ok(true)
}

/// Gives a mail or an event for the application up for good. `false`: it was delivered, is being delivered, or was
/// discarded before.
///
/// # Errors
/// When the database cannot take it.
pub fn discard_delivery(tx: &Tx, id: i64, reason: Option<&str>, operator: Operator) -> Result<bool, StoreError> {
    let Some(row) = rows::find(tx, id)? else { return Ok(false) };
    if !rows::discard(tx, id, operator.now_ms)? {
        return Ok(false);
    }
    dunning_attempts::set_outcome(tx, id, "skipped: discarded by an operator")?;
    let detail = json!({"reason": reason, "kind": row.kind, "status": row.status, "error": row.error}).to_string();
    note(tx, operator, "outbox.discard", &row.id, &detail)?;
    Ok(true)
}

/// Keeps on record that an endpoint was told so many users' present answers.
///
/// # Errors
/// When the database cannot take it.
pub fn note_resync(tx: &Tx, count: usize, operator: Operator) -> Result<(), StoreError> {
    note(tx, operator, "outbox.resync", "all", &json!({"count": count}).to_string())
}

fn note(tx: &Tx, operator: Operator, action: &str, subject: &str, detail: &str) -> Result<(), StoreError> {
    let entry = audit::NewEntry::new(operator.actor, action, operator.now_ms, detail);
    audit::add(tx, &audit::NewEntry { subject: Some(subject), ..entry })
}

/// The state of that name, or the names there are.
///
/// # Errors
/// The list of names.
pub fn parse_status(text: &str) -> Result<EventStatus, String> {
    EventStatus::parse(text).ok_or_else(|| {
        let names: Vec<&str> = EventStatus::ALL.into_iter().map(EventStatus::as_str).collect();
        format!("status is {text:?}; there are {}", names.join(", "))
    })
}

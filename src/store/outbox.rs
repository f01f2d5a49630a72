//! `outbox`: effects that are written down in the transaction that causes them, and performed later, outside any
//! transaction. An effect is claimed, the attempt counted, before it is performed; what a process that died had claimed
//! is claimed again by the next one. Each change says from which state and attempt it may come, so that whoever is late
//! changes nothing.

pub mod answers;
pub mod deliveries;
pub mod rows;

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{self, columns};

/// What is to be performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxKind {
    /// A mail.
    Mail,
    /// A webhook of ours.
    Webhook,
    /// A call to Stripe.
    StripeCall,
}

impl OutboxKind {
    /// The word in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::StripeCall => "stripe_call",
        }
    }
}

/// An effect that is to be written down.
pub struct NewEffect<'a> {
    /// What it is.
    pub kind: OutboxKind,
    /// One effect per key, however often its cause is seen.
    pub dedupe_key: &'a str,
    /// Whom it concerns.
    pub user_id: Option<&'a str>,
    /// Where it goes: `mail`, or an endpoint's URL; `None` is Stripe.
    pub target: Option<&'a str>,
    /// JSON: all that is needed to perform it.
    pub payload: &'a str,
    /// The event that brought it about.
    pub cause: Option<&'a str>,
    /// When it may be performed, unix milliseconds.
    pub due_ms: i64,
    /// Unix milliseconds.
    pub now_ms: i64,
}

const PUT: &str = "INSERT INTO outbox (kind, dedupe_key, user_id, target, payload, next_attempt_at_ms, created_at_ms,
     cause_event_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (dedupe_key) DO NOTHING";

/// Writes an effect down, once per key. `false`: it was written before, whatever its state.
pub fn put(tx: &Tx, new: &NewEffect) -> Result<bool, StoreError> {
    let params =
        (new.kind.as_str(), new.dedupe_key, new.user_id, new.target, new.payload, new.due_ms, new.now_ms, new.cause);
    Ok(tx.execute(PUT, params)? == 1)
}

const PUT_SKIPPED: &str = "INSERT INTO outbox (kind, dedupe_key, user_id, target, payload, status, last_error,
     next_attempt_at_ms, created_at_ms, finished_at_ms, cause_event_id)
    VALUES (?1, ?2, ?3, ?4, ?5, 'skipped', ?6, ?7, ?7, ?7, ?8) ON CONFLICT (dedupe_key) DO NOTHING";

/// Writes down, once per key, that an effect is not to be performed, and why. `false`: it was written down before.
pub(crate) fn put_skipped(tx: &Tx, new: &NewEffect, reason: &str) -> Result<bool, StoreError> {
    let params =
        (new.kind.as_str(), new.dedupe_key, new.user_id, new.target, new.payload, reason, new.now_ms, new.cause);
    Ok(tx.execute(PUT_SKIPPED, params)? == 1)
}

/// The row number of an effect.
pub fn find_id(reader: &StoreReader, dedupe_key: &str) -> Result<Option<i64>, StoreError> {
    reader.find("SELECT id FROM outbox WHERE dedupe_key = ?1", [dedupe_key], row::only)
}

const REOPEN: &str =
    "UPDATE outbox SET status = 'pending', attempts = 0, next_attempt_at_ms = ?2, claimed_at_ms = NULL,
    last_error = NULL, finished_at_ms = NULL WHERE dedupe_key = ?1";

/// Lets an effect be performed again from the beginning, whatever its state. `false`: there is no such effect.
pub fn reopen(tx: &Tx, dedupe_key: &str, now_ms: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(REOPEN, (dedupe_key, now_ms))? == 1)
}

columns! {
    /// An effect in hand.
    pub struct OutboxEffect {
        /// Row number.
        id: i64,
        /// Its key.
        dedupe_key: String,
        /// Whom it concerns.
        user_id: Option<String>,
        /// JSON.
        payload: String,
        /// Attempts, this one included.
        attempts: u32,
        /// When it was claimed, unix milliseconds.
        claimed_at_ms: i64,
    }
}

const CLAIM: &str = constcat::concat!(
    "UPDATE outbox SET status = 'claimed', attempts = attempts + 1, claimed_at_ms = ?2 WHERE id =
    (SELECT id FROM outbox WHERE status = 'pending' AND kind = ?1 AND target IS NULL AND next_attempt_at_ms <= ?2
     ORDER BY next_attempt_at_ms, id LIMIT 1)
    RETURNING ",
    OutboxEffect::COLUMNS
);

/// Takes the effect of this kind without a target that has been due longest, its attempt counted. It belongs to this process until it is
/// finished, retried, or the process dies.
pub fn claim(tx: &Tx, kind: OutboxKind, now_ms: i64) -> Result<Option<OutboxEffect>, StoreError> {
    tx.find(CLAIM, (kind.as_str(), now_ms), OutboxEffect::read)
}

/// How a claimed effect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxEnd<'a> {
    /// It was performed; a note where something about it is worth one.
    Done(Option<&'a str>),
    /// There was no longer a reason to perform it, and why.
    Skipped(&'a str),
    /// It was given up, and why.
    Failed(&'a str),
}

/// The attempt in hand, and no other.
const MINE: &str = "id = ?1 AND status = 'claimed' AND attempts = ?2 AND claimed_at_ms = ?3";

/// Ends a claimed effect. `false`: it is no longer this claim's, and what was done about it must be undone.
pub fn finish(tx: &Tx, effect: &OutboxEffect, end: OutboxEnd, now_ms: i64) -> Result<bool, StoreError> {
    let (status, note) = match end {
        OutboxEnd::Done(note) => ("done", note),
        OutboxEnd::Skipped(reason) => ("skipped", Some(reason)),
        OutboxEnd::Failed(reason) => ("failed", Some(reason)),
    };
    let sql = format!("UPDATE outbox SET status = ?4, last_error = ?5, finished_at_ms = ?6 WHERE {MINE}");
    Ok(tx.execute(&sql, (effect.id, effect.attempts, effect.claimed_at_ms, status, note, now_ms))? == 1)
}

/// Puts a claimed effect back after a failed attempt. `false`: it is no longer this claim's.
pub fn retry(tx: &Tx, effect: &OutboxEffect, error: &str, due_ms: i64) -> Result<bool, StoreError> {
    let sql = format!(
        "UPDATE outbox SET status = 'pending', claimed_at_ms = NULL, last_error = ?4, next_attempt_at_ms = ?5 WHERE {MINE}"
    );
    Ok(tx.execute(&sql, (effect.id, effect.attempts, effect.claimed_at_ms, error, due_ms))? == 1)
}

/// Puts back what a process that died had claimed; its attempt stays counted. To be called before the first claim of a
/// kind, by the one process that has the database.
pub fn rescue(tx: &Tx, kind: OutboxKind) -> Result<usize, StoreError> {
    const SQL: &str =
        "UPDATE outbox SET status = 'pending', claimed_at_ms = NULL WHERE kind = ?1 AND status = 'claimed'";
    tx.execute(SQL, [kind.as_str()])
}

/// When the next effect of this kind is due, unix milliseconds.
pub fn next_due_ms(reader: &StoreReader, kind: OutboxKind) -> Result<Option<i64>, StoreError> {
    const SQL: &str =
        "SELECT min(next_attempt_at_ms) FROM outbox WHERE status = 'pending' AND kind = ?1 AND target IS NULL";
    reader.get(SQL, [kind.as_str()], row::only)
}

const BRING_FORWARD: &str =
    "UPDATE outbox SET next_attempt_at_ms = ?2 WHERE status = 'pending' AND kind = ?1 AND next_attempt_at_ms > ?2";

/// Lets nothing of this kind be due later than `latest_ms`: what is, was dated by a clock that was set back since. How
/// many were.
pub fn bring_forward(tx: &Tx, kind: OutboxKind, latest_ms: i64) -> Result<usize, StoreError> {
    tx.execute(BRING_FORWARD, (kind.as_str(), latest_ms))
}

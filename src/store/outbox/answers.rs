//! Answers in the outbox: rows that announce a user's entitlement. For each user and target the one of the highest sequence is the
//! present answer, and the only one that is still worth telling.

use super::NewEffect;
use crate::store::engine::row;
use crate::store::{StoreError, StoreReader, Tx};

const SET_SEQUENCE: &str = "UPDATE outbox SET sequence = ?2 WHERE dedupe_key = ?1";

/// Writes down an answer of this number, once per key.
pub fn put(tx: &Tx, new: &NewEffect, sequence: i64) -> Result<(), StoreError> {
    if super::put(tx, new)? {
        tx.execute(SET_SEQUENCE, (new.dedupe_key, sequence))?;
    }
    Ok(())
}

const OVERTAKING: &str = "SELECT newer.id FROM outbox this JOIN outbox newer INDEXED BY outbox_answers
    ON newer.target = this.target AND newer.user_id = this.user_id AND newer.sequence > this.sequence
    WHERE this.id = ?1 AND this.sequence IS NOT NULL AND newer.sequence IS NOT NULL
    ORDER BY newer.sequence DESC LIMIT 1";

/// The row with the present answer of the same user for the same target, where this row's answer is an older one.
pub(crate) fn find_overtaking(reader: &StoreReader, id: i64) -> Result<Option<i64>, StoreError> {
    reader.find(OVERTAKING, [id], row::only)
}

const WAS_TOLD: &str = "SELECT 1 FROM outbox INDEXED BY outbox_answers
    WHERE sequence IS NOT NULL AND target = ?1 AND user_id = ?2 LIMIT 1";

/// Whether an answer of this user was ever written for this target.
pub(crate) fn was_sent(reader: &StoreReader, target: &str, user_id: &str) -> Result<bool, StoreError> {
    Ok(reader.find(WAS_TOLD, (target, user_id), |_| Ok(()))?.is_some())
}

const REVIVE: &str = "UPDATE outbox INDEXED BY outbox_lost_answers SET status = 'pending', attempts = 0,
    next_attempt_at_ms = ?3, finished_at_ms = NULL, claimed_at_ms = NULL, waits_for = NULL
    WHERE sequence IS NOT NULL AND status = 'failed' AND target = ?1 AND finished_at_ms >= ?2
    AND NOT EXISTS (SELECT 1 FROM outbox newer WHERE newer.sequence IS NOT NULL AND newer.target = outbox.target
        AND newer.user_id = outbox.user_id AND newer.sequence > outbox.sequence)";

/// Has present answers announced that were given up at `since_ms` or later, unix milliseconds. How many there were.
pub(crate) fn revive(tx: &Tx, target: &str, since_ms: i64, now_ms: i64) -> Result<usize, StoreError> {
    tx.execute(REVIVE, (target, since_ms, now_ms))
}

const WAITING: &str = "SELECT target, count(*) FROM outbox INDEXED BY outbox_order
    WHERE status IN ('pending', 'claimed') AND target IS NOT NULL GROUP BY target ORDER BY target";

/// Targets for which rows wait, and how many.
pub(crate) fn list_waiting(reader: &StoreReader) -> Result<Vec<(String, i64)>, StoreError> {
    reader.list(WAITING, [], row::tuple)
}

//! Effects that go to a target, mail or an endpoint, in batches. Effects of one user go to a target in the order in which
//! they were written: one that is due while an earlier one is unfinished is parked behind it (`waits_for`) and looked at
//! again when that one is finished, so that a claim never reads what cannot go yet. What was written for a later time keeps
//! nobody waiting before that. A claim that did not come to its attempt is not counted.

use std::collections::HashMap;

use super::{OutboxEffect, OutboxEnd, finish};
use crate::store::engine::row;
use crate::store::{StoreError, StoreReader, Tx};

/// Rounds of looking that one claim makes at most: bounds how long others wait for the writer while effects are parked.
const ROUNDS: usize = 8;

/// What a claim brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedEffects {
    /// To be performed in this order.
    pub effects: Vec<OutboxEffect>,
    /// More may be due that was not looked at.
    pub more: bool,
}

const IS_DUE: &str = "SELECT 1 FROM outbox INDEXED BY outbox_ready
    WHERE target = ?1 AND status = 'pending' AND waits_for IS NULL AND next_attempt_at_ms <= ?2 LIMIT 1";

/// Whether something for this target is due.
pub(crate) fn is_due(reader: &StoreReader, target: &str, now_ms: i64) -> Result<bool, StoreError> {
    Ok(reader.find(IS_DUE, (target, now_ms), |_| Ok(()))?.is_some())
}

const DUE: &str = "SELECT id, user_id FROM outbox INDEXED BY outbox_ready
    WHERE target = ?1 AND status = 'pending' AND waits_for IS NULL AND next_attempt_at_ms <= ?2
    ORDER BY next_attempt_at_ms, id LIMIT ?3";
const EARLIER: &str = "SELECT max(id) FROM outbox INDEXED BY outbox_order
    WHERE target = ?1 AND user_id = ?2 AND id < ?3 AND status IN ('pending', 'claimed')
    AND (attempts > 0 OR next_attempt_at_ms <= ?4)";
const PARK: &str = "UPDATE outbox SET waits_for = ?2 WHERE id = ?1";
const TAKE: &str = constcat::concat!(
    "UPDATE outbox SET status = 'claimed', attempts = attempts + 1, claimed_at_ms = ?2 WHERE id = ?1 RETURNING ",
    OutboxEffect::COLUMNS
);

/// Takes up to `limit` effects that are due for a target, the one that has been due longest first. Several of one user
/// are taken together only in their order and without a gap; whoever performs them stops with that user at the first one
/// that is to be tried again.
pub fn claim(tx: &Tx, target: &str, limit: usize, now_ms: i64) -> Result<ClaimedEffects, StoreError> {
    let mut effects: Vec<OutboxEffect> = Vec::new();
    // The newest of each user that is taken.
    let mut last: HashMap<String, i64> = HashMap::new();
    for _ in 0..ROUNDS {
        let room = limit.saturating_sub(effects.len());
        let most = i64::try_from(room).unwrap_or(i64::MAX);
        let due: Vec<(i64, Option<String>)> = tx.list(DUE, (target, now_ms, most), row::tuple)?;
        let is_all = due.len() < room;
        for (id, user_id) in due {
            if let Some(user_id) = user_id {
                let earlier: Option<i64> = tx.get(EARLIER, (target, &user_id, id, now_ms), row::only)?;
                if let Some(earlier) = earlier.filter(|earlier| last.get(&user_id) != Some(earlier)) {
                    tx.execute(PARK, (id, earlier))?;
                    continue;
                }
                last.insert(user_id, id);
            }
            effects.extend(tx.find(TAKE, (id, now_ms), OutboxEffect::read)?);
        }
        if is_all {
            return Ok(ClaimedEffects { effects, more: false });
        }
    }
    Ok(ClaimedEffects { effects, more: true })
}

const PROBES: &str = "SELECT id, user_id FROM outbox INDEXED BY outbox_ready
    WHERE target = ?1 AND status = 'pending' AND waits_for IS NULL AND next_attempt_at_ms <= ?2
    ORDER BY last_error IS NOT NULL, next_attempt_at_ms, id LIMIT ?3";

/// Takes one effect that is due for a target, rather one that has never failed: what fails by itself is no proof that the
/// target does.
pub(crate) fn claim_one(tx: &Tx, target: &str, most: usize, now_ms: i64) -> Result<ClaimedEffects, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let due: Vec<(i64, Option<String>)> = tx.list(PROBES, (target, now_ms, most), row::tuple)?;
    for (id, user_id) in due {
        let earlier: Option<i64> = match &user_id {
            Some(user_id) => tx.get(EARLIER, (target, user_id, id, now_ms), row::only)?,
            None => None,
        };
        match earlier {
            Some(earlier) => {
                tx.execute(PARK, (id, earlier))?;
            }
            None => {
                let effects = tx.find(TAKE, (id, now_ms), OutboxEffect::read)?.into_iter().collect();
                return Ok(ClaimedEffects { effects, more: false });
            }
        }
    }
    Ok(ClaimedEffects { effects: Vec::new(), more: false })
}

const UNPARK: &str = "UPDATE outbox SET waits_for = NULL WHERE waits_for = ?1";

/// Lets go what waits for an effect that is finished.
pub(super) fn let_go(tx: &Tx, id: i64) -> Result<(), StoreError> {
    tx.execute(UNPARK, [id]).map(|_| ())
}

/// Ends a claimed effect and releases what waits for it. `false`: it is no longer this claim's.
pub fn end(tx: &Tx, effect: &OutboxEffect, end: OutboxEnd, now_ms: i64) -> Result<bool, StoreError> {
    let ended = finish(tx, effect, end, now_ms)?;
    if ended {
        let_go(tx, effect.id)?;
    }
    Ok(ended)
}

const RELEASE: &str = "UPDATE outbox SET status = 'pending', attempts = max(attempts - 1, 0), claimed_at_ms = NULL
    WHERE id = ?1 AND status = 'claimed' AND attempts = ?2 AND claimed_at_ms = ?3";

/// Puts a claimed effect back that was not attempted, its due time unchanged.
pub fn release(tx: &Tx, effect: &OutboxEffect) -> Result<(), StoreError> {
    tx.execute(RELEASE, (effect.id, effect.attempts, effect.claimed_at_ms)).map(|_| ())
}

const NOTE: &str = "UPDATE outbox SET last_error = ?2 WHERE id = ?1 AND status = 'pending'";

/// As [`release`], with the reason why nothing came of it.
pub(crate) fn release_with(tx: &Tx, effect: &OutboxEffect, why: &str) -> Result<(), StoreError> {
    release(tx, effect)?;
    tx.execute(NOTE, (effect.id, why)).map(|_| ())
}

const RESCUE: &str = "UPDATE outbox INDEXED BY outbox_order
    SET status = 'pending', attempts = CASE kind WHEN 'mail' THEN attempts ELSE max(attempts - 1, 0) END,
    claimed_at_ms = NULL
    WHERE status IN ('pending', 'claimed') AND status = 'claimed' AND kind IN ('mail', 'webhook')";
const UNPARK_ALL: &str = "UPDATE outbox SET waits_for = NULL WHERE waits_for IS NOT NULL";
const SPENT: &str = "UPDATE outbox INDEXED BY outbox_order SET status = 'failed', last_error = ?2, finished_at_ms = ?3,
    claimed_at_ms = NULL WHERE status IN ('pending', 'claimed') AND status = 'claimed' AND kind = 'mail'
    AND attempts > ?1 RETURNING id";
/// The note of a mail over which the process has died too often.
pub(crate) const DIED: &str = "tilld ended in the middle of every attempt; it may have been sent";

/// Puts back what a process that died had claimed, and has looked at anew what was parked. A mail is claimed by itself, so
/// the attempt was begun and counts; after more than `most` of them it is given up. Of many events claimed together nobody
/// knows which was attempted, and the application knows by their ids what it has. To be called before the first claim, by
/// the one process that has the database. How many were put back, and the mails that were given up.
pub(crate) fn rescue(tx: &Tx, most: usize, now_ms: i64) -> Result<(usize, Vec<i64>), StoreError> {
    tx.execute(UNPARK_ALL, [])?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let spent = tx.list(SPENT, (most, DIED, now_ms), row::only)?;
    Ok((tx.execute(RESCUE, [])?, spent))
}

const BRING_FORWARD: &str = "UPDATE outbox SET next_attempt_at_ms =
        CASE attempts WHEN 0 THEN ?2 + max(next_attempt_at_ms - created_at_ms, 0) ELSE ?3 END
    WHERE target = ?1 AND status IN ('pending', 'claimed') AND status = 'pending'
    AND CASE attempts WHEN 0 THEN created_at_ms > ?2 AND next_attempt_at_ms > ?2 ELSE next_attempt_at_ms > ?3 END";

/// Lets what is new be due as long from now as it was to wait when it was written, and nothing for this target later than `latest_ms`: what is, was dated by a clock that was
/// set back since. How many were.
pub fn bring_forward(tx: &Tx, target: &str, now_ms: i64, latest_ms: i64) -> Result<usize, StoreError> {
    tx.execute(BRING_FORWARD, (target, now_ms, latest_ms))
}

//! The outbox as an operator sees it: listed, shown, tried again, discarded.

use super::deliveries::let_go;
use crate::base::secret::without_query;
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};

columns! {
    /// A row, whatever its state.
    pub struct OutboxRow {
        /// Row number, as text.
        id: String = "CAST(id AS TEXT)",
        /// What is to be performed.
        kind: String,
        /// Its key.
        dedupe_key: String,
        /// Whom it concerns.
        user_id: Option<String>,
        /// Where it goes.
        target: Option<String>,
        /// Its state.
        status: String,
        /// Attempts made.
        attempts: u32,
        /// When it is due, unix milliseconds.
        due_ms: i64 = "next_attempt_at_ms",
        /// Why the newest attempt failed, or a note.
        error: Option<String> = "last_error",
        /// When it was written, unix milliseconds.
        created_at_ms: i64,
        /// When it ended, unix milliseconds.
        finished_at_ms: Option<i64>,
        /// The event that brought it about.
        cause: Option<String> = "cause_event_id",
        /// What it consists of, JSON.
        payload: String,
    }
}

impl OutboxRow {
    /// The type of an event, or the kind of a notice.
    #[must_use]
    pub fn what(&self) -> Option<String> {
        let payload: serde_json::Value = serde_json::from_str(&self.payload).ok()?;
        payload.get("type").or_else(|| payload.get("notice"))?.as_str().map(str::to_owned)
    }
}

/// What may be shown of a row: the URL of an endpoint can hold a secret, and the key has that URL in it.
impl OutboxRow {
    /// Where it goes.
    #[must_use]
    pub fn shown_target(&self) -> Option<String> {
        self.target.as_deref().map(without_query)
    }

    /// Its key.
    #[must_use]
    pub fn shown_key(&self) -> String {
        // Of an event `webhook:<URL>:…`; of a mail about an endpoint `mail:<kind>:<URL>:<time>`.
        let of_mail = self.dedupe_key.splitn(3, ':').nth(2).and_then(|rest| rest.rsplit_once(':')).map(|(url, _)| url);
        let url = match self.kind.as_str() {
            "webhook" => self.target.as_deref(),
            "mail" => of_mail.filter(|url| url.contains("://")),
            _ => None,
        };
        url.map_or_else(|| self.dedupe_key.clone(), |url| self.dedupe_key.replace(url, &without_query(url)))
    }
}

/// Which rows are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutboxFilter<'a> {
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// In this state.
    pub status: Option<&'a str>,
    /// For this target: `mail`, or an endpoint's URL.
    pub target: Option<&'a str>,
    /// About this user.
    pub user_id: Option<&'a str>,
    /// Written before this one.
    pub before: Option<i64>,
}

macro_rules! listed {
    ($from:literal) => {
        select!(
            OutboxRow,
            concat!(
                "FROM outbox ",
                $from,
                " AND (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR target = ?3)
                 AND (?6 IS NULL OR user_id = ?6) AND id < ?4 ORDER BY id DESC LIMIT ?5"
            )
        )
    };
}

const ALL: &str = listed!("NOT INDEXED WHERE 1");
const OF_USER: &str = listed!("INDEXED BY outbox_user WHERE user_id = ?6");
const OF_TARGET: &str = listed!("INDEXED BY outbox_target WHERE target = ?3");
const MAILS: &str = listed!("INDEXED BY outbox_target WHERE target = 'mail'");
const CALLS: &str = listed!("INDEXED BY outbox_target WHERE target IS NULL");
/// A URL is less than `mail`.
const FEW_WEBHOOKS: &str = listed!("INDEXED BY outbox_target WHERE target < 'mail'");
const ENDED: &str =
    listed!("INDEXED BY outbox_ended WHERE finished_at_ms IS NOT NULL AND status <> 'done' AND status = ?2");
const ENDED_OF_TARGET: &str = listed!(
    "INDEXED BY outbox_ended_target WHERE finished_at_ms IS NOT NULL AND status <> 'done' AND status = ?2 AND target = ?3"
);
const CLAIMED: &str = listed!("INDEXED BY outbox_claimed WHERE status = 'claimed'");
// The index has all that decides which rows these are, so that only the rows of the page are read, wherever in the outbox
// they are.
const PENDING: &str = listed!(
    "WHERE id IN (SELECT id FROM outbox INDEXED BY outbox_waiting
         WHERE status = 'pending' AND (?1 IS NULL OR kind = ?1) AND (?3 IS NULL OR target = ?3) AND id < ?4
         ORDER BY id DESC LIMIT ?5)"
);

/// For the test that no row is looked at in vain: what is open may be far from the end of the outbox.
#[doc(hidden)]
pub const OPEN: [&str; 2] = [CLAIMED, PENDING];

/// Up to this many rows are read through an index that has them in another order, and sorted. Of more than that there
/// is one in any stretch of the outbox, which is then read from its end.
const FEW: u32 = 10_000;
const COUNT_WEBHOOKS: &str =
    "SELECT count(*) FROM (SELECT 1 FROM outbox INDEXED BY outbox_target WHERE target < 'mail' LIMIT ?1)";

/// Rows, newest first.
pub fn list(reader: &StoreReader, filter: OutboxFilter, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
    let before = filter.before.unwrap_or(i64::MAX);
    let params = (filter.kind, filter.status, filter.target, before, limit, filter.user_id);
    reader.list(statement(reader, filter)?, params, OutboxRow::read)
}

/// The statement that reads least.
fn statement(reader: &StoreReader, filter: OutboxFilter) -> Result<&'static str, StoreError> {
    if filter.user_id.is_some() {
        return Ok(OF_USER);
    }
    Ok(match (filter.status, filter.target, filter.kind) {
        (Some("failed" | "skipped" | "discarded"), None, _) => ENDED,
        (Some("failed" | "skipped" | "discarded"), Some(_), _) => ENDED_OF_TARGET,
        (Some("claimed"), ..) => CLAIMED,
        (Some("pending"), ..) => PENDING,
        (_, Some(_), _) => OF_TARGET,
        (_, None, Some("mail")) => MAILS,
        (_, None, Some("stripe_call")) => CALLS,
        (_, None, Some("webhook")) if reader.get(COUNT_WEBHOOKS, [FEW], row::only::<u32>)? < FEW => FEW_WEBHOOKS,
        _ => ALL,
    })
}

columns! {
    /// A row of a user, without its payload.
    pub(crate) struct OutboxRowOfUser {
        id: i64,
        kind: String,
        dedupe_key: String,
        target: Option<String>,
        status: String,
        attempts: u32,
        /// Why the newest attempt failed, or a note.
        error: Option<String> = "last_error",
        /// The event that brought it about.
        cause: Option<String> = "cause_event_id",
        /// Unix milliseconds.
        created_at_ms: i64,
        /// Unix milliseconds.
        finished_at_ms: Option<i64>,
        /// Of a changed answer: old and new, JSON.
        change: Option<String> = "CASE WHEN sequence IS NOT NULL THEN json_extract(payload, '$.data') END",
        /// Of a fetch: the path.
        path: Option<String> = "CASE WHEN kind = 'stripe_call' THEN json_extract(payload, '$.object_path') END",
    }
}

/// Rows of a user, newest first, before a place: time, then number of a row.
pub(crate) fn list_of_user_before(
    reader: &StoreReader,
    user_id: &str,
    (at_ms, id): (i64, i64),
    limit: u32,
) -> Result<Vec<OutboxRowOfUser>, StoreError> {
    const SQL: &str = select!(
        OutboxRowOfUser,
        "FROM outbox INDEXED BY outbox_user WHERE user_id = ?1 AND (created_at_ms, id) < (?2, ?3)
         ORDER BY created_at_ms DESC, id DESC LIMIT ?4"
    );
    reader.list(SQL, (user_id, at_ms, id, limit), OutboxRowOfUser::read)
}

/// How many effects were given up, by kind.
pub(crate) fn count_failed(reader: &StoreReader) -> Result<Vec<(String, i64)>, StoreError> {
    const SQL: &str = "SELECT kind, count(*) FROM outbox WHERE status = 'failed' GROUP BY kind ORDER BY kind";
    reader.list(SQL, [], row::tuple)
}

columns! {
    /// How many effects are not at their end, each counted up to a bound.
    #[derive(Copy)]
    pub struct OutboxCounts {
        /// Those that wait or are being performed.
        waiting: u32 = "(SELECT count(*) FROM (SELECT 1 FROM outbox INDEXED BY outbox_order
            WHERE status IN ('pending', 'claimed') LIMIT ?1))",
        /// Those that were given up.
        failed: u32 = "(SELECT count(*) FROM (SELECT 1 FROM outbox INDEXED BY outbox_failed
            WHERE status = 'failed' LIMIT ?1))",
    }
}

/// How many wait and were given up, each `most` at most.
pub(crate) fn count(reader: &StoreReader, most: u32) -> Result<OutboxCounts, StoreError> {
    const SQL: &str = constcat::concat!("SELECT ", OutboxCounts::COLUMNS);
    reader.get(SQL, [most], OutboxCounts::read)
}

/// One row.
pub fn find(reader: &StoreReader, id: i64) -> Result<Option<OutboxRow>, StoreError> {
    const SQL: &str = select!(OutboxRow, "FROM outbox WHERE id = ?1");
    reader.find(SQL, [id], OutboxRow::read)
}

const AGAIN: &str = "UPDATE outbox SET status = 'pending', attempts = 0, next_attempt_at_ms = ?2, claimed_at_ms = NULL,
    last_error = NULL, finished_at_ms = NULL, waits_for = NULL WHERE id = ?1 AND status <> 'claimed'";

/// Lets an effect be performed from the beginning, now. `false`: it is being performed, or there is none.
pub fn again(tx: &Tx, id: i64, now_ms: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(AGAIN, (id, now_ms))? == 1)
}

macro_rules! given_up {
    ($which:literal) => {
        concat!(
            "SELECT id, target FROM outbox INDEXED BY ",
            $which,
            " AND finished_at_ms IS NOT NULL AND status <> 'done' AND status = 'failed' AND kind <> 'stripe_call'
             AND finished_at_ms BETWEEN ?2 AND ?3 ORDER BY id LIMIT ?4"
        )
    };
}

/// Which of what was given up.
#[derive(Debug, Clone, Copy)]
pub struct GivenUp<'a> {
    /// For this target, or for any.
    pub target: Option<&'a str>,
    /// At this time or later, unix milliseconds.
    pub since_ms: i64,
    /// At this time or before, unix milliseconds.
    pub until_ms: i64,
}

/// Mails and events that were given up: row number and target, the oldest first.
pub fn list_given_up(
    reader: &StoreReader,
    which: GivenUp,
    limit: u32,
) -> Result<Vec<(i64, Option<String>)>, StoreError> {
    const ANY: &str = given_up!("outbox_ended WHERE ?1 IS NULL");
    const ONE: &str = given_up!("outbox_ended_target WHERE target = ?1");
    let sql = if which.target.is_some() { ONE } else { ANY };
    reader.list(sql, (which.target, which.since_ms, which.until_ms, limit), row::tuple)
}

const DISCARD: &str =
    "UPDATE outbox SET status = 'discarded', finished_at_ms = ?2, claimed_at_ms = NULL, waits_for = NULL
    WHERE id = ?1 AND status IN ('pending', 'failed', 'skipped')";

/// Gives an effect up for good and lets go what waits for it. `false`: it is performed, being performed, or discarded.
pub fn discard(tx: &Tx, id: i64, now_ms: i64) -> Result<bool, StoreError> {
    let discarded = tx.execute(DISCARD, (id, now_ms))? == 1;
    if discarded {
        let_go(tx, id)?;
    }
    Ok(discarded)
}

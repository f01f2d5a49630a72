//! `drift_runs` and `drift_findings`: what comparisons with Stripe found, the newest of them. A comparison is written down
//! when it begins, and each finding when it is made, so that one that is under way can be watched. It must never hold more
//! than [`KEPT_RUNS`] comparisons, nor more than [`KEPT_FINDINGS`] findings of one; the counts are of all. Called by
//! `outward::sync::drift`, and by the dashboard.

use rusqlite::named_params;

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{self, columns, select};

/// Comparisons that are kept: with one a night a month and more.
pub const KEPT_RUNS: u32 = 40;
/// Findings that are kept of one comparison.
pub const KEPT_FINDINGS: i64 = 500;

columns! {
    /// A comparison.
    pub struct DriftRun {
        /// Row number.
        id: i64,
        /// Who asked for it: `tilld` at night, `cli`, `dashboard`.
        actor: String,
        /// Differences are repaired.
        fix: bool,
        /// The types that it compares, separated by commas.
        types: String,
        /// `running`, `complete`, `failed`, or `abandoned`: another one was begun before it ended.
        status: String,
        /// Unix milliseconds.
        began_at_ms: i64,
        /// Unix milliseconds.
        finished_at_ms: Option<i64>,
        /// Objects that are the same.
        same: i64,
        /// Objects that are not, so far.
        found: i64,
        /// Those of them that were repaired.
        repaired: i64,
        /// Objects that cannot be read.
        unreadable: i64,
        /// What was not compared, and why.
        error: Option<String>,
    }
}

impl DriftRun {
    /// Differences that it has left.
    #[must_use]
    pub fn left(&self) -> i64 {
        self.found.saturating_sub(self.repaired)
    }
}

columns! {
    /// An object that was not the same.
    pub struct DriftFindingRow {
        /// Row number.
        id: i64,
        /// Its type, as typed.
        kind: String = "type",
        /// Its id.
        object_id: String,
        /// `differs`, `tables_wrong`, `missing_here`, `missing_at_stripe`.
        drift: String,
        /// The fields or columns that differ, separated by commas.
        fields: String,
        /// It was repaired.
        fixed: bool,
    }
}

const ABANDON: &str =
    "UPDATE drift_runs SET status = 'abandoned', finished_at_ms = ?1 WHERE status = 'running' RETURNING id";
const BEGIN: &str = "INSERT INTO drift_runs (actor, fix, types, status, began_at_ms)
    VALUES (?1, ?2, ?3, 'running', ?4) RETURNING id";
const OLDEST_KEPT: &str = "SELECT id FROM drift_runs ORDER BY id DESC LIMIT 1 OFFSET ?1";
const FORGET_FINDINGS: &str = "DELETE FROM drift_findings WHERE run_id <= ?1";
const FORGET_RUNS: &str = "DELETE FROM drift_runs WHERE id <= ?1";

/// Begins a comparison, and forgets the oldest ones beyond [`KEPT_RUNS`]. Its row number.
pub(crate) fn begin(tx: &Tx, actor: &str, (types, fix): (&str, bool), now_ms: i64) -> Result<i64, StoreError> {
    let _: Vec<i64> = tx.list(ABANDON, [now_ms], row::only)?;
    let id = tx.get(BEGIN, (actor, fix, types, now_ms), row::only)?;
    let oldest: Option<i64> = tx.find(OLDEST_KEPT, [KEPT_RUNS], row::only)?;
    if let Some(oldest) = oldest {
        tx.execute(FORGET_FINDINGS, [oldest])?;
        tx.execute(FORGET_RUNS, [oldest])?;
    }
    Ok(id)
}

/// What was found of an object.
pub(crate) struct NewFinding<'a> {
    /// Its type, as typed.
    pub(crate) kind: &'a str,
    /// Its id.
    pub(crate) object_id: &'a str,
    /// How it is not the same.
    pub(crate) drift: &'a str,
    /// Fields or columns, separated by commas.
    pub(crate) fields: &'a str,
    /// It was repaired.
    pub(crate) fixed: bool,
}

const COUNT: &str = "UPDATE drift_runs SET found = found + 1, repaired = repaired + ?2 WHERE id = ?1 RETURNING found";
const ADD: &str = "INSERT INTO drift_findings (run_id, type, object_id, drift, fields, fixed)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Counts a finding, and keeps it if it is one of the first [`KEPT_FINDINGS`].
pub(crate) fn add(tx: &Tx, run_id: i64, new: &NewFinding) -> Result<(), StoreError> {
    let found: Option<i64> = tx.find(COUNT, (run_id, new.fixed), row::only)?;
    if found.is_some_and(|found| found <= KEPT_FINDINGS) {
        tx.execute(ADD, (run_id, new.kind, new.object_id, new.drift, new.fields, new.fixed))?;
    }
    Ok(())
}

/// How a comparison ended.
pub(crate) struct DriftEnd {
    /// Objects that are the same.
    pub(crate) same: u64,
    /// Objects that cannot be read.
    pub(crate) unreadable: u64,
    /// It came to its end.
    pub(crate) is_complete: bool,
    /// What was not compared, and why.
    pub(crate) error: Option<String>,
}

const FINISH: &str = "UPDATE drift_runs SET status = :status, finished_at_ms = :now_ms, same = :same,
    unreadable = :unreadable, error = :error WHERE id = :id";

/// Ends a comparison.
pub(crate) fn finish(tx: &Tx, run_id: i64, end: &DriftEnd, now_ms: i64) -> Result<(), StoreError> {
    let params = named_params! {
        ":status": if end.is_complete { "complete" } else { "failed" }, ":now_ms": now_ms,
        ":same": i64::try_from(end.same).unwrap_or(i64::MAX),
        ":unreadable": i64::try_from(end.unreadable).unwrap_or(i64::MAX), ":error": end.error, ":id": run_id,
    };
    tx.execute_named(FINISH, params).map(|_| ())
}

/// Comparisons, the newest first.
pub fn list(reader: &StoreReader, limit: u32) -> Result<Vec<DriftRun>, StoreError> {
    const SQL: &str = select!(DriftRun, "FROM drift_runs ORDER BY id DESC LIMIT ?1");
    reader.list(SQL, [limit], DriftRun::read)
}

/// The newest comparison that came to its end: its [`DriftRun::left`] is how many objects differ, as far as is known.
pub fn find_newest(reader: &StoreReader) -> Result<Option<DriftRun>, StoreError> {
    const SQL: &str = select!(DriftRun, "FROM drift_runs WHERE status = 'complete' ORDER BY id DESC LIMIT 1");
    reader.find(SQL, [], DriftRun::read)
}

/// One comparison.
pub fn find(reader: &StoreReader, id: i64) -> Result<Option<DriftRun>, StoreError> {
    const SQL: &str = select!(DriftRun, "FROM drift_runs WHERE id = ?1");
    reader.find(SQL, [id], DriftRun::read)
}

/// The findings of a comparison, the newest first, before the row `before`.
pub fn list_findings(
    reader: &StoreReader,
    run_id: i64,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<DriftFindingRow>, StoreError> {
    const SQL: &str =
        select!(DriftFindingRow, "FROM drift_findings WHERE run_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");
    reader.list(SQL, (run_id, before.unwrap_or(i64::MAX), limit), DriftFindingRow::read)
}

//! `sync_runs` and `sync_progress`: which objects were read from Stripe's lists, to which page. Each change names its
//! run and counts only while that is the one that runs, so that a process whose run was given up stops at its next page.

use rusqlite::named_params;

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{self, columns, select};

columns! {
    /// How far a type has come.
    #[derive(Default)]
    pub struct SyncProgress {
        /// As typed.
        kind: String = "type",
        /// The object that its last page ended with.
        after_id: Option<String>,
        /// Row number of the last customer that was asked about.
        after_row: Option<i64>,
        /// Pages in the tables.
        pages: u32,
        /// Objects on them.
        objects: u32,
        /// Objects that could not be taken.
        failed: u32,
        /// Its last page is in the tables.
        finished: bool = "finished_at_ms IS NOT NULL",
    }
}

columns! {
    /// A run that is under way.
    pub struct SyncRun {
        /// Its row.
        id: i64,
        /// When it began, unix milliseconds.
        began_at_ms: i64,
    }
}

columns! {
    /// A run, for people.
    pub struct SyncRunEntry {
        /// Its row.
        id: i64,
        /// `all`, or the types that were asked for.
        scope: String,
        /// `running`, `complete` or `abandoned`.
        status: String,
        /// Unix milliseconds.
        began_at_ms: i64,
        /// Unix milliseconds.
        finished_at_ms: Option<i64>,
        /// Objects read so far.
        objects: i64 = "(SELECT coalesce(sum(objects), 0) FROM sync_progress WHERE run_id = sync_runs.id)",
        /// Objects that could not be taken.
        failed: i64 = "(SELECT coalesce(sum(failed), 0) FROM sync_progress WHERE run_id = sync_runs.id)",
    }
}

/// Runs, the newest first.
pub(crate) fn list(reader: &StoreReader, limit: u32) -> Result<Vec<SyncRunEntry>, StoreError> {
    const SQL: &str = select!(SyncRunEntry, "FROM sync_runs ORDER BY id DESC LIMIT ?1");
    reader.list(SQL, [limit], SyncRunEntry::read)
}

/// Whether a run of every type has come to its end.
pub(crate) fn is_any_complete(reader: &StoreReader) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM sync_runs WHERE status = 'complete' AND scope = 'all' LIMIT 1";
    Ok(reader.find(SQL, [], |_| Ok(()))?.is_some())
}

/// The unfinished run of this scope.
pub(crate) fn find_running(reader: &StoreReader, scope: &str) -> Result<Option<SyncRun>, StoreError> {
    const SQL: &str = select!(SyncRun, "FROM sync_runs WHERE scope = ?1 AND status = 'running'");
    reader.find(SQL, [scope], SyncRun::read)
}

/// Gives an unfinished run up.
pub(crate) fn abandon(tx: &Tx, run_id: i64, now_ms: i64) -> Result<(), StoreError> {
    const SQL: &str =
        "UPDATE sync_runs SET status = 'abandoned', finished_at_ms = ?2 WHERE id = ?1 AND status = 'running'";
    tx.execute(SQL, (run_id, now_ms)).map(|_| ())
}

/// Begins a run of these types.
pub fn begin(tx: &Tx, scope: &str, kinds: &[&str], now_ms: i64) -> Result<SyncRun, StoreError> {
    const RUN: &str = "INSERT INTO sync_runs (scope, status, began_at_ms) VALUES (?1, 'running', ?2)";
    const TYPE: &str = "INSERT INTO sync_progress (run_id, type) VALUES (?1, ?2)";
    tx.execute(RUN, (scope, now_ms))?;
    let run = find_running(tx, scope)?.ok_or(StoreError::Missing("a run was not begun"))?;
    for kind in kinds {
        tx.execute(TYPE, (run.id, kind))?;
    }
    Ok(run)
}

/// How far each type of a run has come.
pub(crate) fn list_progress(reader: &StoreReader, run_id: i64) -> Result<Vec<SyncProgress>, StoreError> {
    const SQL: &str = select!(SyncProgress, "FROM sync_progress WHERE run_id = ?1 ORDER BY rowid");
    reader.list(SQL, [run_id], SyncProgress::read)
}

const ADVANCE: &str = "UPDATE sync_progress SET after_id = :after_id, after_row = :after_row, pages = :pages,
    objects = :objects, failed = :failed, began_s = coalesce(began_s, :began_s),
    finished_at_ms = CASE WHEN :finished THEN :now_ms END
    WHERE run_id = :run_id AND type = :type AND finished_at_ms IS NULL AND EXISTS (SELECT 1 FROM sync_runs WHERE id = :run_id AND status = 'running')";

/// A page is in the tables. `began_s` counts only with the first one. `false`: the run was given up, or
/// another process was faster.
pub fn advance(tx: &Tx, run_id: i64, now: &SyncProgress, times: (i64, i64)) -> Result<bool, StoreError> {
    let (began_s, now_ms) = times;
    let changed = tx.execute_named(
        ADVANCE,
        named_params! {
            ":after_id": now.after_id, ":after_row": now.after_row, ":pages": now.pages, ":objects": now.objects,
            ":failed": now.failed, ":began_s": began_s, ":finished": now.finished, ":now_ms": now_ms,
            ":run_id": run_id, ":type": now.kind,
        },
    )?;
    Ok(changed == 1)
}

/// A type is left out of its run: no more of it is asked for.
pub(crate) fn pass_over(tx: &Tx, run_id: i64, kind: &str, now_ms: i64) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE sync_progress SET finished_at_ms = ?3
        WHERE run_id = ?1 AND type = ?2 AND finished_at_ms IS NULL";
    tx.execute(SQL, (run_id, kind, now_ms)).map(|_| ())
}

const FINISH: &str =
    "UPDATE sync_runs SET status = 'complete', finished_at_ms = ?2 WHERE id = ?1 AND status = 'running'
    AND NOT EXISTS (SELECT 1 FROM sync_progress WHERE run_id = ?1 AND finished_at_ms IS NULL)";

/// Marks a run as complete if every type of it is. When its first page was asked for; `None`: it is not complete.
pub fn finish(tx: &Tx, run_id: i64, now_ms: i64) -> Result<Option<i64>, StoreError> {
    if tx.execute(FINISH, (run_id, now_ms))? == 0 {
        return Ok(None);
    }
    tx.get("SELECT min(began_s) FROM sync_progress WHERE run_id = ?1", [run_id], row::only)
}

//! `task_requests`: what an operator wants the daemon to do with Stripe, and what came of it. Who asks writes a row and does
//! not wait. Each change says from which state it may come. It must never keep more than [`KEPT`] rows that have ended.
//! Called by `jobs::operator` and `jobs::requests`, and read by the dashboard.

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{CellResult, RowReader, columns, select};

/// Requests that are kept after their end.
pub const KEPT: u32 = 50;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedTask {
    /// Events that no webhook brought.
    CatchUp,
    /// Every object once more.
    Sync,
    /// A comparison with Stripe.
    Compare,
    /// The same, and differences are repaired.
    CompareAndFix,
}

impl RequestedTask {
    const ALL: [Self; 4] = [Self::CatchUp, Self::Sync, Self::Compare, Self::CompareAndFix];

    /// The word in the column and in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CatchUp => "catch_up",
            Self::Sync => "sync",
            Self::Compare => "compare",
            Self::CompareAndFix => "compare_and_fix",
        }
    }

    fn take(cells: &mut RowReader) -> CellResult<Self> {
        let word: String = cells.take()?;
        // The CHECK allows no other word.
        Ok(Self::ALL.into_iter().find(|task| task.as_str() == word).unwrap_or(Self::Compare))
    }
}

columns! {
    /// A request.
    pub struct TaskRequest {
        /// Row number.
        id: i64,
        /// What is wanted.
        task: RequestedTask = "task" => RequestedTask::take,
        /// `waiting`, `running`, `done` or `failed`.
        status: String,
        /// Who asked.
        actor: String,
        /// Unix milliseconds.
        asked_at_ms: i64,
        /// Unix milliseconds.
        began_at_ms: Option<i64>,
        /// Unix milliseconds.
        finished_at_ms: Option<i64>,
        /// What came of it, for people.
        outcome: Option<String>,
    }
}

const ADD: &str = "INSERT INTO task_requests (task, status, actor, asked_at_ms) VALUES (?1, 'waiting', ?2, ?3)
    ON CONFLICT DO NOTHING";

/// Asks for a task. `false`: it was asked for already, and waits.
pub(crate) fn add(tx: &Tx, task: RequestedTask, actor: &str, now_ms: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(ADD, (task.as_str(), actor, now_ms))? == 1)
}

const CLAIM: &str = constcat::concat!(
    "UPDATE task_requests SET status = 'running', began_at_ms = ?1
     WHERE id = (SELECT id FROM task_requests WHERE status = 'waiting' ORDER BY id LIMIT 1) RETURNING ",
    TaskRequest::COLUMNS
);

/// Takes the request that has waited longest.
pub(crate) fn claim(tx: &Tx, now_ms: i64) -> Result<Option<TaskRequest>, StoreError> {
    tx.find(CLAIM, [now_ms], TaskRequest::read)
}

/// Whether a request waits.
pub(crate) fn is_any_waiting(reader: &StoreReader) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM task_requests WHERE status = 'waiting' LIMIT 1";
    Ok(reader.find(SQL, [], |_| Ok(()))?.is_some())
}

const FINISH: &str = "UPDATE task_requests SET status = ?2, outcome = ?3, finished_at_ms = ?4
    WHERE id = ?1 AND status = 'running'";
const FORGET: &str = "DELETE FROM task_requests WHERE status IN ('done', 'failed')
    AND id <= (SELECT id FROM task_requests ORDER BY id DESC LIMIT 1 OFFSET ?1)";

/// Ends a request, and forgets the oldest ones beyond [`KEPT`].
pub(crate) fn finish(tx: &Tx, id: i64, (done, outcome): (bool, &str), now_ms: i64) -> Result<(), StoreError> {
    tx.execute(FINISH, (id, if done { "done" } else { "failed" }, outcome, now_ms))?;
    tx.execute(FORGET, [KEPT]).map(|_| ())
}

const INTERRUPTED: &str = "UPDATE task_requests SET status = 'failed', finished_at_ms = ?1,
    outcome = 'tilld was stopped meanwhile; ask again to go on' WHERE status = 'running'";

/// Ends what a process that died had in hand. To be called before the first claim, by the one process that has the
/// database.
pub(crate) fn give_up_running(tx: &Tx, now_ms: i64) -> Result<(), StoreError> {
    tx.execute(INTERRUPTED, [now_ms]).map(|_| ())
}

/// Requests, the newest first.
pub fn list(reader: &StoreReader, limit: u32) -> Result<Vec<TaskRequest>, StoreError> {
    const SQL: &str = select!(TaskRequest, "FROM task_requests ORDER BY id DESC LIMIT ?1");
    reader.list(SQL, [limit], TaskRequest::read)
}

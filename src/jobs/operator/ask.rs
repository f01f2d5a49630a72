//! Asks the daemon for a task at Stripe, and does not wait for it. Called by the dashboard.

use super::{Operator, add_audit};
use crate::store::task_requests::{self, RequestedTask};
use crate::store::{StoreError, Tx};

/// Asks for a task. `false`: it was asked for before, and waits.
pub fn ask(tx: &Tx, task: RequestedTask, operator: Operator) -> Result<bool, StoreError> {
    if !task_requests::add(tx, task, operator.actor, operator.now_ms)? {
        return Ok(false);
    }
    add_audit(tx, operator, "task.ask", task.as_str(), "{}")?;
    Ok(true)
}

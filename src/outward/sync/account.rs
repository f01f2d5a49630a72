//! Sees to it that nothing is read into the copy with the key of another account or mode, and that nothing which is missing
//! there is taken for deleted. Called by `backfill`, `catch_up` and `drift` before their first page.

use super::{SyncError, SyncTools};
use crate::outward::account::{self, PATH};
use crate::stripe::form::FormBody;

/// Compares the account. Stripe's time, if its answer has it.
///
/// # Errors
/// [`SyncError::Account`]; or Stripe's or the database's.
pub(super) fn check(tools: &SyncTools) -> Result<Option<i64>, SyncError> {
    let mut date_s = None;
    let ask = || match tools.get(PATH, &FormBody::new()) {
        Ok((answer, _)) => {
            date_s = answer.date_s;
            Ok(Some(answer))
        }
        Err(SyncError::Stripe(error)) if account::is_forbidden(&error) => Ok(None),
        Err(error) => Err(error),
    };
    account::check(&tools.store, tools.context.projection.livemode, ask)?;
    Ok(date_s)
}

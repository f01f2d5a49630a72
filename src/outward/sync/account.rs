//! Nothing is read into the copy with the key of another account or mode, and nothing that is missing there is taken for
//! deleted. Called by the flows beside it, before their first page.

use super::{SyncError, SyncTools};
use crate::outward::account::{self, PATH};
use crate::stripe::form::FormBody;

/// Asks for the account, as `account` says; Stripe's time, if it told.
///
/// # Errors
/// [`SyncError::Account`]; or Stripe's or the database's.
pub(super) fn check(means: &SyncTools) -> Result<Option<i64>, SyncError> {
    let mut there_s = None;
    let ask = || match means.get(PATH, &FormBody::new()) {
        Ok((answer, _)) => {
            there_s = answer.date_s;
            Ok(Some(answer))
        }
        Err(SyncError::Stripe(error)) if account::is_forbidden(&error) => Ok(None),
        Err(error) => Err(error),
    };
    account::check(&means.store, means.context.projection.livemode, ask)?;
    Ok(there_s)
}

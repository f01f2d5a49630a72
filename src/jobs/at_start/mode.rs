//! Mode and account of the database, brought in line with the configuration before anything is projected. It must never
//! use the database of one account for another. Called by `app::daemon::opening`.

use crate::notify::{self, NotifyContext};
use crate::objects::mode::{own_account, switch_to_live};
use crate::store::{Store, StoreError, modes, settings};

/// Why the database cannot be used with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    /// The database is a copy of another account.
    #[error(
        "stripe.account is {said}, and this database is a copy of the account {known}: correct the setting, or choose another `database`, one for each account and mode"
    )]
    OtherAccount {
        /// In the configuration.
        said: String,
        /// In the database.
        known: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Brings the database in line with the configuration. `is_said`: the mode is configured, and does not only follow from
/// the key, which may belong to another account altogether.
///
/// # Errors
/// See [`ModeError`].
pub fn settle(store: &Store, context: &NotifyContext, is_said: bool, now_ms: i64) -> Result<(), ModeError> {
    let known = store.read(|reader| {
        Ok((settings::find(reader, settings::STRIPE_MODE)?, settings::find(reader, settings::STRIPE_ACCOUNT)?))
    })?;
    if let (Some(said), Some(known)) = (&context.projection.account, &known.1)
        && said != known
    {
        return Err(ModeError::OtherAccount { said: said.clone(), known: known.clone() });
    }
    let is_new = known.0.as_deref() != Some(settings::LIVE) && (is_said || known.0.is_none());
    let (turns_live, context) = (context.projection.livemode == Some(true) && is_new, context.clone());
    let adopted = store.write(move |tx| {
        if turns_live {
            notify::with_notices(tx, &context, now_ms, |basis| switch_to_live(tx, basis))?;
        }
        let Some(account) = own_account(tx, &context.projection)? else { return Ok(0) };
        settings::put(tx, settings::STRIPE_ACCOUNT, &account)?;
        // It reads the whole log, so it is done only once.
        if settings::find(tx, settings::ADOPTED_ACCOUNT)?.as_ref() == Some(&account) {
            return Ok(0);
        }
        settings::put(tx, settings::ADOPTED_ACCOUNT, &account)?;
        modes::make_all_own(tx, &account)
    })?;
    if adopted > 0 {
        log::info!(
            events = adopted;
            "events of our own account that had been taken for those of a connected account will be projected"
        );
    }
    Ok(())
}

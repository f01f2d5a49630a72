//! Which mode and which account the database is of, and what that means for an event. The configuration says it, or the key;
//! else it is of test mode until the first live event comes. Then what was of test mode decides nothing any more: one event
//! sent in test mode must not pin production to it. Called by `projection` for each event, and at start.

use std::borrow::Cow;

use super::derived::Basis;
use super::{Context, Event, derived, kinds};
use crate::notify;
use crate::store::{Reader, Store, StoreError, Tx, modes, settings};

/// Why an event is not for these tables: it is of the other mode. The first live event turns the database.
pub(super) fn refuse(tx: &Tx, event: &Event, context: &Context, basis: Basis) -> Result<Option<String>, StoreError> {
    let Some(actual) = event.livemode else { return Ok(None) };
    let expected = match context.livemode {
        Some(expected) => expected,
        None if is_live(tx)? => true,
        None => {
            if actual && event.account.is_none() {
                turn(tx, basis)?;
            }
            return Ok(None);
        }
    };
    if expected == actual {
        return Ok(None);
    }
    let mode = |live: bool| if live { "live" } else { "test" };
    Ok(Some(format!("of {} mode, this database is of {} mode", mode(actual), mode(expected))))
}

fn is_live(reader: &Reader) -> Result<bool, StoreError> {
    Ok(settings::find(reader, settings::STRIPE_MODE)?.as_deref() == Some(settings::LIVE))
}

/// The database is of live mode from now on.
fn turn(tx: &Tx, basis: Basis) -> Result<(), StoreError> {
    settings::put(tx, settings::STRIPE_MODE, settings::LIVE)?;
    if !modes::has_test(tx)? {
        return Ok(());
    }
    let tables: Vec<&str> = kinds::tables().collect();
    let users = modes::forget_test(tx, &tables, "of test mode, this database is of live mode since")?;
    log::warn!(
        "this database is of live mode now: its events of test mode are ignored, and their rows are gone; {} users had \
         customers or subscriptions of test mode",
        users.len()
    );
    users.iter().try_for_each(|user_id| derived::refresh_effective(tx, user_id, basis))
}

/// The event, as our own where it names our own account.
pub(super) fn own<'a>(tx: &Tx, event: &'a Event, context: &Context) -> Result<Cow<'a, Event>, StoreError> {
    let Some(account) = &event.account else { return Ok(Cow::Borrowed(event)) };
    if ours(tx, context)?.as_ref() != Some(account) {
        return Ok(Cow::Borrowed(event));
    }
    // What is projected of an object later finds it among the object's events.
    modes::make_own(tx, &event.id)?;
    Ok(Cow::Owned(Event { account: None, ..event.clone() }))
}

fn ours(reader: &Reader, context: &Context) -> Result<Option<String>, StoreError> {
    match &context.account {
        Some(account) => Ok(Some(account.clone())),
        None => settings::find(reader, settings::STRIPE_ACCOUNT),
    }
}

/// Why the database cannot be used with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    /// It is a copy of another account.
    #[error(
        "stripe.account is {said}, and this database is a copy of the account {known}: correct it, or choose another `database`, one for each account and mode"
    )]
    OtherAccount {
        /// By the configuration.
        said: String,
        /// By the database.
        known: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Brings the database in line with the configuration, before anything is projected. `is_said`: the mode is the
/// configuration's own word, and not only that of the key, which may be of another account altogether.
///
/// # Errors
/// See [`ModeError`].
pub fn settle(store: &Store, context: &Context, is_said: bool, now_ms: i64) -> Result<(), ModeError> {
    let known = store.read(|reader| {
        Ok((settings::find(reader, settings::STRIPE_MODE)?, settings::find(reader, settings::STRIPE_ACCOUNT)?))
    })?;
    if let (Some(said), Some(known)) = (&context.account, &known.1)
        && said != known
    {
        return Err(ModeError::OtherAccount { said: said.clone(), known: known.clone() });
    }
    let is_new = known.0.as_deref() != Some(settings::LIVE) && (is_said || known.0.is_none());
    let (turns, context) = (context.livemode == Some(true) && is_new, context.clone());
    let adopted = store.write(move |tx| {
        if turns {
            notify::acting(tx, &context, now_ms, |basis| turn(tx, basis))?;
        }
        let Some(account) = ours(tx, &context)? else { return Ok(0) };
        settings::put(tx, settings::STRIPE_ACCOUNT, &account)?;
        // The whole log is looked through, so only once.
        if settings::find(tx, settings::ADOPTED_ACCOUNT)?.as_ref() == Some(&account) {
            return Ok(0);
        }
        settings::put(tx, settings::ADOPTED_ACCOUNT, &account)?;
        modes::make_all_own(tx, &account)
    })?;
    if adopted > 0 {
        log::info!("events of our own account that were kept as another's are projected: events={adopted}");
    }
    Ok(())
}

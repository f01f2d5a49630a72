//! Which mode and which account the database is of, and what that means for an event. The configuration says it, or the key;
//! else it is of test mode until the first live event comes. Then what was of test mode decides nothing any more: one event
//! sent in test mode must not pin production to it. Called by `projection` for each event, and at start by `jobs::at_start::mode`.

use std::borrow::Cow;

use super::derived::DerivationBasis;
use super::{ProjectedEvent, ProjectionContext, derived, kinds};
use crate::store::{StoreError, StoreReader, Tx, modes, settings};

/// Why an event is not for these tables: it is of the other mode. The first live event turns the database.
pub(super) fn refuse(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &ProjectionContext,
    basis: DerivationBasis,
) -> Result<Option<String>, StoreError> {
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

fn is_live(reader: &StoreReader) -> Result<bool, StoreError> {
    Ok(settings::find(reader, settings::STRIPE_MODE)?.as_deref() == Some(settings::LIVE))
}

/// The database is of live mode from now on.
pub(crate) fn turn(tx: &Tx, basis: DerivationBasis) -> Result<(), StoreError> {
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
pub(super) fn own<'a>(
    tx: &Tx,
    event: &'a ProjectedEvent,
    context: &ProjectionContext,
) -> Result<Cow<'a, ProjectedEvent>, StoreError> {
    let Some(account) = &event.account else { return Ok(Cow::Borrowed(event)) };
    if ours(tx, context)?.as_ref() != Some(account) {
        return Ok(Cow::Borrowed(event));
    }
    // What is projected of an object later finds it among the object's events.
    modes::make_own(tx, &event.id)?;
    Ok(Cow::Owned(ProjectedEvent { account: None, ..event.clone() }))
}

pub(crate) fn ours(reader: &StoreReader, context: &ProjectionContext) -> Result<Option<String>, StoreError> {
    match &context.account {
        Some(account) => Ok(Some(account.clone())),
        None => settings::find(reader, settings::STRIPE_ACCOUNT),
    }
}

//! The mode and the account of the database, and what they mean for an event. The mode is configured, or that of the key; where
//! there is neither, the database is of test mode until the first live event comes. From then on nothing of test mode
//! counts: one event sent in test mode must never keep production in it. Called by `objects` for each event, and at start by
//! `jobs::at_start::mode`.

use std::borrow::Cow;

use super::{DerivationBasis, ProjectedEvent, ProjectionContext, effective, kinds};
use crate::store::modes::TurnToLive;
use crate::store::{StoreError, StoreReader, Tx, modes, settings};

/// Why an event is ignored: it is of the other mode. The first live event switches the database to live mode.
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
                switch_to_live(tx, basis)?;
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

/// The database is of live mode from now on; all rows of test mode go.
pub(crate) fn switch_to_live(tx: &Tx, basis: DerivationBasis) -> Result<(), StoreError> {
    settings::put(tx, settings::STRIPE_MODE, settings::LIVE)?;
    if !modes::has_test(tx)? {
        return Ok(());
    }
    let tables: Vec<&str> = kinds::tables().collect();
    let turn = TurnToLive { reason: "of test mode, this database is of live mode since", now_ms: basis.now_ms };
    let users = modes::forget_test(tx, &tables, turn)?;
    log::warn!(
        "this database is of live mode now: its events of test mode are ignored, and their rows are gone; {} users had \
         customers or subscriptions of test mode",
        users.len()
    );
    users.iter().try_for_each(|user_id| effective::refresh(tx, user_id, basis))
}

/// The event; as one of our own where it names our own account.
pub(super) fn own<'a>(
    tx: &Tx,
    event: &'a ProjectedEvent,
    context: &ProjectionContext,
) -> Result<Cow<'a, ProjectedEvent>, StoreError> {
    let Some(account) = &event.account else { return Ok(Cow::Borrowed(event)) };
    if own_account(tx, context)?.as_ref() != Some(account) {
        return Ok(Cow::Borrowed(event));
    }
    // A later event of the object finds this one among the object's events.
    modes::make_own(tx, &event.id)?;
    Ok(Cow::Owned(ProjectedEvent { account: None, ..event.clone() }))
}

/// Our own account: the configured one, or else the one that was found out.
pub(crate) fn own_account(reader: &StoreReader, context: &ProjectionContext) -> Result<Option<String>, StoreError> {
    match &context.account {
        Some(account) => Ok(Some(account.clone())),
        None => settings::find(reader, settings::STRIPE_ACCOUNT),
    }
}

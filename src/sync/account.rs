//! Whose objects are these? The id of the account is remembered with the first reading; with the key of another one, or
//! of a sandbox, nothing is read into the same copy, and nothing that is missing there is taken for deleted. Called by
//! the flows beside it, before their first page.

use serde::Deserialize;

use super::{Means, SyncError};
use crate::store::settings;
use crate::stripe::form::Form;

const PATH: &str = "/v1/account";

#[derive(Deserialize)]
struct Account {
    id: String,
}

/// Asks for the account. A key that may not is believed.
///
/// # Errors
/// [`SyncError::OtherAccount`]; or Stripe's or the database's.
pub(super) fn check(means: &Means) -> Result<(), SyncError> {
    let shown = match means.get(PATH, &Form::new()) {
        Ok((answer, _)) => serde_json::from_str::<Account>(&answer.text).ok().map(|account| account.id),
        Err(error) if error.is_for_all() => return Err(error),
        Err(error) => {
            log::info!("it was not found out which account stripe.api_key is of: {error}");
            None
        }
    };
    if let Some(shown) = shown {
        let known = means.store.read(|reader| settings::find(reader, settings::STRIPE_ACCOUNT))?;
        match known {
            Some(known) if known != shown => return Err(SyncError::OtherAccount { known, shown }),
            Some(_) => {}
            None => means.store.write(move |tx| settings::put(tx, settings::STRIPE_ACCOUNT, &shown))?,
        }
    }
    Ok(())
}

//! The account and the mode (live or test) that the copy is of: remembered when Stripe is asked for the first time. With
//! the key of another account, of a sandbox, or of the other mode, nothing is read into the copy and nothing is changed at
//! Stripe. It must never write anything at Stripe. Called by `sync` before its first page and by `calls` before it sends.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

use crate::store::{Store, StoreError, StoreReader, Tx, settings};
use crate::stripe::call::{Call, Priority, StripeAnswer, Verb};
use crate::stripe::client::Client;
use crate::stripe::error::StripeError;

/// Where Stripe says which account a key is of.
pub(crate) const PATH: &str = "/v1/account";

/// The account and the mode of a copy or of a key, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountOwner {
    /// Stripe's id of the account.
    pub account: Option<String>,
    /// Live or test mode.
    pub livemode: Option<bool>,
}

/// Why it is not certain that the key belongs to the copy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    /// It is of another account or mode.
    #[error(
        "stripe.api_key is of {of_key}, and this database is a copy of {known}: correct the key, or choose another `database`, one for each account and mode"
    )]
    Other {
        /// What the copy is of.
        known: AccountOwner,
        /// What the key is of.
        of_key: AccountOwner,
    },
    /// Stripe could not be asked.
    #[error("it could not be found out which account stripe.api_key is of: {0}")]
    Unasked(#[from] StripeError),
    /// Something else answers at Stripe's address.
    #[error("the answer to {PATH} is not an account of Stripe's; check stripe.api_base")]
    NoAccount,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccountOwner {
    /// Whether the two cannot be the same; what is not known of one of them differs from nothing.
    fn contradicts(&self, other: &Self) -> bool {
        let account = self.account.is_some() && other.account.is_some() && self.account != other.account;
        let mode = self.livemode.is_some() && other.livemode.is_some() && self.livemode != other.livemode;
        account || mode
    }

    fn adds_to(&self, known: &Self) -> bool {
        (self.account.is_some() && known.account.is_none()) || (self.livemode.is_some() && known.livemode.is_none())
    }
}

impl fmt::Display for AccountOwner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(out, "the account {account}")?,
            None => out.write_str("an account")?,
        }
        match self.livemode {
            Some(true) => out.write_str(" in live mode"),
            Some(false) => out.write_str(" in test mode"),
            None => Ok(()),
        }
    }
}

/// Confirms once in the life of the process that the key is of the copy's account. Cheap to clone.
#[derive(Clone)]
pub struct Account(Arc<AccountState>);

struct AccountState {
    store: Store,
    client: Client,
    livemode: Option<bool>,
    confirmed: AtomicBool,
    /// Stripe has named the account; a key that may not ask is only believed.
    is_certain: AtomicBool,
}

impl Account {
    /// `livemode`: the mode that the key's prefix tells.
    #[must_use]
    pub fn new(store: Store, client: Client, livemode: Option<bool>) -> Self {
        Self(Arc::new(AccountState {
            store,
            client,
            livemode,
            confirmed: AtomicBool::new(false),
            is_certain: AtomicBool::new(false),
        }))
    }

    /// Compares the mode of the key with the copy's, without asking Stripe.
    ///
    /// # Errors
    /// [`AccountError::Other`], or the database's.
    pub(crate) fn confirm_mode(&self) -> Result<(), AccountError> {
        let (known, of_key) = (self.0.store.read(find)?, AccountOwner { account: None, livemode: self.0.livemode });
        if known.contradicts(&of_key) {
            return Err(AccountError::Other { known, of_key });
        }
        Ok(())
    }

    /// Confirms that the key is of the account and the mode of the copy. Costs nothing once it was confirmed.
    ///
    /// # Errors
    /// As [`check`]; [`AccountError::Unasked`] when Stripe cannot be asked now.
    pub fn confirm(&self, priority: Priority) -> Result<(), AccountError> {
        let inner = &self.0;
        if inner.confirmed.load(Ordering::Acquire) {
            return Ok(());
        }
        let is_certain = Cell::new(false);
        let ask = || {
            let call = Call { verb: Verb::Get, path: PATH, form: "", idempotency_key: None, priority, context: None };
            match inner.client.call(&call) {
                Ok(answer) => {
                    is_certain.set(true);
                    Ok(Some(answer))
                }
                Err(error) if is_forbidden(&error) => Ok(None),
                Err(error) => Err(AccountError::Unasked(error)),
            }
        };
        check(&inner.store, inner.livemode, ask)?;
        inner.is_certain.store(is_certain.get(), Ordering::Release);
        inner.confirmed.store(true, Ordering::Release);
        Ok(())
    }

    /// The mode, if account and mode of the key are known for certain to be those of the copy: what Stripe does not have then
    /// does not exist, rather than being somebody else's.
    #[must_use]
    pub(crate) fn certain_mode(&self, priority: Priority) -> Option<bool> {
        self.confirm(priority).ok()?;
        self.0.livemode.filter(|_| self.0.is_certain.load(Ordering::Acquire))
    }
}

/// Whether Stripe says that the key may not ask.
#[must_use]
pub(crate) fn is_forbidden(error: &StripeError) -> bool {
    error.api().is_some_and(|error| error.status == 403 && error.is_stripes())
}

/// Compares the key with what is remembered, and remembers what is new. `ask` gets [`PATH`]; `None`: the key may not do so,
/// and is believed. The mode is compared first, without asking.
///
/// # Errors
/// [`AccountError::Other`]; that of `ask`; or the database's.
pub(crate) fn check<E: From<AccountError>>(
    store: &Store,
    livemode: Option<bool>,
    ask: impl FnOnce() -> Result<Option<StripeAnswer>, E>,
) -> Result<(), E> {
    let of_key = AccountOwner { account: None, livemode };
    let known = store.read(find).map_err(AccountError::from)?;
    if known.contradicts(&of_key) {
        return Err(AccountError::Other { known, of_key }.into());
    }
    let account = ask()?.map(|answer| id_in(&answer)).transpose()?;
    if account.is_none() {
        log::info!("stripe.api_key may not ask which account it is of; it is believed to be that of this database");
    }
    let of_key = AccountOwner { account, ..of_key };
    // Another process may have been the first meanwhile.
    let known = if of_key.adds_to(&known) {
        let of_key = of_key.clone();
        store.write(move |tx| remember(tx, &of_key)).map_err(AccountError::from)?
    } else {
        known
    };
    if known.contradicts(&of_key) { Err(AccountError::Other { known, of_key }.into()) } else { Ok(()) }
}

#[derive(Deserialize)]
struct AccountAnswer {
    id: String,
}

fn id_in(answer: &StripeAnswer) -> Result<String, AccountError> {
    let answer = serde_json::from_str::<AccountAnswer>(&answer.text).map_err(|_| AccountError::NoAccount)?;
    // It goes into messages and into the database.
    let is_id =
        answer.id.starts_with("acct_") && answer.id.len() <= 255 && answer.id.bytes().all(|b| b.is_ascii_graphic());
    if is_id { Ok(answer.id) } else { Err(AccountError::NoAccount) }
}

fn find(reader: &StoreReader) -> Result<AccountOwner, StoreError> {
    let mode = settings::find(reader, settings::STRIPE_MODE)?;
    Ok(AccountOwner {
        account: settings::find(reader, settings::STRIPE_ACCOUNT)?,
        livemode: mode.map(|mode| mode == settings::LIVE),
    })
}

/// Remembers what is new, unless it contradicts what is known. What is known then.
fn remember(tx: &Tx, of_key: &AccountOwner) -> Result<AccountOwner, StoreError> {
    let known = find(tx)?;
    if known.contradicts(of_key) {
        return Ok(known);
    }
    if let (None, Some(account)) = (&known.account, &of_key.account) {
        settings::put(tx, settings::STRIPE_ACCOUNT, account)?;
    }
    if let (None, Some(livemode)) = (known.livemode, of_key.livemode) {
        settings::put(tx, settings::STRIPE_MODE, if livemode { settings::LIVE } else { settings::TEST })?;
    }
    find(tx)
}

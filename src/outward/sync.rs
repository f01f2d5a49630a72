//! Repairs the copy from Stripe's API: events that did not come (`catch_up`), objects from before the first webhook
//! (`backfill`), and what differs all the same (`drift`). Everything goes the way of a webhook: events into the inbox,
//! objects through `projection::read`. Each page and the place after it are one commit, so that a process that is
//! killed goes on where it was. It must never hold more than the pages in hand, nor call with anything but background
//! priority. Called by `scheduler` and by the commands.

mod account;
pub(crate) mod api;
pub mod backfill;
pub mod catch_up;
pub(crate) mod compare;
pub mod drift;
pub(crate) mod nested;
mod page;
mod too_long;

use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::thread::{Pulse, Stop};
use crate::notify::NotifyContext;
use crate::outward::account::AccountError;
use crate::store::{Store, StoreError};
use crate::stripe::client::Client;
use crate::stripe::error::StripeError;

/// Stripe keeps events so long (docs.stripe.com/api/events).
pub(crate) const EVENTS_KEPT_S: i64 = 30 * 86_400;
/// The last day of them is not relied upon.
pub(crate) const KEPT_MARGIN_S: i64 = 86_400;
/// How much is asked for again with each walk: an event can become visible after one of a later second.
pub const OVERLAP_S: i64 = 300;

/// What all of it works with. Cheap to clone.
#[derive(Clone)]
pub struct SyncTools {
    /// The copy.
    pub store: Store,
    /// The way to Stripe.
    pub client: Client,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What projecting rests on.
    pub context: Arc<NotifyContext>,
    /// Ends it between two pages, or while Stripe is waited for.
    pub stop: Stop,
    /// Beats while it goes on.
    pub pulse: Pulse,
}

/// Why it did not come to its end. What was done stays, and the next call goes on from there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SyncError {
    /// Stripe's answer, or that there is none.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An answer that is no list, or a list that cannot be gone on with.
    #[error("Stripe's answer to {path} cannot be used: {reason}; check stripe.api_base")]
    Unreadable {
        /// What was asked for.
        path: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// What would be read is not what the copy is of.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Types that were refused or not reached; the others were read to their end.
    #[error("not complete: {}; run it again to go on", .0.join("; "))]
    Incomplete(Vec<String>),
    /// Another process has begun the run anew, or has read the same faster.
    #[error("another process reads the same from Stripe or began it anew; leave it to that one, or run this again")]
    GivenUp,
    /// It is time to stop.
    #[error("stopped; the next run goes on from here")]
    Stopped,
    /// The system has no thread to give, or one of ours panicked.
    #[error("a thread failed: {0}")]
    Thread(String),
}

impl SyncError {
    /// Whether nothing else that is asked of Stripe or the database now can go better.
    #[must_use]
    pub(crate) fn is_for_all(&self) -> bool {
        match self {
            Self::Stripe(error) if error.is_too_long() => false,
            Self::Stripe(error) => error.api().is_none_or(|error| error.status == 401),
            Self::Unreadable { .. } | Self::Incomplete(_) => false,
            Self::Account(_) | Self::Store(_) | Self::GivenUp | Self::Stopped | Self::Thread(_) => true,
        }
    }

    /// Whether Stripe says that an object does not exist. A plain 404 says nothing of it: it may be a proxy's page.
    #[must_use]
    pub(crate) fn is_missing(&self) -> bool {
        let Self::Stripe(error) = self else { return false };
        error.api().is_some_and(|error| error.code.as_deref() == Some("resource_missing"))
    }

    /// Whether a single object is longer than an answer may be.
    #[must_use]
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, Self::Stripe(error) if error.is_too_long())
    }

    /// Whether asking for the same again cannot go better until somebody does something about it: a permission that the
    /// key has not, a list that the account has not, an object that is too long.
    #[must_use]
    pub(crate) fn is_refusal(&self) -> bool {
        let Self::Stripe(error) = self else { return false };
        error.is_too_long() || error.api().is_some_and(|error| matches!(error.status, 403 | 404))
    }
}

impl SyncTools {
    fn go_on(&self) -> Result<(), SyncError> {
        self.pulse.beat();
        if self.stop.is_given() { Err(SyncError::Stopped) } else { Ok(()) }
    }
}

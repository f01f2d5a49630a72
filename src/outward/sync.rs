//! Repairs the copy from Stripe's API: events that did not come (`catch_up`), objects from before the first webhook
//! (`backfill`), and what differs all the same (`drift`). Everything goes the way of a webhook: events into the inbox,
//! objects through `objects::read`. Each page and the position after it are one commit, so that a process that is
//! killed resumes where it was. It must never hold more than the pages in hand, nor call with anything but background
//! priority. Called by `jobs::schedule` and by the commands.

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

/// How long Stripe keeps events (docs.stripe.com/api/events).
pub(crate) const EVENTS_KEPT_S: i64 = 30 * 86_400;
/// The last day of them is not relied upon.
pub(crate) const KEPT_MARGIN_S: i64 = 86_400;
/// How much is asked for again with each walk: an event can become visible after one of a later second.
pub const OVERLAP_S: i64 = 300;

/// What every flow of this module works with. Cheap to clone.
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
    /// Ends a flow between two pages, or while it waits for Stripe.
    pub stop: Stop,
    /// Beats while a flow goes on.
    pub pulse: Pulse,
}

/// Why a flow did not come to its end. What was done stays, and the next call resumes there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SyncError {
    /// Stripe refused, or did not answer.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An answer that is not a list, or a list that cannot be read to its end.
    #[error("Stripe's answer to {path} cannot be used: {reason}; check stripe.api_base")]
    Unreadable {
        /// What was asked for.
        path: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// The key is of another account or mode than the copy.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Types that were refused or not reached; the others were read to their end.
    #[error("not complete: {}; run it again to go on", .0.join("; "))]
    Incomplete(Vec<String>),
    /// Another process has begun the run again, or has read the same faster.
    #[error("another process reads the same from Stripe or began it again; leave it to that one, or run this again")]
    GivenUp,
    /// It is time to stop.
    #[error("stopped; the next run resumes here")]
    Stopped,
    /// The system has no thread to give, or one of ours panicked.
    #[error("a thread failed: {0}")]
    Thread(String),
}

impl SyncError {
    /// Whether everything else that is asked of Stripe or the database now would fail as well.
    #[must_use]
    pub(crate) fn is_for_all(&self) -> bool {
        match self {
            Self::Stripe(error) if error.is_too_long() => false,
            Self::Stripe(error) => error.api().is_none_or(|error| error.status == 401),
            Self::Unreadable { .. } | Self::Incomplete(_) => false,
            Self::Account(_) | Self::Store(_) | Self::GivenUp | Self::Stopped | Self::Thread(_) => true,
        }
    }

    /// Whether Stripe says that an object does not exist. A plain 404 says nothing about that: it may be a proxy's page.
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

    /// Whether the same request fails until somebody does something about it: the key lacks a permission, the account has no
    /// such list, an object is too long.
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

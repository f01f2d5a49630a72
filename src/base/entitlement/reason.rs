//! The reasons of an answer: their words, and what they mean for people. Pure. It must never decide one: `rules` does. Called
//! by `entitlement` and whoever shows or lists answers.

use serde::Serialize;
use strum::VariantArray;

/// Why a user is entitled or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum EntitlementReason {
    /// The user never had one.
    NoSubscription,
    /// It would entitle, but none of its prices is in a plan. Worth a warning in the log: a plan is
    /// missing in the configuration.
    UnknownPrice,
    /// It would entitle, but none of the prices that Stripe sent is in a plan, and Stripe did not send all.
    Partial,
    /// Entitled, until `ends_at`.
    Ending,
    /// Canceled, deleted, or past its `ends_at`.
    Canceled,
    /// Entitled on trial.
    Trialing,
    /// Entitled.
    Active,
    /// Entitled although a payment failed, until `grace_period_end`.
    GracePeriod,
    /// The grace period is over, Stripe still tries to collect.
    PastDue,
    /// The grace period is over, Stripe gave up.
    Unpaid,
    /// The first payment was never made.
    Incomplete,
    /// Paused at Stripe, on request or for want of a way to pay; or not paid for since collection was paused.
    Paused,
    /// Stripe has a status that this program does not know.
    UnknownStatus,
    /// It would entitle, but is stale, and [`super::WhenStale::Deny`] is configured.
    Stale,
}

impl EntitlementReason {
    /// Whether an answer with this reason gives access.
    pub(crate) fn gives_access(self) -> bool {
        matches!(self, Self::Active | Self::Trialing | Self::Ending | Self::GracePeriod)
    }

    /// What it means, for people; goes on after "because".
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::NoSubscription => "there is no subscription",
            Self::UnknownPrice => "none of its prices is in a [[plan]] of the configuration",
            Self::Partial => "Stripe sent only its first items, and none of their prices is in a [[plan]]",
            Self::Ending => "it is paid for and ends then",
            Self::Canceled => "the subscription is over",
            Self::Trialing => "it is in its trial",
            Self::Active => "it is active",
            Self::GracePeriod => "its grace period lasts, after a payment that failed",
            Self::PastDue => "a payment failed, and the grace period is over; Stripe still tries to collect",
            Self::Unpaid => "a payment failed, and Stripe has given up collecting it",
            Self::Incomplete => "its first payment was never made",
            Self::Paused => "it is paused",
            Self::UnknownStatus => "Stripe has a status for it that this tilld does not know",
            Self::Stale => "its period ended, nothing newer was heard, and entitlement.when_stale is deny",
        }
    }

    /// The word in the contract's table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSubscription => "no_subscription",
            Self::UnknownPrice => "unknown_price",
            Self::Partial => "partial",
            Self::Ending => "ending",
            Self::Canceled => "canceled",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::GracePeriod => "grace_period",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Incomplete => "incomplete",
            Self::Paused => "paused",
            Self::UnknownStatus => "unknown_status",
            Self::Stale => "stale",
        }
    }
}

/// Every word, for the description of the API.
pub(super) fn reasons() -> Vec<&'static str> {
    EntitlementReason::VARIANTS.iter().map(|reason| reason.as_str()).collect()
}

impl Serialize for EntitlementReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

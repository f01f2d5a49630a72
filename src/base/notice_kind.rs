//! The kinds of notices that dunning decides on, with the words that stand in `dunning_attempts.notification_type`. Pure:
//! what a notice says, and all the other kinds, are `notify::notice`'s. Used by `dunning`, `objects::dunning_attempts` and
//! `notify::notice`.

use strum::VariantArray as _;

/// A kind of notice about a failed payment.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum NoticeKind {
    /// The first attempt at a payment failed.
    PaymentFailed,
    /// A later one failed.
    PaymentRetry,
    /// The customer must confirm a payment.
    PaymentActionRequired,
    /// Access ends soon.
    GracePeriodWarning,
    /// Access has ended.
    SubscriptionDowngraded,
    /// A payment that had failed has come.
    PaymentRecovered,
}

impl NoticeKind {
    /// All of them, in the order of the list above.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The kind of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// The word in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::of(kind.as_str()), Some(*kind));
        }
        assert_eq!(NoticeKind::of("payment"), None);
        assert_eq!(NoticeKind::SubscriptionDowngraded.as_str(), "subscription_downgraded");
    }
}

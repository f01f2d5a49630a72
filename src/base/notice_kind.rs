//! The kinds of notices, with their words in payloads of the outbox, in `dunning_attempts.notification_type`, in
//! keys of mails and in names of templates. Pure: what a notice says is in `notify::notice`. Used by `dunning`, which
//! decides some of them, and by whatever writes, sends or shows mails.

use strum::VariantArray as _;

/// A kind of notice. `docs/notices.md` lists them, and a test compares.
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
    /// It is paid after all.
    PaymentRecovered,
    /// There is an invoice.
    InvoiceFinalized,
    /// A trial ends soon.
    TrialWillEnd,
    /// A customer wants money back by way of the bank; to the operator.
    DisputeCreated,
    /// An event of Stripe was given up; to the operator.
    WebhookDeadLetter,
    /// An endpoint of the application was switched off; to the operator.
    WebhookEndpointDisabled,
    /// Stripe's webhooks do not come; to the operator.
    WebhooksMissing,
    /// The operator tries whether mail works.
    Test,
}

impl NoticeKind {
    /// All of them, in the order of the list above.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The kind of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// The word in tables, payloads and names of templates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// It is for the operator, not for a customer.
    #[must_use]
    pub(crate) fn is_for_operator(self) -> bool {
        matches!(
            self,
            Self::DisputeCreated
                | Self::WebhookDeadLetter
                | Self::WebhookEndpointDisabled
                | Self::WebhooksMissing
                | Self::Test
        )
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

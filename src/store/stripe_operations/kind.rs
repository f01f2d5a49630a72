//! The words of the column `kind`. What can be done with each is known to `calls`.

/// An operation at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the words below say it
pub enum Kind {
    CustomerCreate,
    CheckoutSessionCreate,
    /// Nothing is asked of Stripe: the open session of an earlier request answers this one.
    CheckoutSessionAgain,
    CheckoutSessionExpire,
    PortalSessionCreate,
    SubscriptionChangePlan,
    SubscriptionPreview,
    SubscriptionCancel,
    SubscriptionCancelAtPeriodEnd,
    SubscriptionReactivate,
    SubscriptionResume,
    PaymentIntentCreate,
    PaymentIntentConfirm,
    PaymentIntentCancel,
    RefundCreate,
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::CustomerCreate,
        Self::CheckoutSessionCreate,
        Self::CheckoutSessionAgain,
        Self::CheckoutSessionExpire,
        Self::PortalSessionCreate,
        Self::SubscriptionChangePlan,
        Self::SubscriptionPreview,
        Self::SubscriptionCancel,
        Self::SubscriptionCancelAtPeriodEnd,
        Self::SubscriptionReactivate,
        Self::SubscriptionResume,
        Self::PaymentIntentCreate,
        Self::PaymentIntentConfirm,
        Self::PaymentIntentCancel,
        Self::RefundCreate,
    ];

    /// The word in the column and in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CustomerCreate => "customer.create",
            Self::CheckoutSessionCreate => "checkout_session.create",
            Self::CheckoutSessionAgain => "checkout_session.again",
            Self::CheckoutSessionExpire => "checkout_session.expire",
            Self::PortalSessionCreate => "portal_session.create",
            Self::SubscriptionChangePlan => "subscription.change_plan",
            Self::SubscriptionPreview => "subscription.preview",
            Self::SubscriptionCancel => "subscription.cancel",
            Self::SubscriptionCancelAtPeriodEnd => "subscription.cancel_at_period_end",
            Self::SubscriptionReactivate => "subscription.reactivate",
            Self::SubscriptionResume => "subscription.resume",
            Self::PaymentIntentCreate => "payment_intent.create",
            Self::PaymentIntentConfirm => "payment_intent.confirm",
            Self::PaymentIntentCancel => "payment_intent.cancel",
            Self::RefundCreate => "refund.create",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("customer.delete"), None);
    }
}

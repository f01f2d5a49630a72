//! The types of the events that tilld makes for the application, in one list: what may stand in `notify.webhook.events`,
//! what is written into the outbox, and what the README lists (a test compares) come from here. Stripe's own events are
//! forwarded as `stripe.<type>` and are not listed here. Called by whatever writes such events, and by `app::config`.

use strum::VariantArray as _;

/// A type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
pub enum AppEventType {
    /// A user's answer has changed.
    #[strum(serialize = "entitlement.changed")]
    EntitlementChanged,
    /// A subscription has changed.
    #[strum(serialize = "subscription.changed")]
    SubscriptionChanged,
    /// An attempt at a payment failed.
    #[strum(serialize = "payment.failed")]
    PaymentFailed,
    /// A payment that had failed has come.
    #[strum(serialize = "payment.recovered")]
    PaymentRecovered,
    /// A customer asks the bank to take a payment back.
    #[strum(serialize = "dispute.created")]
    DisputeCreated,
    /// An invoice is final.
    #[strum(serialize = "invoice.finalized")]
    InvoiceFinalized,
    /// tilld has given up an event of Stripe's.
    #[strum(serialize = "webhook.dead_letter")]
    WebhookDeadLetter,
    /// `tilld notify test`; nobody subscribes to it.
    #[strum(serialize = "tilld.test")]
    Test,
}

impl AppEventType {
    /// All of them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word in payloads and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Those that an endpoint can ask for.
    pub fn offered() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|offered| *offered != Self::Test)
    }
}

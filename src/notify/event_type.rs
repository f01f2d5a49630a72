//! The types of the events that tilld makes for the application, in one list: what may stand in `notify.webhook.events`,
//! what is written into the outbox, and what the README lists (a test compares) come from here. Stripe's own events are
//! forwarded as `stripe.<type>`; these are not ours to list.

use strum::VariantArray as _;

/// A type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
pub enum EventType {
    /// A user's answer is another one.
    #[strum(serialize = "entitlement.changed")]
    EntitlementChanged,
    /// A subscription's row says something else.
    #[strum(serialize = "subscription.changed")]
    SubscriptionChanged,
    /// An attempt at a payment failed.
    #[strum(serialize = "payment.failed")]
    PaymentFailed,
    /// It is paid after all.
    #[strum(serialize = "payment.recovered")]
    PaymentRecovered,
    /// A customer wants money back by way of the bank.
    #[strum(serialize = "dispute.created")]
    DisputeCreated,
    /// An invoice is final.
    #[strum(serialize = "invoice.finalized")]
    InvoiceFinalized,
    /// An event of Stripe's was given up.
    #[strum(serialize = "webhook.dead_letter")]
    WebhookDeadLetter,
    /// `tilld notify test`; nobody subscribes to it.
    #[strum(serialize = "tilld.test")]
    Test,
}

impl EventType {
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

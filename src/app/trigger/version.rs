//! The API versions whose shapes can be made. Knows names and order only, never what they mean: `render`
//! does. Called by all that makes events.

use super::TriggerError;
use crate::stripe::version;

/// A Stripe API version that changed a shape tilld reads, oldest first (docs.stripe.com/upgrades).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// `2020-08-27`: charges inside the payment intent, refunds inside the charge.
    V2020_08_27,
    /// `2024-09-30.acacia`: the last major with the period on the subscription.
    Acacia,
    /// `2025-03-31.basil`: period on the items, `parent` on invoices and lines.
    Basil,
    /// `2026-09-30.endive`: the newest.
    Endive,
}

impl ApiVersion {
    /// Oldest first.
    pub const ALL: [Self; 4] = [Self::V2020_08_27, Self::Acacia, Self::Basil, Self::Endive];
    /// The default of `tilld trigger`.
    pub const CURRENT: Self = Self::Endive;

    /// As Stripe writes it in `api_version`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2020_08_27 => version::OLDEST,
            Self::Acacia => "2024-09-30.acacia",
            Self::Basil => "2025-03-31.basil",
            Self::Endive => version::NEWEST,
        }
    }

    /// Reads `2025-03-31.basil`, and either half of it.
    ///
    /// # Errors
    /// [`TriggerError::UnknownVersion`], which lists the known ones.
    pub fn parse(given: &str) -> Result<Self, TriggerError> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == given || version.as_str().split('.').any(|half| half == given))
            .ok_or_else(|| TriggerError::UnknownVersion {
                given: given.to_owned(),
                known: Self::ALL.map(Self::as_str).join(", "),
            })
    }
}

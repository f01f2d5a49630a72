//! What the rules of the answer look at: all of it, and each thing by name and value, so that an answer can be explained.
//! Pure. It must never decide anything. Called by `rules`, which names what each rule looks at, and by `explain`, which
//! tells it.

use super::{EntitlementPolicy, PausedCollection, SubscriptionInput, WhenStale, best_price};
use crate::base::ago;

/// What the rules look at.
#[derive(Clone, Copy)]
pub(super) struct RuleInput<'a> {
    pub(super) subscription: &'a SubscriptionInput,
    /// A plan has one of the prices that count.
    pub(super) sold: bool,
    pub(super) policy: &'a EntitlementPolicy,
    pub(super) now: i64,
}

impl RuleInput<'_> {
    pub(super) fn has_status(&self, statuses: &[&str]) -> bool {
        statuses.contains(&self.subscription.status.as_str())
    }
}

/// Something that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntitlementFact {
    /// Stripe's word.
    Status,
    /// Stripe sent its deletion, or its customer's.
    Deleted,
    /// When it ends or ended by its own terms.
    EndsAt,
    /// Stripe's field.
    CancelAt,
    /// Stripe's field.
    CancelAtPeriodEnd,
    /// The latest end of its items' periods.
    PeriodEnd,
    /// It is paused because a payment failed.
    PausedByFailure,
    /// The prices of its items.
    PriceIds,
    /// While a payment is missing: the prices of its newest state that was in good order.
    LastPaidPriceIds,
    /// The plan that has one of the prices that count.
    Tier,
    /// Stripe sent only its first items.
    ItemsPartial,
    /// When the grace period began.
    GraceStartedAt,
    /// When it ends.
    GracePeriodEnd,
    /// The end of the period in which collection was paused.
    PausePeriodEnd,
    /// The setting.
    PausedCollection,
    /// The time of the newest word of Stripe about it.
    AsOf,
    /// Its period ended long ago, and nothing newer was heard.
    Stale,
    /// The setting.
    WhenStale,
}

/// Its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FactValue {
    /// Not known, or there is none.
    None,
    /// A word.
    Text(String),
    /// Several.
    Texts(Vec<String>),
    /// Unix seconds.
    Time(i64),
    /// Yes or no.
    Flag(bool),
}

impl FactValue {
    /// For people: times as UTC.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Text(text) => text.clone(),
            Self::Texts(texts) if texts.is_empty() => "none".to_owned(),
            Self::Texts(texts) => texts.join(", "),
            Self::Time(at) => format!("{} UTC", ago::utc_s(*at)),
            Self::Flag(true) => "yes".to_owned(),
            Self::Flag(false) => "no".to_owned(),
        }
    }
}

impl EntitlementFact {
    /// Its name, that of the field or the setting where it has one.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Deleted => "deleted",
            Self::EndsAt => "ends_at",
            Self::CancelAt => "cancel_at",
            Self::CancelAtPeriodEnd => "cancel_at_period_end",
            Self::PeriodEnd => "period_end",
            Self::PausedByFailure => "paused_by_failure",
            Self::PriceIds => "price_ids",
            Self::LastPaidPriceIds => "last_paid_price_ids",
            Self::Tier => "tier_of_prices",
            Self::ItemsPartial => "items_partial",
            Self::GraceStartedAt => "grace_started_at",
            Self::GracePeriodEnd => "grace_period_end",
            Self::PausePeriodEnd => "pause_period_end",
            Self::PausedCollection => "entitlement.paused_collection",
            Self::AsOf => "as_of",
            Self::Stale => "stale",
            Self::WhenStale => "entitlement.when_stale",
        }
    }

    /// Its value for a subscription.
    pub(super) fn value(self, asked: &RuleInput) -> FactValue {
        let (subscription, policy) = (asked.subscription, asked.policy);
        let time = |at: Option<i64>| at.map_or(FactValue::None, FactValue::Time);
        match self {
            Self::Status => FactValue::Text(subscription.status.clone()),
            Self::Deleted => FactValue::Flag(subscription.deleted),
            Self::EndsAt => time(subscription.ends_at()),
            Self::CancelAt => time(subscription.cancel_at),
            Self::CancelAtPeriodEnd => FactValue::Flag(subscription.cancel_at_period_end),
            Self::PeriodEnd => time(subscription.period_end),
            Self::PausedByFailure => FactValue::Flag(subscription.paused_by_failure),
            Self::PriceIds => FactValue::Texts(subscription.price_ids.clone()),
            Self::LastPaidPriceIds => subscription.good_price_ids.clone().map_or(FactValue::None, FactValue::Texts),
            Self::Tier => {
                best_price(subscription, policy).map_or(FactValue::None, |price| FactValue::Text(price.tier.to_owned()))
            }
            Self::ItemsPartial => FactValue::Flag(subscription.items_partial),
            Self::GraceStartedAt => time(subscription.grace_started_at),
            Self::GracePeriodEnd => time(subscription.grace_period_end(policy)),
            Self::PausePeriodEnd => time(subscription.pause_period_end),
            Self::PausedCollection => word(&PausedCollection::WORDS, policy.paused_collection),
            Self::AsOf => FactValue::Time(subscription.as_of),
            Self::Stale => FactValue::Flag(subscription.is_stale(policy, asked.now)),
            Self::WhenStale => word(&WhenStale::WORDS, policy.when_stale),
        }
    }
}

/// A setting as the configuration writes it.
fn word<T: PartialEq + Copy>(words: &[(&str, T)], value: T) -> FactValue {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or(FactValue::None, |(word, _)| FactValue::Text((*word).to_owned()))
}

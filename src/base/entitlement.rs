//! May this user use it? From the subscriptions of one user, the policy and the time to the answer
//! of `GET /api/v1/users/{user_id}/entitlement`. Must never overrule what Stripe said, nor know a
//! database or a clock. Called by the private API, the command line, and `objects::derived`, which
//! keeps the effective subscription of each user.
//!
//! All times are unix seconds. A time that is reached has passed: at `ends_at` and at
//! `grace_period_end` access is over.

pub(crate) mod explain;
mod facts;
mod reason;
mod rules;

use facts::RuleInput;
pub use reason::EntitlementReason;
use rules::RuleVerdict;
use schemars::JsonSchema;
use serde::Serialize;

/// The tier of everyone who is not entitled. No plan may have this name.
pub(crate) const FREE_TIER: &str = "free";
/// The tier of every price while no plan is configured.
pub(crate) const DEFAULT_TIER: &str = "default";

/// The operator's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitlementPolicy {
    /// From the lowest to the highest. None: every price gives [`DEFAULT_TIER`].
    pub plans: Vec<EntitlementPlan>,
    /// How long access lasts after the first failed payment, in seconds.
    pub grace_period_s: i64,
    /// How long after the end of its period a subscription without newer events is believed,
    /// in seconds.
    pub stale_after_s: i64,
    /// What is answered after that.
    pub when_stale: WhenStale,
    /// Whether access goes on while Stripe does not collect.
    pub paused_collection: PausedCollection,
}

/// A tier and the prices that buy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitlementPlan {
    /// The application's name for it.
    pub tier: String,
    /// Stripe's ids of its prices.
    pub price_ids: Vec<String>,
}

/// What to answer from a row that should have been renewed or ended by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// Believe it: Stripe or the way from it is more likely broken than the customer gone.
    Keep,
    /// Do not.
    Deny,
}

impl WhenStale {
    /// As the configuration writes them.
    pub(crate) const WORDS: [(&str, Self); 2] = [("keep", Self::Keep), ("deny", Self::Deny)];
}

/// What `pause_collection` means for access. Stripe keeps such a subscription `active`, and voids or keeps its invoices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausedCollection {
    /// Nothing, as Stripe means it.
    Keep,
    /// It ends with the period in which the pause began: none after it is paid.
    UntilPaid,
}

impl PausedCollection {
    /// As the configuration writes them.
    pub(crate) const WORDS: [(&str, Self); 2] = [("keep", Self::Keep), ("until_paid", Self::UntilPaid)];
}

/// What is known of one subscription: Stripe's own words, and where our grace period starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionInput {
    /// Stripe's id, `sub_…`.
    pub id: String,
    /// Stripe's status, kept as text: Stripe may add one.
    pub status: String,
    /// The prices of all items, the main one first.
    pub price_ids: Vec<String>,
    /// The latest end of the current periods of all items; paid access lasts until then.
    pub period_end: Option<i64>,
    /// When Stripe will cancel it. The customer portal sets this, not the flag below.
    pub cancel_at: Option<i64>,
    /// Stripe will cancel it at the end of the period.
    pub cancel_at_period_end: bool,
    /// Stripe sent only the first of its items.
    pub items_partial: bool,
    /// Its status is `paused` because a payment failed, and not because somebody wanted it.
    pub paused_by_failure: bool,
    /// While collection is paused: the end of the period in which that began.
    pub pause_period_end: Option<i64>,
    /// While a payment is missing: the prices of its newest state that was `active` or `trialing`. None: none is known.
    pub good_price_ids: Option<Vec<String>>,
    /// Stripe sent its deletion.
    pub deleted: bool,
    /// Only a `client_reference_id` links it to its user.
    pub by_reference: bool,
    /// When it was made.
    pub created: i64,
    /// The first failed payment, `past_due` or pause for want of payment of the current trouble.
    pub grace_started_at: Option<i64>,
    /// The time of the newest event or API read that this rests on.
    pub as_of: i64,
}

impl SubscriptionInput {
    /// When it will end or has ended by its own terms. One value, because Stripe has two ways to
    /// say it.
    #[must_use]
    pub fn ends_at(&self) -> Option<i64> {
        let at_period_end = self.period_end.filter(|_| self.cancel_at_period_end);
        self.cancel_at.or(at_period_end)
    }

    fn ends_by(&self, now: i64) -> bool {
        self.ends_at().is_some_and(|end| end <= now)
    }

    /// A payment failed, and what it was for has not been paid since.
    #[must_use]
    pub(crate) fn is_payment_missing(&self) -> bool {
        is_payment_missing(&self.status, self.paused_by_failure) && !self.deleted
    }

    fn grace_period_end(&self, policy: &EntitlementPolicy) -> Option<i64> {
        let start = self.grace_started_at.unwrap_or(self.as_of);
        self.is_payment_missing().then(|| start.saturating_add(policy.grace_period_s))
    }

    /// Where collection is paused and access is not given for nothing: the end of the last period that was paid.
    fn paid_until(&self, policy: &EntitlementPolicy) -> Option<i64> {
        self.pause_period_end.filter(|_| policy.paused_collection == PausedCollection::UntilPaid)
    }

    /// The prices that give the tier: while a payment is missing the lesser of the present ones and of those that were
    /// last paid for.
    fn prices_that_count(&self, policy: &EntitlementPolicy) -> &[String] {
        let rank = |prices| best_of(prices, policy).map(|price| price.rank);
        let (present, good) = (&self.price_ids, self.good_price_ids.as_ref());
        match good.filter(|_| self.is_payment_missing()) {
            // A cut list of old shows too little as the present one does; that it has no price of a plan says nothing.
            Some(good) if self.items_partial && rank(good).is_none() => present,
            Some(good) if rank(good) < rank(present) => good,
            _ => present,
        }
    }

    /// The period is long over, and nothing newer says what came after it.
    fn is_stale(&self, policy: &EntitlementPolicy, now: i64) -> bool {
        let running = !self.deleted && matches!(self.status.as_str(), "active" | "trialing") && !self.ends_by(now);
        let is_unrenewed =
            self.period_end.is_some_and(|end| end.saturating_add(policy.stale_after_s) < now && self.as_of <= end);
        running && is_unrenewed
    }
}

/// Whether a subscription of this status owes what could not be collected.
#[must_use]
pub(crate) fn is_payment_missing(status: &str, paused_by_failure: bool) -> bool {
    matches!(status, "past_due" | "unpaid") || (status == "paused" && paused_by_failure)
}

/// The answer, with the fields of the contract in its order. The caller puts `user_id` before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EntitlementAnswer {
    /// May the user use it?
    #[schemars(example = true)]
    pub entitled: bool,
    /// What the user may use: the tier of a plan, or `free`.
    #[schemars(example = &"pro")]
    pub tier: String,
    /// Why.
    #[schemars(with = "String", extend("enum" = reason::reasons()), example = &"active")]
    pub reason: EntitlementReason,
    /// Stripe's status of the subscription that decided; null: none did.
    #[schemars(example = &"active")]
    pub status: Option<String>,
    /// Stripe's id of it; null: none decided.
    #[schemars(example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    pub subscription_id: Option<String>,
    /// The price that gave the tier, else the main one; null: there is none.
    #[schemars(example = &"price_1MowQULkdIwHu7ixraBm864M")]
    pub price_id: Option<String>,
    /// When the entitlement ends if nothing happens, unix seconds; null: not known, or not entitled.
    #[schemars(example = 1_769_904_000)]
    pub valid_until: Option<i64>,
    /// The end of the grace period, unix seconds, only of a subscription whose payment is missing.
    #[schemars(example = 1_767_830_400)]
    pub grace_period_end: Option<i64>,
    /// When the subscription is or was to end, unix seconds; null: it goes on.
    #[schemars(example = 1_769_904_000)]
    pub ends_at: Option<i64>,
    /// The time of the newest event or API read that the answer rests on, unix seconds; null: it rests on none.
    #[schemars(example = 1_767_225_600)]
    pub as_of: Option<i64>,
    /// The period ended long ago and nothing newer is known.
    #[schemars(example = false)]
    pub stale: bool,
}

/// The answer for a user with these subscriptions, in whatever order.
#[must_use]
pub fn entitlement(subscriptions: &[SubscriptionInput], policy: &EntitlementPolicy, now: i64) -> EntitlementAnswer {
    effective(subscriptions, policy, now).map_or_else(no_subscription, |s| of_one(s, policy, now))
}

/// The subscription that decides: the entitled one of the highest tier, else the newest. Among equals one that is linked by
/// more than a reference, since a stranger's must not count before the user's own; then the newest, by `created`, then by id.
#[must_use]
pub fn effective<'a>(
    subscriptions: &'a [SubscriptionInput],
    policy: &EntitlementPolicy,
    now: i64,
) -> Option<&'a SubscriptionInput> {
    subscriptions.iter().max_by_key(|one| precedence(one, policy, now))
}

/// The greatest of a user's subscriptions decides: tier given, linked by more than a reference, time, id.
fn precedence<'a>(
    one: &'a SubscriptionInput,
    policy: &EntitlementPolicy,
    now: i64,
) -> (Option<usize>, bool, i64, &'a str) {
    (rank_given(one, policy, now), !one.by_reference, one.created, &one.id)
}

/// When the answer of this subscription changes by time alone; `None`: it does not. Of several subscriptions only the
/// one that decides can change the answer so: time takes access away, and never gives it.
#[must_use]
pub fn changes_at(subscription: &SubscriptionInput, policy: &EntitlementPolicy, now: i64) -> Option<i64> {
    let stale_at = subscription.period_end.filter(|_| policy.when_stale == WhenStale::Deny);
    let stale_at = stale_at.map(|end| end.saturating_add(policy.stale_after_s).saturating_add(1));
    let (grace_end, paid_until) = (subscription.grace_period_end(policy), subscription.paid_until(policy));
    let times = [subscription.ends_at(), grace_end, paid_until, stale_at];
    times.into_iter().flatten().filter(|at| *at > now).min()
}

/// The tier that this subscription is billed for, whether it gives it now or not.
#[must_use]
pub(crate) fn tier_bought<'a>(subscription: &'a SubscriptionInput, policy: &'a EntitlementPolicy) -> Option<&'a str> {
    best_of(&subscription.price_ids, policy).map(|price| price.tier)
}

/// The tier that this subscription gives or gave: that of the grace period while a payment is missing.
#[must_use]
pub(crate) fn tier_at_stake<'a>(subscription: &'a SubscriptionInput, policy: &'a EntitlementPolicy) -> Option<&'a str> {
    best_price(subscription, policy).map(|price| price.tier)
}

/// Whether the other subscriptions of a user give as much as is at stake with this one.
#[must_use]
pub(crate) fn is_covered(all: &[SubscriptionInput], id: &str, policy: &EntitlementPolicy, now: i64) -> bool {
    let at_stake = all.iter().find(|one| one.id == id).and_then(|one| best_price(one, policy));
    let Some(at_stake) = at_stake.map(|price| price.rank) else { return false };
    all.iter().filter(|other| other.id != id).any(|other| rank_given(other, policy, now) >= Some(at_stake))
}

/// The answer that this subscription alone would give.
#[must_use]
pub(crate) fn of_one(subscription: &SubscriptionInput, policy: &EntitlementPolicy, now: i64) -> EntitlementAnswer {
    let price = best_price(subscription, policy);
    let (reason, access) = decide(subscription, policy, now);
    let tier = access.and(price.as_ref()).map_or(FREE_TIER, |p| p.tier);
    let main_price = subscription.prices_that_count(policy).first().map(String::as_str);
    EntitlementAnswer {
        entitled: access.is_some(),
        tier: tier.to_owned(),
        reason,
        status: Some(subscription.status.clone()),
        subscription_id: Some(subscription.id.clone()),
        price_id: price.and_then(|p| p.id).or(main_price).map(str::to_owned),
        valid_until: access.and_then(|access| access.until),
        grace_period_end: subscription.grace_period_end(policy),
        ends_at: subscription.ends_at(),
        as_of: Some(subscription.as_of),
        stale: subscription.is_stale(policy, now),
    }
}

/// The answer for a user who never had one.
#[must_use]
pub fn no_subscription() -> EntitlementAnswer {
    EntitlementAnswer {
        entitled: false,
        tier: FREE_TIER.to_owned(),
        reason: EntitlementReason::NoSubscription,
        status: None,
        subscription_id: None,
        price_id: None,
        valid_until: None,
        grace_period_end: None,
        ends_at: None,
        as_of: None,
        stale: false,
    }
}

/// What the best of some prices buys.
struct BestPrice<'a> {
    rank: usize,
    tier: &'a str,
    /// None only for a subscription without prices while no plan is configured.
    id: Option<&'a str>,
}

/// What the prices buy that count now.
fn best_price<'a>(subscription: &'a SubscriptionInput, policy: &'a EntitlementPolicy) -> Option<BestPrice<'a>> {
    best_of(subscription.prices_that_count(policy), policy)
}

fn best_of<'a>(prices: &'a [String], policy: &'a EntitlementPolicy) -> Option<BestPrice<'a>> {
    if policy.plans.is_empty() {
        return Some(BestPrice { rank: 0, tier: DEFAULT_TIER, id: prices.first().map(String::as_str) });
    }
    policy.plans.iter().enumerate().rev().find_map(|(rank, plan)| {
        let id = prices.iter().find(|price| plan.price_ids.contains(price))?;
        Some(BestPrice { rank, tier: &plan.tier, id: Some(id) })
    })
}

/// The rank of the tier that a subscription gives now; none if it gives nothing.
fn rank_given(subscription: &SubscriptionInput, policy: &EntitlementPolicy, now: i64) -> Option<usize> {
    let (_, access) = decide(subscription, policy, now);
    access.and(best_price(subscription, policy)).map(|price| price.rank)
}

fn decide(subscription: &SubscriptionInput, policy: &EntitlementPolicy, now: i64) -> RuleVerdict {
    rules::decide(&asked(subscription, policy, now))
}

fn asked<'a>(subscription: &'a SubscriptionInput, policy: &'a EntitlementPolicy, now: i64) -> RuleInput<'a> {
    RuleInput { subscription, sold: best_price(subscription, policy).is_some(), policy, now }
}

#[cfg(test)]
mod tests;

//! May this user use it? From the subscriptions of one user, the policy and the time to the answer
//! of `GET /api/v1/users/{user_id}/entitlement`. Must never write over what Stripe said, nor know a
//! database or a clock. Called by the private API, the command line, and the projection, which
//! keeps the effective subscription of each user.
//!
//! All times are unix seconds. A time that is reached has passed: at `ends_at` and at
//! `grace_period_end` access is over.

use serde::Serialize;

/// The tier of everyone who is not entitled. No plan may have this name.
pub const FREE_TIER: &str = "free";
/// The tier of every price while no plan is configured.
pub const DEFAULT_TIER: &str = "default";

/// What the operator decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// From the lowest to the highest. None: every price gives [`DEFAULT_TIER`].
    pub plans: Vec<Plan>,
    /// How long access lasts after the first failed payment, in seconds.
    pub grace_period_s: i64,
    /// How long after the end of its period a subscription that nothing was heard of is believed,
    /// in seconds.
    pub stale_after_s: i64,
    /// What is answered after that.
    pub when_stale: WhenStale,
}

/// A tier and the prices that buy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
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

/// What is known of one subscription: Stripe's own words, and where our grace period starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
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
    /// Stripe sent its deletion.
    pub deleted: bool,
    /// When it was made.
    pub created: i64,
    /// The first failed payment or `past_due` of the current trouble.
    pub grace_started_at: Option<i64>,
    /// The time of the newest event or API read that this rests on.
    pub as_of: i64,
}

impl Subscription {
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

    fn grace_period_end(&self, policy: &Policy) -> Option<i64> {
        let start = self.grace_started_at.unwrap_or(self.as_of);
        let owing = matches!(self.status.as_str(), "past_due" | "unpaid") && !self.deleted;
        owing.then(|| start.saturating_add(policy.grace_period_s))
    }

    /// The period is long over, and nothing that was heard since says what came after it.
    fn is_stale(&self, policy: &Policy, now: i64) -> bool {
        let running = !self.deleted && matches!(self.status.as_str(), "active" | "trialing") && !self.ends_by(now);
        let unheard =
            self.period_end.is_some_and(|end| end.saturating_add(policy.stale_after_s) < now && self.as_of <= end);
        running && unheard
    }
}

/// The answer, with the fields of the contract in its order. The caller puts `user_id` before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// May the user use it?
    pub entitled: bool,
    /// What the user may use: the tier of a plan, or [`FREE_TIER`].
    pub tier: String,
    /// Why.
    pub reason: Reason,
    /// Stripe's status of the subscription that decided.
    pub status: Option<String>,
    /// Stripe's id of it.
    pub subscription_id: Option<String>,
    /// The price that gave the tier, else the main one.
    pub price_id: Option<String>,
    /// When the entitlement ends if nothing happens. None: not known, or not entitled.
    pub valid_until: Option<i64>,
    /// The end of the grace period, only of a subscription that is past due or unpaid.
    pub grace_period_end: Option<i64>,
    /// When the subscription is or was to end.
    pub ends_at: Option<i64>,
    /// The time of the newest event or API read that the answer rests on.
    pub as_of: Option<i64>,
    /// The period ended long ago and nothing newer was heard.
    pub stale: bool,
}

/// Why a user is entitled or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The user never had one.
    NoSubscription,
    /// It would entitle, but none of its prices is in a plan. Worth a warning in the log: a plan is
    /// missing in the configuration.
    UnknownPrice,
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
    /// The trial ended without a way to pay.
    Paused,
    /// Stripe has a status that this program does not know.
    UnknownStatus,
    /// It would entitle, but is stale, and [`WhenStale::Deny`] is configured.
    Stale,
}

impl Reason {
    /// The word in the contract's table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSubscription => "no_subscription",
            Self::UnknownPrice => "unknown_price",
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

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The answer for a user with these subscriptions, in whatever order.
#[must_use]
pub fn entitlement(subscriptions: &[Subscription], policy: &Policy, now: i64) -> Answer {
    effective(subscriptions, policy, now).map_or_else(no_subscription, |s| of_one(s, policy, now))
}

/// The subscription that decides: the entitled one of the highest tier, else the newest. Among
/// equals the newest, by `created`, then by id.
#[must_use]
pub fn effective<'a>(subscriptions: &'a [Subscription], policy: &Policy, now: i64) -> Option<&'a Subscription> {
    subscriptions.iter().max_by_key(|subscription| {
        let price = best_price(subscription, policy);
        let (_, access) = decide(subscription, price.as_ref(), policy, now);
        let rank = access.and(price).map(|price| price.rank);
        (rank, subscription.created, &subscription.id)
    })
}

/// When the answer of this subscription changes by time alone; `None`: it does not. Of several subscriptions only the
/// one that decides can change the answer so: time takes access away, and never gives it.
#[must_use]
pub fn changes_at(subscription: &Subscription, policy: &Policy, now: i64) -> Option<i64> {
    let stale_at = subscription.period_end.filter(|_| policy.when_stale == WhenStale::Deny);
    let stale_at = stale_at.map(|end| end.saturating_add(policy.stale_after_s).saturating_add(1));
    let times = [subscription.ends_at(), subscription.grace_period_end(policy), stale_at];
    times.into_iter().flatten().filter(|at| *at > now).min()
}

/// The tier that this subscription buys, whether it gives it now or not.
#[must_use]
pub fn tier_bought<'a>(subscription: &'a Subscription, policy: &'a Policy) -> Option<&'a str> {
    best_price(subscription, policy).map(|price| price.tier)
}

/// Whether the other subscriptions of a user give as much as this one buys.
#[must_use]
pub fn is_covered(all: &[Subscription], id: &str, policy: &Policy, now: i64) -> bool {
    let rank = |subscription| best_price(subscription, policy).map(|price| price.rank);
    let Some(bought) = all.iter().find(|one| one.id == id).and_then(rank) else { return false };
    all.iter().filter(|other| other.id != id).any(|other| {
        let price = best_price(other, policy);
        let entitled = decide(other, price.as_ref(), policy, now).1.is_some();
        entitled && price.is_some_and(|price| price.rank >= bought)
    })
}

/// The answer that this subscription alone would give.
#[must_use]
pub fn of_one(subscription: &Subscription, policy: &Policy, now: i64) -> Answer {
    let price = best_price(subscription, policy);
    let (reason, access) = decide(subscription, price.as_ref(), policy, now);
    let tier = access.and(price.as_ref()).map_or(FREE_TIER, |p| p.tier);
    let main_price = subscription.price_ids.first().map(String::as_str);
    Answer {
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
pub fn no_subscription() -> Answer {
    Answer {
        entitled: false,
        tier: FREE_TIER.to_owned(),
        reason: Reason::NoSubscription,
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

/// What the best of a subscription's prices buys.
struct BestPrice<'a> {
    rank: usize,
    tier: &'a str,
    /// None only for a subscription without prices while no plan is configured.
    id: Option<&'a str>,
}

fn best_price<'a>(subscription: &'a Subscription, policy: &'a Policy) -> Option<BestPrice<'a>> {
    let prices = &subscription.price_ids;
    if policy.plans.is_empty() {
        return Some(BestPrice { rank: 0, tier: DEFAULT_TIER, id: prices.first().map(String::as_str) });
    }
    policy.plans.iter().enumerate().rev().find_map(|(rank, plan)| {
        let id = prices.iter().find(|price| plan.price_ids.contains(price))?;
        Some(BestPrice { rank, tier: &plan.tier, id: Some(id) })
    })
}

/// Access, with its end where that is known.
#[derive(Clone, Copy)]
struct Access {
    until: Option<i64>,
}

/// The contract's table of rules; the first that matches decides.
fn decide(
    subscription: &Subscription,
    price: Option<&BestPrice>,
    policy: &Policy,
    now: i64,
) -> (Reason, Option<Access>) {
    let denied = |reason| (reason, None);
    let until = |reason, until| (reason, Some(Access { until }));
    if subscription.deleted {
        return denied(Reason::Canceled);
    }
    let grace_end = subscription.grace_period_end(policy);
    let in_grace = grace_end.is_some_and(|end| now < end);
    match subscription.status.as_str() {
        "active" | "trialing" if price.is_none() => denied(Reason::UnknownPrice),
        "active" | "trialing" if subscription.ends_by(now) => denied(Reason::Canceled),
        "active" | "trialing" if policy.when_stale == WhenStale::Deny && subscription.is_stale(policy, now) => {
            denied(Reason::Stale)
        }
        "active" | "trialing" if subscription.ends_at().is_some() => until(Reason::Ending, subscription.ends_at()),
        "trialing" => until(Reason::Trialing, None),
        "active" => until(Reason::Active, None),
        "past_due" | "unpaid" if in_grace && price.is_none() => denied(Reason::UnknownPrice),
        "past_due" | "unpaid" if in_grace => until(Reason::GracePeriod, grace_end),
        "past_due" => denied(Reason::PastDue),
        "unpaid" => denied(Reason::Unpaid),
        "incomplete" | "incomplete_expired" => denied(Reason::Incomplete),
        "paused" => denied(Reason::Paused),
        "canceled" => denied(Reason::Canceled),
        _ => denied(Reason::UnknownStatus),
    }
}

#[cfg(test)]
mod tests;

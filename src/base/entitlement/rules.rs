//! The contract's table of rules: one list, and the first rule that fits decides. Each is a row of that table, in its
//! order. Pure. Called by `entitlement`.

use super::{EntitlementPolicy, EntitlementReason, SubscriptionInput, WhenStale};

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
    fn has_status(&self, statuses: &[&str]) -> bool {
        statuses.contains(&self.subscription.status.as_str())
    }
}

/// Access, with its end where that is known.
#[derive(Clone, Copy)]
pub(super) struct RuleOutcome {
    pub(super) until: Option<i64>,
}

/// The reason, and the access that it gives; `None`: no access.
pub(super) type RuleVerdict = (EntitlementReason, Option<RuleOutcome>);
type Rule = fn(&RuleInput) -> Option<RuleVerdict>;

const RULES: [Rule; 10] =
    [unknown_status, over, incomplete, paused, not_sold, payment_missing, collection_paused, stale, ending, running];

/// The first rule that fits decides; the last one fits all that the others leave.
pub(super) fn decide(asked: &RuleInput) -> RuleVerdict {
    RULES.iter().find_map(|rule| rule(asked)).unwrap_or((EntitlementReason::UnknownStatus, None))
}

fn denied(reason: EntitlementReason) -> RuleVerdict {
    (reason, None)
}

fn until(reason: EntitlementReason, until: Option<i64>) -> RuleVerdict {
    (reason, Some(RuleOutcome { until }))
}

fn unknown_status(asked: &RuleInput) -> Option<RuleVerdict> {
    const KNOWN: [&str; 8] =
        ["active", "trialing", "past_due", "unpaid", "paused", "incomplete", "incomplete_expired", "canceled"];
    (!asked.has_status(&KNOWN)).then_some(denied(EntitlementReason::UnknownStatus))
}

fn over(asked: &RuleInput) -> Option<RuleVerdict> {
    let subscription = asked.subscription;
    let is_over = subscription.deleted || asked.has_status(&["canceled"]) || subscription.ends_by(asked.now);
    is_over.then_some(denied(EntitlementReason::Canceled))
}

fn incomplete(asked: &RuleInput) -> Option<RuleVerdict> {
    asked.has_status(&["incomplete", "incomplete_expired"]).then_some(denied(EntitlementReason::Incomplete))
}

fn paused(asked: &RuleInput) -> Option<RuleVerdict> {
    let chosen = asked.has_status(&["paused"]) && !asked.subscription.is_payment_missing();
    chosen.then_some(denied(EntitlementReason::Paused))
}

fn not_sold(asked: &RuleInput) -> Option<RuleVerdict> {
    let reason =
        if asked.subscription.items_partial { EntitlementReason::Partial } else { EntitlementReason::UnknownPrice };
    (!asked.sold).then_some(denied(reason))
}

fn payment_missing(asked: &RuleInput) -> Option<RuleVerdict> {
    let grace_end = asked.subscription.grace_period_end(asked.policy)?;
    if asked.now < grace_end {
        let ends_at = asked.subscription.ends_at();
        return Some(until(EntitlementReason::GracePeriod, Some(ends_at.map_or(grace_end, |end| end.min(grace_end)))));
    }
    Some(denied(match asked.subscription.status.as_str() {
        "past_due" => EntitlementReason::PastDue,
        "unpaid" => EntitlementReason::Unpaid,
        _ => EntitlementReason::Paused,
    }))
}

fn collection_paused(asked: &RuleInput) -> Option<RuleVerdict> {
    let paid_until = asked.subscription.paid_until(asked.policy)?;
    (paid_until <= asked.now).then_some(denied(EntitlementReason::Paused))
}

fn stale(asked: &RuleInput) -> Option<RuleVerdict> {
    let denies = asked.policy.when_stale == WhenStale::Deny && asked.subscription.is_stale(asked.policy, asked.now);
    denies.then_some(denied(EntitlementReason::Stale))
}

fn ending(asked: &RuleInput) -> Option<RuleVerdict> {
    let ends_at = asked.subscription.ends_at()?;
    let paid_until = asked.subscription.paid_until(asked.policy);
    Some(until(EntitlementReason::Ending, Some(paid_until.map_or(ends_at, |end| end.min(ends_at)))))
}

fn running(asked: &RuleInput) -> Option<RuleVerdict> {
    let reason = if asked.has_status(&["trialing"]) { EntitlementReason::Trialing } else { EntitlementReason::Active };
    Some(until(reason, asked.subscription.paid_until(asked.policy)))
}

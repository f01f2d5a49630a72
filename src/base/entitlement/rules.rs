//! The contract's table of rules: one list, and the first rule that fits decides. Each is a row of that table, in its
//! order, with what it asks and looks at in words. Pure. Called by `entitlement` and `explain`.

use super::facts::{EntitlementFact as Fact, RuleInput};
use super::{EntitlementReason, WhenStale};

/// Access, with its end where that is known.
#[derive(Clone, Copy)]
pub(super) struct RuleOutcome {
    pub(super) until: Option<i64>,
}

/// The reason, and the access that it gives; `None`: no access.
pub(super) type RuleVerdict = (EntitlementReason, Option<RuleOutcome>);

/// A row of the table.
pub(super) struct Rule {
    /// For programs.
    pub(super) name: &'static str,
    /// What it asks, for people. Yes: it fits.
    pub(super) question: &'static str,
    /// The verdict, if it fits.
    pub(super) verdict: fn(&RuleInput) -> Option<RuleVerdict>,
    /// What `verdict` looks at. It decides nothing: whoever asks why is told these.
    pub(super) looks_at: &'static [Fact],
}

pub(super) const RULES: [Rule; 10] = [
    Rule {
        name: "unknown_status",
        question: "Has it a status that tilld does not know?",
        verdict: unknown_status,
        looks_at: &[Fact::Status],
    },
    Rule {
        name: "over",
        question: "Is it over: canceled, deleted, or past its end?",
        verdict: over,
        looks_at: &[Fact::Status, Fact::Deleted, Fact::EndsAt],
    },
    Rule {
        name: "incomplete",
        question: "Was its first payment never made?",
        verdict: incomplete,
        looks_at: &[Fact::Status],
    },
    Rule {
        name: "paused",
        question: "Is it paused, and not because a payment failed?",
        verdict: paused,
        looks_at: &[Fact::Status, Fact::PausedByFailure],
    },
    Rule {
        name: "not_sold",
        question: "Is none of the prices that count in a plan?",
        verdict: not_sold,
        looks_at: &[Fact::PriceIds, Fact::LastPaidPriceIds, Fact::Tier, Fact::ItemsPartial],
    },
    Rule {
        name: "payment_missing",
        question: "Is a payment missing?",
        verdict: payment_missing,
        looks_at: &[Fact::Status, Fact::PausedByFailure, Fact::GraceStartedAt, Fact::GracePeriodEnd, Fact::EndsAt],
    },
    Rule {
        name: "collection_paused",
        question: "Does Stripe not collect, and is the period in which that began over?",
        verdict: collection_paused,
        looks_at: &[Fact::PausePeriodEnd, Fact::PausedCollection],
    },
    Rule {
        name: "stale",
        question: "Was nothing heard since its period ended, and is that not to be believed?",
        verdict: stale,
        looks_at: &[Fact::PeriodEnd, Fact::AsOf, Fact::Stale, Fact::WhenStale],
    },
    Rule {
        name: "ending",
        question: "Is its end known?",
        verdict: ending,
        looks_at: &[Fact::CancelAt, Fact::CancelAtPeriodEnd, Fact::EndsAt, Fact::PausePeriodEnd],
    },
    Rule {
        name: "running",
        question: "Is it none of these, and so running?",
        verdict: running,
        looks_at: &[Fact::Status, Fact::PausePeriodEnd],
    },
];

/// The first rule that fits decides; the last one fits all that the others leave.
pub(super) fn decide(asked: &RuleInput) -> RuleVerdict {
    RULES.iter().find_map(|rule| (rule.verdict)(asked)).unwrap_or((EntitlementReason::UnknownStatus, None))
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

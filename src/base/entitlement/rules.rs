//! The contract's table of rules: one list, and the first rule that fits decides. Each is a row of that table, in its
//! order. Pure. Called by the parent.

use super::{Policy, Reason, Subscription, WhenStale};

/// What the rules look at.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) subscription: &'a Subscription,
    /// A plan has one of the prices that count.
    pub(super) sold: bool,
    pub(super) policy: &'a Policy,
    pub(super) now: i64,
}

impl Asked<'_> {
    fn has_status(&self, statuses: &[&str]) -> bool {
        statuses.contains(&self.subscription.status.as_str())
    }
}

/// Access, with its end where that is known.
#[derive(Clone, Copy)]
pub(super) struct Access {
    pub(super) until: Option<i64>,
}

/// Why, and what it gives.
pub(super) type Verdict = (Reason, Option<Access>);
type Rule = fn(&Asked) -> Option<Verdict>;

const RULES: [Rule; 10] =
    [unknown_status, over, incomplete, paused, not_sold, payment_missing, collection_paused, stale, ending, running];

/// The first rule that fits decides; the last one fits all that the others leave.
pub(super) fn decide(asked: &Asked) -> Verdict {
    RULES.iter().find_map(|rule| rule(asked)).unwrap_or((Reason::UnknownStatus, None))
}

fn denied(reason: Reason) -> Verdict {
    (reason, None)
}

fn until(reason: Reason, until: Option<i64>) -> Verdict {
    (reason, Some(Access { until }))
}

fn unknown_status(asked: &Asked) -> Option<Verdict> {
    const KNOWN: [&str; 8] =
        ["active", "trialing", "past_due", "unpaid", "paused", "incomplete", "incomplete_expired", "canceled"];
    (!asked.has_status(&KNOWN)).then_some(denied(Reason::UnknownStatus))
}

fn over(asked: &Asked) -> Option<Verdict> {
    let subscription = asked.subscription;
    let is_over = subscription.deleted || asked.has_status(&["canceled"]) || subscription.ends_by(asked.now);
    is_over.then_some(denied(Reason::Canceled))
}

fn incomplete(asked: &Asked) -> Option<Verdict> {
    asked.has_status(&["incomplete", "incomplete_expired"]).then_some(denied(Reason::Incomplete))
}

fn paused(asked: &Asked) -> Option<Verdict> {
    let chosen = asked.has_status(&["paused"]) && !asked.subscription.is_payment_missing();
    chosen.then_some(denied(Reason::Paused))
}

fn not_sold(asked: &Asked) -> Option<Verdict> {
    let reason = if asked.subscription.items_partial { Reason::Partial } else { Reason::UnknownPrice };
    (!asked.sold).then_some(denied(reason))
}

fn payment_missing(asked: &Asked) -> Option<Verdict> {
    let grace_end = asked.subscription.grace_period_end(asked.policy)?;
    if asked.now < grace_end {
        let ends_at = asked.subscription.ends_at();
        return Some(until(Reason::GracePeriod, Some(ends_at.map_or(grace_end, |end| end.min(grace_end)))));
    }
    Some(denied(match asked.subscription.status.as_str() {
        "past_due" => Reason::PastDue,
        "unpaid" => Reason::Unpaid,
        _ => Reason::Paused,
    }))
}

fn collection_paused(asked: &Asked) -> Option<Verdict> {
    let paid_until = asked.subscription.paid_until(asked.policy)?;
    (paid_until <= asked.now).then_some(denied(Reason::Paused))
}

fn stale(asked: &Asked) -> Option<Verdict> {
    let denies = asked.policy.when_stale == WhenStale::Deny && asked.subscription.is_stale(asked.policy, asked.now);
    denies.then_some(denied(Reason::Stale))
}

fn ending(asked: &Asked) -> Option<Verdict> {
    let ends_at = asked.subscription.ends_at()?;
    let paid_until = asked.subscription.paid_until(asked.policy);
    Some(until(Reason::Ending, Some(paid_until.map_or(ends_at, |end| end.min(ends_at)))))
}

fn running(asked: &Asked) -> Option<Verdict> {
    let reason = if asked.has_status(&["trialing"]) { Reason::Trialing } else { Reason::Active };
    Some(until(reason, asked.subscription.paid_until(asked.policy)))
}

//! The numbers beside the charts: how things stand now, and payments over the whole range. Pure. Called by
//! `dashboard::overview`.

use std::collections::BTreeMap;

use crate::base::money;
use crate::objects::figures::Figures;

/// Codes of failure that are shown.
const MAX_CODES: usize = 5;

/// A fact: its name and its value.
pub(super) type Fact = (&'static str, String);

/// Why attempts failed: the code, how many, and of all failed ones, how many percent.
pub(super) struct FailureCode {
    pub(super) code: String,
    pub(super) attempts: i64,
    pub(super) share: String,
}

/// How things stand now, as far as they are known.
pub(super) fn now(figures: &Figures) -> Vec<Fact> {
    let runs = |state: &str| state == "active" || state == "past_due";
    let mut mrr: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for one in figures.mrr_now.iter().filter(|one| runs(&one.state)) {
        let sum = mrr.entry(&one.currency).or_default();
        *sum = (sum.0.saturating_add(one.amount), sum.1.saturating_add(one.subscriptions));
    }
    let words = |(currency, (amount, count)): (&&str, &(i64, i64))| {
        format!("{} ({count} subscriptions)", money::words(*amount, currency))
    };
    let mut facts = vec![("MRR", joined(mrr.iter().map(words), "no running subscription"))];
    let left_out: i64 = figures.mrr_now.iter().map(|one| one.tiered_items + one.metered_items + one.other_items).sum();
    if left_out > 0 {
        facts.push(("Not in MRR", format!("{left_out} items whose price has tiers, is metered, or could not be read")));
    }
    let Some(looked_s) = figures.levels.iter().map(|level| level.start).max() else { return facts };
    let levels = |name: &'static str| {
        figures.levels.iter().filter(move |level| level.start == looked_s && level.name == name && level.value != 0)
    };
    let total = |name| levels(name).map(|level| level.value).sum::<i64>().to_string();
    facts.push(("Users who owe", total("delinquent_users")));
    let at_risk = levels("money_at_risk").map(|level| money::words(level.value, &level.label));
    facts.push(("Money at risk", joined(at_risk, "none")));
    facts.push(("Outbox", format!("{} waiting, {} failed for good", total("outbox_pending"), total("outbox_failed"))));
    facts
}

/// Payments over the range.
pub(super) fn payments(figures: &Figures) -> Vec<Fact> {
    let attempts = &figures.payment_attempts;
    let intents = &figures.payment_intents;
    let tried = rate(attempts.iter().map(|one| one.succeeded).sum(), attempts.iter().map(|one| one.failed).sum());
    let paid = rate(intents.iter().map(|one| one.succeeded).sum(), intents.iter().map(|one| one.failed).sum());
    vec![("Attempts", tried), ("Payments", paid)]
}

fn rate(succeeded: i64, failed: i64) -> String {
    match succeeded.saturating_add(failed) {
        0 => "none in this time".to_owned(),
        all => format!("{succeeded} of {all} succeeded ({})", percent(succeeded, all)),
    }
}

#[allow(clippy::cast_precision_loss)] // counts are far from 2^52
fn percent(part: i64, all: i64) -> String {
    format!("{:.1} %", part as f64 / all as f64 * 100.0)
}

/// The most frequent codes of failure.
pub(super) fn codes(figures: &Figures) -> Vec<FailureCode> {
    let all: i64 = figures.failure_codes.iter().map(|one| one.attempts).sum();
    let first = figures.failure_codes.iter().filter(|one| one.attempts > 0).take(MAX_CODES);
    first
        .map(|one| FailureCode { code: one.code.clone(), attempts: one.attempts, share: percent(one.attempts, all) })
        .collect()
}

fn joined(words: impl Iterator<Item = String>, none: &str) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_of_how_many_and_none_is_no_zero() {
        assert_eq!(rate(42, 3), "42 of 45 succeeded (93.3 %)");
        assert_eq!(rate(0, 0), "none in this time");
    }
}

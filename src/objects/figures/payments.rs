//! Payments in figures: attempts by the hour, intents by the day, and why attempts failed. It must never read intents or
//! attempts one by one. Called by `figures` alone.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::figure_range::{FigureBucket, FigureRange};
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader};

/// Attempts to pay in one bucket and currency.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct AttemptFigures {
    /// Beginning of the bucket, unix seconds.
    #[schemars(example = 1_767_225_600)]
    pub start: i64,
    /// ISO 4217 code in lower case.
    #[schemars(example = &"usd")]
    pub currency: String,
    /// Attempts that succeeded.
    #[schemars(example = 118)]
    pub succeeded: i64,
    /// Attempts that failed.
    #[schemars(example = 7)]
    pub failed: i64,
    /// succeeded / (succeeded + failed), from 0 to 1; null: there were none.
    #[schemars(example = 0.944)]
    pub success_rate: Option<f64>,
    /// What was received, minor units.
    #[schemars(example = 236_000)]
    pub succeeded_amount: i64,
    /// What was to be paid by those that failed, minor units; several attempts at one payment count several times.
    #[schemars(example = 14_000)]
    pub failed_amount: i64,
}

/// Payment intents of one day and currency, as they are now.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct IntentFigures {
    /// Beginning of the day on which they were made (UTC), unix seconds.
    #[schemars(example = 1_767_225_600)]
    pub start: i64,
    /// ISO 4217 code in lower case.
    #[schemars(example = &"usd")]
    pub currency: String,
    /// Intents that succeeded, however many attempts that took.
    #[schemars(example = 118)]
    pub succeeded: i64,
    /// Intents that failed for good: an attempt failed, and the intent is canceled, or its invoice void or uncollectible.
    #[schemars(example = 7)]
    pub failed: i64,
    /// Intents that were canceled before any attempt failed.
    #[schemars(example = 2)]
    pub canceled: i64,
    /// Intents that are none of these yet.
    #[schemars(example = 1)]
    pub open: i64,
    /// succeeded / (succeeded + failed), from 0 to 1; null: there were none.
    #[schemars(example = 0.944)]
    pub success_rate: Option<f64>,
    /// Amounts of those that succeeded, minor units.
    #[schemars(example = 236_000)]
    pub succeeded_amount: i64,
    /// Amounts of those that failed, minor units.
    #[schemars(example = 14_000)]
    pub failed_amount: i64,
}

/// Why attempts failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CodeFigures {
    /// Stripe's decline code, else its error code; `other` for one that is not known, `none` where there was none.
    #[schemars(example = &"insufficient_funds")]
    pub code: String,
    /// Attempts that failed with it.
    #[schemars(example = 5)]
    pub attempts: i64,
}

columns! {
    /// One group of payments.
    struct PaymentGroup {
        start_s: i64 = "start",
        currency: String,
        outcome: String,
        count: i64 = "n",
        amount: i64 = "money",
    }
}

const ATTEMPTS: &str = select!(
    PaymentGroup,
    "FROM (SELECT hour / ?3 * ?3 AS start, currency, outcome, sum(attempts) AS n, sum(amount) AS money
        FROM payment_hours WHERE hour >= ?1 AND hour < ?2 GROUP BY 1, 2, 3) ORDER BY 1, 2, 3"
);
const INTENTS: &str = select!(
    PaymentGroup,
    "FROM (SELECT day AS start, currency, outcome, intents AS n, amount AS money
        FROM intent_days WHERE day >= ?1 AND day < ?2) ORDER BY 1, 2, 3"
);

fn rate(succeeded: i64, failed: i64) -> Option<f64> {
    let all = succeeded.saturating_add(failed);
    // As many decimals as anybody looks at, the same in every format.
    #[allow(clippy::cast_precision_loss)] // counts are far from 2^52
    let rounded = || (succeeded as f64 / all as f64 * 1e6).round() / 1e6;
    (all > 0).then(rounded)
}

/// Attempts by bucket and currency.
pub(super) fn attempts(reader: &StoreReader, range: FigureRange) -> Result<Vec<AttemptFigures>, StoreError> {
    let groups = reader.list(ATTEMPTS, (range.from_s, range.to_s, range.bucket.seconds()), PaymentGroup::read)?;
    let currencies: BTreeMap<&str, ()> = groups.iter().map(|group| (group.currency.as_str(), ())).collect();
    let mut buckets = BTreeMap::new();
    for start in range.starts() {
        for currency in currencies.keys() {
            buckets.insert((start, *currency), ((0, 0), (0, 0)));
        }
    }
    for group in &groups {
        let (succeeded, failed) = buckets.entry((group.start_s, group.currency.as_str())).or_default();
        let of_outcome = if group.outcome == "succeeded" { succeeded } else { failed };
        *of_outcome = (group.count, group.amount);
    }
    let figures = buckets.into_iter().map(|((start, currency), (succeeded, failed))| AttemptFigures {
        start,
        currency: currency.to_owned(),
        succeeded: succeeded.0,
        failed: failed.0,
        success_rate: rate(succeeded.0, failed.0),
        succeeded_amount: succeeded.1,
        failed_amount: failed.1,
    });
    Ok(figures.collect())
}

/// Intents by day and currency.
pub(super) fn intents(reader: &StoreReader, range: FigureRange) -> Result<Vec<IntentFigures>, StoreError> {
    let day_s = FigureBucket::Day.seconds();
    let from_s = range.from_s.div_euclid(day_s).saturating_mul(day_s);
    let mut groups = reader.list(INTENTS, (from_s, range.to_s), PaymentGroup::read)?;
    groups.sort_by(|one, other| (one.start_s, &one.currency).cmp(&(other.start_s, &other.currency)));
    let same = |one: &PaymentGroup, next: &PaymentGroup| (one.start_s, &one.currency) == (next.start_s, &next.currency);
    Ok(groups.chunk_by(same).filter_map(of_day).collect())
}

fn of_day(groups: &[PaymentGroup]) -> Option<IntentFigures> {
    let first = groups.first()?;
    let of = |outcome: &str| {
        groups.iter().find(|group| group.outcome == outcome).map_or((0, 0), |group| (group.count, group.amount))
    };
    let (succeeded, failed) = (of("succeeded"), of("failed"));
    Some(IntentFigures {
        start: first.start_s,
        currency: first.currency.clone(),
        succeeded: succeeded.0,
        failed: failed.0,
        canceled: of("canceled").0,
        open: of("open").0,
        success_rate: rate(succeeded.0, failed.0),
        succeeded_amount: succeeded.1,
        failed_amount: failed.1,
    })
}

/// Codes of failed attempts, a closed list.
pub(super) fn codes(reader: &StoreReader, range: FigureRange) -> Result<Vec<CodeFigures>, StoreError> {
    const SQL: &str = "SELECT code, sum(attempts) FROM payment_hours
        WHERE hour >= ?1 AND hour < ?2 AND outcome = 'failed' GROUP BY 1 ORDER BY 2 DESC, 1";
    reader.list(SQL, (range.from_s, range.to_s), |row| Ok(CodeFigures { code: row.get(0)?, attempts: row.get(1)? }))
}
